"""Every world under every optimizer with an exact answer: the simulation within five computed standard errors."""

import numpy as np
import pytest

from overopt.toys import simulate
from overopt.toys.registry import WORLDS
from overopt.toys.worlds.additive import Additive
from overopt.toys.worlds.bounded import Bounded
from overopt.toys.worlds.break_points import BreakPoints
from overopt.toys.worlds.sentences import Sentences
from overopt.toys.worlds.tabular import Tabular
from overopt.toys.worlds.three_submodules import ThreeSubmodules

NOISES = ("gaussian", "uniform", "laplace", "logistic", "exponential", "student_t", "pareto", "lognormal")
SMALL = {"sentences": Sentences(count=20_000), "tabular": Tabular(prompts=32, actions=200)}
PLAIN = {name: SMALL.get(name) or kind() for name, kind in WORLDS.items() if name != "additive"}
CASES = {
    **{f"additive {noise}": Additive(noise=noise, noise_sd=0.8) for noise in NOISES},
    **PLAIN,
    "bounded two-point": Bounded(delta=1.5, shape="two-point"),
    "break-points uniform": BreakPoints(shape="uniform"),
    "break-points power": BreakPoints(shape="power"),
    "sentences clipped": Sentences(count=20_000, cap=100.0),
    "tabular student_t": Tabular(prompts=16, actions=60, noise="student_t", base_sd=1.0),
    "three-submodules with KL": ThreeSubmodules(kl_penalty=0.3),
}
# Tilts of a proxy whose moment generating function ends somewhere.
LARGEST_TILT = {"laplace": 1.5, "logistic": 2.0, "exponential": 0.9}
HEAVY = ("student_t", "pareto", "lognormal")


def pressures_of(name, optimizer, runner):
    noise = name.split()[-1]
    if optimizer == "exponential-tilt" and name.startswith("additive"):
        if noise in HEAVY:
            return (0.0,)
        return tuple(value for value in runner.default_pressures if value < LARGEST_TILT.get(noise, 2.5))
    if optimizer.endswith("gradient") or optimizer == "ppo-clip":
        return tuple(value for value in runner.default_pressures if value <= 200)
    return runner.default_pressures[::2]


@pytest.mark.parametrize("name", CASES)
def test_simulation_agrees_with_the_exact_answer(name):
    world = CASES[name]
    for optimizer, runner in world.runners().items():
        pressures = pressures_of(name, optimizer, runner)
        curve = simulate(np.random.default_rng(7), world, optimizer, pressures, replicates=20_000)
        for point in curve.points:
            assert abs(point.z) < 5, f"{name}, {optimizer} at {point.pressure:g}: z = {point.z:.2f}"
            if np.isfinite(point.proxy_se) and point.proxy_se > 0 and "sentences" not in name:
                assert abs(point.proxy - point.promise) < 5 * point.proxy_se, f"{name}, {optimizer}: proxy"
            parts = point.regressional + point.extremal + point.causal + point.unattributed
            # Promise reaches 1e4 gold SD in heavy tails; the identity is exact in its own units.
            assert abs(point.promise - parts - point.delivered) <= 1e-9 * max(1.0, abs(point.promise))
            assert point.delivered == point.gold_exact
            assert point.kl >= 0
            assert point.d == pytest.approx(np.sqrt(point.kl))


def test_a_wrong_exact_answer_would_be_seen():
    """The control: a Gaussian world's simulation against a Laplace world's exact answer."""
    simulated = simulate(np.random.default_rng(7), Additive(), "best-of-n", (64,), replicates=20_000).points[0]
    exact = simulate(np.random.default_rng(7), Additive(noise="laplace"), "best-of-n", (64,), replicates=0).points[0]
    assert abs(simulated.gold - exact.gold_exact) > 20 * simulated.gold_se


@pytest.mark.parametrize(
    "name",
    ["additive gaussian", "additive student_t", "kink", "adversarial-mode", "feasible-region", "missing-features"],
)
def test_base_samples_come_from_the_same_law(name):
    """The world's own mechanism against its quadrature: moments, and gold given a slice of the proxy."""
    joint = CASES[name].joint
    gold, proxy = joint.draw_base(np.random.default_rng(3), 200_000)
    root = np.sqrt(gold.size)
    assert abs(gold.mean()) < 5 * gold.std() / root
    assert abs(proxy.mean()) < 5 * proxy.std() / root
    law = joint.base
    slope = ((gold - gold.mean()) * (proxy - proxy.mean())).mean()
    influence = (gold * proxy - slope * gold**2).std() / root
    assert abs(slope - 1) < 5 * influence
    for low, high in ((0.1, 0.3), (0.5, 0.7), (0.9, 0.95)):
        bounds = joint.quantile(np.log(np.array([low, high]) / (1 - np.array([low, high]))))
        inside = (proxy > bounds[0]) & (proxy < bounds[1])
        assert abs(inside.mean() - (high - low)) < 5 * np.sqrt((high - low) / gold.size)
        cut = joint.law(bounds)
        kept = (cut.proxy > bounds[0]) & (cut.proxy < bounds[1])
        exact = (cut.mass[kept] @ cut.gold[kept]) / cut.mass[kept].sum()
        assert abs(gold[inside].mean() - exact) < 5 * gold[inside].std() / np.sqrt(inside.sum())
    assert law.mass.sum() == pytest.approx(1)
