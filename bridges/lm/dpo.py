"""Direct preference optimization on pairs of the initial policy's completions, labelled by the reward.

The loss is Rafailov et al. 2023, equation 7; the reference policy is the initial one, its log probabilities are read
once. Pairs are drawn and labelled before training and are never drawn again (offline). Labels are deterministic, the
higher reward wins, as for reward models here: the loss then has no finite optimum on its pairs, and the KL is decided
by the number of updates, the learning rate and ``beta`` together. With Bradley-Terry labels of a reward r and every
pair seen, the optimum is ``pi0 exp(r / beta) / Z``.

Metrics, one record per update (``step``), on the update's batch before it: ``loss`` (nats), ``accuracy`` (share of
pairs whose chosen completion gained more log probability), ``margin`` (nats, its log-ratio less the rejected one's),
``chosen_logratio`` (nats per sequence: negative once the chosen ones too become less likely than they were).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from overopt.bridges.lm.batching import in_parts
from overopt.bridges.lm.completions import completion_batch, completion_logits, completion_logprob
from overopt.bridges.lm.gradients import clip_gradients
from overopt.bridges.lm.policy import Policy
from overopt.bridges.lm.ppo import Scorer, finite_scores, prompt_order
from overopt.bridges.lm.preferences import label_pairs
from overopt.bridges.lm.sampler import TokenIds
from overopt.theory.errors import InputError

__all__ = ["DPOConfig", "dpo_loss", "train_with_dpo"]

PART = 16
"""Pairs read at once, at most."""


@dataclass(frozen=True)
class DPOConfig:
    """Every number that direct preference optimization uses."""

    steps: int = 64
    """Updates."""
    pairs: int = 1024
    """Labelled pairs drawn from the initial policy."""
    pairs_per_step: int = 32
    """Pairs in an update; drawn without replacement per pass over the pairs."""
    beta: float = 0.05
    """Inverse strength, per nat: the implied reward is beta (log pi - log pi0)."""
    max_new_tokens: int = 28
    """Completions stop at the end token or here."""
    temperature: float = 1.0
    """Sampling temperature; log probabilities and KL refer to the tempered policy."""
    learning_rate: float = 3e-4
    """AdamW learning rate, constant."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this Euclidean norm."""

    def __post_init__(self) -> None:
        for name in ("steps", "pairs", "pairs_per_step", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be >= 1, got {getattr(self, name)}.")
        for name in ("beta", "temperature", "learning_rate", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"`{name}` must be > 0, got {getattr(self, name)}.")
        if self.pairs_per_step > self.pairs:
            raise InputError(f"`pairs_per_step` must be <= pairs = {self.pairs}, got {self.pairs_per_step}.")


def dpo_loss(chosen_logratio: torch.Tensor, rejected_logratio: torch.Tensor, beta: float) -> torch.Tensor:
    """``-log sigmoid(beta (chosen - rejected))`` per pair, from ``log pi - log pi0`` of whole completions, nats."""
    return torch.nn.functional.softplus(-beta * (chosen_logratio - rejected_logratio))


def train_with_dpo(
    seed: int,
    policy: Policy,
    prompts: Sequence[TokenIds],
    reward: Scorer,
    config: DPOConfig,
    on_step: Callable[[int, Any], None],
) -> list[dict[str, float]]:
    """Train ``policy.model`` in place and return one metrics record per update.

    ``on_step`` is called with (step, model) before the first update (step 0) and after every one.

    Raises
    ------
    InputError
        If a score or a gradient is not finite, or the reward hardly ever tells two completions apart.
    """
    rng = np.random.default_rng(seed)
    model = policy.model.eval()
    pairs = label_pairs(
        rng, model, lambda rows, drawn: finite_scores(reward, rows, drawn), prompts, config.pairs,
        max_new_tokens=config.max_new_tokens, eos=policy.eos, pad=policy.pad, temperature=config.temperature,
    )  # fmt: skip
    length = np.array([max(len(a), len(b)) for a, b in zip(pairs.chosen, pairs.rejected, strict=True)])

    def parts(index: Sequence[int], size: int) -> list[list[int]]:
        ordered = sorted(index, key=lambda i: int(length[i]))
        return [ordered[start : start + size] for start in range(0, len(ordered), size)]

    def logprob(index: list[int]) -> torch.Tensor:
        """log pi of the chosen and the rejected completions, (2, pairs)."""
        batch = completion_batch(
            [pairs.prompts[i] for i in index] * 2,
            [pairs.chosen[i] for i in index] + [pairs.rejected[i] for i in index],
            pad=policy.pad,
            device=model.device,
        )
        logits = completion_logits(model, batch, temperature=config.temperature)
        return torch.where(batch.mask, completion_logprob(logits, batch.tokens), 0.0).sum(1).view(2, -1)

    reference = torch.zeros(2, len(pairs), device=model.device)

    @torch.no_grad()
    def read_reference(size: int) -> None:
        for part in parts(range(len(pairs)), size):
            reference[:, part] = logprob(part)

    _, size = in_parts(read_reference, len(pairs), PART, "DPO")
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    order = prompt_order(rng, len(pairs))
    metrics: list[dict[str, float]] = []

    def add_gradient(index: Sequence[int], size: int) -> dict[str, float]:
        optimizer.zero_grad(set_to_none=True)
        loss = accuracy = margin = chosen_logratio = 0.0
        for part in parts(index, size):
            chosen, rejected = logprob(part) - reference[:, part]
            part_loss = dpo_loss(chosen, rejected, config.beta).sum() / config.pairs_per_step
            part_loss.backward()  # type: ignore[no-untyped-call]
            loss += float(part_loss.detach())
            accuracy += float((chosen > rejected).sum()) / config.pairs_per_step
            margin += float((chosen - rejected).detach().sum()) / config.pairs_per_step
            chosen_logratio += float(chosen.detach().sum()) / config.pairs_per_step
        return {"loss": loss, "accuracy": accuracy, "margin": margin, "chosen_logratio": chosen_logratio}

    on_step(0, model)
    for step in range(1, config.steps + 1):
        index = [next(order) for _ in range(config.pairs_per_step)]
        found, size = in_parts(partial(add_gradient, index), len(index), size, "DPO")
        clip_gradients(model.parameters(), config.max_gradient_norm, f"DPO, update {step}")
        optimizer.step()
        metrics.append({"step": step, **found})
        on_step(step, model)
    return metrics
