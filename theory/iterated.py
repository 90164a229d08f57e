"""Iterated RLHF: k rounds, each optimizing a new proxy from where the last one stopped (Gao et al. 2022, section 4.3).

With `d` additive over rounds and fixed coefficients a law R becomes `k R(d/k)`; whether that holds depends on how the
proxies' errors are shared between rounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError
from overopt.theory.scaling_laws import Peak, ScalingLaw

__all__ = ["composed_slope", "iterated_gold", "iterated_peak", "random_walk_gold", "scaled_coefficient"]

Array = NDArray[np.float64]


def _rounds(k: ArrayLike) -> Array:
    values = np.asarray(k, dtype=float)
    if not np.all(values >= 1):
        raise InputError(f"`k` must be >= 1, got {np.min(values):g}.")
    return values


def iterated_gold(law: ScalingLaw, d: ArrayLike, k: ArrayLike, *coefficients: ArrayLike) -> Array:
    """`k R(d/k)`; for the log law `d (alpha - beta log d + beta log k)` (ledger K42)."""
    rounds = _rounds(k)
    result: Array = rounds * law.gold(np.asarray(d, dtype=float) / rounds, *coefficients)
    return result


def iterated_peak(law: ScalingLaw, k: ArrayLike, *coefficients: ArrayLike) -> Peak:
    """Peak of `k R(d/k)`: both location and height are k times the single round's (ledger K42)."""
    rounds, single = _rounds(k), law.peak(*coefficients)
    return Peak(d=rounds * single.d, gold=rounds * single.gold)


def composed_slope(k: ArrayLike, cosine: ArrayLike, *, errors: str) -> Array:
    """Slope of gold in the total `d` after k equal rounds, over the slope of one round (ledger K43).

    Round i moves a unit-covariance Gaussian policy along `w_i = cos v + sin e_i`, v the direction of gold.

    Parameters
    ----------
    cosine : correlation of each proxy with gold, in (0, 1].
    errors : `"shared"` (all e_i equal): 1. `"independent"` (e_i orthogonal): `1/sqrt(cos^2 + sin^2/k)`, because the
        errors add up in quadrature while `d` is measured from the first base policy.
    """
    rounds, c = np.broadcast_arrays(_rounds(k), np.asarray(cosine, dtype=float))
    if not np.all((c > 0) & (c <= 1)):
        raise InputError(f"`cosine` must lie in (0, 1], got {c[~((c > 0) & (c <= 1))].flat[0]:g}.")
    if errors == "shared":
        return np.ones_like(c)
    if errors == "independent":
        result: Array = 1 / np.sqrt(c**2 + (1 - c**2) / rounds)
        return result
    raise InputError(f"`errors` must be 'shared' or 'independent', got {errors!r}.")


def random_walk_gold(d_round: ArrayLike, k: ArrayLike, cosine: float, correlation: float) -> tuple[Array, Array]:
    """Total `d` and gold after k rounds of length `d_round` whose errors have pairwise correlation in [0, 1].

    Gold is `sqrt2 k d_round cos`; `d^2 = d_round^2 k^2 (cos^2 + sin^2 (correlation + (1 - correlation)/k))`.
    """
    if not 0 < cosine <= 1:
        raise InputError(f"`cosine` must lie in (0, 1], got {cosine:g}.")
    if not 0 <= correlation <= 1:
        raise InputError(f"`correlation` must lie in [0, 1], got {correlation:g}.")
    rounds, step = _rounds(k), np.asarray(d_round, dtype=float)
    shared = correlation + (1 - correlation) / rounds
    total: Array = step * rounds * np.sqrt(cosine**2 + (1 - cosine**2) * shared)
    gold: Array = np.sqrt(2.0) * rounds * step * cosine
    return total, gold


def scaled_coefficient(size: ArrayLike, intercept: float, per_log_size: float, *, reference: float = 1.0) -> Array:
    """`intercept + per_log_size log(size/reference)`: the paper's trend of alpha and beta in RM size (section 3.2)."""
    values = np.asarray(size, dtype=float)
    if not np.all(values > 0) or not reference > 0:
        raise InputError(f"`size` must be > 0, got {np.min(values):g}.")
    result: Array = intercept + per_log_size * np.log(values / reference)
    return result
