"""A policy small enough to enumerate, behind the interface of a causal language model."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import torch

EOS, PAD, PROMPT = 0, 5, 4
VOCABULARY, LONGEST = 4, 3


class TabularPolicy(torch.nn.Module):
    """Next-token logits are a table of the last two tokens and the position: every completion has its own path."""

    def __init__(self, seed: int, scale: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.nn.Parameter(scale * torch.randn(6, 6, 8, VOCABULARY, generator=generator))
        self.config = SimpleNamespace(hidden_size=6 * 6 * 8, max_position_embeddings=8)
        self.device = torch.device("cpu")

    def forward(
        self, input_ids, attention_mask=None, position_ids=None, logits_to_keep=0, output_hidden_states=False, **_
    ):
        position = position_ids if position_ids is not None else torch.arange(input_ids.shape[1])[None]
        position = position.expand_as(input_ids).clamp(max=7)
        before = torch.nn.functional.pad(input_ids, (1, 0), value=PAD)[:, :-1]
        logits = self.table[before, input_ids, position][:, -logits_to_keep:]
        never = torch.full((*logits.shape[:2], 2), -60.0)  # the prompt's and the padding token have ids, and no mass
        logits = torch.cat([logits, never], -1)
        hidden = None
        if output_hidden_states:
            one_hot = torch.nn.functional.one_hot((before * 6 + input_ids) * 8 + position, 6 * 6 * 8)
            hidden = (one_hot[:, -logits_to_keep:].to(logits),)
        return SimpleNamespace(logits=logits, hidden_states=hidden)


def all_completions() -> list[list[int]]:
    """Every completion: ends with EOS, or is LONGEST tokens long without one."""
    rows = []
    for length in range(1, LONGEST + 1):
        for body in itertools.product(range(1, VOCABULARY), repeat=length - 1):
            rows.append([*body, EOS])
            if length == LONGEST:
                rows.extend([*body, token] for token in range(1, VOCABULARY))
    return rows


def sequence_logprob(policy: TabularPolicy, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """log pi(completion | prompt), token by token, without any batching."""
    row = [*prompt, *completion]
    total = torch.zeros(())
    for t in range(len(completion)):
        place = len(prompt) - 1 + t
        before = row[place - 1] if place else PAD
        total = total + policy.table[before, row[place], place].log_softmax(-1)[completion[t]]
    return total


def reward_table(completion: list[int]) -> float:
    """An arbitrary reward of whole completions."""
    return float(np.sin(3.0 * sum((i + 1) * token for i, token in enumerate(completion))) + 0.3 * len(completion))
