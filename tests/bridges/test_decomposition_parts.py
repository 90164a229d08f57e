"""The parts of the decomposition: local linear regression, shrunken slopes, scale, intervals, the independence test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from overopt.bridges.best_of_n_weights import best_of_n_weights
from overopt.bridges.decomposition import independence_test
from overopt.bridges.decomposition.blocks import centred_blocks
from overopt.bridges.decomposition.independence import _standardised_by_the_others
from overopt.bridges.decomposition.kl_budget import tilt_kl
from overopt.bridges.decomposition.local_linear import LocalLinear, Support
from overopt.bridges.decomposition.residual_permutation import null_gold, observed_gold
from overopt.bridges.decomposition.scale import fit_scale, gini_sd
from overopt.bridges.decomposition.shrunken_slopes import shrunken_slopes
from overopt.bridges.decomposition.terms import Term, draw_multipliers, estimate_terms
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.validation.worlds import BANK_WORLDS
from overopt.theory.errors import InputError


def test_local_linear_reproduces_a_line_and_its_weights_reproduce_the_fit() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(3000)
    support = Support(x)
    smoother = LocalLinear(support, x)
    assert np.allclose(smoother.fit(2.0 - 3.0 * x), 2.0 - 3.0 * support.grid, atol=1e-8)
    y = np.sin(x) + rng.standard_normal(x.size)
    policy = rng.standard_normal(500) * 0.5 + 0.5
    weight = np.full(500, 1 / 500) * support.holds(policy)
    mass = support.mass(policy, weight)
    assert smoother.sample_weights(mass) @ y == pytest.approx(mass @ smoother.fit(y), abs=1e-12)
    assert mass @ smoother.fit(y) == pytest.approx(weight @ support.interpolate(smoother.fit(y), policy), abs=1e-12)


def test_local_linear_equals_the_weighted_least_squares_it_bins() -> None:
    """At one grid point: the same kernel on unbinned samples, solved by numpy, agrees to the binning error."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(4000)
    y = x**2 + 0.1 * rng.standard_normal(x.size)
    support = Support(x)
    fit = LocalLinear(support, x).fit(y)
    for index in (40, 200, 350):
        centre, width = support.grid[index], support.bandwidth[index]
        kernel = np.maximum(1 - ((x - centre) / width) ** 2, 0) * support.holds(x)
        root = np.sqrt(kernel)
        design = np.column_stack([np.ones_like(x), x - centre])
        expected = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0][0]
        assert fit[index] == pytest.approx(expected, abs=2e-3)


def test_a_coarse_proxy_is_regressed_by_level_means() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 5, 4000).astype(np.float64)
    y = np.array([0.0, 1.0, -1.0, 3.0, 2.0])[x.astype(int)] + rng.standard_normal(x.size)
    support = Support(x)
    shape = LocalLinear(support, x).fit(y)
    for level in range(5):
        assert support.interpolate(shape, np.array([float(level)]))[0] == pytest.approx(y[x == level].mean(), abs=1e-9)


def slopes_of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return shrunken_slopes((x * x).sum(1), (x * y).sum(1), (y * y).sum(1), np.full(x.shape[0], x.shape[1]))


def test_slopes_are_pooled_where_they_agree_and_kept_where_they_differ() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((50, 200))
    same = 0.5 * x + rng.standard_normal(x.shape)
    assert slopes_of(x, same).std() < 0.03
    truth = np.linspace(-1, 2, 50)
    different = truth[:, None] * x + rng.standard_normal(x.shape)
    assert np.abs(slopes_of(x, different) - truth).max() < 5 * 1.2 / math.sqrt(200)


def test_shrinking_takes_slopes_nearer_to_the_truth_than_least_squares() -> None:
    """Slopes of SD .1 measured with error .1 (100 samples): the best weight 1/2 halves the mean squared error."""
    rng = np.random.default_rng(15)
    x = rng.standard_normal((500, 100))
    truth = 1.0 + 0.1 * rng.standard_normal(500)
    y = truth[:, None] * x + rng.standard_normal(x.shape)
    own = (x * y).sum(1) / (x * x).sum(1)
    ratio = float(np.mean((slopes_of(x, y) - truth) ** 2) / np.mean((own - truth) ** 2))
    assert 0.4 < ratio < 0.65


def test_slopes_without_noise_or_without_company_are_left_alone() -> None:
    rng = np.random.default_rng(16)
    x = rng.standard_normal((5, 20))
    truth = np.array([-1.0, 0.5, 1.0, 2.0, 3.0])
    assert np.allclose(slopes_of(x, truth[:, None] * x), truth, atol=1e-12)
    pair = x[:2] + rng.standard_normal((2, 20))
    assert np.allclose(slopes_of(x[:2], pair), (x[:2] * pair).sum(1) / (x[:2] ** 2).sum(1), atol=1e-12)


