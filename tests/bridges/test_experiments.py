"""Verdicts of the experiments on summaries whose answer is known, each with a control that must be judged otherwise."""

from dataclasses import replace

import numpy as np
import pytest

from overopt.bridges.experiments import experiment_trends
from overopt.bridges.experiments.coefficients import coefficient_trends, held_out_error, label_trends
from overopt.bridges.experiments.comparisons import comparison_trends
from overopt.bridges.experiments.method_paths import method_trends
from overopt.bridges.experiments.penalty import penalty_trends
from overopt.bridges.experiments.planted_faults import planted_trends
from overopt.bridges.experiments.policy_size import policy_size_trends
from overopt.bridges.experiments.reading import equality
from overopt.bridges.run_summary import (
    CurvePoint,
    FittedLaw,
    GoldPeak,
    MeasuredCurve,
    OptimizerArm,
    ProxyModel,
    RunSummary,
    SplitRow,
)
from overopt.bridges.run_trends import kl_at_proxy

EMPTY = RunSummary("test", (0,), "world", "slope", "p", (), ())


def verdicts(trends):
    return {trend.statement: trend.verdict for trend in trends}


def verdict(trends, words):
    found = [trend.verdict for trend in trends if words in trend.statement]
    assert len(found) == 1, [trend.statement for trend in trends]
    return found[0]


def proxy(name, *, kind="trained", parameters=1000, labels=4000, gold=1.0, loss=0.6, replicate=0, variant="", size="s"):
    return ProxyModel(
        name, parameters, labels, 0.7, (0.65, 0.75), loss, gold_peak=gold, gold_peak_ci=(gold - 0.1, gold + 0.1),
        gold_peak_n=1024.0, kind=kind, size=size, variant=variant, replicate=replicate,
    )  # fmt: skip


def curve(method, name, seed, points):
    rows = tuple(CurvePoint(p, d**2, d, x, g, proxy_se=0.05, gold_se=0.05) for p, d, x, g in points)
    return MeasuredCurve(method, name, seed, "full-vocabulary", rows)


# ---- planted faults


def split(method, fault, pressure, seed, terms, half=0.05):
    names = ("regressional", "extremal", "causal", "unattributed")
    values = dict(zip(names, terms, strict=True))
    delivered = 2.0 - sum(terms)
    interval = {name: (value - half, value + half) for name, value in values.items()}
    interval |= {"promise": (2.0 - half, 2.0 + half), "delivered": (delivered - half, delivered + half)}
    return SplitRow(
        method, f"planted-{fault}", seed, pressure, 4.0, 2.0, promise=2.0, delivered=delivered, ci=interval, **values
    )


def planted_run(fault, method, terms, seeds=(0, 1, 2)):
    rows = [split(method, fault, 44.0, seed, terms) for seed in seeds]
    if method == "best-of-n":
        rows = [split(method, fault, n, None, terms) for n in (1.0, 256.0, 1024.0)]
    return replace(EMPTY, proxies=(proxy(f"planted-{fault}", kind="planted"),), splits=tuple(rows))


@pytest.mark.parametrize(
    ("fault", "method", "right", "wrong"),
    [
        ("noise", "best-of-n", (1.0, 0, 0, 0), (0, 1.0, 0, 0)),
        ("bend", "best-of-n", (0.4, 1.0, 0, 0), (1.0, 0.4, 0, 0)),
        ("bend", "ppo", (0, 1.0, 0, 0), (0, 0, 1.0, 0)),
        ("length", "ppo", (0, 0, 1.0, 0), (1.0, 0, 0, 0)),
        ("exploit", "ppo", (0, 0.6, 0, 0.5), (0.9, 0, 0.1, 0)),
    ],
)
def test_a_planted_fault_must_be_the_largest_term(fault, method, right, wrong):
    assert verdict(planted_trends(planted_run(fault, method, right)), "largest") == "reproduced"
    assert verdict(planted_trends(planted_run(fault, method, wrong)), "largest") == "not reproduced"


