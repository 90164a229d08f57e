"""Best-of-n without prompts: standard errors when all samples form one pool."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.best_of_n_weights import best_of_n_weights
from overopt.bridges.curve import ClusterValues

__all__ = ["MAX_BLOCKS", "pool_pseudo_values"]

Array = NDArray[np.float64]
MAX_BLOCKS = 4096
"""Pools with more samples than this are grouped into so many blocks, to bound memory."""


def pool_pseudo_values(gold: Array, proxy: Array, n: Sequence[int]) -> ClusterValues:
    """Jackknife pseudo-values ``N theta - (N - 1) theta_(-j)`` of the best-of-n estimate, grouped into blocks.

    For a U-statistic their mean is the estimate itself, so they stand in for prompts: independent clusters whose mean
    is the curve. NaN at n = N, where leaving one sample out leaves too few.
    """
    n_samples = gold.size
    n_blocks = min(n_samples, MAX_BLOCKS)
    order = np.argsort(proxy, kind="stable")
    block = order % n_blocks
    keys = proxy[order]
    _, start, size = np.unique(keys, return_index=True, return_counts=True)
    group = np.repeat(np.arange(size.size), size)
    stop = start + size

    def blocks(excess: Array, centre: float) -> Array:
        sums: Array = np.bincount(block, weights=excess, minlength=n_blocks).astype(np.float64)
        return centre + sums * (n_blocks / n_samples)

    def pseudo_values(values: Array) -> Array:
        totals = np.add.reduceat(values, start)
        mean = totals / size
        rest = np.divide(totals[group] - values, size[group] - 1, out=np.zeros(n_samples), where=size[group] > 1)
        pseudo = np.full((n_blocks, len(n)), np.nan)
        for column, count in enumerate(n):
            if count == n_samples:
                continue
            full = np.concatenate([[0.0], np.cumsum(best_of_n_weights(n_samples, count))])
            less = np.concatenate([[0.0], np.cumsum(best_of_n_weights(n_samples - 1, count)), [1.0]])
            estimate = float(np.sum(mean * (full[stop] - full[start])))
            # Without sample j the groups below it keep their ranks, those above move down by one.
            unmoved = mean * (less[stop] - less[start])
            moved = mean * (less[stop - 1] - less[np.maximum(start - 1, 0)])
            below = np.cumsum(unmoved) - unmoved
            above = np.cumsum(moved[::-1])[::-1] - moved
            own = rest * (less[stop - 1] - less[start])[group]
            left_out = below[group] + own + above[group]
            pseudo[:, column] = blocks((n_samples - 1) * (estimate - left_out), estimate)
        return pseudo

    gold = gold[order]
    return ClusterValues(
        gold=pseudo_values(gold),
        proxy=pseudo_values(keys),
        base_gold=blocks(gold - gold.mean(), float(gold.mean())),
        base_proxy=blocks(keys - keys.mean(), float(keys.mean())),
    )
