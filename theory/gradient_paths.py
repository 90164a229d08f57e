"""Paths of gradient flow on a softmax policy: natural and vanilla gradient, with and without a KL penalty.

The policy over k actions is `p ~ base exp(theta)`. Natural gradient moves theta by the reward itself, which is the
exponential tilt at pressure t; vanilla gradient multiplies every step by the action's own probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError
from overopt.theory.kl_geometry import kl_divergence, tilted
from overopt.theory.numerics import FLOW_ATOL, FLOW_RTOL, SUM_TOLERANCE

__all__ = ["GradientPath", "early_kl", "mean_path", "natural_gradient_path", "vanilla_gradient_path"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GradientPath:
    """Gradient flow observed at `time`, shape (times,): policies (times, actions), reward and KL to the base policy."""

    time: Array
    policy: Array
    reward: Array
    kl: Array


def _observed(time: Array, policy: Array, base: Array, reward: Array) -> GradientPath:
    policy = policy / policy.sum(axis=-1, keepdims=True)
    return GradientPath(time=time, policy=policy, reward=policy @ reward, kl=kl_divergence(policy, base))


def _checked(base: ArrayLike, reward: ArrayLike, penalty: float) -> tuple[Array, Array]:
    p, r = np.asarray(base, dtype=float), np.asarray(reward, dtype=float)
    if p.ndim != 1 or p.shape != r.shape or np.any(p <= 0) or abs(p.sum() - 1) > SUM_TOLERANCE:
        raise InputError("`base` must be > 0, sum to 1 and have the shape of `reward`.")
    if not penalty >= 0:
        raise InputError(f"`penalty` must be >= 0, got {penalty:g}.")
    return p, r


def natural_gradient_path(base: ArrayLike, reward: ArrayLike, time: ArrayLike, *, penalty: float = 0.0) -> GradientPath:
    """Natural gradient flow of `E[reward] - penalty KL`: the tilt at pressure `(1 - exp(-penalty t))/penalty`.

    `d theta/dt = reward - penalty theta`, so that a penalty only slows the same path down: early stopping is exactly a
    KL penalty here (ledger K39), and without one `KL = t^2 Var_base(reward)/2` at first (ledger K41).
    """
    p, r = _checked(base, reward, penalty)
    t = np.asarray(time, dtype=float)
    pressure = t if penalty == 0 else -np.expm1(-penalty * t) / penalty
    return _observed(t, tilted(p, r, pressure), p, r)


def vanilla_gradient_path(base: ArrayLike, reward: ArrayLike, time: ArrayLike, *, penalty: float = 0.0) -> GradientPath:
    """Vanilla gradient flow of `E[reward] - penalty KL` in the logits, by numerical integration.

    `d theta_i/dt = p_i (a_i - E_p a)` with `a = reward - penalty log(p/base)`. It leaves the tilt's path, and its
    penalised and early-stopped policies of equal KL differ (ledger K39, K40).
    """
    from scipy.integrate import solve_ivp

    p, r = _checked(base, reward, penalty)
    t = np.asarray(time, dtype=float)
    if t.ndim != 1 or np.any(np.diff(t) <= 0) or t[0] < 0:
        raise InputError("`time` must be one-dimensional, >= 0 and increasing.")

    def velocity(_: float, theta: Array) -> Array:
        policy = tilted(p, theta, 1.0)
        # log(p/base) is theta up to a constant, which the advantage does not see.
        advantage = r - penalty * theta
        flow: Array = policy * (advantage - policy @ advantage)
        return flow

    solution = solve_ivp(
        velocity, (0.0, t[-1]), np.zeros_like(p), t_eval=t, method="LSODA", rtol=FLOW_RTOL, atol=FLOW_ATOL
    )
    policy = np.stack([tilted(p, theta, 1.0) for theta in solution.y.T])
    return _observed(t, policy, p, r)


def early_kl(base: ArrayLike, reward: ArrayLike, time: ArrayLike, *, natural: bool = True) -> Array:
    """Leading KL of unpenalised flow, `t^2 Var_base(f)/2`: f is the reward, or `base (reward - mean)` if vanilla."""
    p, r = _checked(base, reward, 0.0)
    move = r if natural else p * (r - p @ r)
    variance = p @ (move - p @ move) ** 2
    result: Array = np.asarray(time, dtype=float) ** 2 * variance / 2
    return result


def mean_path(weights: ArrayLike, covariance: ArrayLike, time: ArrayLike, *, natural: bool) -> Array:
    """Mean of a Gaussian policy of fixed covariance under gradient flow on the reward `weights . x` (ledger K38).

    Natural gradient moves along `covariance @ weights`, as conditioning does, vanilla gradient along `weights`;
    shape time.shape + (features,).
    """
    w = np.asarray(weights, dtype=float)
    direction = np.asarray(covariance, dtype=float) @ w if natural else w
    result: Array = np.asarray(time, dtype=float)[..., None] * direction
    return result