def test_the_other_terms_must_cover_zero():
    assert verdict(planted_trends(planted_run("bend", "ppo", (0, 1.0, 0.04, 0))), "other") == ("reproduced")
    assert verdict(planted_trends(planted_run("bend", "ppo", (0.4, 1.0, 0, 0))), "other") == "not reproduced"


def test_a_term_without_an_interval_cannot_cover_zero():
    run = planted_run("bend", "ppo", (0, 1.0, 0.9, 0))
    bare = replace(
        run, splits=tuple(replace(row, ci={k: v for k, v in row.ci.items() if k != "causal"}) for row in run.splits)
    )
    assert verdict(planted_trends(bare), "other") == "cannot tell"
    unknown = replace(run, splits=tuple(replace(row, causal=None) for row in run.splits))
    assert verdict(planted_trends(unknown), "largest") == "cannot tell"


def test_hashed_noise_must_leave_no_gap_under_ppo():
    assert verdict(planted_trends(planted_run("noise", "ppo", (0.5, 0, -0.5, 0))), "no gap") == "reproduced"
    assert verdict(planted_trends(planted_run("noise", "ppo", (0.5, 0, 0, 0))), "no gap") == "not reproduced"


def test_best_of_n_is_judged_at_a_quarter_of_the_bank():
    run = planted_run("noise", "best-of-n", (1.0, 0, 0, 0))
    spoiled = replace(run, splits=(*run.splits[:2], split("best-of-n", "noise", 1024.0, None, (0, 1.0, 0, 0))))
    assert verdict(planted_trends(spoiled), "largest") == "reproduced"


# ---- coefficients


def sized_run(slope, noise=0.0):
    rng = np.random.default_rng(3)
    proxies, laws = [], []
    for parameters in (1000, 4000, 16000, 64000, 256000):
        for replicate in range(3):
            name = f"{parameters}-{replicate}"
            value = 1.0 + slope * np.log(parameters / 1000) + noise * rng.normal()
            proxies.append(proxy(name, parameters=parameters, replicate=replicate, gold=value, size=str(parameters)))
            for method, law in (("best-of-n", "bon"), ("ppo", "rl")):
                laws.append(FittedLaw(method, name, replicate, law, value, value, ((0.1, 0.1),)))
    return replace(EMPTY, proxies=tuple(proxies), laws=tuple(laws))


@pytest.mark.parametrize(
    ("slope", "noise", "up", "down"),
    [
        (0.1, 0.01, "reproduced", "not reproduced"),
        (-0.1, 0.01, "not reproduced", "reproduced"),
        (0.0, 0.1, "cannot tell", "cannot tell"),
    ],
)
def test_a_slope_is_judged_by_its_interval(slope, noise, up, down):
    found = verdicts(coefficient_trends(sized_run(slope, noise)))
    assert found["alpha of best-of-n rises with parameters."] == up
    assert found["beta of best-of-n falls with parameters."] == down
    assert found["Highest gold under best-of-n rises with parameters."] == up


def test_a_constant_coefficient_needs_a_narrow_interval():
    flat = verdicts(coefficient_trends(sized_run(0.0, 0.01)))
    assert flat["alpha of ppo is about constant with parameters."] == "reproduced"
    steep = verdicts(coefficient_trends(sized_run(1.0, 0.01)))
    assert steep["alpha of ppo is about constant with parameters."] == "not reproduced"


def test_sizes_left_out_are_predicted_from_the_others_alone():
    x = np.array([1.0, 1.0, np.e, np.e**2, np.e**4])
    y = np.array([0.1, -0.1, 1.2, 1.9, 4.3])
    line, mean = held_out_error(x, y)
    errors, plain = [], []
    for size in (1.0, np.e, np.e**2, np.e**4):
        seen = x != size
        design = np.column_stack([np.log(x[seen]), np.ones(seen.sum())])
        slope, intercept = np.linalg.solve(design.T @ design, design.T @ y[seen])
        errors += [value - slope * np.log(size) - intercept for value in y[~seen]]
        plain += [value - y[seen].mean() for value in y[~seen]]
    assert line == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert mean == pytest.approx(np.sqrt(np.mean(np.square(plain))))


