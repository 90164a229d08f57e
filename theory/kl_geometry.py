"""Geometry of KL between policies: no metric, half the Fisher metric nearby, and one optimum under three formulations.

Distributions are rows of positive probabilities over the same outcomes; everything is in nats.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError
from overopt.theory.numerics import ROOT_XTOL, SUM_TOLERANCE

__all__ = [
    "binarised_tilt",
    "fisher_quadratic",
    "jensen_shannon",
    "kl_divergence",
    "normal_kl",
    "reward_at_kl",
    "tilted",
]

Array = NDArray[np.float64]


def _distribution(name: str, p: ArrayLike) -> Array:
    values = np.asarray(p, dtype=float)
    if np.any(values < 0) or np.any(np.abs(values.sum(axis=-1) - 1) > SUM_TOLERANCE):
        raise InputError(f"`{name}` must be >= 0 and sum to 1.")
    return values


def kl_divergence(p: ArrayLike, q: ArrayLike) -> Array:
    """`KL(p || q) = sum_i p_i log(p_i / q_i)` along the last axis; `inf` where p is not covered by q."""
    from scipy.special import rel_entr

    result: Array = rel_entr(_distribution("p", p), _distribution("q", q)).sum(axis=-1)
    return result


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> Array:
    """`JS = (KL(p || m) + KL(q || m))/2`, m the midpoint: at most log 2, and its square root is a metric (K47)."""
    first, second = _distribution("p", p), _distribution("q", q)
    middle = (first + second) / 2
    result: Array = (kl_divergence(first, middle) + kl_divergence(second, middle)) / 2
    return result


def fisher_quadratic(p: ArrayLike, direction: ArrayLike) -> Array:
    """`sum_i v_i^2 / (2 p_i)`, half the Fisher metric: `KL(p + t v || p) = t^2` times this, up to t^3 (ledger K47)."""
    base, v = _distribution("p", p), np.asarray(direction, dtype=float)
    if np.any(np.abs(v.sum(axis=-1)) > SUM_TOLERANCE):
        raise InputError("`direction` must sum to 0.")
    result: Array = (v**2 / (2 * base)).sum(axis=-1)
    return result


def normal_kl(mean: ArrayLike, covariance: ArrayLike, base_mean: ArrayLike, base_covariance: ArrayLike) -> float:
    """`KL(N(mean, covariance) || N(base_mean, base_covariance))` in nats.

    At equal covariances it is half a squared Mahalanobis distance, so that its root is a metric there (ledger K47).
    """
    first, second = np.atleast_2d(np.asarray(covariance, float)), np.atleast_2d(np.asarray(base_covariance, float))
    gap = np.atleast_1d(np.asarray(mean, float) - np.asarray(base_mean, float))
    ratio = np.linalg.solve(second, first)
    log_determinant = np.linalg.slogdet(ratio)[1]
    return float(gap @ np.linalg.solve(second, gap) + np.trace(ratio) - gap.size - log_determinant) / 2


def tilted(base: ArrayLike, reward: ArrayLike, pressure: ArrayLike) -> Array:
    """`p_i ~ base_i exp(pressure reward_i)`, the optimum of `E[reward] - KL/pressure`; shape pressure.shape + (k,)."""
    p, r = _distribution("base", base), np.asarray(reward, dtype=float)
    exponent = np.asarray(pressure, dtype=float)[..., None] * r
    exponent = exponent - exponent.max(axis=-1, keepdims=True)
    weight = p * np.exp(exponent)
    result: Array = weight / weight.sum(axis=-1, keepdims=True)
    return result


def reward_at_kl(base: ArrayLike, reward: ArrayLike, kl: float) -> float:
    """Largest expected reward of any policy within `kl` nats of `base` (ledger K48).

    The tilt that spends exactly `kl` where there is one; beyond the KL of conditioning on the largest reward, that
    largest reward: the penalised problem has no finite coefficient there.
    """
    from scipy.optimize import brentq

    p, r = _distribution("base", base), np.asarray(reward, dtype=float)
    if not kl >= 0:
        raise InputError(f"`kl` must be >= 0, got {kl:g}.")
    top = float(r[p > 0].max())
    if kl >= -np.log(p[r == top].sum()):
        return top

    def spent(pressure: float) -> float:
        return float(kl_divergence(tilted(p, r, pressure), p)) - kl

    high = 1.0
    while spent(high) < 0:
        high *= 2
    return float(tilted(p, r, brentq(spent, 0.0, high, xtol=ROOT_XTOL, rtol=ROOT_XTOL)) @ r)


def binarised_tilt(success: ArrayLike, pressure: ArrayLike) -> tuple[Array, Array]:
    """Success probability and KL of the KL-penalised optimum for a reward in {0, 1} with base success rate `success`.

    `P = p e^lambda / (1 - p + p e^lambda)` and `KL` is the binary one: as lambda grows the optimum is the base policy
    conditioned on success, at `-log p` nats, and never anything else among the successes.
    """
    p, value = np.broadcast_arrays(np.asarray(success, dtype=float), np.asarray(pressure, dtype=float))
    if not np.all((p > 0) & (p < 1)):
        raise InputError("`success` must lie in (0, 1).")
    log_odds = np.log(p) - np.log1p(-p) + value
    rate = 1 / (1 + np.exp(-log_odds))
    log_normaliser = np.logaddexp(np.log1p(-p), np.log(p) + value)
    kl: Array = np.maximum(rate * value - log_normaliser, 0.0)
    return rate, kl
