"""Sampling completions from a causal language model: fast, and the same whatever the batch they were drawn in.

Three things make it several times faster than ``model.generate`` on small models: one forward pass per token with a
key-value cache and nothing else (no logits processors), rows that ended leave the batch, and each token is drawn by
inverting the cumulative distribution at a uniform number that was drawn beforehand. The last also makes a sample a
function of its own row of random numbers, not of its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overopt.theory.errors import InputError

__all__ = ["Completions", "left_pad", "sample_completions"]

TokenIds = Sequence[int]


@dataclass(frozen=True)
class Completions:
    """Completions of R prompts.

    Attributes
    ----------
    tokens
        (R, T) token ids, the end-of-sequence token included, padded on the right.
    mask
        (R, T) True on completion tokens, False on padding.
    logprob
        (R, T) log probability (nats) of each token under the policy that drew it, at the sampling temperature.
    """

    tokens: NDArray[np.int32]
    mask: NDArray[np.bool_]
    logprob: NDArray[np.float32]

    def rows(self) -> list[list[int]]:
        """The completions as lists of token ids without padding."""
        lengths = self.mask.sum(axis=1)
        return [row[:length].tolist() for row, length in zip(self.tokens, lengths, strict=True)]


def left_pad(
    rows: Sequence[TokenIds], pad: int, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (R, L) padded on the left, and the attention mask (R, L) that is 1 on real tokens."""
    width = max(map(len, rows))
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        if len(row) == 0:
            raise InputError(f"every prompt must have at least 1 token, row {i} has 0.")
        ids[i, width - len(row) :] = row
        mask[i, width - len(row) :] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


@torch.inference_mode()
def sample_completions(
    rng: np.random.Generator,
    model: Any,
    prompts: Sequence[TokenIds],
    *,
    max_new_tokens: int,
    eos: int,
    pad: int,
    temperature: float = 1.0,
    batch_size: int = 512,
    on_batch: Callable[[int], None] | None = None,
) -> Completions:
    """Draw one completion for every row of ``prompts`` (repeat a prompt to get several).

    Parameters
    ----------
    rng
        One uniform number per row and position is drawn from it, in row order, before anything else.
    model
        A Hugging Face causal language model (anything called with ``input_ids``, ``attention_mask``, ``position_ids``,
        ``past_key_values`` that returns ``logits``; without a returned cache the whole prefix is read again).
    prompts
        R rows of token ids. Rows of equal length sit in one batch without padding; sort by length for speed.
    temperature
        Logits are divided by it; log probabilities and every KL then refer to that tempered policy.

    Raises
    ------
    InputError
        If an argument is out of range or a prompt plus ``max_new_tokens`` does not fit the model's context.
    """
    if max_new_tokens < 1:
        raise InputError(f"`max_new_tokens` must be >= 1, got {max_new_tokens}.")
    if not temperature > 0:
        raise InputError(f"`temperature` must be > 0, got {temperature}.")
    longest = max(map(len, prompts), default=0)
    context = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if context is not None and longest + max_new_tokens > context:
        raise InputError(
            f"{longest} prompt tokens and {max_new_tokens} new ones exceed the model's context of {context} tokens."
        )
    uniform = rng.random((len(prompts), max_new_tokens), dtype=np.float64)
    tokens = np.full((len(prompts), max_new_tokens), pad, dtype=np.int32)
    logprob = np.zeros((len(prompts), max_new_tokens), dtype=np.float32)
    mask = np.zeros((len(prompts), max_new_tokens), dtype=np.bool_)
    for start in range(0, len(prompts), batch_size):
        rows = slice(start, min(start + batch_size, len(prompts)))
        _sample_batch(
            model, prompts[rows], uniform[rows], tokens[rows], logprob[rows], mask[rows],
            eos=eos, pad=pad, temperature=temperature,
        )  # fmt: skip
        if on_batch is not None:
            on_batch(rows.stop - rows.start)
    return Completions(tokens, mask, logprob)