def test_epochs_are_compared_with_the_same_labels():
    def run(gain):
        rng = np.random.default_rng(1)
        plain = [
            proxy(f"s-{n}-{r}", labels=n, replicate=r, gold=1.5 if n == 4000 else 0.5)
            for n in (250, 1000, 4000) for r in range(3)
        ]  # fmt: skip
        again = [
            proxy(
                f"s-1000-epochs8-{r}",
                labels=1000,
                replicate=r,
                variant="epochs8",
                gold=0.5 + gain + 0.01 * rng.normal(),
            )
            for r in range(3)
        ]
        curves = [
            curve("best-of-n", p.name, None, [(n, n / 4, n / 4, n / 4) for n in (1, 2, 4)]) for p in plain + again
        ]
        return label_trends(replace(EMPTY, proxies=(*plain, *again), curves=tuple(curves)))

    assert verdict(run(0.0), "More epochs") == "reproduced"
    assert verdict(run(0.5), "More epochs") == "not reproduced"


def test_a_threshold_of_labels_is_a_jump_of_gold():
    def run(low):
        golds = {250: low, 1000: low, 2000: 1.0, 4000: 1.2}
        return label_trends(replace(EMPTY, proxies=tuple(proxy(f"s-{n}", labels=n, gold=g) for n, g in golds.items())))

    assert verdict(run(0.2), "half as much") == "reproduced"
    assert verdict(run(0.9), "half as much") == "not reproduced"
    assert verdict(run(0.6), "half as much") == "cannot tell"


def test_near_chance_is_a_matter_of_accuracy():
    def run(low, high):
        few = [replace(proxy(f"s-{n}", labels=n), heldout_accuracy_ci=(low, high)) for n in (250, 1000)]
        many = [proxy(f"s-{n}", labels=n) for n in (2000, 4000)]
        return label_trends(replace(EMPTY, proxies=(*few, *many)))

    assert verdict(run(0.47, 0.53), "near chance") == "reproduced"
    assert verdict(run(0.56, 0.66), "near chance") == "not reproduced"
    assert verdict(run(0.45, 0.60), "near chance") == "cannot tell"


# ---- penalty


def penalised_run(shift):
    rng = np.random.default_rng(2)
    d = np.linspace(0, 5, 11)
    curves = []
    for seed in range(3):
        wobble = 0.02 * rng.normal()
        curves.append(curve("ppo", "p", seed, [(4 * i, x, x, x * (2 - 0.4 * x)) for i, x in enumerate(d)]))
        moved = [(4 * i, x, x, x * (2 - 0.4 * x) + shift + wobble) for i, x in enumerate(d[:8] * 0.9)]
        curves.append(curve("ppo-kl0.1", "p", seed, moved))
    arms = (OptimizerArm("ppo", "ppo"), OptimizerArm("ppo-kl0.1", "ppo", {"kl_coefficient": 0.1}))
    return replace(EMPTY, curves=tuple(curves), arms=arms)


def test_a_penalty_moves_along_the_frontier_or_off_it():
    same = penalty_trends(penalised_run(0.0))
    assert verdict(same, "kl_coefficient 0.1") == "reproduced"
    assert same[0].paper == 8
    assert verdict(penalty_trends(penalised_run(0.4)), "kl_coefficient 0.1") == "not reproduced"


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((-0.1, 0.1), "reproduced"),
        ((0.04, 0.17), "reproduced"),
        ((-1.3, 1.8), "cannot tell"),
        ((0.1, 0.3), "not reproduced"),
        ((-np.inf, np.inf), "cannot tell"),
    ],
)
def test_agreement_has_to_be_shown(interval, said):
    assert equality(interval) == said


