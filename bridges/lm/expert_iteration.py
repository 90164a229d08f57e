"""Expert iteration: draw, keep the best by reward, imitate them, again.

One update draws ``samples_per_prompt`` completions per prompt from the current policy, keeps the ``keep`` with the
highest reward of each prompt, and takes ``epochs`` passes of maximum likelihood over them (Anthony et al. 2017, with
the reward as the expert; best-of-n distillation of the current policy, the rejection sampling of Touvron et al. 2023).
There is no KL penalty and no mixing with earlier rounds: how far an update moves is decided by the learning rate.

Metrics, one record per update (``step``): ``reward`` (mean over all drawn completions, proxy units), ``kept_reward``
(mean over those imitated), ``loss`` (nats per token of the imitated, first pass), ``length`` (tokens), ``ended`` (share
of completions that drew the end token).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from overopt.bridges.lm.batching import in_parts, rows_at_once
from overopt.bridges.lm.gradients import clip_gradients
from overopt.bridges.lm.policy import Policy
from overopt.bridges.lm.ppo import CPU_PART, GPU_PART, Scorer, finite_scores, prompt_order
from overopt.bridges.lm.sampler import TokenIds, sample_completions
from overopt.bridges.lm.supervised import add_cross_entropy_gradient
from overopt.theory.errors import InputError

__all__ = ["ExpertIterationConfig", "train_with_expert_iteration"]


@dataclass(frozen=True)
class ExpertIterationConfig:
    """Every number that expert iteration uses."""

    steps: int = 24
    """Rounds of drawing, keeping and imitating."""
    prompts_per_step: int = 16
    """Prompts in a round."""
    samples_per_prompt: int = 8
    """Completions drawn per prompt."""
    keep: int = 1
    """Completions per prompt that are imitated: those with the highest reward."""
    epochs: int = 2
    """Gradient steps per round, each on all kept completions."""
    max_new_tokens: int = 28
    """Completions stop at the end token or here."""
    temperature: float = 1.0
    """Sampling temperature; likelihood and KL refer to the tempered policy."""
    learning_rate: float = 1e-3
    """AdamW learning rate, constant."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this Euclidean norm."""

    def __post_init__(self) -> None:
        for name in ("steps", "prompts_per_step", "samples_per_prompt", "keep", "epochs", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be >= 1, got {getattr(self, name)}.")
        for name in ("temperature", "learning_rate", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"`{name}` must be > 0, got {getattr(self, name)}.")
        if self.keep >= self.samples_per_prompt:
            raise InputError(f"`keep` must be < samples_per_prompt = {self.samples_per_prompt}, got {self.keep}.")


def train_with_expert_iteration(
    seed: int,
    policy: Policy,
    prompts: Sequence[TokenIds],
    reward: Scorer,
    config: ExpertIterationConfig,
    on_step: Callable[[int, Any], None],
) -> list[dict[str, float]]:
    """Train ``policy.model`` in place and return one metrics record per update.

    ``on_step`` is called with (step, model) before the first update (step 0) and after every one.

    Raises
    ------
    InputError
        If a score or a gradient is not finite, or there are fewer prompts than a round needs.
    """
    if len(prompts) < config.prompts_per_step:
        raise InputError(
            f"expert iteration needs at least {config.prompts_per_step} training prompts, got {len(prompts)}."
        )
    rng = np.random.default_rng(seed)
    model = policy.model.eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    order = prompt_order(rng, len(prompts))
    metrics: list[dict[str, float]] = []
    part = rows_at_once(model.device, cpu=CPU_PART, gpu=GPU_PART)

    def add_gradient(prompts: Sequence[TokenIds], completions: Sequence[TokenIds], part: int) -> float:
        optimizer.zero_grad(set_to_none=True)
        return add_cross_entropy_gradient(
            model, prompts, completions, pad=policy.pad, temperature=config.temperature, part=part
        )

    on_step(0, model)
    for step in range(1, config.steps + 1):
        chosen = [prompts[next(order)] for _ in range(config.prompts_per_step)]
        rows = [prompt for prompt in chosen for _ in range(config.samples_per_prompt)]
        drawn = sample_completions(
            rng, model, rows,
            max_new_tokens=config.max_new_tokens, eos=policy.eos, pad=policy.pad, temperature=config.temperature,
        ).rows()  # fmt: skip
        score = finite_scores(reward, rows, drawn).reshape(config.prompts_per_step, -1)
        first = np.arange(config.prompts_per_step)[:, None] * config.samples_per_prompt
        best = (first + np.argsort(-score, axis=1, kind="stable")[:, : config.keep]).ravel()
        kept = [rows[i] for i in best], [drawn[i] for i in best]
        losses = []
        for _ in range(config.epochs):
            loss, part = in_parts(partial(add_gradient, *kept), len(best), part, "expert iteration")
            losses.append(loss)
            clip_gradients(model.parameters(), config.max_gradient_norm, f"expert iteration, update {step}")
            optimizer.step()
        metrics.append(
            {
                "step": step,
                "reward": float(score.mean()),
                "kept_reward": float(score.ravel()[best].mean()),
                "loss": losses[0],
                "length": float(np.mean([len(row) for row in drawn])),
                "ended": float(np.mean([row[-1] == policy.eos for row in drawn])),
            }
        )
        on_step(step, model)
    return metrics
