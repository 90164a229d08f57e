"""Reward-conditioned generation: learn pi(y | x, reward bin), then ask for the best bin.

Every completion that the policy has drawn is labelled with the quantile bin of its reward among all drawn so far, and
the policy is trained by maximum likelihood on completions given their bin; it draws its next ones from the best bin.
That is the quantized reward conditioning of Lu et al. 2022 (Quark), without its KL penalty and entropy bonus.

A bin is a learned vector that is added to every input embedding. It starts at zero: before the first update the
policy conditioned on any bin *is* the base policy, no token is added to any text, and the KL of the policy conditioned
on the best bin is that of two policies over the same tokens. With one round and bins per prompt the optimum would be
the quantilizer, whose KL is at most ``log(bins)``; further rounds go further.

Metrics, one record per update (``step``): ``reward`` (mean over the round's completions, drawn from the best bin, proxy
units), ``best_bin_reward`` (mean over all completions in the best bin), ``loss`` (nats per token, last gradient step),
``length`` (tokens), ``ended`` (share of completions that drew the end token).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

from overopt.bridges.lm.batching import in_parts, rows_at_once
from overopt.bridges.lm.gradients import clip_gradients
from overopt.bridges.lm.policy import Policy
from overopt.bridges.lm.ppo import CPU_PART, GPU_PART, Scorer, finite_scores, prompt_order
from overopt.bridges.lm.sampler import TokenIds, sample_completions
from overopt.bridges.lm.supervised import add_cross_entropy_gradient
from overopt.theory.errors import InputError

__all__ = ["ConditionedPolicy", "RewardConditionedConfig", "quantile_bins", "train_reward_conditioned"]


@dataclass(frozen=True)
class RewardConditionedConfig:
    """Every number of reward-conditioned training."""

    steps: int = 24
    """Rounds of drawing, labelling and learning."""
    prompts_per_step: int = 16
    """Prompts in a round."""
    samples_per_prompt: int = 8
    """Completions drawn per prompt and round, from the best bin."""
    bins: int = 5
    """Reward bins of equal size."""
    gradient_steps: int = 2
    """Gradient steps per round."""
    batch_size: int = 64
    """Completions per gradient step, drawn from all rounds so far."""
    max_new_tokens: int = 28
    """Completions stop at the end token or here."""
    temperature: float = 1.0
    """Sampling temperature; likelihood and KL refer to the tempered policy."""
    learning_rate: float = 1e-3
    """AdamW learning rate of the policy, constant."""
    bin_learning_rate: float = 1e-2
    """AdamW learning rate of the bins' vectors, constant."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this Euclidean norm."""

    def __post_init__(self) -> None:
        counts = ("steps", "prompts_per_step", "samples_per_prompt", "gradient_steps", "batch_size", "max_new_tokens")
        for name in counts:
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be >= 1, got {getattr(self, name)}.")
        if self.bins < 2:
            raise InputError(f"`bins` must be >= 2, got {self.bins}.")
        for name in ("temperature", "learning_rate", "bin_learning_rate", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"`{name}` must be > 0, got {getattr(self, name)}.")


class ConditionedPolicy(nn.Module):
    """A causal language model given a reward bin, behind the interface of one that is given nothing.

    ``bin`` is the bin that it is conditioned on, the best one unless changed.
    """

    def __init__(self, model: Any, bins: int) -> None:
        super().__init__()
        embedding = model.get_input_embeddings().weight
        self.model = model
        self.config = model.config
        self.vectors = nn.Parameter(torch.zeros(bins, embedding.shape[1], device=embedding.device))
        self.bin = bins - 1

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.vectors.device

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """The model's, where it has one."""
        return getattr(self.model, "autocast_dtype", None)

    def forward(self, input_ids: torch.Tensor, **arguments: Any) -> Any:
        """The model's output, each input embedding moved by the bin's vector."""
        embedded = self.model.get_input_embeddings()(input_ids)
        return self.model(inputs_embeds=embedded + self.vectors[self.bin].to(embedded.dtype), **arguments)