def _sample_batch(
    model: Any,
    prompts: Sequence[TokenIds],
    uniform: NDArray[np.float64],
    tokens: NDArray[np.int32],
    logprob: NDArray[np.float32],
    mask: NDArray[np.bool_],
    *,
    eos: int,
    pad: int,
    temperature: float,
) -> None:
    """Fill the rows of ``tokens``, ``logprob`` and ``mask`` in place."""
    device = getattr(model, "device", torch.device("cpu"))
    ids, attention = left_pad(prompts, pad, device)
    padded = bool((attention == 0).any())
    position = attention.cumsum(1) - 1
    draws = torch.from_numpy(uniform).to(device, torch.float32)
    alive = torch.arange(len(prompts), device=device)
    drawn = torch.full(tokens.shape, pad, dtype=torch.int64, device=device)
    drawn_logprob = torch.zeros(tokens.shape, dtype=torch.float32, device=device)
    step_ids, step_position, cache = ids, position.clamp(min=0), None
    for t in range(tokens.shape[1]):
        output = model(
            input_ids=step_ids,
            # Without padding the model takes its causal fast path.
            attention_mask=attention if padded else None,
            position_ids=step_position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1].float()
        if temperature != 1.0:
            logits = logits / temperature
        weight = logits.sub_(logits.amax(-1, keepdim=True)).exp_()
        token, probability = _invert_cumulative(weight, draws[alive, t, None])
        drawn[alive, t] = token[:, 0]
        drawn_logprob[alive, t] = probability.log()[:, 0]
        going = token[:, 0] != eos
        if t + 1 == tokens.shape[1] or not bool(going.any()):
            mask[alive.cpu().numpy(), t] = True
            break
        mask[alive.cpu().numpy(), t] = True
        cache = output.past_key_values if getattr(output, "past_key_values", None) is not None else None
        if not bool(going.all()):
            keep = going.nonzero()[:, 0]
            alive, token, attention, position, ids = (
                alive[keep],
                token[keep],
                attention[keep],
                position[keep],
                ids[keep],
            )
            if cache is not None:
                cache.batch_select_indices(keep)
        attention = torch.cat([attention, attention.new_ones(len(alive), 1)], 1)
        position = torch.cat([position, position[:, -1:] + 1], 1)
        if cache is not None:
            step_ids, step_position = token, position[:, -1:]
        else:
            ids = torch.cat([ids, token], 1)
            step_ids, step_position = ids, position.clamp(min=0)
    tokens[:] = drawn.cpu().numpy()
    logprob[:] = drawn_logprob.cpu().numpy()


def _invert_cumulative(weight: torch.Tensor, uniform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest index whose cumulative share of ``weight`` (R, V) exceeds ``uniform`` (R, 1), and its probability.

    A running sum over the whole vocabulary costs as much as the model's head; a sum per block of 64, a running sum
    over blocks and one inside the chosen block give the same index at a tenth of that.
    """
    block = 64
    rows, vocabulary = weight.shape
    if vocabulary % block:
        weight = torch.nn.functional.pad(weight, (0, block - vocabulary % block))
    blocks = weight.view(rows, -1, block)
    reached = blocks.sum(-1).cumsum(-1)
    total = reached[:, -1:]
    target = uniform * total
    # A draw that rounds up to the total would fall off the end.
    chosen = torch.searchsorted(reached, target, right=True).clamp_(max=reached.shape[1] - 1)
    before = torch.where(chosen > 0, reached.gather(1, (chosen - 1).clamp(min=0)), torch.zeros_like(total))
    inside = blocks[torch.arange(rows, device=weight.device), chosen[:, 0]]
    within = torch.searchsorted(inside.cumsum(-1), target - before, right=True)
    # The block's own running sum may round to just below the target: take the last token that has any weight.
    last = (block - 1 - (inside > 0).flip(-1).to(torch.uint8).argmax(-1, keepdim=True)).to(within.dtype)
    token = chosen * block + torch.minimum(within, last)
    return token, weight.gather(1, token) / total
