"""Best-of-n: draw n samples of the base policy, keep the one with the largest proxy.

The winner's rank has density `n F^(n-1)` against the base policy, for any real `n >= 1`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError
from overopt.theory.numerics import KL_SERIES_BELOW, KL_SERIES_POWERS, LAMBERT_POLISH, NEAR_BRANCH_KL, SUM_TOLERANCE
from overopt.theory.world import ExactCurve, World

__all__ = [
    "beirami_kl_estimate",
    "best_of_n",
    "best_of_n_chi2",
    "best_of_n_kl",
    "best_of_n_kl_with_ties",
    "best_of_n_log_ratio",
    "best_of_n_win_rate",
    "n_at_kl",
    "order_statistic_weights",
    "winner_log_rank",
]

Array = NDArray[np.float64]


def _checked(n: ArrayLike) -> Array:
    values = np.asarray(n, dtype=float)
    if not np.all(values >= 1):
        raise InputError(f"`n` must be >= 1, got {np.min(values):g}.")
    return values


def best_of_n_kl(n: ArrayLike) -> Array:
    """`KL = log n - (n - 1)/n` in nats, for a continuous proxy (Stiennon et al. 2020, App. G.3; ledger K01)."""
    values = _checked(n)
    excess = (values - 1) / values
    # -log(1 - x) - x = sum_(k >= 2) x^k / k, free of cancellation near n = 1.
    small = np.minimum(excess, KL_SERIES_BELOW)[..., None]
    series: Array = (small**KL_SERIES_POWERS / KL_SERIES_POWERS).sum(axis=-1)
    return np.where(excess < KL_SERIES_BELOW, series, np.log(values) - excess)


def best_of_n_chi2(n: ArrayLike) -> Array:
    """`chi^2 = (n - 1)^2 / (2n - 1)` for a continuous proxy (ledger K04)."""
    values = _checked(n)
    result: Array = (values - 1) ** 2 / (2 * values - 1)
    return result


def best_of_n_win_rate(n: ArrayLike) -> Array:
    """`n / (n + 1)`: probability that the winner beats one base sample (Beirami et al. 2401.01879; ledger K04)."""
    values = _checked(n)
    result: Array = values / (values + 1)
    return result


def best_of_n_log_ratio(log_cdf: Array, n: ArrayLike) -> Array:
    """`log(n F^(n-1))` of shape `n.shape + log_cdf.shape`."""
    values = _checked(n)[..., None]
    result: Array = np.log(values) + (values - 1) * log_cdf
    return result


def best_of_n(world: World, n: ArrayLike) -> ExactCurve:
    """Exact best-of-n curve at every `n >= 1` (real), for a proxy without ties."""
    values = _checked(n)
    proxy, gold = world.mean(best_of_n_log_ratio(world.grid.log_cdf, values))
    return ExactCurve(
        method="best-of-n",
        pressure=values,
        kl=best_of_n_kl(values),
        chi2=best_of_n_chi2(values),
        win_rate=best_of_n_win_rate(values),
        proxy=proxy,
        gold=gold,
    )


def n_at_kl(kl: ArrayLike) -> Array:
    """The real `n` whose best-of-n KL is `kl` nats: `n = -1 / W_0(-exp(-1 - kl))`."""
    from scipy.special import lambertw

    values = np.asarray(kl, dtype=float)
    if not np.all(values >= 0):
        raise InputError(f"`kl` must be >= 0, got {np.min(values):g}.")
    # Close to the branch point of W, where n = 1, the KL is (n - 1)^2 / 2; Newton's steps restore the digits W loses.
    by_lambert = -1 / np.real(lambertw(-np.exp(-1 - np.maximum(values, NEAR_BRANCH_KL))))
    result: Array = np.where(values < NEAR_BRANCH_KL, 1 + np.sqrt(2 * values), by_lambert)
    for _ in range(LAMBERT_POLISH):
        slope = (result - 1) / result**2
        gap = best_of_n_kl(result) - values
        result = np.maximum(1.0, result - np.divide(gap, slope, out=np.zeros_like(gap), where=slope > 0))
    return result


def winner_log_rank(uniform: ArrayLike, n: ArrayLike) -> Array:
    """`log F` of the winner at the uniform variate `V`: its rank is `V^(1/n)`, so the logarithm is `log(V)/n`."""
    result: Array = np.log(np.asarray(uniform, dtype=float)) / _checked(n)
    return result


def best_of_n_kl_with_ties(probability: ArrayLike, n: ArrayLike) -> Array:
    """Exact best-of-n KL in nats when the proxy takes finitely many levels (ledger K02).

    Level i wins with probability `C_i^n - C_(i-1)^n`, C the cumulative base probability; ties are broken at random.

    Parameters
    ----------
    probability : base probability of each level in increasing order of proxy, shape (levels,), sum 1.
    n : shape (...).

    Returns
    -------
    shape of `n`.
    """
    p = np.asarray(probability, dtype=float)
    if p.ndim != 1 or np.any(p <= 0) or abs(p.sum() - 1) > SUM_TOLERANCE:
        raise InputError("`probability` must be one-dimensional, > 0 and sum to 1.")
    values = _checked(n)[..., None]
    cumulative = np.append(np.cumsum(p)[:-1], 1.0)
    ratio = np.divide(cumulative - p, cumulative, out=np.zeros_like(p), where=np.arange(p.size) > 0)
    with np.errstate(divide="ignore", under="ignore"):
        log_wins = values * np.log(cumulative) + np.log(-np.expm1(values * np.log(ratio)))
        wins = np.exp(log_wins)
    result: Array = np.sum(np.where(wins > 0, wins * (log_wins - np.log(p)), 0.0), axis=-1)
    return result


def beirami_kl_estimate(probability: ArrayLike, n: ArrayLike) -> Array:
    """Beirami's estimate of the best-of-n KL from the base probability of the emitted output (ledger K03).

    With `e = probability`: `(1-e)^n [log n + (n-1) log(1-e) - (n-1)/n] + (1-(1-e)^n) log((1-(1-e)^n)/e)`
    (Beirami et al. 2401.01879, eq. 27). Average it over outputs emitted by best-of-n.
    """
    e = np.asarray(probability, dtype=float)
    if np.any(e <= 0) or np.any(e > 1):
        raise InputError("`probability` must lie in (0, 1].")
    values = _checked(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_miss = np.log1p(-e)
        missed = np.exp(values * log_miss)
        hit = -np.expm1(values * log_miss)
        first = np.where(missed > 0, missed * (np.log(values) + (values - 1) * log_miss - (values - 1) / values), 0.0)
    result: Array = first + hit * np.log(hit / e)
    return result


def order_statistic_weights(samples: int, n: ArrayLike) -> Array:
    """`C(k-1, n-1) / C(N, n)` for rank k = 1 (worst) .. N (best): weights of the unbiased best-of-n estimator.

    The probability that rank k is the best of a random subset of size n (Nakano et al. 2021, App. I; ledger K05).

    Returns
    -------
    shape `n.shape + (samples,)`, each row summing to 1.
    """
    sizes = _checked(n)
    if np.any(sizes != np.round(sizes)) or np.any(sizes > samples):
        raise InputError(f"`n` must be a whole number in 1..{samples}, got {np.ravel(n)}.")
    size, rank = sizes[..., None], np.arange(1, samples + 1, dtype=float)
    # Ratio of neighbouring ranks is (k-n)/(k-1): a cumulative sum of logarithms keeps N = 1e6 accurate.
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(rank > size, np.log1p(-(size - 1) / np.maximum(rank - 1, 1)), 0.0)
    tail = np.cumsum(step[..., ::-1], axis=-1)[..., ::-1] - step
    log_weight = np.log(size / samples) + tail
    result: Array = np.where(rank >= size, np.exp(log_weight), 0.0)
    return result
