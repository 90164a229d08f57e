"""Maximum likelihood on completions: one gradient step, read in parts of similar length whose gradients add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from overopt.bridges.lm.completions import completion_logits, completion_logprob
from overopt.bridges.lm.ppo import parts_by_length
from overopt.bridges.lm.sampler import TokenIds

__all__ = ["add_cross_entropy_gradient"]


def add_cross_entropy_gradient(
    model: Any,
    prompts: Sequence[TokenIds],
    completions: Sequence[TokenIds],
    *,
    pad: int,
    temperature: float,
    part: int,
    tokens: int | None = None,
) -> float:
    """Add the gradient of ``-sum log pi(completion | prompt) / tokens`` and return that sum, nats per token.

    ``part`` completions are read at once. ``tokens`` defaults to the number of completion tokens, the end token among
    them; prompts are not learned.
    """
    lengths = np.array([len(row) for row in completions])
    count = int(lengths.sum()) if tokens is None else tokens
    total = 0.0
    for read, _ in parts_by_length(np.arange(len(lengths)), prompts, completions, lengths, pad, model.device, part):
        logprob = completion_logprob(completion_logits(model, read, temperature=temperature), read.tokens)
        loss = -torch.where(read.mask, logprob, 0.0).sum() / count
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total
