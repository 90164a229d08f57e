"""A bank of any size -> one in memory, of bounded size: whole prompts at random, or some samples of every prompt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.stored_bank import StoredBank

__all__ = ["KEPT_PROMPTS", "some_prompts", "some_samples"]

KEPT_PROMPTS = 64
"""Prompts are the units of every interval: rather than keep fewer than so many, their samples are thinned."""


def some_prompts(bank: ScoreBank | StoredBank, rows: int, rng: np.random.Generator) -> tuple[ScoreBank, str]:
    """About ``rows`` rows at most, in whole prompts where they are many, and what was left out ("" for nothing).

    Prompts that are too large for that, a single pool above all, keep the same number of samples each.
    """
    if bank.n_rows <= rows:
        return _joined(bank, list(bank.chunks())), ""
    keep = min(bank.n_prompts, max(KEPT_PROMPTS, int(bank.n_prompts * rows / bank.n_rows)))
    chosen = bank.take(np.sort(rng.choice(bank.n_prompts, size=keep, replace=False)))
    prompts = f"{keep:,} of {bank.n_prompts:,} prompts, drawn at random"
    if chosen.n_rows <= rows:
        return _joined(bank, list(chosen.chunks())), prompts
    thinned, samples = some_samples(chosen, rows, rng)
    return thinned, samples if keep == bank.n_prompts else f"{prompts}, and {samples}"


def some_samples(bank: ScoreBank | StoredBank, rows: int, rng: np.random.Generator) -> tuple[ScoreBank, str]:
    """Every prompt with the same number of samples at most, about ``rows`` rows in all, and what was left out."""
    most = max(2, rows // bank.n_prompts)
    thinned = _joined(bank, [_thin(chunk, most, rng) for chunk in bank.chunks()])
    left_out = f"at most {most:,} samples of a prompt, drawn at random" if thinned.n_rows < bank.n_rows else ""
    return thinned, left_out


def _joined(bank: ScoreBank | StoredBank, parts: list[ScoreBank]) -> ScoreBank:
    """The parts as one bank; those of a file are put in order of their names, as the reader orders checkpoints."""
    joined = ScoreBank.concatenate(parts)
    if isinstance(bank, ScoreBank):
        return joined
    order = np.argsort(np.array(joined.prompts, dtype=np.object_))
    return ScoreBank.from_codes(
        codes=np.argsort(order)[joined.prompt],
        prompts=tuple(joined.prompts[place] for place in order),
        gold=joined.gold,
        proxies=joined.proxies,
        sample=joined.sample,
        length=joined.length,
    )


def _thin(bank: ScoreBank, most: int, rng: np.random.Generator) -> ScoreBank:
    rows: list[NDArray[np.intp]] = []
    for start, count in zip(bank.offsets[:-1].tolist(), bank.counts.tolist(), strict=True):
        if count <= most:
            rows.append(np.arange(start, start + count))
        else:
            rows.append(start + np.sort(rng.choice(count, size=most, replace=False, shuffle=False)))
    return bank.rows(np.concatenate(rows))
