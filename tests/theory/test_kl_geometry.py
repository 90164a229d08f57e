"""Geometry of KL and gradient paths against direct optimization, finite differences and small-step ascent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from overopt.theory.errors import InputError
from overopt.theory.gradient_paths import early_kl, mean_path, natural_gradient_path, vanilla_gradient_path
from overopt.theory.kl_geometry import (
    binarised_tilt,
    fisher_quadratic,
    jensen_shannon,
    kl_divergence,
    normal_kl,
    reward_at_kl,
    tilted,
)

RNG = np.random.default_rng(2)
BASE = RNG.dirichlet(np.ones(6))
REWARD = RNG.normal(size=6)


def test_kl_and_its_root_break_the_triangle_inequality() -> None:
    p, q, r = np.array([0.5, 0.5]), np.array([0.25, 0.75]), np.array([0.1, 0.9])
    assert kl_divergence(p, r) > kl_divergence(p, q) + kl_divergence(q, r)
    a, b, c = np.array([0.5, 0.5]), np.array([0.02, 0.98]), np.array([0.0001, 0.9999])
    assert np.sqrt(kl_divergence(a, c)) > np.sqrt(kl_divergence(a, b)) + np.sqrt(kl_divergence(b, c))
    assert kl_divergence(p, r) != kl_divergence(r, p)


def test_root_jensen_shannon_is_a_metric_on_random_triples() -> None:
    rng = np.random.default_rng(0)
    p, q, r = rng.dirichlet(0.3 * np.ones(4), size=(3, 5000))
    root = [np.sqrt(jensen_shannon(x, y)) for x, y in ((p, r), (p, q), (q, r))]
    assert np.all(root[0] <= root[1] + root[2] + 1e-12)
    assert np.all(root[0] <= np.sqrt(np.log(2)) + 1e-12)
    assert np.allclose(jensen_shannon(p, r), jensen_shannon(r, p))


def test_kl_is_half_the_fisher_metric_nearby() -> None:
    v = np.array([0.3, -0.1, -0.2, 0.1, 0.1, -0.2])
    steps = np.array([1e-2, 5e-3])
    moved = BASE + steps[:, None] * BASE.min() * v
    errors = kl_divergence(moved, BASE) - (steps * BASE.min()) ** 2 * fisher_quadratic(BASE, v)
    assert abs(np.log2(errors[0] / errors[1]) - 3) < 0.05


def test_normal_kl_equals_quadrature_and_is_a_squared_metric_at_equal_covariance() -> None:
    p, q = stats.norm(0.4, 0.7), stats.norm(-0.3, 1.6)
    numeric = integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -8, 8, epsabs=1e-12)[0]
    assert abs(normal_kl(0.4, 0.49, -0.3, 2.56) - numeric) < 1e-9
    rng = np.random.default_rng(4)
    factor = rng.normal(size=(3, 3))
    covariance = factor @ factor.T + np.eye(3)
    for a, b, c in rng.normal(size=(50, 3, 3)):
        root = [np.sqrt(normal_kl(x, covariance, y, covariance)) for x, y in ((a, c), (a, b), (b, c))]
        assert root[0] <= root[1] + root[2] + 1e-12


def test_penalised_optimum_equals_constrained_and_beats_every_policy() -> None:
    def constrained(kl: float) -> float:
        found = optimize.minimize(
            lambda p: -float(p @ REWARD),
            BASE,
            bounds=[(1e-12, 1)] * 6,
            constraints=[
                {"type": "eq", "fun": lambda p: p.sum() - 1},
                {"type": "ineq", "fun": lambda p: kl - float(np.sum(p * np.log(p / BASE)))},
            ],
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        return float(-found.fun)

    for kl in (0.01, 0.2, 0.8):
        assert abs(reward_at_kl(BASE, REWARD, kl) - constrained(kl)) < 1e-6
    for pressure in (0.3, 2.0):
        policy = tilted(BASE, REWARD, pressure)
        best = policy @ REWARD - kl_divergence(policy, BASE) / pressure
        rivals = np.random.default_rng(1).dirichlet(np.ones(6), size=2000)
        assert np.all(rivals @ REWARD - kl_divergence(rivals, BASE) / pressure <= best + 1e-12)
    assert reward_at_kl(BASE, REWARD, 50.0) == REWARD.max()


def test_binarised_tilt_is_conditioning_in_the_limit() -> None:
    base, success = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.0, 0.0, 1.0, 1.0])
    for pressure in (0.0, 1.0, 30.0):
        policy = tilted(base, success, pressure)
        rate, kl = binarised_tilt(0.2, pressure)
        assert abs(float(rate) - policy @ success) < 1e-12
        assert abs(float(kl) - float(kl_divergence(policy, base))) < 1e-12
        assert abs(policy[2] / policy[3] - 3) < 1e-12
    assert abs(float(binarised_tilt(0.2, 60.0)[1]) + np.log(0.2)) < 1e-12


def ascend(natural: bool, penalty: float, time: float) -> np.ndarray:
    """Explicit Euler ascent on the logits with the full softmax Jacobian and, if natural, its pseudo-inverse."""
    steps = 4000
    theta = np.zeros(6)
    for _ in range(steps):
        policy = BASE * np.exp(theta)
        policy = policy / policy.sum()
        fisher = np.diag(policy) - np.outer(policy, policy)
        gradient = fisher @ (REWARD - penalty * np.log(policy / BASE))
        theta = theta + time / steps * (np.linalg.pinv(fisher) @ gradient if natural else gradient)
    policy = BASE * np.exp(theta)
    return policy / policy.sum()


@pytest.mark.parametrize("penalty", [0.0, 0.5])
def test_gradient_paths_equal_small_step_ascent(penalty: float) -> None:
    natural = natural_gradient_path(BASE, REWARD, [1.5], penalty=penalty).policy[0]
    vanilla = vanilla_gradient_path(BASE, REWARD, [4.0], penalty=penalty).policy[0]
    assert np.allclose(natural, ascend(True, penalty, 1.5), atol=2e-3)
    assert np.allclose(vanilla, ascend(False, penalty, 4.0), atol=2e-3)


def test_a_penalty_is_early_stopping_for_natural_gradient_only() -> None:
    time = np.linspace(0.05, 4, 60)
    free, penalised = (natural_gradient_path(BASE, REWARD, time, penalty=b) for b in (0.0, 0.7))
    assert np.allclose(np.interp(penalised.kl, free.kl, free.reward), penalised.reward, atol=1e-3)
    stopped = tilted(BASE, REWARD, -np.expm1(-0.7 * 4.0) / 0.7)
    assert np.allclose(penalised.policy[-1], stopped, atol=1e-12)

    late = np.geomspace(0.05, 1500, 120)
    free, penalised = (vanilla_gradient_path(BASE, REWARD, late, penalty=b) for b in (0.0, 0.7))
    early = np.array([np.interp(penalised.kl[-1], free.kl, free.policy[:, i]) for i in range(6)])
    assert abs(early - penalised.policy[-1]).max() > 0.02
    # The penalised flow ends on the tilt all the same.
    assert np.allclose(penalised.policy[-1], tilted(BASE, REWARD, 1 / 0.7), atol=1e-4)


def test_vanilla_gradient_never_beats_the_tilt_frontier() -> None:
    path = vanilla_gradient_path(BASE, REWARD, np.geomspace(0.1, 50, 30))
    best = [reward_at_kl(BASE, REWARD, float(kl)) for kl in path.kl]
    assert np.all(path.reward <= np.array(best) + 1e-9)


def test_kl_grows_quadratically_at_first() -> None:
    time = np.array([1e-3, 2e-3])
    natural, vanilla = natural_gradient_path(BASE, REWARD, time), vanilla_gradient_path(BASE, REWARD, time)
    assert np.allclose(natural.kl / early_kl(BASE, REWARD, time), 1, atol=5e-3)
    assert np.allclose(vanilla.kl / early_kl(BASE, REWARD, time, natural=False), 1, atol=5e-3)


def test_natural_gradient_of_a_mean_moves_along_the_covariance() -> None:
    covariance, weights = np.array([[1.0, 0.8], [0.8, 1.0]]), np.array([1.0, 0.0])
    natural, vanilla = (mean_path(weights, covariance, [2.0], natural=flag)[0] for flag in (True, False))
    # The conditional mean of the second variable given that the first is 2.
    assert np.allclose(natural, [2.0, 1.6])
    assert np.allclose(vanilla, [2.0, 0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kl_divergence([0.5, 0.6], [0.5, 0.5]), "`p` must be >= 0 and sum to 1"),
        (lambda: fisher_quadratic([0.5, 0.5], [1.0, 0.0]), "`direction` must sum to 0"),
        (lambda: reward_at_kl(BASE, REWARD, -1.0), "`kl` must be >= 0, got -1."),
        (lambda: binarised_tilt(0.0, 1.0), r"`success` must lie in \(0, 1\)"),
        (lambda: natural_gradient_path(BASE, REWARD, [1.0], penalty=-1.0), "`penalty` must be >= 0, got -1."),
        (lambda: natural_gradient_path([0.0, 1.0], [1.0, 2.0], [1.0]), "`base` must be > 0"),
        (lambda: vanilla_gradient_path(BASE, REWARD, [2.0, 1.0]), "`time` must be one-dimensional"),
    ],
)
def test_wrong_geometry_input_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
