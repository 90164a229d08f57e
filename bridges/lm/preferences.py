"""Preference data: pairs of completions of the initial policy, labelled by the gold reward model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from overopt.bridges.lm.ppo import Scorer
from overopt.bridges.lm.reward_model import LabelledPairs
from overopt.bridges.lm.sampler import TokenIds, sample_completions
from overopt.theory.errors import InputError

__all__ = ["label_pairs", "read_pairs", "write_pairs"]


def label_pairs(
    rng: np.random.Generator,
    policy: Any,
    gold: Scorer,
    prompts: Sequence[TokenIds],
    n_pairs: int,
    *,
    max_new_tokens: int,
    eos: int,
    pad: int,
    temperature: float = 1.0,
    on_batch: Callable[[int], None] | None = None,
) -> LabelledPairs:
    """``n_pairs`` comparisons: a random prompt, two completions of ``policy``, the one with the higher gold preferred.

    Labels are deterministic, as in Gao et al. 2022: gold's scale and noise play no part in them. A pair whose two
    completions score exactly alike has no label and is drawn again.

    Raises
    ------
    InputError
        If so few pairs get a label that gold cannot be telling completions apart.
    """
    kept: list[tuple[TokenIds, TokenIds, TokenIds, float]] = []
    drawn_pairs = 0
    while len(kept) < n_pairs:
        if drawn_pairs > 20 * n_pairs:
            raise InputError(f"gold gives equal scores to almost every pair ({drawn_pairs} drawn, {len(kept)} differ).")
        count = n_pairs - len(kept)
        # Sorted by length, rows of a batch need little padding; which pairs are drawn does not depend on it.
        chosen = sorted((prompts[i] for i in rng.integers(len(prompts), size=count)), key=len)
        rows = [prompt for prompt in chosen for _ in range(2)]
        completions = sample_completions(
            rng, policy, rows,
            max_new_tokens=max_new_tokens, eos=eos, pad=pad, temperature=temperature, on_batch=on_batch,
        ).rows()  # fmt: skip
        score = gold(rows, completions).reshape(-1, 2)
        for i, (first, second) in enumerate(score):
            a, b = completions[2 * i], completions[2 * i + 1]
            if first != second:
                winner, loser = (a, b) if first > second else (b, a)
                kept.append((chosen[i], winner, loser, float(abs(first - second))))
        drawn_pairs += count
    order = rng.permutation(len(kept))
    prompt_rows, winners, losers, margins = zip(*(kept[i] for i in order), strict=True)
    return LabelledPairs(prompt_rows, winners, losers, np.array(margins))


def write_pairs(path: Path, pairs: LabelledPairs) -> None:
    """Write the pairs as one Parquet table of token ids and gold margins."""
    ids = pa.list_(pa.int32())
    table = pa.table(
        {
            "prompt": pa.array([list(row) for row in pairs.prompts], ids),
            "chosen": pa.array([list(row) for row in pairs.chosen], ids),
            "rejected": pa.array([list(row) for row in pairs.rejected], ids),
            "gold_margin": pairs.gold_margin,
        }
    )
    pq.write_table(table, path, compression="zstd")


def read_pairs(path: Path) -> LabelledPairs:
    """Read what :func:`write_pairs` wrote."""
    table = pq.read_table(path)
    prompts, chosen, rejected = (table[name].to_pylist() for name in ("prompt", "chosen", "rejected"))
    return LabelledPairs(prompts, chosen, rejected, table["gold_margin"].to_numpy())
