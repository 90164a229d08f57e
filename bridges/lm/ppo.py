"""Proximal policy optimization of a causal language model against any reward, with an honest KL beside it.

One update: draw completions for a batch of prompts, score each whole completion, put the score on its last token, and
take ``epochs`` passes of clipped policy gradient over minibatches with advantages from generalized advantage
estimation (Schulman et al. 2017, equations 7, 9, 11 and 12; GAE with discount 1).

Where this differs from the reference set-up of Gao, Schulman and Hilton 2022, appendix C:

- the value function is a linear head on the policy's last hidden state, started at zero, instead of a second network;
- prompts are drawn without replacement per pass over the training prompts;
- the KL penalty is off by default (as in all their experiments but section 3.6) and, where on, is the sequence's
  ``-coefficient * (log pi - log pi0)`` spread over its tokens.

Metrics, one record per update (``step``): ``reward`` (mean score, proxy units), ``logratio`` (mean log pi - log pi0 of
the drawn completions, nats per sequence: the k1 estimate on training prompts), ``length`` (tokens), ``ended`` (share
of completions that drew the end token), ``clip_fraction`` (share of tokens outside the clip range, all epochs),
``approx_kl`` (nats per token, mean of ``r - 1 - log r`` from the rollout policy to the current one, last epoch),
``value_loss``, ``explained_variance`` (of the returns by the value head, before the update), ``entropy`` (nats per
token, of the rollout policy), ``gradient_norm`` (before clipping, mean over minibatches).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from overopt.bridges.lm.batching import in_parts, rows_at_once
from overopt.bridges.lm.completions import CompletionBatch, completion_batch, completion_logits, completion_logprob
from overopt.bridges.lm.gradients import clip_gradients
from overopt.bridges.lm.sampler import TokenIds, sample_completions
from overopt.theory.errors import InputError

__all__ = [
    "CPU_PART",
    "GPU_PART",
    "PPOConfig",
    "Scorer",
    "advantages_and_returns",
    "clipped_surrogate",
    "finite_scores",
    "parts_by_length",
    "ppo",
    "prompt_order",
]


CPU_PART, GPU_PART = 32, 128
"""Completions of similar length that are read at once."""


class Scorer(Protocol):
    """A reward: scores of R completions, given their prompts, both as rows of token ids without padding."""

    def __call__(
        self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds], /
    ) -> NDArray[np.float64]: ...  # fmt: skip


@dataclass(frozen=True)
class PPOConfig:
    """Every number that PPO uses."""

    steps: int = 44
    """Updates; each draws a fresh batch of completions."""
    prompts_per_step: int = 16
    """Prompts in a batch."""
    samples_per_prompt: int = 8
    """Completions per prompt in a batch."""
    max_new_tokens: int = 28
    """Completions stop at the end token or here."""
    temperature: float = 1.0
    """Sampling temperature; log probabilities and KL refer to the tempered policy."""
    learning_rate: float = 3e-4
    """AdamW learning rate, constant after `warmup_steps`."""
    value_learning_rate: float = 3e-3
    """Learning rate of the value head."""
    warmup_steps: int = 3
    """Updates over which the learning rate rises linearly."""
    epochs: int = 2
    """Passes over each batch."""
    minibatches: int = 2
    """Gradient steps per pass."""
    clip: float = 0.2
    """The probability ratio is clipped to [1 - clip, 1 + clip]; 0 turns clipping off."""
    gae_lambda: float = 0.95
    """Lambda of generalized advantage estimation (discount 1)."""
    value_coefficient: float = 0.1
    """Weight of the value loss, half the squared error."""
    kl_coefficient: float = 0.0
    """Weight of log pi - log pi0 inside the reward (proxy units per nat)."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this Euclidean norm."""

    def __post_init__(self) -> None:
        for name in ("steps", "prompts_per_step", "samples_per_prompt", "max_new_tokens", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be >= 1, got {getattr(self, name)}.")
        for name in ("temperature", "learning_rate", "value_learning_rate", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"`{name}` must be > 0, got {getattr(self, name)}.")
        for name in ("clip", "value_coefficient", "kl_coefficient", "warmup_steps"):
            if not getattr(self, name) >= 0:
                raise InputError(f"`{name}` must be >= 0, got {getattr(self, name)}.")
        if not 0 <= self.gae_lambda <= 1:
            raise InputError(f"`gae_lambda` must be in [0, 1], got {self.gae_lambda}.")
        if self.prompts_per_step * self.samples_per_prompt < 2:
            raise InputError("a batch must hold at least 2 completions, got 1.")


def advantages_and_returns(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gae_lambda: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalized advantage estimates and the value targets, both (R, T), with discount 1.

    ``delta_t = r_t + V_(t+1) - V_t`` and ``A_t = delta_t + lambda A_(t+1)`` (Schulman et al. 2016, equation 16), where
    the value after the last token of a completion is 0; targets are ``A + V``. ``mask`` is (R, T), True on tokens.
    """
    advantages = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[:, 0])
    following = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + following - values[:, t]
        running = torch.where(mask[:, t], delta + gae_lambda * running, 0.0)
        following = torch.where(mask[:, t], values[:, t], 0.0)
        advantages[:, t] = running
    return advantages, (advantages + values) * mask


def clipped_surrogate(
    logprob: torch.Tensor, old_logprob: torch.Tensor, advantage: torch.Tensor, clip: float
) -> torch.Tensor:
    """``min(r A, clip(r, 1 - c, 1 + c) A)`` per token with ``r = exp(log pi - log pi_old)``; all shapes (R, T).

    Schulman et al. 2017, equation 7; ``clip = 0`` gives the plain importance-weighted ``r A`` (equation 6).
    """
    ratio = (logprob - old_logprob).exp()
    if clip == 0:
        return ratio * advantage
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


@dataclass(frozen=True)
class _Rollout:
    """Completions of one update, and per token (R, T) what was read of them before it."""

    prompts: Sequence[TokenIds]
    completions: Sequence[TokenIds]
    lengths: NDArray[np.intp]
    logprob: torch.Tensor
    base_logprob: torch.Tensor
    value: torch.Tensor
    entropy: torch.Tensor

    def parts(self, index: NDArray[np.intp], pad: int, size: int) -> Iterator[tuple[CompletionBatch, torch.Tensor]]:
        return parts_by_length(index, self.prompts, self.completions, self.lengths, pad, self.logprob.device, size)


def ppo(
    seed: int,
    policy: Any,
    base: Any,
    prompts: Sequence[TokenIds],
    reward: Scorer,
    config: PPOConfig,
    *,
    eos: int,
    pad: int,
    on_step: Callable[[int, Any], None] | None = None,
) -> list[dict[str, float]]:
    """Train ``policy`` in place against ``reward`` and return one metrics record per update.

    Parameters
    ----------
    seed
        Decides prompts, samples and minibatches; on the CPU of one machine the same seed gives the same policy.
    policy, base
        Hugging Face causal language models on one device; ``base`` is the initial policy and is never changed.
    prompts
        Training prompts as rows of token ids.
    reward
        Scores whole completions. A score that is not finite stops the run.
    on_step
        Called with (step, policy) before the first update (step 0) and after every update: evaluate there.

    Raises
    ------
    InputError
        If a score or a gradient is not finite, or there are fewer prompts than a batch needs.
    """
    if len(prompts) < config.prompts_per_step:
        raise InputError(f"PPO needs at least {config.prompts_per_step} training prompts, got {len(prompts)}.")
    rng = np.random.default_rng(seed)
    device = policy.device
    value_head = nn.Linear(policy.config.hidden_size, 1).to(device)
    nn.init.zeros_(value_head.weight)
    nn.init.zeros_(value_head.bias)
    parameters = [*policy.parameters(), *value_head.parameters()]
    rates = [config.learning_rate, config.value_learning_rate]
    groups = [{"params": list(module.parameters())} for module in (policy, value_head)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    order = prompt_order(rng, len(prompts))
    metrics: list[dict[str, float]] = []
    updates = config.epochs * config.minibatches
    size = rows_at_once(device, cpu=CPU_PART, gpu=GPU_PART)

    @torch.no_grad()
    def read(rollout: _Rollout, size: int) -> None:
        for part, at in rollout.parts(np.arange(len(rollout.lengths)), pad, size):
            width = part.mask.shape[1]
            logits, hidden = completion_logits(policy, part, temperature=config.temperature, hidden=True)
            logp = logits.log_softmax(-1)
            rollout.entropy[at, :width] = -(logp.exp() * logp).sum(-1)
            rollout.logprob[at, :width] = logp.gather(-1, part.tokens[..., None])[..., 0]
            rollout.value[at, :width] = value_head(hidden)[..., 0]
            base_logits = completion_logits(base, part, temperature=config.temperature)
            rollout.base_logprob[at, :width] = completion_logprob(base_logits, part.tokens)

    def add_gradient(
        rollout: _Rollout, minibatch: NDArray[np.intp], advantage: torch.Tensor, target: torch.Tensor, size: int
    ) -> list[tuple[float, float, float]]:
        """What each part adds to the metrics: share of clipped tokens, value loss, KL from the rollout policy."""
        optimizer.zero_grad(set_to_none=True)
        tokens = int(rollout.lengths[minibatch].sum())
        found = []
        for part, at in rollout.parts(minibatch, pad, size):
            width = part.mask.shape[1]
            logits, hidden = completion_logits(policy, part, temperature=config.temperature, hidden=True)
            logprob = completion_logprob(logits, part.tokens)
            old = rollout.logprob[at, :width]
            surrogate = clipped_surrogate(logprob, old, advantage[at, :width], config.clip)
            error = (value_head(hidden)[..., 0] - target[at, :width]).square() / 2
            loss = ((config.value_coefficient * error - surrogate) * part.mask).sum() / tokens
            loss.backward()
            change = (logprob.detach() - old)[part.mask]
            share = len(change) / tokens / updates
            clipped = share * float(((change.exp() - 1).abs() > config.clip).float().mean())
            divergence = share * config.epochs * float((change.exp() - 1 - change).mean())
            found.append((clipped, share * float(error.detach()[part.mask].mean()), divergence))
        return found

    policy.eval()  # no dropout anywhere: the log probabilities of the rollout must be those of the update
    if on_step is not None:
        on_step(0, policy)

    for step in range(1, config.steps + 1):
        # Rollout: completions of the current policy, their scores, and log probabilities under pi, pi0.
        chosen = [prompts[next(order)] for _ in range(config.prompts_per_step)]
        rows = [prompt for prompt in chosen for _ in range(config.samples_per_prompt)]
        drawn = sample_completions(
            rng, policy, rows, max_new_tokens=config.max_new_tokens, eos=eos, pad=pad, temperature=config.temperature
        ).rows()
        score = finite_scores(reward, rows, drawn)
        lengths = np.array([len(row) for row in drawn])
        mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).to(device)
        old_logprob, base_logprob, old_value, entropy = (torch.zeros(mask.shape, device=device) for _ in range(4))
        rollout = _Rollout(rows, drawn, lengths, old_logprob, base_logprob, old_value, entropy)
        _, size = in_parts(partial(read, rollout), len(rows), size, "PPO")
        logratio = (old_logprob - base_logprob) * mask

        # Rewards per token: the score on the last one, the KL penalty on each.
        rewards = -config.kl_coefficient * logratio
        rewards[torch.arange(len(rows)), lengths - 1] += torch.from_numpy(score).to(rewards)
        advantage, target = advantages_and_returns(rewards, old_value * mask, mask, config.gae_lambda)
        explained = 1 - (target - old_value)[mask].var() / target[mask].var().clamp(min=1e-12)
        advantage = (advantage - advantage[mask].mean()) / advantage[mask].std().clamp(min=1e-8)

        # Update: epochs x minibatches of the clipped surrogate. A minibatch is read in parts of similar length whose
        # gradients add up, so that little of the work is padding.
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, step / max(1, config.warmup_steps))
        clip_fraction = approx_kl = value_loss = gradient_norm = 0.0
        for epoch in range(config.epochs):
            for minibatch in np.array_split(rng.permutation(len(rows)), config.minibatches):
                work = partial(add_gradient, rollout, minibatch, advantage, target)
                found, size = in_parts(work, len(minibatch), size, "PPO")
                for clipped, error, divergence in found:
                    clip_fraction += clipped
                    value_loss += error
                    if epoch == config.epochs - 1:
                        approx_kl += divergence
                norm = clip_gradients(parameters, config.max_gradient_norm, f"PPO, update {step}")
                gradient_norm += norm / updates
                optimizer.step()

        metrics.append(
            {
                "step": step,
                "reward": float(score.mean()),
                "logratio": float(logratio.sum(1).mean()),
                "entropy": float(entropy[mask].mean()),
                "length": float(lengths.mean()),
                "ended": float(np.mean([row[-1] == eos for row in drawn])),
                "explained_variance": float(explained),
                "value_loss": value_loss,
                "clip_fraction": clip_fraction,
                "approx_kl": approx_kl,
                "gradient_norm": gradient_norm,
            }
        )
        if on_step is not None:
            on_step(step, policy)
    return metrics


def finite_scores(reward: Scorer, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> NDArray[np.float64]:
    """The scores (R,) of R completions.

    Raises
    ------
    InputError
        If one of them is not finite.
    """
    score = np.asarray(reward(prompts, completions), dtype=np.float64)
    if not np.isfinite(score).all():
        raise InputError(f"the reward of completion {int(np.argmin(np.isfinite(score)))} is not finite.")
    return score


def parts_by_length(
    index: NDArray[np.intp],
    prompts: Sequence[TokenIds],
    completions: Sequence[TokenIds],
    lengths: NDArray[np.intp],
    pad: int,
    device: torch.device,
    size: int,
) -> Iterator[tuple[CompletionBatch, torch.Tensor]]:
    """Split the rows ``index`` into parts of at most ``size`` completions of similar length."""
    ordered = index[np.argsort(lengths[index], kind="stable")]
    for start in range(0, len(ordered), size):
        rows = ordered[start : start + size]
        part = completion_batch([prompts[i] for i in rows], [completions[i] for i in rows], pad=pad, device=device)
        yield part, torch.from_numpy(rows).to(device)


def prompt_order(rng: np.random.Generator, n: int) -> Iterator[int]:
    """Indices of prompts: a fresh permutation for every pass."""
    while True:
        yield from rng.permutation(n).tolist()
