"""Policy gradients on a table: against finite differences, against the tilt frontier, and against closed forms."""

import numpy as np
import pytest

from overopt.theory.errors import InputError
from overopt.toys.finite_base import mean_kl
from overopt.toys.finite_selection import tilted_policy
from overopt.toys.optimizers import policy_gradient
from overopt.toys.optimizers.policy_gradient import PolicyGradient, State
from overopt.toys.worlds.tabular import Tabular

GRADIENTS = ("vanilla", "natural", "ppo")


def table(prompts=4, actions=30, seed=0, **parameters):
    world = Tabular(prompts=prompts, actions=actions, base_sd=0.7, **parameters)
    return world, world.draw(np.random.default_rng(seed))


def tilt_frontier(base, kl):
    """Largest mean proxy gain of any policy with this mean KL: the tilt with one lambda for all prompts."""
    low, high = 0.0, 200.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_kl(tilted_policy(base, middle), base.probability) < kl else (low, middle)
    return base.point(0.0, tilted_policy(base, high)).promise


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize(
    "settings",
    [
        {}, {"kl_penalty": 0.3}, {"chi2_penalty": 0.02}, {"kl_limit": 0.8}, {"stop_kl": 0.5}, {"reward_cap": 1.0},
    ],
    ids=str,
)  # fmt: skip
def test_never_above_the_tilt_frontier(gradient, settings):
    world, base = table(gradient=PolicyGradient(learning_rate=0.02, **settings))
    steps = (0, 1, 5, 20, 60, 150)
    for step, policy in zip(steps, world.train(base, gradient, steps), strict=True):
        point = base.point(step, policy)
        assert point.promise <= tilt_frontier(base, point.kl) + 1e-9
        assert policy.sum(axis=1) == pytest.approx(1)


def test_a_policy_above_the_frontier_would_be_seen():
    _, base = table()
    point = base.point(0.0, tilted_policy(base, 1.0))
    assert point.promise == pytest.approx(tilt_frontier(base, point.kl), abs=1e-6)
    assert point.promise > tilt_frontier(base, 0.9 * point.kl) + 1e-3


def test_natural_gradient_is_the_tilt():
    """lambda = learning rate x steps (K39); and its KL is quadratic in the step at first (K41)."""
    world, base = table(gradient=PolicyGradient(learning_rate=0.01))
    for steps, policy in zip((10, 100), world.train(base, "natural", (10, 100)), strict=True):
        assert policy == pytest.approx(tilted_policy(base, 0.01 * steps), abs=1e-12)
    few = [mean_kl(policy, base.probability) for policy in world.train(base, "natural", (5, 10))]
    assert few[1] / few[0] == pytest.approx(4, rel=0.1)