def quantile_bins(score: NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    """The bin 0, ..., ``bins - 1`` of every score (R,), by rank, ties in one bin."""
    share = (rankdata(score) - 0.5) / len(score)
    return np.asarray(np.floor(share * bins), dtype=np.intp)


def train_reward_conditioned(
    seed: int,
    policy: Policy,
    prompts: Sequence[TokenIds],
    reward: Scorer,
    config: RewardConditionedConfig,
    on_step: Callable[[int, Any], None],
) -> list[dict[str, float]]:
    """Train ``policy.model`` in place, with vectors for its bins, and return one metrics record per update.

    ``on_step`` is called with (step, policy conditioned on the best bin) before the first update (step 0) and after
    every one; that policy, not ``policy.model`` alone, is what was optimized.

    Raises
    ------
    InputError
        If a score or a gradient is not finite, or there are fewer prompts than a round needs.
    """
    if len(prompts) < config.prompts_per_step:
        raise InputError(
            f"reward conditioning needs at least {config.prompts_per_step} training prompts, got {len(prompts)}."
        )
    rng = np.random.default_rng(seed)
    conditioned = ConditionedPolicy(policy.model, config.bins).eval()
    best = config.bins - 1
    optimizer = torch.optim.AdamW(
        [
            {"params": list(policy.model.parameters()), "lr": config.learning_rate},
            {"params": [conditioned.vectors], "lr": config.bin_learning_rate},
        ],
        weight_decay=0.0,
    )
    order = prompt_order(rng, len(prompts))
    rows: list[TokenIds] = []
    completions: list[list[int]] = []
    score = np.zeros(0)
    metrics: list[dict[str, float]] = []
    part = rows_at_once(conditioned.device, cpu=CPU_PART, gpu=GPU_PART)

    def add_gradient(texts: Sequence[tuple[int, list[TokenIds], list[list[int]]]], part: int) -> float:
        """Of the prompts and completions of every bin."""
        optimizer.zero_grad(set_to_none=True)
        tokens = sum(len(row) for _, _, written in texts for row in written)
        loss = 0.0
        for conditioned_on, given, written in texts:
            conditioned.bin = conditioned_on
            loss += add_cross_entropy_gradient(
                conditioned, given, written, pad=policy.pad, temperature=config.temperature, part=part, tokens=tokens
            )
        return loss

    on_step(0, conditioned)
    for step in range(1, config.steps + 1):
        chosen = [prompts[next(order)] for _ in range(config.prompts_per_step)]
        fresh = [prompt for prompt in chosen for _ in range(config.samples_per_prompt)]
        drawn = sample_completions(
            rng, conditioned, fresh,
            max_new_tokens=config.max_new_tokens, eos=policy.eos, pad=policy.pad, temperature=config.temperature,
        ).rows()  # fmt: skip
        fresh_score = finite_scores(reward, fresh, drawn)
        rows, completions, score = [*rows, *fresh], [*completions, *drawn], np.append(score, fresh_score)
        bins = quantile_bins(score, config.bins)
        loss = 0.0
        for _ in range(config.gradient_steps):
            batch = rng.choice(len(rows), size=min(config.batch_size, len(rows)), replace=False)
            mine = [(int(given), batch[bins[batch] == given]) for given in np.unique(bins[batch])]
            texts = [(given, [rows[i] for i in index], [completions[i] for i in index]) for given, index in mine]
            loss, part = in_parts(partial(add_gradient, texts), len(batch), part, "reward conditioning")
            conditioned.bin = best
            what = f"reward conditioning, update {step}"
            clip_gradients(conditioned.parameters(), config.max_gradient_norm, what)
            optimizer.step()
        metrics.append(
            {
                "step": step,
                "reward": float(fresh_score.mean()),
                "best_bin_reward": float(score[bins == bins.max()].mean()),
                "loss": loss,
                "length": float(np.mean([len(row) for row in drawn])),
                "ended": float(np.mean([row[-1] == policy.eos for row in drawn])),
            }
        )
        on_step(step, conditioned)
    return metrics
