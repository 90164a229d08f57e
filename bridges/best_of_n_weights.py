"""Which rank wins best-of-n: the weights of the unbiased U-statistic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError

__all__ = ["best_of_n_weights", "default_grid"]


def best_of_n_weights(n_samples: int, n: int) -> NDArray[np.float64]:
    """(N,) probability that each rank wins best-of-n, lowest proxy first: ``C(i-1, n-1) / C(N, n)`` for rank i.

    The U-statistic over all subsets of size n, unbiased where the plug-in (n draws with replacement) is biased low near
    n = N. Computed by ``w_N = n / N``, ``w_i = w_(i+1) (i + 1 - n) / i``: no binomial coefficient is formed.

    Raises
    ------
    InputError
        Unless 1 <= n <= n_samples.
    """
    if not 1 <= n <= n_samples:
        raise InputError(f"`n` must lie between 1 and the {n_samples} samples of a prompt, got {n}.")
    rank = np.arange(n_samples - 1, 0, -1, dtype=np.float64)
    descending = np.empty(n_samples)
    descending[0] = n / n_samples
    np.divide(np.maximum(rank + 1 - n, 0.0), rank, out=descending[1:])
    return np.asarray(np.cumprod(descending)[::-1], dtype=np.float64)


def default_grid(n_samples: int) -> tuple[int, ...]:
    """Powers of two up to the bank size, and the bank size."""
    powers = [1 << k for k in range(n_samples.bit_length())]
    return tuple(powers) if powers[-1] == n_samples else (*powers, n_samples)
