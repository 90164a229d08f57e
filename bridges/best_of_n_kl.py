"""KL of best-of-n from the base policy when a bank's proxy has ties."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from overopt.theory.best_of_n import best_of_n_kl
from overopt.theory.errors import InputError

__all__ = ["tie_correction", "ties_exact_kl"]

Array = NDArray[np.float64]


def ties_exact_kl(proxy: ArrayLike, n: float) -> float:
    """KL of best-of-n with random tie breaking, for one prompt's (N,) base samples, in nats.

    Every group of tied samples is one outcome, whose probability is its share of the bank; a sample without ties stands
    for a continuous stretch of the proxy's law. Equals ``log n - (n - 1)/n`` when no two samples tie.
    """
    values = np.sort(np.asarray(proxy, dtype=np.float64).ravel())
    if values.size == 0:
        raise InputError("`proxy` must hold at least one sample, got none.")
    stop = np.searchsorted(values, np.unique(values), side="right")
    start = np.concatenate([[0], stop[:-1]])
    tied = stop - start > 1
    correction = _group_correction(start[tied] / values.size, stop[tied] / values.size, float(n)).sum()
    return max(float(best_of_n_kl(n)) + float(correction), 0.0)


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
