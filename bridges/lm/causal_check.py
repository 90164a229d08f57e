"""Whether a policy is what every KL here takes it for: causal, and blind to padding.

Transformers loads encoders, which read ahead, and some recurrent models, which read padding as text, as causal language
models without a word. In a padded batch their log probabilities are those of no policy at all.
"""

from __future__ import annotations

from typing import Any

import torch

from overopt.bridges.lm.sampler import left_pad
from overopt.theory.errors import InputError

__all__ = ["MAX_ERROR", "check_causal"]

MAX_ERROR = 0.01
"""Nats by which a log probability may change with what must not matter: rounding stays far below it."""

LENGTH, LONGER = 6, 9


@torch.inference_mode()
def check_causal(model: Any, name: str, pad: int) -> None:
    """Read one row of tokens by itself, continued, and padded: its log probabilities must be the same.

    Parameters
    ----------
    model
        A Hugging Face causal language model on the CPU, in evaluation mode, that embeds more than ``LONGER`` tokens.
    name
        What the error calls it.
    pad
        Id of the padding token.

    Raises
    ------
    InputError
        If a log probability changes by more than ``MAX_ERROR`` nats.
    """
    tokens = [token for token in range(LONGER + 1) if token != pad][:LONGER]
    row, device = tokens[:LENGTH], model.device
    ids, mask = left_pad([tokens, row], pad, device)
    position = (mask.cumsum(1) - 1).clamp(min=0)
    alone = _logprob(model, input_ids=torch.tensor([row], device=device))[0]
    continued, padded = _logprob(model, input_ids=ids, attention_mask=mask, position_ids=position)
    ahead = float((continued[:LENGTH] - alone).abs().max())
    if ahead > MAX_ERROR:
        raise InputError(
            f"{name} is no causal language model: its log probabilities change by {ahead:.2g} nats with the tokens "
            "that follow."
        )
    beside = float((padded[-LENGTH:] - alone).abs().max())
    if beside > MAX_ERROR:
        raise InputError(
            f"{name} must skip padding, but its log probabilities change by {beside:.2g} nats when a prompt is padded."
        )


def _logprob(model: Any, **inputs: torch.Tensor) -> torch.Tensor:
    """(R, L, V) log probabilities of the next token."""
    logits: torch.Tensor = model(use_cache=False, **inputs).logits
    return logits.float().log_softmax(-1)
