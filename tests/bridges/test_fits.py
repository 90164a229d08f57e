"""Fits: known laws are found, intervals cover, peaks are claimed where they are, the held-out error ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from overopt.bridges.best_of_n import best_of_n_curve
from overopt.bridges.curve import ClusterValues, Curve
from overopt.bridges.fit_peak import ratio_interval
from overopt.bridges.fit_trends import coefficient_trend, fit_iterated
from overopt.bridges.fits import fit_curve
from overopt.bridges.paper_split import paper_split
from overopt.bridges.read_curve import CurveColumns, read_curve
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.best_of_n import best_of_n_kl
from overopt.theory.errors import InputError


def curve_of(gains: np.ndarray, d: np.ndarray, axis: str = "checkpoint") -> Curve:
    """A curve whose clusters are the rows of ``gains``."""
    base = np.zeros(gains.shape[0])
    return Curve.from_clusters(
        ClusterValues(gains, gains, base, base),
        method="checkpoints",
        axis=axis,  # type: ignore[arg-type]
        pressure=np.arange(d.size, dtype=float),
        kl=d**2,
        kl_kind="k1",
        kl_standard_error=np.zeros(d.size),
    )


FORMS = {
    "bon": lambda d: d * (1.2 - 0.3 * d),
    "rl": lambda d: d * (1.2 - 0.5 * np.log(d)),
    "log1p": lambda d: d * (1.2 - 0.6 * np.log1p(d)),
    "power": lambda d: d * (1.2 - 0.2 * d**1.7),
    "saturating": lambda d: 1.2 * (1 - np.exp(-0.8 * d)) / 0.8,
    "linear": lambda d: 1.2 * d,
}
TRUTH = {"bon": 0.3, "rl": 0.5, "log1p": 0.6, "power": 0.2, "saturating": 0.8, "linear": None}
PEAK = {"bon": 2.0, "rl": math.exp(1.2 / 0.5 - 1), "power": (1.2 / (0.2 * 2.7)) ** (1 / 1.7)}


@pytest.mark.parametrize("law", FORMS)
def test_an_exact_law_is_found_and_predicts_beyond_its_data(law) -> None:
    d = np.linspace(0.2, 5, 12)
    fit = fit_curve(curve_of(FORMS[law](d)[None], d), law)
    assert fit.alpha == pytest.approx(1.2, rel=1e-4)
    assert fit.beta == (None if TRUTH[law] is None else pytest.approx(TRUTH[law], rel=1e-3))
    assert fit.best.heldout_rmse == pytest.approx(0, abs=1e-3)
    assert fit.best.r2 == pytest.approx(1, abs=1e-6)
    if law in PEAK:
        assert fit.peak.d == pytest.approx(PEAK[law], rel=1e-3)
        assert fit.peak.gain == pytest.approx(FORMS[law](np.array([PEAK[law]]))[0], rel=1e-4)


@pytest.mark.parametrize("law", ["bon", "rl", "saturating"])
def test_held_out_extrapolation_ranks_the_law_that_made_the_curve_first(law) -> None:
    d = np.linspace(0.2, 5, 14)
    fit = fit_curve(curve_of(FORMS[law](d)[None], d), "best")
    assert fit.law in (law, "power" if law == "bon" else law), "power contains bon"
    worst = {"bon": "linear", "rl": "linear", "saturating": "linear"}[law]
    assert [rival.law for rival in fit.laws].index(worst) >= 4
    assert fit.heldout_d == pytest.approx(d[round(14 * 2 / 3) - 1])


def test_held_out_points_are_not_seen() -> None:
    """Changing what lies above the split changes the error, not the prediction: the error moves by exactly that."""
    d = np.linspace(0.2, 5, 12)
    gains = FORMS["bon"](d)
    moved = gains.copy()
    moved[8:] += 3.0
    assert fit_curve(curve_of(moved[None], d), "bon").best.heldout_rmse == pytest.approx(3.0, abs=1e-6)


def test_no_peak_is_claimed_beyond_the_data_or_without_a_turn() -> None:
    d = np.linspace(0.2, 1.5, 8)
    rising = fit_curve(curve_of(FORMS["bon"](d)[None], d), "bon")
    assert rising.peak.d is None
    assert "no peak inside the data (d from " in str(rising)
    straight = fit_curve(curve_of((2 * d)[None], d), "bon")
    assert straight.peak.d is None


def bank_curve(rng: np.random.Generator, prompts: int, samples: int) -> Curve:
    gold = rng.normal(size=(prompts, samples))
    proxy = gold + rng.normal(size=gold.shape)
    return best_of_n_curve(ScoreBank.from_rectangle(gold, {"p": proxy}), "p")


def exact_gaussian_fit(samples: int) -> tuple[float, float]:
    """alpha and beta that least squares gives on the exact curve ``E max_n / sqrt 2``, by quadrature."""
    from scipy import integrate, stats

    sizes = [2**k for k in range(1, int(math.log2(samples)) + 1)]
    gold = [
        integrate.quad(lambda x, n=n: x * n * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1), -8, 12)[0]
        / math.sqrt(2)
        for n in sizes
    ]
    d = np.sqrt([math.log(n) - (n - 1) / n for n in sizes])
    alpha, minus_beta = np.linalg.lstsq(np.column_stack([d, d**2]), np.array(gold), rcond=None)[0]
    return float(alpha), float(-minus_beta)


def test_intervals_cover_the_fit_to_the_exact_curve() -> None:
    """200 banks of 32 x 32: at least 90% (a binomial 95% less 3.3 standard errors); 2,000 in `overopt validate`."""
    rng = np.random.default_rng(0)
    truth = exact_gaussian_fit(32)
    hits = np.zeros(2)
    for _ in range(200):
        fit = fit_curve(bank_curve(rng, 32, 32), "bon", resamples=2, rivals=False)
        for index, (name, value) in enumerate(zip(("alpha", "beta"), truth, strict=True)):
            low, high = fit.intervals[name]
            hits[index] += low <= value <= high
    assert (hits >= 180).all(), hits


def test_textbook_intervals_would_not_cover() -> None:
    """Control: residual-based OLS intervals treat correlated points as independent and miss far more often."""
    from scipy import stats

    rng = np.random.default_rng(1)
    alpha, _ = exact_gaussian_fit(32)
    hits = 0
    for _ in range(200):
        curve = bank_curve(rng, 32, 32)
        d, y = curve.d[1:], curve.gold_gain[1:]
        design = np.column_stack([d, -(d**2)])
        found, rss, *_ = np.linalg.lstsq(design, y, rcond=None)
        error = math.sqrt(rss[0] / (d.size - 2) * np.linalg.inv(design.T @ design)[0, 0])
        hits += abs(found[0] - alpha) <= stats.t.ppf(0.975, d.size - 2) * error
    assert hits < 170


def test_fits_use_powers_of_two_and_ignore_the_base_point() -> None:
    rng = np.random.default_rng(2)
    gold = rng.normal(size=(20, 24))
    curve = best_of_n_curve(ScoreBank.from_rectangle(gold, {"p": gold}), "p")
    assert curve.pressure.tolist() == [1, 2, 4, 8, 16, 24]
    fit = fit_curve(curve)
    assert fit.points == 4
    assert fit.note == "the fit leaves out 1 of 5 points, whose n is no power of 2: 24"


def test_order_of_prompts_and_scale_of_gold() -> None:
    rng = np.random.default_rng(3)
    gold = rng.normal(size=(30, 64))
    proxy = gold + rng.normal(size=gold.shape)
    one = fit_curve(best_of_n_curve(ScoreBank.from_rectangle(gold, {"p": proxy}), "p"))
    other = fit_curve(best_of_n_curve(ScoreBank.from_rectangle(5 - 3 * gold[::-1], {"p": proxy[::-1]}), "p"))
    assert other.alpha == pytest.approx(-3 * one.alpha, rel=1e-9)
    assert other.intervals["alpha"] == pytest.approx([-3 * end for end in one.intervals["alpha"][::-1]], rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_fieller_is_the_set_of_ratios_that_a_test_does_not_reject(seed) -> None:
    rng = np.random.default_rng(seed)
    estimate, root = rng.uniform(0.2, 2, size=2), rng.normal(size=(2, 2)) * 0.3
    covariance = root @ root.T
    low, high = ratio_interval(estimate, covariance, 1.96)
    ratios = np.geomspace(1e-4, 1e4, 4001)
    contrast = np.column_stack([np.ones_like(ratios), -ratios])
    kept = np.abs(contrast @ estimate) <= 1.96 * np.sqrt(np.einsum("ri,ij,rj->r", contrast, covariance, contrast))
    inside = (ratios >= low) & (ratios <= high)
    if math.isfinite(high):
        np.testing.assert_array_equal(kept, inside)
    else:
        assert kept[-1], "unbounded only where any large ratio is kept"
        assert inside[kept].all()


def test_bon_peak_interval_is_unbounded_when_beta_may_be_zero() -> None:
    rng = np.random.default_rng(4)
    d = np.linspace(0.3, 3, 6)
    gains = FORMS["bon"](d) + np.outer(rng.normal(size=8), d) + np.outer(rng.normal(size=8), d**2) * 2
    fit = fit_curve(curve_of(gains, d), "bon")
    assert fit.intervals["beta"][0] < 0
    if fit.peak.d is not None:
        assert fit.peak.d_interval[1] is None


def test_the_bootstrap_in_pieces_is_the_bootstrap(monkeypatch) -> None:
    rng = np.random.default_rng(12)
    gold = rng.normal(size=(40, 32))
    curve = best_of_n_curve(ScoreBank.from_rectangle(gold, {"p": gold + rng.normal(size=gold.shape)}), "p")
    whole = fit_curve(curve, "saturating", rng=np.random.default_rng(0))
    monkeypatch.setattr("overopt.bridges.fits._DRAWS_AT_ONCE", 130)
    pieces = fit_curve(curve, "saturating", rng=np.random.default_rng(0))
    for name, interval in whole.intervals.items():
        assert pieces.intervals[name] == pytest.approx(interval, rel=1e-6)


def test_nonlinear_laws_get_bootstrap_intervals() -> None:
    rng = np.random.default_rng(5)
    d = np.linspace(0.2, 5, 10)
    gains = FORMS["saturating"](d) * (1 + 0.2 * rng.normal(size=(50, 1))) + 0.05 * rng.normal(size=(50, 10))
    fit = fit_curve(curve_of(gains, d), "saturating", rng=np.random.default_rng(0))
    low, high = fit.intervals["beta"]
    assert low < 0.8 < high
    assert high - low < 0.5
    again = fit_curve(curve_of(gains, d), "saturating", rng=np.random.default_rng(0))
    assert again.intervals == fit.intervals, "same seed, same interval"


@pytest.mark.parametrize(("law", "points"), [("bon", 2), ("nonsense", 9)])
def test_bad_requests(law, points) -> None:
    d = np.linspace(0.2, 1, points)
    with pytest.raises(InputError, match="at least 3 points" if points < 3 else "`law` must be one of"):
        fit_curve(curve_of(d[None], d), law)


def test_a_curve_from_elsewhere(tmp_path) -> None:
    sizes = 2 ** np.arange(8)
    d = np.sqrt(best_of_n_kl(sizes))
    rows = [f"{n},{k},{1 + x * (0.8 - 0.2 * x)},{0.02},{3 + 1.1 * x}" for n, k, x in zip(sizes, d**2, d, strict=True)]
    path = tmp_path / "curve.csv"
    path.write_text("\n".join(["n,kl,gold,gold_se,proxy", *rows[::-1]]))
    curve = read_curve(str(path)).curve
    assert curve.pressure.tolist() == sizes.tolist()
    fit = fit_curve(curve)
    assert (fit.alpha, fit.beta) == (pytest.approx(0.8, abs=1e-6), pytest.approx(0.2, abs=1e-6))
    assert fit.intervals["alpha"] is not None
    assert "independent" in fit.note
    split = paper_split(fit, fit_curve(curve, quantity="proxy"))
    assert split.regressional == pytest.approx(1.1 - 0.8, abs=1e-6)
    assert split.extremal == pytest.approx(0.2, abs=1e-6)


def test_a_curve_from_elsewhere_is_fitted_on_all_its_points(tmp_path) -> None:
    """Three of these sizes are powers of two; the peak lies above them."""
    sizes = np.array([1, 2, 4, 8, 10, 20, 50, 100, 200, 500, 1000])
    gold = [0.31, 0.73, 0.97, 1.07, 1.09, 1.09, 1.03, 0.95, 0.85, 0.71, 0.56]
    path = tmp_path / "curve.csv"
    path.write_text("\n".join(["n,gold", *(f"{n},{g}" for n, g in zip(sizes, gold, strict=True))]))
    fit = fit_curve(read_curve(str(path)).curve)
    d = np.sqrt(best_of_n_kl(sizes[1:]))
    alpha, minus_beta = np.linalg.lstsq(np.column_stack([d, d**2]), np.array(gold[1:]) - gold[0], rcond=None)[0]
    assert (fit.points, fit.note) == (10, None)
    assert (fit.alpha, fit.beta) == (pytest.approx(alpha), pytest.approx(-minus_beta))
    assert fit.peak.d == pytest.approx(-alpha / (2 * minus_beta))


@pytest.mark.parametrize(
    ("header", "checkpoints", "note"),
    [
        ("step,kl,gold", [0, 100, 200, 300], "column 'step' is taken as the checkpoint"),
        ("Epoch,kl,gold", [0, 100, 200, 300], "column 'Epoch' is taken as the checkpoint"),
        ("row,kl,gold", [0, 1, 2, 3], "checkpoints are the numbers of the rows, from 0"),
    ],
)
def test_where_checkpoints_come_from_is_said(tmp_path, header, checkpoints, note) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(header + "\n0,0,0\n100,1,1\n200,4,1.5\n300,9,1.6\n")
    found = read_curve(str(path))
    assert found.curve.pressure.tolist() == checkpoints
    assert note in found.warnings[0]


def test_a_step_beside_n_or_checkpoint_is_no_checkpoint(tmp_path) -> None:
    path = tmp_path / "curve.csv"
    for name in ("n", "checkpoint"):
        path.write_text(f"step,{name},kl,gold\n7,1,0,0\n7,2,1,1\n")
        found = read_curve(str(path))
        assert found.curve.pressure.tolist() == [1, 2]
        assert found.warnings == ()


def test_gains_of_an_imported_curve_count_from_the_base_point_with_its_error(tmp_path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("checkpoint,kl,gold,gold_se\n0,0,1,.3\n1,1,2,.4\n2,4,3,.5\n")
    curve = read_curve(str(path)).curve
    np.testing.assert_allclose(curve.gain_se, [0, 0.5, math.hypot(0.5, 0.3)], atol=1e-15)
    assert curve.gain_covariance[1, 2] == pytest.approx(0.09), "both gains share the base point's error"
    path.write_text("checkpoint,kl,gold,gold_se\n0,0,1,.3\n1,0,2,.4\n2,4,3,.5\n")
    assert read_curve(str(path)).curve.gain_se[2] == pytest.approx(math.hypot(0.5, math.hypot(0.3, 0.4) / 2))


def test_intervals_are_null_where_nothing_carries_them(tmp_path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("checkpoint,kl,gold\n0,0,0\n1,1,1\n2,4,1.5\n3,9,1.6\n")
    fit = fit_curve(read_curve(str(path)).curve, "rl")
    assert fit.intervals == {"alpha": None, "beta": None}
    assert fit.peak.d_interval is None
    assert all(rival.weighted is None for rival in fit.laws)


def test_an_imported_best_of_n_curve_needs_no_kl(tmp_path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("N,score\n1,0\n2,.3\n4,.5\n8,.6\n")
    found = read_curve(str(path), CurveColumns(n="N", gold="score"))
    np.testing.assert_allclose(found.curve.kl, best_of_n_kl(np.array([1, 2, 4, 8])))
    assert "no kl column" in found.warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n,kl,gold\n1,0,0\n2,-1,1\n", "row 2, column 'kl': must be >= 0, got -1"),
        ("n,kl,gold\n1,0,0\n1,1,1\n", "row 2, column 'n': every n must occur once, got 1 again; .* overopt diagnose"),
        ("n,kl,gold\n0,0,0\n1,1,1\n", "row 1, column 'n': must be >= 1, got 0"),
        ("n,kl,gold\n1,0,0\n2,1,nan\n", "row 2, column 'gold': must be finite, got nan"),
        ("x,gold\n1,0\n", "column 'n' must exist"),
        ("checkpoint,gold\n1,0\n", "column 'kl' must exist for a curve over checkpoints"),
    ],
)
def test_mistakes_in_a_curve_are_named(tmp_path, text, message) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_curve(str(path))


def test_trend_of_a_coefficient_in_log_size() -> None:
    rng = np.random.default_rng(6)
    sizes = np.array([3e6, 1e7, 3e7, 1e8, 3e8, 1e9])
    hits = 0
    for _ in range(300):
        trend = coefficient_trend(sizes, 2 - 0.1 * np.log(sizes) + 0.05 * rng.normal(size=6), coefficient="beta")
        hits += trend.slope_interval[0] <= -0.1 <= trend.slope_interval[1]
    assert abs(hits - 285) < 5 * math.sqrt(300 * 0.95 * 0.05)
    assert "beta falls with parameters" in str(trend)
    assert "no clear trend" in str(coefficient_trend(sizes, [1, -1, 1, -1, 1, -1]))
    with pytest.raises(InputError, match="at least 2 different positive numbers"):
        coefficient_trend([1e6, 1e6], [1, 2])


def test_iterated_form() -> None:
    d = np.linspace(0.3, 4, 9)
    curves = {k: curve_of((d * (1.1 - 0.4 * np.log(d) + 0.4 * math.log(k)))[None], d) for k in (1, 2, 4)}
    fit = fit_iterated(curves)
    assert (fit.alpha, fit.beta) == (pytest.approx(1.1), pytest.approx(0.4))
    assert max(fit.residual.values()) < 1e-10
    ignoring_k = fit_iterated(dict.fromkeys((1, 2, 4), curves[1]))
    assert max(ignoring_k.residual.values()) > 0.05, "curves that do not improve with k do not follow the form"


def imported(tmp_path, text: str):
    path = tmp_path / "curve.csv"
    path.write_text(text)
    return read_curve(str(path))


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("step,kl,gold\n0,0.0005,3.0\n100,1,3.3\n200,4,3.6\n300,9,3.5\n", 3.0),
        ("n,kl,gold\n1,0.2,1.0\n2,0.19,1.3\n4,0.63,1.5\n8,1.2,1.6\n", 1.0),
    ],
)
def test_the_base_policy_is_known_by_its_name_not_by_a_kl_of_exactly_0(tmp_path, text, base) -> None:
    found = imported(tmp_path, text)
    assert found.curve.base_gold == base
    assert found.curve.gold_gain[0] == found.curve.kl[0] == 0
    assert any("is the base policy: its KL of" in warning for warning in found.warnings)


def test_a_checkpoint_0_far_from_the_base_policy_is_not_it(tmp_path) -> None:
    found = imported(tmp_path, "checkpoint,kl,gold\n0,8,3.0\n1,1,3.3\n2,4,3.6\n3,9,3.5\n")
    assert found.curve.base_gold == 0
    fit = fit_curve(found.curve, "linear")
    assert fit.best.r2 < 0
    assert "do the gains count from the base policy" in fit.note


def test_a_standard_error_of_0_is_unknown(tmp_path) -> None:
    found = imported(tmp_path, "n,gold,gold_se\n1,0,0\n2,.3,0\n4,.5,0\n8,.62,.1\n16,.7,.1\n")
    assert any("'gold_se' is 0 for 2 of 5 points" in warning for warning in found.warnings)
    assert fit_curve(found.curve, "bon").intervals["alpha"] is None


def test_points_at_one_d_are_not_split_between_fitting_and_scoring() -> None:
    d = np.array([1.0, 1.0, 1.0, 1.5, 2.0])
    assert fit_curve(curve_of(FORMS["bon"](d)[None], d), "bon").best.heldout_rmse is None
    more = np.array([0.5, 1.0, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0])
    assert fit_curve(curve_of(FORMS["bon"](more)[None], more), "bon").heldout_d == 1.5


def test_the_best_of_laws_that_cannot_be_compared_is_named_so() -> None:
    d = np.array([1.0, 1.5, 2.0])
    curve = curve_of(FORMS["bon"](d)[None], d)
    assert "too few points to score the laws" in fit_curve(curve, "best").note
    assert fit_curve(curve, "bon").note is None


def test_no_peak_is_claimed_before_the_first_point() -> None:
    d = np.array([1.0, 1.5, 2.0, 3.0])
    early = curve_of((d * (0.1 - 0.11 * d))[None], d)
    fit = fit_curve(early, "bon")
    assert fit.best.parameters["alpha"] > 0
    assert fit.peak.d is None