def test_the_kl_of_a_gain_is_where_it_is_first_reached():
    flat = curve("ppo", "p", 0, [(i, d, x, 0.0) for i, (d, x) in enumerate([(0, 0), (1, 1), (2, 2), (3, 2), (4, 2)])])
    assert kl_at_proxy(flat, 2.0) == 4.0
    assert kl_at_proxy(flat, 1.5) == 2.5
    assert kl_at_proxy(flat, 0.0) == 0.0


# ---- paths


def test_the_exponent_of_kl_in_updates():
    for power, expected in ((2.0, "reproduced"), (1.0, "not reproduced")):
        points = [(float(step), np.sqrt(0.01 * step**power), 0.1 * step, 0.1) for step in range(0, 44, 4)]
        trends = method_trends(replace(EMPTY, curves=(curve("ppo", "p", 0, points),)))
        assert verdict(trends, "quadratically") == expected
        assert f"exponent {power:.2f}" in next(t.evidence for t in trends if "quadratically" in t.statement)


def test_concavity_is_seen_against_the_chord():
    for power, expected in ((0.5, "reproduced"), (2.0, "not reproduced")):
        points = [(2.0**i, d, d**power, 0.1) for i, d in enumerate(np.linspace(0, 3, 8))]
        trends = method_trends(replace(EMPTY, curves=(curve("best-of-n", "p", None, points),)))
        assert verdict(trends, "concave") == expected


def test_gold_turns_or_it_does_not():
    def peak(rise, fall):
        return GoldPeak("grpo", "p", 0, 8.0, 9.0, rise, 0.1, fall, 0.1, 44.0, 40.0, 2.0, 0.4, 0.05)

    for rise, fall, expected in ((1.0, 1.0, "reproduced"), (1.0, 0.1, "not reproduced"), (0.1, 0.0, "cannot tell")):
        assert verdict(method_trends(replace(EMPTY, peaks=(peak(rise, fall),))), "grpo") == expected


def policies(rises):
    def peak(rise, seed):
        return GoldPeak(
            "ppo", "p", seed, 20.0, 16.0 + seed, rise + 0.02 * seed, 0.1, 1.0, 0.1, 44.0, 40.0, 2.0, 0.4, 0.05
        )

    return {
        size: replace(EMPTY, peaks=tuple(peak(rise, seed) for seed in range(3)))
        for size, rise in zip((1000, 10_000, 100_000), rises, strict=True)
    }


def test_policies_are_compared_by_the_spread_of_their_seeds():
    for rises, expected in (
        ((1.5, 1.2, 1.0), "reproduced"),
        ((1.0, 1.2, 1.5), "not reproduced"),
        ((1, 1, 1), "cannot tell"),
    ):
        trends = policy_size_trends(policies(rises), "p")
        assert verdict(trends, "gains less") == expected
        assert verdict(trends, "same KL") == "cannot tell"
    assert policy_size_trends(policies((1.5, 1.2, 1.0)), "another") == []


def test_an_empty_run_has_no_trends():
    assert experiment_trends(EMPTY) == ()


def test_the_held_out_loss_is_correlated_with_gold_by_rank():
    def run(sign):
        models = [proxy(f"s-{i}", labels=250 * (i + 1), loss=0.6 + 0.01 * i) for i in range(8)]
        curves = [
            curve("best-of-n", m.name, None, [(n, n / 4, n / 4, sign * i * n / 9) for n in (1, 2, 4)])
            for i, m in enumerate(models)
        ]
        return label_trends(replace(EMPTY, proxies=tuple(models), curves=tuple(curves)))

    assert verdict(run(-1), "held-out loss") == "reproduced"
    assert verdict(run(1), "held-out loss") == "not reproduced"


# ---- arms beside each other

ALPHA, BETA = 1.5, 0.4
GRID = np.linspace(0.5, 6.0, 12)


