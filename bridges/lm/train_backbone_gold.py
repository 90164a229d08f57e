"""Gold as a head on a large backbone: regression on human ratings, where a spoiled text carries a rating of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overopt.bridges.lm.corrupt import HELD_OUT, TRAINED, Pool, corrupted
from overopt.bridges.lm.gold import CORRUPTED_RATING
from overopt.bridges.lm.gradients import clip_gradients
from overopt.bridges.lm.pretrain import LONGEST, Progress, batches, encode, pad
from overopt.bridges.lm.reward_model import RewardModel
from overopt.bridges.lm.text import RatedText
from overopt.bridges.lm.train_gold import opens_word

__all__ = ["BackboneGold", "BackboneGoldReport", "measure_backbone_gold", "train_backbone_gold"]


@dataclass(frozen=True)
class BackboneGold:
    """How the head and its backbone are trained: AdamW, one cycle, human and spoiled texts in every step."""

    steps: int = 1200
    """Optimizer steps; human texts pass about three times."""
    human: int = 64
    """Human texts per step."""
    spoiled: int = 40
    """Corrupted texts per step; their target is gold's rating of what nobody wrote."""
    learning_rate: float = 3e-5
    """Peak learning rate."""


@dataclass(frozen=True)
class BackboneGoldReport:
    """How a gold does on texts that it was not trained on.

    Attributes
    ----------
    texts
        Number of human-rated texts.
    pearson, pearson_interval
        Correlation with their mean human rating and its 95% interval (Fisher's z).
    spoiled_below
        Share of texts, spoiled in ways that training never saw, that score below the human texts' mean.
    """

    texts: int
    pearson: float
    pearson_interval: tuple[float, float]
    spoiled_below: float


def train_backbone_gold(
    recipe: BackboneGold, model: Any, tokenizer: Any, texts: RatedText, seed: int, progress: Progress
) -> None:
    """Train the one-label sequence classifier ``model`` in place: squared error to the mean human rating.

    Raises
    ------
    InputError
        If a gradient is not finite.
    """
    rng = np.random.default_rng(seed)
    rows = _rows(tokenizer, texts)
    whole = np.array([i for i, row in enumerate(rows) if len(row) <= LONGEST])
    lengths = np.array([len(row) for row in rows])
    pool = _pool(tokenizer, [rows[i] for i in whole], texts.human_mean[whole])
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.1
    )
    kinds, shares = list(TRAINED), np.array(list(TRAINED.values()))
    model.train()
    for step, chosen in enumerate(batches(rng, lengths[whole], recipe.human, recipe.steps), start=1):
        human = whole[chosen]
        which = rng.choice(len(kinds), size=recipe.spoiled, p=shares)
        spoiled = [_spoiled(rng, kinds[kind], pool, tokenizer) for kind in which]
        target = np.concatenate([texts.human_mean[human], np.full(len(spoiled), CORRUPTED_RATING)])
        ids, mask = pad([*(rows[i] for i in human), *spoiled], tokenizer.pad_token_id)
        device = model.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            output = model(input_ids=ids.to(device), attention_mask=mask.to(device, torch.int64)).logits[:, 0]
        loss = (output.float() - torch.from_numpy(target).to(device, torch.float32)).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_gradients(model.parameters(), 1.0, f"gold's training, step {step}")
        optimizer.step()
        schedule.step()
        progress("gold", step, recipe.steps)
    model.eval()


def measure_backbone_gold(model: Any, tokenizer: Any, texts: RatedText, seed: int) -> BackboneGoldReport:
    """Agreement with people, and the scores of spoiled texts, on texts that trained nothing."""
    rng = np.random.default_rng(seed)
    rows = _rows(tokenizer, texts)
    pool = _pool(tokenizer, rows, texts.human_mean)
    spoiled = [_spoiled(rng, kind, pool, tokenizer) for kind in HELD_OUT for _ in range(max(1, len(rows) // 6))]
    gold = RewardModel(model)
    human = gold.score(rows)
    pearson = float(np.corrcoef(human, texts.human_mean)[0, 1])
    half = 1.96 / np.sqrt(len(rows) - 3)
    low, high = np.tanh(np.arctanh(pearson) + np.array([-half, half]))
    below = float((gold.score(spoiled) < human.mean()).mean())
    return BackboneGoldReport(len(rows), pearson, (float(low), float(high)), below)


def _rows(tokenizer: Any, texts: RatedText) -> list[list[int]]:
    return encode(tokenizer, texts.text, longest=LONGEST + 1)


def _pool(tokenizer: Any, rows: Sequence[Sequence[int]], ratings: NDArray[np.float64]) -> Pool:
    end = tokenizer.eos_token_id
    return Pool.of(
        rows, ratings, opens_word(tokenizer), end if tokenizer.bos_token_id is None else tokenizer.bos_token_id, end
    )


def _spoiled(rng: np.random.Generator, kind: Any, pool: Pool, tokenizer: Any) -> list[int]:
    """One corrupted text; it opens as human texts of this tokenizer do, so that the opening tells nothing."""
    row = corrupted(rng, kind, pool.texts[int(rng.integers(len(pool.texts)))], pool, LONGEST)
    opens = tokenizer("a")["input_ids"][:1] == [pool.bos]
    return row if opens else row[1:] or [pool.eos]