def test_gini_sd_is_the_mean_over_all_pairs() -> None:
    rng = np.random.default_rng(4)
    row = rng.standard_normal(30)
    pairs = [abs(a - b) for i, a in enumerate(row) for b in row[:i]]
    assert gini_sd(row[None, :])[0] == pytest.approx(np.mean(pairs) * math.sqrt(math.pi) / 2, abs=1e-12)


def test_scales_put_the_proxy_where_they_say() -> None:
    """gold ~ N(0, 4), proxy = 3 gold + N(0, 9): slope 3, pooled SD sqrt 45, reliability 36 / 45 on the slope scale."""
    rng = np.random.default_rng(5)
    gold = 2.0 * rng.standard_normal((400, 200))
    proxy = 3.0 * gold + 3.0 * rng.standard_normal(gold.shape)
    blocks = centred_blocks(ScoreBank.from_rectangle(gold, {"p": proxy}), "p")
    slope = fit_scale(blocks, "slope")
    assert slope.slope == pytest.approx(3.0, abs=0.03)
    assert slope.gold_unit == pytest.approx(2.0, abs=0.02)
    assert slope.proxy_unit == pytest.approx(6.0, abs=0.08)
    assert slope.reliability == pytest.approx(0.8, abs=0.01)
    assert fit_scale(blocks, "pooled-sd").proxy_unit == pytest.approx(math.sqrt(45.0), abs=0.07)
    assert fit_scale(blocks, "raw").proxy_unit == 1.0
    with pytest.raises(InputError, match=r"`scale` must be one of"):
        fit_scale(blocks, "sd")  # type: ignore[arg-type]


def test_calibration_recovers_the_logit_scale() -> None:
    """A proxy that is c times gold without noise: dividing by c makes its pairwise logits gold's own, in gold SD."""
    rng = np.random.default_rng(6)
    gold = 2.0 * rng.standard_normal((200, 100))
    blocks = centred_blocks(ScoreBank.from_rectangle(gold, {"p": 5.0 * gold}), "p")
    scale = fit_scale(blocks, "calibrated")
    assert scale.proxy_unit == pytest.approx(5.0 * scale.gold_unit, rel=1e-9)
    opposed = centred_blocks(ScoreBank.from_rectangle(gold, {"p": -gold}), "p")
    assert fit_scale(opposed, "calibrated").kind == "pooled-sd"


def test_intervals_are_student_t_and_the_band_is_wider() -> None:
    rng = np.random.default_rng(7)
    contributions = rng.standard_normal((12, 4))
    estimates = estimate_terms(contributions, draw_multipliers(rng, 12))
    for column in range(4):
        low, high = stats.ttest_1samp(contributions[:, column], 0.0).confidence_interval(0.95)
        assert estimates.low[column] == pytest.approx(low, abs=1e-12)
        assert estimates.high[column] == pytest.approx(high, abs=1e-12)
    assert (estimates.band_low < estimates.low).all()
    bonferroni = stats.t.ppf(1 - 0.025 / 4, 11) * estimates.standard_error
    assert (estimates.band_high - estimates.mean < 1.1 * bonferroni).all()
    assert estimate_terms(contributions[:1], draw_multipliers(rng, 1)).terms()[0].interval is None


def test_the_band_of_many_prompts_needs_no_weight_for_each(monkeypatch) -> None:
    """The same law of the largest |t|, drawn from the triangular factor; 5 SE of two quantiles of 1000 draws each."""
    rng = np.random.default_rng(8)
    contributions = rng.standard_normal((300, 5)) @ rng.standard_normal((5, 5))
    one = estimate_terms(contributions, draw_multipliers(np.random.default_rng(1), 300))
    monkeypatch.setattr("overopt.bridges.decomposition.terms.MAX_MULTIPLIERS", 40)
    few = draw_multipliers(np.random.default_rng(2), 300)
    assert few.shape == (1000, 40)
    other = estimate_terms(contributions, few)
    widths = [(found.band_high - found.mean) / found.standard_error for found in (one, other)]
    # The .95 quantile of the largest of up to five |t| has density of at least .11 there (that of one |t|).
    error = np.sqrt(2 * 0.05 * 0.95 / 1000) / 0.11
    np.testing.assert_allclose(*widths, atol=5 * error)
    assert (widths[1] > stats.norm.ppf(0.975)).all()


def test_a_term_knows_its_side() -> None:
    assert Term(1.0, (0.5, 1.5)).excludes_zero() == 1
    assert Term(-1.0, (-1.5, -0.5)).excludes_zero() == -1
    assert Term(0.1, (-0.5, 1.5)).excludes_zero() == 0
    assert Term(0.1).excludes_zero() == 0


