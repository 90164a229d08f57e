"""Win rate of best-of-n against one base sample, in gold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from overopt.bridges.best_of_n import best_of_n_means
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.errors import InputError

__all__ = ["gold_win_rate"]

Array = NDArray[np.float64]


def gold_win_rate(bank: ScoreBank, proxy: str, n: Sequence[int]) -> Array:
    """(K, P) probability that best-of-n by ``proxy`` beats an independent base sample in gold; ties count one half.

    The candidates come from one half of a prompt's samples and the opponents from the other, both ways round: an
    opponent that lost the selection would be no independent sample. The mean over prompts is the win rate; with
    ``gold = proxy`` it is ``n / (n + 1)``.

    Raises
    ------
    InputError
        If an n exceeds half of the samples of a prompt.
    """
    half = bank.samples_per_prompt // 2
    if half < 1 or max(n, default=1) > half:
        raise InputError(f"`n` must lie between 1 and half of the {bank.samples_per_prompt} samples, got {list(n)}.")
    position = np.arange(bank.n_rows) - bank.offsets[bank.prompt]
    first = position % 2 == 0
    rates = []
    for candidates in (first, ~first):
        chosen = _rows(bank, candidates)
        rates.append(best_of_n_means(chosen, proxy, _beaten(bank, candidates), n))
    return np.asarray(np.mean(rates, axis=0))


def _rows(bank: ScoreBank, mask: NDArray[np.bool_]) -> ScoreBank:
    return ScoreBank(
        prompt=bank.prompt[mask],
        sample=bank.sample[mask],
        gold=bank.gold[mask],
        proxies={name: values[mask] for name, values in bank.proxies.items()},
        prompts=bank.prompts,
    )


def _beaten(bank: ScoreBank, candidates: NDArray[np.bool_]) -> Array:
    """Share of the other half of the prompt's samples that each candidate beats in gold."""
    shares = []
    for start, stop in zip(bank.offsets[:-1], bank.offsets[1:], strict=True):
        mask, gold = candidates[start:stop], bank.gold[start:stop]
        together, alone = rankdata(gold), rankdata(gold[mask])
        # A rank among all less the rank among the candidates counts the opponents below, ties one half.
        shares.append((together[mask] - alone) / np.count_nonzero(~mask))
    return np.concatenate(shares)