def objective(problem, theta):
    """``E[r] - beta KL - c chi^2`` from probabilities alone, summed over prompts."""
    logits = problem.log_base + theta
    policy = np.exp(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    base = np.exp(problem.log_base)
    settings = problem.settings
    kl = (policy * np.log(policy / base)).sum()
    chi2 = (policy**2 / base).sum() - policy.shape[0]
    return (policy * problem.reward).sum() - settings.kl_penalty * kl - settings.chi2_penalty * chi2


@pytest.mark.parametrize("settings", [{}, {"kl_penalty": 0.4}, {"chi2_penalty": 0.05, "reward_cap": 0.5}], ids=str)
def test_vanilla_step_follows_the_gradient_of_the_objective(settings):
    _, base = table(prompts=2, actions=6)
    problem = policy_gradient.problem(
        base.probability, base.proxy, "vanilla", PolicyGradient(learning_rate=1e-3, **settings)
    )
    theta = np.random.default_rng(1).normal(size=base.proxy.shape)
    moved = policy_gradient.step(problem, State(theta)).theta - theta
    by_differences = np.zeros_like(theta)
    for index in np.ndindex(theta.shape):
        step = np.zeros_like(theta)
        step[index] = 1e-5
        by_differences[index] = (objective(problem, theta + step) - objective(problem, theta - step)) / 2e-5
    assert moved / (1e-3 * 6) == pytest.approx(by_differences, abs=1e-8)


def test_ppo_follows_the_clipped_surrogate():
    """One epoch away from the old policy, against differences of ``SUM old min(rho A, clip(rho) A)``."""
    _, base = table(prompts=1, actions=8)
    settings = PolicyGradient(learning_rate=1e-3, epochs=1, clip=0.2)
    problem = policy_gradient.problem(base.probability, base.proxy, "ppo", settings)
    theta = 0.5 * np.random.default_rng(2).normal(size=base.proxy.shape)
    old = base.probability
    advantage = base.proxy - (old * base.proxy).sum()
    moved = policy_gradient._ppo_update(problem, theta, old, advantage) - theta

    def surrogate(at):
        weight = base.probability * np.exp(at)
        ratio = weight / weight.sum() / old
        return (old * np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)).sum()

    by_differences = np.zeros_like(theta)
    for index in np.ndindex(theta.shape):
        step = np.zeros_like(theta)
        step[index] = 1e-6
        by_differences[index] = (surrogate(theta + step) - surrogate(theta - step)) / 2e-6
    assert moved / (1e-3 * 8) == pytest.approx(by_differences, abs=1e-7)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_kl_penalty_ends_at_the_tilt(gradient):
    """The optimum of ``E[r] - beta KL`` is the tilt with lambda = 1/beta, whichever gradient climbs."""
    world, base = table(actions=8, gradient=PolicyGradient(learning_rate=0.05, kl_penalty=2.0))
    (policy,) = world.train(base, gradient, (6000,))
    tolerance = 0.02 if gradient == "ppo" else 1e-4
    assert policy == pytest.approx(tilted_policy(base, 0.5), abs=tolerance)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_constraint_and_early_stopping(gradient):
    world, base = table(gradient=PolicyGradient(learning_rate=0.02, kl_limit=0.5))
    for policy in world.train(base, gradient, (10, 40, 160)):
        assert mean_kl(policy, base.probability) <= 0.5 * (1 + 1e-9)
    assert mean_kl(policy, base.probability) == pytest.approx(0.5, rel=1e-6)
    world, base = table(gradient=PolicyGradient(learning_rate=0.002, stop_kl=0.5))
    late, later = world.train(base, gradient, (1500, 1600))
    assert np.array_equal(late, later)
    assert 0.5 <= mean_kl(late, base.probability) < 0.7


def test_a_capped_reward_bounds_the_mean_proxy():
    """Beyond the cap nothing is gained: every action above it gets the same final weight from the natural gradient."""
    world, base = table(gradient=PolicyGradient(learning_rate=0.05, reward_cap=1.0))
    (policy,) = world.train(base, "natural", (4000,))
    above = base.proxy >= 1.0
    ratio = policy / base.probability
    for row in range(4):
        assert ratio[row][above[row]] == pytest.approx(ratio[row][above[row]][0], rel=1e-9)
        assert policy[row][above[row]].sum() > 0.99


def test_step_is_pure():
    _, base = table()
    problem = policy_gradient.problem(base.probability, base.proxy, "ppo", PolicyGradient())
    state = policy_gradient.init(problem)
    once, twice = policy_gradient.step(problem, state), policy_gradient.step(problem, state)
    assert np.array_equal(once.theta, twice.theta)
    assert not state.theta.any()
    assert policy_gradient.info(problem, state).kl == pytest.approx(0, abs=1e-14)
    assert policy_gradient.info(problem, once).reward > policy_gradient.info(problem, state).reward


@pytest.mark.lm
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_torch_behind_the_same_call(gradient):
    pytest.importorskip("torch")
    settings = {"kl_penalty": 0.1, "chi2_penalty": 0.01, "kl_limit": 1.0, "reward_cap": 2.0}
    for extra in ({}, settings):
        world, base = table(gradient=PolicyGradient(**extra))
        other, _ = table(gradient=PolicyGradient(backend="torch", **extra))
        for mine, torchs in zip(
            world.train(base, gradient, (1, 50)), other.train(base, gradient, (1, 50)), strict=True
        ):
            assert torchs == pytest.approx(mine, abs=1e-10)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"learning_rate": 0.0}, "`learning_rate`"), ({"kl_penalty": -1.0}, "`kl_penalty`"), ({"clip": 1.0}, "`clip`"),
        ({"epochs": 0}, "`epochs`"), ({"kl_limit": 0.0}, "`kl_limit`"), ({"backend": "jax"}, "`backend`"),
        ({"chi2_penalty": float("inf")}, "`chi2_penalty`"), ({"reward_cap": float("nan")}, "`reward_cap`"),
    ],
)  # fmt: skip
def test_bad_settings(parameters, message):
    with pytest.raises(InputError, match=message):
        PolicyGradient(**parameters)