def rounds_run(extra):
    """Gold of k rounds is one round's plus ``extra(k, d)``, three seeds with noise of .02."""
    rng = np.random.default_rng(0)
    arms = tuple(OptimizerArm(f"iterated-k{k}", "iterated", {"iterations": k}) for k in (1, 2, 4))
    curves = []
    for k in (1, 2, 4):
        for seed in range(3):
            gold = GRID * (ALPHA - BETA * np.log(GRID)) + extra(k, GRID) + 0.02 * rng.normal(size=GRID.size)
            points = [(i, d, 2.0, g) for i, (d, g) in enumerate(zip(GRID, gold, strict=True))]
            curves.append(curve(f"iterated-k{k}", "p", seed, [(0, 0.0, 0.0, 0.0), *points]))
    return replace(EMPTY, arms=arms, curves=tuple(curves))


def test_the_iterated_law_is_found_where_it_holds_and_only_there():
    holds = comparison_trends(rounds_run(lambda k, d: BETA * d * np.log(k)))
    assert verdict(holds, "beta d log k") == "reproduced"
    assert verdict(holds, "fresh labels") == "reproduced"
    twice = comparison_trends(rounds_run(lambda k, d: 2 * BETA * d * np.log(k)))
    assert verdict(twice, "beta d log k") == "not reproduced"


def test_rounds_that_cost_gold_or_do_nothing_are_told_apart():
    assert verdict(comparison_trends(rounds_run(lambda k, d: -d * np.log(k))), "fresh labels") == "not reproduced"
    assert verdict(comparison_trends(rounds_run(lambda k, d: 0 * d)), "fresh labels") == "cannot tell"


def peak(name, seed, rise):
    return GoldPeak("ppo", name, seed, 20.0, 9.0, rise, 0.1, 0.5, 0.1, 44.0, 25.0, 2.0, 0.5, 0.1)


def proxies_run(gain):
    """An ensemble and a noisier proxy, ``gain`` above and .5 below the plain one at the peak."""
    proxies = (
        *(proxy("p" + (f"-r{r}" if r else ""), replicate=r) for r in range(3)),
        *(proxy("noisy" + (f"-r{r}" if r else ""), replicate=r, variant="noise25") for r in range(3)),
        proxy("ensemble-min", kind="ensemble", size=""),
    )
    peaks = []
    for seed, level in enumerate((1.0, 1.3, 0.8)):
        suffix = f"-r{seed}" if seed else ""
        peaks += [peak("p" + suffix, seed, level), peak("noisy" + suffix, seed, level - 0.5 + 0.01 * seed)]
        peaks.append(peak("ensemble-min", seed, level + gain + (seed - 1) * 0.01))
    return replace(EMPTY, proxies=proxies, peaks=tuple(peaks))


def test_proxies_are_paired_by_seed_with_the_plain_one():
    trends = comparison_trends(proxies_run(0.3))
    assert verdict(trends, "ensemble-min instead of p:") == "reproduced"
    assert verdict(trends, "noisy instead of p:") == "not reproduced"
    assert len(trends) == 2
    assert verdict(comparison_trends(proxies_run(0.0)), "ensemble-min instead of p:") == "cannot tell"


def test_a_run_of_plain_proxies_compares_none():
    assert comparison_trends(replace(proxies_run(0.3), proxies=proxies_run(0.3).proxies[:3])) == []


def test_an_exploit_is_found_where_the_proxy_runs_ahead():
    name = "planted-exploit"
    ahead = [(0, 0.0, 0.0, 0.0), (4, 1.0, 1.0, 0.5), (8, 2.0, 3.0, 1.0)]
    even = [(0, 0.0, 0.0, 0.0), (4, 1.0, 1.0, 0.9), (8, 2.0, 1.4, 1.0)]
    run = replace(EMPTY, proxies=(proxy(name, kind="planted"),))
    both = comparison_trends(replace(run, curves=(curve("ppo", name, 0, ahead), curve("ppo-kl", name, 0, even))))
    assert verdict(both, "ppo finds") == "reproduced"
    assert "from step 8, KL 4.0" in both[0].evidence
    assert verdict(both, "ppo-kl finds") == "not reproduced"
    mixed = replace(run, curves=(curve("ppo", name, 0, ahead), curve("ppo", name, 1, even)))
    assert verdict(comparison_trends(mixed), "ppo finds") == "cannot tell"