def test_tilt_kl_is_exact_on_a_two_point_proxy() -> None:
    """Half the samples at -1, half at +1: a mean of g needs ``KL = ((1+g) log(1+g) + (1-g) log(1-g)) / 2``."""
    proxy = np.tile([-1.0, 1.0], (3, 50))
    blocks = centred_blocks(ScoreBank.from_rectangle(np.zeros_like(proxy), {"p": proxy}), "p")
    for gain in (0.1, 0.5, -0.7):
        expected = ((1 + gain) * math.log(1 + gain) + (1 - gain) * math.log(1 - gain)) / 2
        assert tilt_kl(blocks, gain)[0] == pytest.approx(expected, abs=1e-9)
    assert tilt_kl(blocks, 0.0) == (0.0, False)
    assert tilt_kl(blocks, 1.5)[1]


@pytest.mark.parametrize(("world", "low", "high"), [("laplace", 0, 8), ("five-level-judge", 0, 8), ("kink", 36, 36)])
def test_independence_p_values(world: str, low: int, high: int) -> None:
    """36 worlds each. Rejections at .05 under independence: 1.8 expected, more than 8 has probability 1e-4 or less."""
    rejected = 0
    for seed in range(36):
        rng = np.random.default_rng([13, seed])
        gold, proxy = BANK_WORLDS[world].draw(rng, rng.random((24, 1)), 64)
        test = independence_test(ScoreBank.from_rectangle(gold, {"p": proxy}), "p", rng, permutations=39)
        assert test.p_value is not None
        rejected += test.p_value <= 0.05
    assert low <= rejected <= high


def test_the_independence_test_drops_what_gold_cannot_show() -> None:
    rng = np.random.default_rng(14)
    gold = (rng.random((32, 64)) < 0.5).astype(np.float64)
    test = independence_test(ScoreBank.from_rectangle(gold, {"p": gold + rng.standard_normal(gold.shape)}), "p", rng)
    assert "<e, g^2>" not in test.z_values
    assert "<e^2, g>" in test.z_values
    constant = independence_test(ScoreBank.from_rectangle(gold, {"p": np.ones_like(gold)}), "p", rng)
    assert constant.p_value is None
    assert "constant" in (constant.reason or "")


def test_the_error_of_the_pooled_slope_reaches_the_null() -> None:
    """Where slopes agree, null gold moves with the pooled one: its scatter over banks is its own estimate of it.

    Without that error the estimate for null gold is .7 of the scatter, that for null minus observed gold twice it.
    """
    rng, banks = np.random.default_rng(0), 300
    weights = np.column_stack([best_of_n_weights(64, n) for n in (2, 8)])
    means, errors = [], []
    for _ in range(banks):
        gold = rng.normal(size=(32, 64))
        proxy = gold + 2 * rng.normal(size=gold.shape)
        gold, proxy = (x - x.mean(axis=1, keepdims=True) for x in (gold, proxy))
        null = null_gold(gold, proxy, weights, rng, null_banks=0).gold
        both = np.column_stack([null, null - observed_gold(gold, proxy, weights)])
        means.append(both.mean(axis=0))
        errors.append(both.std(axis=0, ddof=1) / 32**0.5)
    ratio = np.std(means, axis=0, ddof=1) / np.mean(errors, axis=0)
    assert np.all(np.abs(ratio - 1) < 5 / (2 * banks) ** 0.5)


def test_the_p_value_of_independence_is_uniform_with_few_permutations() -> None:
    """Scaled by the permutations' own mean and SD, the observed statistic is too large: .27 were rejected at .1."""
    rng = np.random.default_rng(20)
    banks, permutations = 1200, 9
    p_values = []
    for _ in range(banks):
        gold = rng.standard_normal((6, 32))
        bank = ScoreBank.from_rectangle(gold, {"p": gold + rng.standard_normal(gold.shape)})
        p_values.append(independence_test(bank, "p", rng, permutations=permutations).p_value)
    p = np.array(p_values)
    np.testing.assert_allclose(p * 10, np.round(p * 10), atol=1e-9)
    for level in (0.1, 0.2, 0.5):
        share = float((p <= level + 1e-9).mean())
        assert abs(share - level) < 5 * np.sqrt(level * (1 - level) / banks), (level, share)


def test_every_draw_is_standardised_by_all_others() -> None:
    """Against leaving each row out in turn; where the others agree it is far out and finite."""
    rows = np.random.default_rng(21).normal(2.0, 3.0, size=(12, 3))
    expected = [
        (row - others.mean(axis=0)) / others.std(axis=0, ddof=1)
        for row, others in ((rows[i], np.delete(rows, i, axis=0)) for i in range(12))
    ]
    np.testing.assert_allclose(_standardised_by_the_others(rows), expected, rtol=1e-10)
    alone = np.zeros((12, 1))
    alone[3] = 1.0
    found = _standardised_by_the_others(alone)
    assert np.isfinite(found).all()
    assert np.argmax(np.abs(found)) == 3
