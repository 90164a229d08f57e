"""A score bank as rectangles: prompts with equally many samples, centred within the prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.score_bank import ScoreBank

__all__ = ["MIN_LEVELS", "Block", "centred_blocks", "first_of_each", "is_coarse", "levels", "scatter"]


@dataclass(frozen=True)
class Block:
    """Prompts that have the same number of samples.

    Attributes
    ----------
    prompts
        (B,) indices into the bank's prompts.
    gold, proxy
        (B, N) rewards minus the prompt's mean, in their own units.
    gold_mean, proxy_mean
        (B,) the means that were taken off.
    """

    prompts: NDArray[np.intp]
    gold: NDArray[np.float64]
    proxy: NDArray[np.float64]
    gold_mean: NDArray[np.float64]
    proxy_mean: NDArray[np.float64]


def centred_blocks(bank: ScoreBank, proxy: str) -> list[Block]:
    """The bank's prompts grouped by their number of samples, so that each group is one (prompts, samples) array."""
    counts = np.diff(bank.offsets)
    values = bank.proxies[proxy]
    blocks = []
    for count in np.unique(counts):
        prompts = np.flatnonzero(counts == count)
        if prompts.size == counts.size:
            gold_rows, proxy_rows = bank.gold.reshape(-1, count), values.reshape(-1, count)
        else:
            rows = bank.offsets[prompts][:, None] + np.arange(count)
            gold_rows, proxy_rows = bank.gold[rows], values[rows]
        gold_mean, proxy_mean = gold_rows.mean(axis=1), proxy_rows.mean(axis=1)
        gold, centred_proxy = gold_rows - gold_mean[:, None], proxy_rows - proxy_mean[:, None]
        # A constant row must be exactly 0, not rounding noise around its mean.
        gold[np.ptp(gold_rows, axis=1) == 0.0] = 0.0
        centred_proxy[np.ptp(proxy_rows, axis=1) == 0.0] = 0.0
        blocks.append(Block(prompts, gold, centred_proxy, gold_mean, proxy_mean))
    return blocks


MIN_LEVELS = 5
"""A proxy with fewer within a prompt (median) has no error that could be told from its rounding."""
COARSE = 0.01
MOSTLY_REPEATED = 0.5


def is_coarse(rows: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> bool:
    """Whether more than 1% of the records share their proxy with another one of their prompt; ``rows`` (gold, proxy).

    A coarse proxy (a judge's grades) is ordinal: rounding alone makes its error depend on gold, and on its own scale
    the null misses by .002 to .008 SD, several standard errors at n = 2. Its within-prompt normal scores are used
    instead.

    A text that a policy draws twice ties too, in gold as well: such records count once, unless they are most of the
    bank. (4% of repeats taken for a judge's ties gave independent noise an extremal term of -.03 SD at n = 256.)
    """
    tied = sum(int((np.diff(np.sort(proxy, axis=1), axis=1) == 0.0).sum()) for _, proxy in rows)
    records = sum(proxy.size for _, proxy in rows)
    if tied <= COARSE * records:
        return False
    distinct = [first_of_each(gold, proxy) for gold, proxy in rows]
    texts = sum(int(first.sum()) for first in distinct)
    if texts < MOSTLY_REPEATED * records:
        return True
    return tied - (records - texts) > COARSE * texts


def levels(rows: NDArray[np.float64]) -> NDArray[np.intp]:
    """(B,) number of different values in each row of (B, N)."""
    return np.asarray(1 + np.count_nonzero(np.diff(np.sort(rows, axis=1), axis=1) > 0, axis=1))


def first_of_each(gold: NDArray[np.float64], proxy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(B, N) True at the first record of every distinct (gold, proxy) of a row."""
    order = np.lexsort((gold, proxy), axis=1)
    same = np.ones(gold.shape, dtype=bool)
    for values in (gold, proxy):
        in_order = np.take_along_axis(values, order, axis=1)
        same[:, 1:] &= in_order[:, 1:] == in_order[:, :-1]
    same[:, 0] = False
    first = np.empty_like(same)
    np.put_along_axis(first, order, ~same, axis=1)
    return first


def scatter(blocks: list[Block], parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Per-block rows put back into the bank's order of prompts: (K, ...)."""
    n_prompts = sum(block.prompts.size for block in blocks)
    whole = np.empty((n_prompts, *parts[0].shape[1:]))
    for block, part in zip(blocks, parts, strict=True):
        whole[block.prompts] = part
    return whole
