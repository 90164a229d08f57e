"""Learned reward models, retraining and ensembles: against their laws and against the members themselves."""

import math

import numpy as np
import pytest
from scipy import stats

from overopt.theory.errors import InputError
from overopt.toys import toy
from overopt.toys.worlds.ensemble import Ensemble
from overopt.toys.worlds.linear_reward_model import LinearRewardModel


@pytest.mark.parametrize(("labels", "flip", "annotator"), [(20, 0.0, 1.0), (200, 0.2, 1.0), (200, 0.0, 0.8)])
def test_data_threshold_is_an_effective_dimension(labels, flip, annotator):
    """K49, generalised to label noise and to an annotator who is a proxy: cosine^2 with the annotator."""
    world = LinearRewardModel(labels=labels, dimensions=50, flip=flip, annotator=annotator)
    rng = np.random.default_rng(1)
    squares = np.array([(world.learn(rng) @ world.annotator_direction) ** 2 for _ in range(400)])
    error = squares.std(ddof=1) / 20
    # The formula is a ratio of expectations; the expectation of the ratio differs from it by O(1/D).
    assert abs(squares.mean() - world.expected_signal_share()) < 5 * error + 0.02
    if flip == 0:
        n = 2 * labels / math.pi
        assert world.expected_signal_share() == pytest.approx(n / (n + 50), abs=0.02)


def test_near_chance_below_the_effective_dimension():
    few, many = (LinearRewardModel(labels=n, dimensions=100).expected_signal_share() for n in (10, 10_000))
    assert few < 0.1
    assert many > 0.98


def test_three_levels_lose_one_after_the_other():
    rng = np.random.default_rng(0)
    perfect = LinearRewardModel(labels=100_000, dimensions=10).learn(rng)
    biased = LinearRewardModel(labels=100_000, dimensions=10, annotator=0.7).learn(rng)
    few = LinearRewardModel(labels=30, dimensions=10, annotator=0.7)
    assert perfect[0] > 0.999
    assert biased[0] == pytest.approx(0.7, abs=0.01)
    assert np.mean([few.learn(rng)[0] for _ in range(100)]) < 0.65


@pytest.mark.parametrize("rounds", [1, 4, 16])
def test_retraining_averages_independent_errors(rounds):
    """K43: gold per unit of shift is ``1 / sqrt(1 + tan^2 / k)`` with fresh errors, and cos with a shared one."""
    world = LinearRewardModel(labels=2000, dimensions=400, round_kl=0.1)
    kept = LinearRewardModel(labels=2000, dimensions=400, round_kl=0.1, fresh=False)
    rng = np.random.default_rng(2)
    state, shared = world.init(rng), kept.init(rng)
    cosines = []
    for _ in range(rounds):
        cosines.append(state.model[0])
        state, shared = world.step(rng, state), kept.step(rng, shared)
    cos = float(np.mean(cosines))
    expected = cos / math.sqrt(cos**2 + (1 - cos**2) / rounds)
    assert state.mean[0] / np.linalg.norm(state.mean) == pytest.approx(expected, abs=0.01)
    assert shared.mean[0] / np.linalg.norm(shared.mean) == pytest.approx(shared.model[0], abs=1e-12)
    assert np.linalg.norm(shared.mean) == pytest.approx(rounds * math.sqrt(0.2))


@pytest.mark.parametrize(
    "world",
    [
        Ensemble(), Ensemble(aggregate="min"), Ensemble(aggregate="min", errors="student_t", shared_sd=0.5),
        Ensemble(aggregate="median", errors="student_t"), Ensemble(aggregate="uncertainty", members=4, pessimism=2.0),
        Ensemble(aggregate="mean", errors="student_t", members=3, shared_sd=0.4),
    ],
    ids=lambda world: f"{world.aggregate}-{world.errors}",
)  # fmt: skip
def test_the_aggregates_error_has_the_stated_law(world):
    """KS test of the members' own aggregate against the density, integrated by the trapezoid rule."""
    drawn = world.aggregated(np.random.default_rng(3), 20_000)
    grid = np.linspace(-60, 60, 120_001)
    density = np.exp(world.noise.log_pdf(grid))
    cdf = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    assert cdf[-1] == pytest.approx(1, abs=1e-4)
    assert stats.kstest(drawn, lambda z: np.interp(z, grid, cdf)).pvalue > 1e-4
    wrong = stats.kstest(drawn + 0.05, lambda z: np.interp(z, grid, cdf)).pvalue
    assert wrong < 1e-4


def test_pessimism_pays_only_under_heavy_private_tails():
    """K44 at best-of-10^5: min beats mean under student_t members, not under Gaussian ones; shared error caps all."""

    def gold(aggregate, errors, **more):
        return (
            toy("ensemble", "best-of-n", [1e5], replicates=0, aggregate=aggregate, errors=errors, **more)
            .points[0]
            .delivered
        )

    assert gold("min", "student_t") > gold("mean", "student_t") + 0.5
    assert gold("median", "student_t") > gold("mean", "student_t") + 0.5
    assert gold("min", "gaussian") < gold("mean", "gaussian") + 0.01
    single = toy("additive", "best-of-n", [1e5], replicates=0, noise="gaussian", noise_sd=2.0).points[0].delivered
    for aggregate in ("mean", "min"):
        assert gold(aggregate, "gaussian", shared_sd=2.0, private_sd=0.1) == pytest.approx(single, abs=0.02)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Ensemble(members=0), lambda: Ensemble(members=4, aggregate="median"), lambda: Ensemble(private_sd=-1.0),
        lambda: Ensemble(aggregate="uncertainty", errors="student_t"), lambda: Ensemble(errors="student_t", df=2.0),
        lambda: Ensemble(aggregate="max"), lambda: Ensemble(shared_sd=-0.1), lambda: LinearRewardModel(labels=0),
        lambda: LinearRewardModel(flip=0.5), lambda: LinearRewardModel(annotator=0.0), lambda:
        LinearRewardModel(dimensions=1), lambda: LinearRewardModel(round_kl=0.0),
    ],
)  # fmt: skip
def test_bad_parameters(build):
    with pytest.raises(InputError, match="got"):
        build()
