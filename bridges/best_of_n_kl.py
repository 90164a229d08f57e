"""KL of best-of-n from the base policy: the bound without ties, and exactly when the proxy has ties."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from overopt.theory.errors import InputError

__all__ = ["beirami_kl_estimate", "best_of_n_kl_bound", "tie_correction", "ties_exact_kl"]

Array = NDArray[np.float64]


def best_of_n_kl_bound(n: float) -> float:
    """``log n - (n - 1)/n`` nats: exact without ties, else an upper bound (Beirami et al. 2024, Theorem 1).

    Raises
    ------
    InputError
        Unless n >= 1.
    """
    if not n >= 1:
        raise InputError(f"`n` must be >= 1, got {n}.")
    return math.log(n) - (n - 1) / n


def beirami_kl_estimate(n: float, top_probability: ArrayLike) -> Array:
    """KL when one outcome of probability ``p`` ties at the top and everything below it is continuous, in nats.

    ``(1-p)^n (log n + (n-1) log(1-p) - (n-1)/n) + (1-(1-p)^n) log((1-(1-p)^n)/p)``: the estimator proposed by Beirami
    et al. 2024 (arXiv 2401.01879), never above :func:`best_of_n_kl_bound`.
    """
    p = np.asarray(top_probability, dtype=np.float64)
    if np.any((p < 0) | (p > 1)):
        raise InputError(f"`top_probability` must lie in [0, 1], got {p}.")
    start, stop = 1.0 - p, np.ones_like(p)
    estimate: Array = best_of_n_kl_bound(n) + _group_correction(start, stop, float(n))
    return estimate


def ties_exact_kl(proxy: ArrayLike, n: float) -> float:
    """KL of best-of-n with random tie breaking, for one prompt's (N,) base samples, in nats.

    Every group of tied samples is one outcome, whose probability is its share of the bank; a sample without ties stands
    for a continuous stretch of the proxy's law. Equals :func:`best_of_n_kl_bound` when no two samples tie.
    """
    values = np.sort(np.asarray(proxy, dtype=np.float64).ravel())
    if values.size == 0:
        raise InputError("`proxy` must hold at least one sample, got none.")
    stop = np.searchsorted(values, np.unique(values), side="right")
    start = np.concatenate([[0], stop[:-1]])
    tied = stop - start > 1
    correction = _group_correction(start[tied] / values.size, stop[tied] / values.size, float(n)).sum()
    return max(best_of_n_kl_bound(n) + float(correction), 0.0)


def tie_correction(
    start: NDArray[np.intp], stop: NDArray[np.intp], shape: tuple[int, int], sizes: Sequence[int]
) -> Array:
    """(B, P) what ties take from the KL of each prompt (rows of a ``shape`` = (B, N) array) at each n; never positive.

    ``start`` and ``stop`` are the flat positions of the groups of tied samples, ordered within each row.
    """
    prompts, samples = shape
    correction = np.zeros((prompts, len(sizes)))
    row = start // samples
    low, high = (start - row * samples) / samples, (stop - row * samples) / samples
    for index, size in enumerate(sizes):
        correction[:, index] = np.bincount(row, weights=_group_correction(low, high, float(size)), minlength=prompts)
    return correction


def _group_correction(low: Array, high: Array, n: float) -> Array:
    """KL of one tied group on the quantiles (low, high] less that of a continuous stretch there.

    The group's mass goes from ``high - low`` to ``G = high^n - low^n``; the continuous density is ``n u^(n-1)``, and
    ``int n u^(n-1) log(n u^(n-1)) du = u^n log n + (n - 1)(u^n log u - u^n / n)``.
    """
    mass = high**n - low**n

    def antiderivative(u: Array) -> Array:
        power = u**n
        value: Array = power * math.log(n) + (n - 1) * (xlogy(power, u) - power / n)
        return value

    # The quotient is 0/0 for a group without mass, where it counts for nothing.
    ratio = np.divide(mass, high - low, out=np.ones_like(mass), where=high > low)
    tied: Array = xlogy(mass, ratio)
    return tied - (antiderivative(high) - antiderivative(low))
