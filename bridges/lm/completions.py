"""Reading completions with a model: logits at completion positions, and the KL between two policies on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overopt.bridges.kl import KL
from overopt.bridges.lm.batching import in_batches, rows_at_once
from overopt.bridges.lm.sampler import TokenIds, left_pad
from overopt.theory.errors import InputError

__all__ = [
    "CompletionBatch",
    "SequenceKL",
    "completion_batch",
    "completion_logits",
    "completion_logprob",
    "sequence_kl",
]


@dataclass(frozen=True)
class CompletionBatch:
    """Prompts padded on the left, completions on the right: position ``L`` is every row's first completion token.

    ``input_ids``, ``attention_mask`` and ``position_ids`` have shape (R, L + T); ``tokens`` and ``mask`` (R, T).
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    tokens: torch.Tensor
    mask: torch.Tensor


def completion_batch(
    prompts: Sequence[TokenIds], completions: Sequence[TokenIds], *, pad: int, device: torch.device | str = "cpu"
) -> CompletionBatch:
    """Stack R prompts and their R completions; the mask is True on completion tokens and nowhere else."""
    prompt_ids, prompt_mask = left_pad(prompts, pad, device)
    length = max(map(len, completions))
    tokens = np.full((len(completions), length), pad, dtype=np.int64)
    mask = np.zeros((len(completions), length), dtype=np.bool_)
    for i, row in enumerate(completions):
        if len(row) == 0:
            raise InputError(f"every completion must have at least 1 token, row {i} has 0.")
        tokens[i, : len(row)] = row
        mask[i, : len(row)] = True
    token_tensor, mask_tensor = torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device)
    attention = torch.cat([prompt_mask, mask_tensor.to(prompt_mask.dtype)], 1)
    return CompletionBatch(
        input_ids=torch.cat([prompt_ids, token_tensor], 1),
        attention_mask=attention,
        position_ids=(attention.cumsum(1) - 1).clamp(min=0),
        tokens=token_tensor,
        mask=mask_tensor,
    )


def completion_logits(model: Any, batch: CompletionBatch, *, temperature: float = 1.0, hidden: bool = False) -> Any:
    """Logits (R, T, V) that predict the completion tokens, divided by the temperature.

    With ``hidden``, a pair of them and the last hidden states (R, T, D) at the same positions: position t has seen the
    prompt and the completion tokens before t, and nothing of token t.
    """
    length = batch.tokens.shape[1]
    output = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        logits_to_keep=length + 1,
        use_cache=False,
        output_hidden_states=hidden,
    )
    logits = output.logits[:, -length - 1 : -1].float()
    if temperature != 1.0:
        logits = logits / temperature
    if hidden:
        return logits, output.hidden_states[-1][:, -length - 1 : -1].float()
    return logits


def completion_logprob(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Log probability (R, T), in nats, of ``tokens`` (R, T) under ``logits`` (R, T, V)."""
    return logits.gather(-1, tokens[..., None])[..., 0] - logits.logsumexp(-1)


@dataclass(frozen=True)
class SequenceKL:
    """Two estimates of KL(policy || base) per completion drawn from the policy, nats per sequence.

    Attributes
    ----------
    full_vocabulary
        (R,) sum over completion positions of ``sum_v pi(v) log(pi(v) / pi0(v))``: at every visited prefix the whole
        next-token distribution counts, so only the choice of prefixes is left to chance.
    logratio
        (R,) ``log pi(y|x) - log pi0(y|x)`` of the drawn completion (the k1 estimate).
    """

    full_vocabulary: NDArray[np.float64]
    logratio: NDArray[np.float64]

    def mean(self, prompt: NDArray[np.intp], temperature: float = 1.0) -> KL:
        """The full-vocabulary KL averaged over prompts, with its standard error clustered by ``prompt`` (R,)."""
        codes = np.unique(prompt, return_inverse=True)[1]
        counts = np.bincount(codes)
        per_prompt = np.bincount(codes, weights=self.full_vocabulary) / counts
        error = float(per_prompt.std(ddof=1) / np.sqrt(len(counts))) if len(counts) > 1 else None
        return KL(
            value=float(per_prompt.mean()),
            estimator="full-vocabulary",
            temperature=temperature,
            n=len(prompt),
            standard_error=error,
        )


@torch.inference_mode()
def sequence_kl(
    policy: Any,
    base: Any,
    prompts: Sequence[TokenIds],
    completions: Sequence[TokenIds],
    *,
    pad: int,
    temperature: float = 1.0,
    batch_size: int | None = None,
) -> SequenceKL:
    """KL(policy || base) on completions that were drawn from ``policy`` at ``temperature``.

    Only completion tokens count, the end-of-sequence token among them: prompt and padding never enter. The chain rule
    makes the mean of ``full_vocabulary`` an unbiased estimate of the KL between the two sequence distributions.

    ``batch_size`` completions are read at once, by default 128 on a CPU and 512 on a GPU; fewer where its memory does
    not hold them.
    """
    if batch_size is None:
        batch_size = rows_at_once(policy.device, cpu=128, gpu=512)
    order = sorted(range(len(completions)), key=lambda i: (len(prompts[i]), len(completions[i])))
    full = np.empty(len(completions))
    ratio = np.empty(len(completions))

    def read(part: slice) -> None:
        rows = order[part]
        batch = completion_batch(
            [prompts[i] for i in rows], [completions[i] for i in rows], pad=pad, device=policy.device
        )
        logp = completion_logits(policy, batch, temperature=temperature).log_softmax(-1)
        logq = completion_logits(base, batch, temperature=temperature).log_softmax(-1)
        at_position = (logp.exp() * (logp - logq)).sum(-1)
        at_token = (logp - logq).gather(-1, batch.tokens[..., None])[..., 0]
        full[rows] = (at_position * batch.mask).double().sum(1).cpu().numpy()
        ratio[rows] = (at_token * batch.mask).double().sum(1).cpu().numpy()

    in_batches(read, len(order), batch_size, "measuring KL", policy)
    return SequenceKL(full, ratio)
