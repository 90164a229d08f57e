"""Best-of-n from a bank of scored base samples: the unbiased curve at any set of n, ties averaged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.bridges.best_of_n_kl import tie_correction
from overopt.bridges.best_of_n_weights import best_of_n_weights, default_grid
from overopt.bridges.curve import ClusterValues, Curve
from overopt.bridges.pool import pool_pseudo_values
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.stored_bank import StoredBank
from overopt.theory.best_of_n import best_of_n_kl
from overopt.theory.errors import InputError

__all__ = [
    "RankedSamples",
    "best_of_n_curve",
    "best_of_n_means",
    "best_of_n_weights",
    "default_grid",
    "rank_samples",
]

Array = NDArray[np.float64]
_SORT_BLOCK = 1 << 19


def best_of_n_curve(bank: ScoreBank | StoredBank, proxy: str, n: Sequence[int] | None = None) -> Curve:
    """Gold and proxy under best-of-n for every n, from all samples of every prompt.

    Parameters
    ----------
    bank
        Base samples, in memory or stored (:class:`StoredBank`, read once by row group).
    proxy
        The proxy that selects.
    n
        Ascending sizes; default: powers of two and the bank size.

    Raises
    ------
    InputError
        If an n exceeds the smallest number of samples of a prompt.
    """
    sizes = _sizes(bank.samples_per_prompt, n)
    gold: list[Array] = []
    proxies: list[Array] = []
    kl: list[Array] = []
    for chunk in bank.chunks():
        values = chunk.proxy(proxy)
        contributions = np.empty((3, chunk.n_prompts, len(sizes)))
        for prompts, ranked in rank_samples(chunk, proxy, {"gold": chunk.gold, "proxy": values}):
            weights = np.stack([best_of_n_weights(ranked.n_samples, size) for size in sizes], axis=1)
            contributions[0, prompts] = ranked.columns["gold"] @ weights
            contributions[1, prompts] = ranked.columns["proxy"] @ weights
            contributions[2, prompts] = tie_correction(ranked.tie_start, ranked.tie_stop, ranked.shape, sizes)
        gold.append(contributions[0])
        proxies.append(contributions[1])
        kl.append(contributions[2])
    analytic = best_of_n_kl(np.array(sizes))
    correction = np.concatenate(kl)
    count = correction.shape[0]
    spread = correction.std(axis=0, ddof=1) / math.sqrt(count) if count > 1 else np.zeros(len(sizes))
    cluster_gold, cluster_proxy = np.concatenate(gold), np.concatenate(proxies)
    curve = Curve.from_clusters(
        ClusterValues(cluster_gold, cluster_proxy, *_base_means(bank, proxy, sizes, cluster_gold, cluster_proxy)),
        method="best-of-n",
        axis="n",
        pressure=np.array(sizes, dtype=np.float64),
        kl=_without_rounding(analytic + correction.mean(axis=0)),
        kl_kind="ties-exact",
        kl_standard_error=spread,
        kl_analytic=analytic,
    )
    if count > 1:
        return curve
    (single,) = bank.chunks()
    pool = pool_pseudo_values(single.gold, single.proxy(proxy), sizes)
    return replace(
        Curve.from_clusters(
            pool,
            method=curve.method,
            axis=curve.axis,
            pressure=curve.pressure,
            kl=curve.kl,
            kl_kind=curve.kl_kind,
            kl_standard_error=curve.kl_standard_error,
            kl_analytic=curve.kl_analytic,
        ),
        gold=curve.gold,
        proxy=curve.proxy,
    )


def best_of_n_means(bank: ScoreBank, proxy: str, column: ArrayLike, n: Sequence[int]) -> Array:
    """(K, P) best-of-n mean of any (R,) column within each prompt, selecting by ``proxy``."""
    values = np.asarray(column, dtype=np.float64)
    sizes = _sizes(bank.samples_per_prompt, n)
    means = np.empty((bank.n_prompts, len(sizes)))
    for prompts, ranked in rank_samples(bank, proxy, {"column": values}):
        weights = np.stack([best_of_n_weights(ranked.n_samples, size) for size in sizes], axis=1)
        means[prompts] = ranked.columns["column"] @ weights
    return means


@dataclass(frozen=True)
class RankedSamples:
    """B prompts with N samples each, every row ordered by proxy, lowest first.

    Attributes
    ----------
    columns
        Name -> (B, N) values in proxy order, averaged within groups of tied proxies.
    tie_start, tie_stop
        (T,) flat positions in the (B, N) arrays where each group of two or more tied proxies starts and stops.
    shape
        ``(B, N)``.
    """

    columns: Mapping[str, Array]
    tie_start: NDArray[np.intp]
    tie_stop: NDArray[np.intp]
    shape: tuple[int, int]

    @property
    def n_samples(self) -> int:
        """Samples per prompt, N."""
        return self.shape[1]


def rank_samples(
    bank: ScoreBank, proxy: str, columns: Mapping[str, Array]
) -> Iterator[tuple[NDArray[np.intp], RankedSamples]]:
    """Yield ``(prompts, ranked)`` blocks of prompts with equally many samples, small enough for the cache."""
    keys = bank.proxy(proxy)
    for count in np.unique(bank.counts):
        chosen = np.flatnonzero(bank.counts == count)
        step = max(1, _SORT_BLOCK // int(count))
        for start in range(0, chosen.size, step):
            prompts = chosen[start : start + step]
            first, last = bank.offsets[prompts[0]], bank.offsets[prompts[-1] + 1]
            if last - first == prompts.size * count:
                rows: slice | NDArray[np.intp] = slice(first, last)
            else:
                rows = (bank.offsets[prompts][:, None] + np.arange(count)).ravel()
            yield prompts, _rank(keys[rows].reshape(-1, count), {k: v[rows] for k, v in columns.items()})


def _rank(keys: Array, columns: Mapping[str, Array]) -> RankedSamples:
    order = np.argsort(keys, axis=1)
    ordered = np.take_along_axis(keys, order, axis=1)
    sorted_columns = {
        name: np.take_along_axis(values.reshape(keys.shape), order, axis=1) for name, values in columns.items()
    }
    tied = np.zeros(keys.size + 1, dtype=np.bool_)
    tied[:-1].reshape(keys.shape)[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    if not tied.any():
        empty = np.empty(0, dtype=np.intp)
        return RankedSamples(sorted_columns, empty, empty, keys.shape)
    edge = np.diff(tied.view(np.int8))
    start, stop = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1) + 1
    size = stop - start
    bounds = np.column_stack([start, stop]).ravel()
    members = np.flatnonzero(tied[:-1] | tied[1:])
    for values in sorted_columns.values():
        flat = values.reshape(-1)
        sums = np.add.reduceat(np.append(flat, 0.0), bounds)[::2]
        flat[members] = np.repeat(sums / size, size)
    return RankedSamples(sorted_columns, start, stop, keys.shape)


def _sizes(largest: int, n: Sequence[int] | None) -> tuple[int, ...]:
    if n is None:
        return default_grid(largest)
    sizes = tuple(int(size) for size in n)
    if not sizes or any(a >= b for a, b in pairwise(sizes)):
        raise InputError(f"`n` must be a non-empty ascending list, got {list(n)}.")
    if sizes[0] < 1 or sizes[-1] > largest:
        raise InputError(f"`n` must lie between 1 and the {largest} samples of the smallest prompt, got {list(n)}.")
    return sizes


def _without_rounding(kl: Array) -> Array:
    """A KL of exactly 0 (a constant proxy) comes out of the subtraction as rounding noise of either sign."""
    return np.where(kl < 1e-12, 0.0, kl)


def _base_means(
    bank: ScoreBank | StoredBank, proxy: str, sizes: tuple[int, ...], gold: Array, proxies: Array
) -> tuple[Array, Array]:
    """(K,) gold and proxy of the base policy: best-of-1."""
    if sizes[0] == 1:
        return gold[:, 0], proxies[:, 0]
    chunks = [(c.prompt_means(c.gold), c.prompt_means(c.proxy(proxy))) for c in bank.chunks()]
    return np.concatenate([a for a, _ in chunks]), np.concatenate([b for _, b in chunks])
