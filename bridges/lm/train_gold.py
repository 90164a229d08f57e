"""Train gold's networks on human ratings and on corrupted texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from overopt.bridges.lm.corrupt import TRAINED, Pool, corrupted
from overopt.bridges.lm.gold import CORRUPTED_RATING, Calibration, TextScorer, nll_per_token, repeats
from overopt.bridges.lm.gradients import clip_gradients
from overopt.bridges.lm.pretrain import LONGEST, Progress, batches, encode, pad
from overopt.bridges.lm.text import RatedText

__all__ = ["GoldTraining", "calibrate", "opens_word", "train_scorer"]


@dataclass(frozen=True)
class GoldTraining:
    """How a learned gold is trained: AdamW, one-cycle, human texts and corrupted ones in every step.

    Attributes
    ----------
    steps
        Optimizer steps.
    human, corrupted
        Texts of each kind per step.
    learning_rate
        Peak of the one-cycle schedule.
    natural_weight
        Weight of the natural-or-corrupted cross-entropy beside the rating's squared error (two-output scorers).
    """

    steps: int = 500
    human: int = 64
    corrupted: int = 40
    learning_rate: float = 8e-4
    natural_weight: float = 2.0


def opens_word(tokenizer: PreTrainedTokenizerFast) -> NDArray[np.bool_]:
    """(V,) True for token ids that open a word."""
    return np.array([token.startswith("Ġ") for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))])


def train_scorer(
    recipe: GoldTraining,
    ancestor: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    texts: RatedText,
    outputs: int,
    seed: int,
    progress: Progress,
    stage: str,
) -> TextScorer:
    """A learned gold that starts from the weights of `ancestor`.

    One output: squared error to the mean human rating, -3 for corrupted texts. Two outputs: squared error of the
    first to the rating of human texts, cross-entropy of the second between human and corrupted texts.
    """
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        scorer = TextScorer(ancestor.config, outputs)
    scorer.trunk.load_state_dict(ancestor.model.state_dict())
    torch.nn.init.zeros_(scorer.head.weight)
    torch.nn.init.zeros_(scorer.head.bias)
    rows = encode(tokenizer, texts.text, longest=LONGEST + 1)
    whole = np.array([i for i, row in enumerate(rows) if len(row) <= LONGEST])
    movie = whole[np.array(texts.dataset)[whole] == "movie"]
    pool = Pool.of(
        [rows[i] for i in whole],
        texts.human_mean[whole],
        opens_word(tokenizer),
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    )
    lengths = np.array([len(row) for row in rows])
    half = recipe.human // 2
    draws = zip(
        batches(rng, lengths[movie], half, recipe.steps, pool=1),
        batches(rng, lengths[whole], recipe.human - half, recipe.steps, pool=1),
        strict=True,
    )
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=recipe.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    for step, (movies, others) in enumerate(draws, start=1):
        human = np.concatenate([movie[movies], whole[others]])
        spoiled = _negatives(rng, pool, recipe.corrupted)
        output = _outputs(scorer, [*(rows[i] for i in human), *spoiled], tokenizer.pad_token_id)
        rating = torch.from_numpy(texts.human_mean[human]).float()
        natural = torch.arange(len(output)) < len(human)
        if outputs == 1:
            target = torch.cat([rating, torch.full((len(spoiled),), CORRUPTED_RATING)])
            loss = torch.nn.functional.mse_loss(output[:, 0], target)
        else:
            loss = torch.nn.functional.mse_loss(output[: len(human), 0], rating)
            loss = loss + recipe.natural_weight * torch.nn.functional.binary_cross_entropy_with_logits(
                output[:, 1], natural.float()
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradients(scorer.parameters(), 1.0, f"{stage}, step {step}")
        optimizer.step()
        schedule.step()
        progress(stage, step, recipe.steps)
    return scorer.eval()


def _outputs(scorer: TextScorer, rows: Sequence[Sequence[int]], padding: int, chunks: int = 4) -> torch.Tensor:
    """(R, outputs) of the scorer, read in chunks of similar length: half the time of one padded batch."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    parts = [scorer(*pad([rows[i] for i in chunk], padding)) for chunk in np.array_split(order, chunks)]
    return torch.cat(parts)[torch.from_numpy(np.argsort(order))]


def _negatives(rng: np.random.Generator, pool: Pool, size: int) -> list[list[int]]:
    kinds = list(TRAINED)
    chosen = rng.choice(len(kinds), size=size, p=list(TRAINED.values()))
    texts = rng.integers(len(pool.texts), size=size)
    return [
        corrupted(rng, kinds[kind], pool.texts[text], pool, LONGEST) for kind, text in zip(chosen, texts, strict=True)
    ]


@torch.inference_mode()
def calibrate(language_model: LlamaForCausalLM, rows: Sequence[Sequence[int]], padding: int) -> Calibration:
    """The band of human texts: `rows` are token ids of texts that `language_model` was not trained on."""
    ids, mask = pad(rows, padding)
    nll = nll_per_token(language_model, ids, mask).numpy()
    repetition = repeats(ids.numpy(), mask.numpy())[:, 0]
    return Calibration(float(nll.mean()), float(nll.std()), float(repetition.mean()), float(repetition.std()))
