"""Reward-guided decoding: the reward of the partial text tilts every next token; nothing is trained.

At each position the base policy's K most likely next tokens C are scored as if the text ended there, and the token is
drawn from

    q(v) proportional to pi0(v) exp(beta (r(x, y, v) - rbar))    for v in C,
    q(v) proportional to pi0(v)                                  otherwise,

where rbar is the mean score over C weighted by pi0: a token that was not looked at counts as an average candidate, and
beta = 0 is the base policy. This is the per-token tilt of Khanov et al. 2024 (ARGS, equation 3, sampled) with all of
the vocabulary kept. Since q is explicit, its KL from the base policy is exact at every visited prefix and is summed
over positions, as everywhere in this package.

It is not the tilt of whole completions: the reward is asked about unfinished texts, which a reward model trained on
finished ones has not seen, and a token is chosen without regard to what can follow it.

Metrics per strength: ``beta`` (nats per unit of reward), ``reward`` (mean over whole completions), ``candidate_mass``
(the base policy's probability of C, mean over positions), ``length`` (tokens).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from overopt.bridges.kl import KL
from overopt.bridges.lm.batching import in_batches
from overopt.bridges.lm.completions import SequenceKL
from overopt.bridges.lm.optimized_samples import OptimizedSamples, checked_strengths, within_prompt_sd
from overopt.bridges.lm.policy import Policy
from overopt.bridges.lm.ppo import Scorer, finite_scores
from overopt.bridges.lm.sampler import TokenIds, left_pad, sample_completions
from overopt.theory.errors import InputError

__all__ = ["GuidedDecodingConfig", "guided_decoding"]


@dataclass(frozen=True)
class GuidedDecodingConfig:
    """Every number of reward-guided decoding."""

    strengths: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    """Beta times the reward's standard deviation within the base policy's prompts, ascending."""
    candidates: int = 16
    """Next tokens scored at each position: the base policy's most likely ones."""
    max_new_tokens: int = 28
    """Completions stop at the end token or here."""
    temperature: float = 1.0
    """Temperature of the base policy that is tilted."""

    def __post_init__(self) -> None:
        checked_strengths(self.strengths)
        for name, least in (("candidates", 2), ("max_new_tokens", 1)):
            if getattr(self, name) < least:
                raise InputError(f"`{name}` must be >= {least}, got {getattr(self, name)}.")
        if not self.temperature > 0:
            raise InputError(f"`temperature` must be > 0, got {self.temperature}.")


def guided_decoding(
    seed: int, policy: Policy, prompts: Sequence[TokenIds], samples: int, reward: Scorer, config: GuidedDecodingConfig
) -> Iterator[OptimizedSamples]:
    """The base policy at strength 0, then every strength: ``samples`` fresh completions per prompt.

    Raises
    ------
    InputError
        If a score is not finite, the reward is constant, or prompt and completion do not fit the model's context.
    """
    rng = np.random.default_rng(seed)
    rows = [prompt for prompt in prompts for _ in range(samples)]
    codes = np.repeat(np.arange(len(prompts)), samples)
    completions = sample_completions(
        rng, policy.model, rows,
        max_new_tokens=config.max_new_tokens, eos=policy.eos, pad=policy.pad, temperature=config.temperature,
    ).rows()  # fmt: skip
    score = finite_scores(reward, rows, completions)
    unit = within_prompt_sd(score, len(prompts))
    yield OptimizedSamples(
        strength=0.0,
        completions=completions,
        kl=KL(0.0, "full-vocabulary", temperature=config.temperature, n=len(rows)),
        logratio=np.zeros(len(rows)),
        metrics={"beta": 0.0, "reward": float(score.mean()), "length": float(np.mean([len(c) for c in completions]))},
    )
    for strength in config.strengths:
        beta = strength / unit
        completions, divergence, mass = _decode(rng, policy, rows, reward, beta, config)
        yield OptimizedSamples(
            strength=strength,
            completions=completions,
            kl=divergence.mean(codes, config.temperature),
            logratio=divergence.logratio,
            metrics={
                "beta": beta,
                "reward": float(finite_scores(reward, rows, completions).mean()),
                "candidate_mass": mass,
                "length": float(np.mean([len(c) for c in completions])),
            },
        )


@torch.inference_mode()
def _decode(
    rng: np.random.Generator,
    policy: Policy,
    rows: Sequence[TokenIds],
    reward: Scorer,
    beta: float,
    config: GuidedDecodingConfig,
) -> tuple[list[list[int]], SequenceKL, float]:
    """One completion per row, its KL, and the mean base probability of the candidates."""
    uniform = rng.random((len(rows), config.max_new_tokens))
    drawn: list[list[int]] = [[] for _ in rows]
    full, ratio, mass = np.zeros(len(rows)), np.zeros(len(rows)), 0.0
    alive = np.arange(len(rows))
    for t in range(config.max_new_tokens):
        logp = _next_logprob(policy, [[*rows[i], *drawn[i]] for i in alive.tolist()], config.temperature)
        base, candidates = logp.topk(min(config.candidates, logp.shape[1]))
        texts = [
            [*drawn[i], token]
            for i, tokens in zip(alive.tolist(), candidates.tolist(), strict=True)
            for token in tokens
        ]
        parents = [rows[i] for i in alive.tolist() for _ in range(candidates.shape[1])]
        score = torch.from_numpy(finite_scores(reward, parents, texts)).to(logp).view_as(base)
        average = (base.softmax(-1) * score).sum(-1, keepdim=True)
        logq = logp.scatter_add(1, candidates, beta * (score - average)).log_softmax(-1)
        probability = logq.exp()
        cumulative = probability.cumsum(-1)
        target = torch.from_numpy(uniform[alive, t, None]).to(logp) * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, target, right=True).clamp(max=logp.shape[1] - 1)
        full[alive] += (probability * (logq - logp)).sum(-1).cpu().numpy()
        ratio[alive] += (logq - logp).gather(1, token)[:, 0].cpu().numpy()
        mass += float(base.exp().sum())
        chosen = token[:, 0].tolist()
        for i, v in zip(alive.tolist(), chosen, strict=True):
            drawn[i].append(v)
        alive = alive[np.array(chosen) != policy.eos]
        if len(alive) == 0:
            break
    return drawn, SequenceKL(full, ratio), mass / sum(map(len, drawn))


def _next_logprob(policy: Policy, texts: Sequence[TokenIds], temperature: float) -> torch.Tensor:
    """Log probabilities (R, V) of the next token in float64; the prefix is read anew, the reward costs far more."""
    ids, attention = left_pad(texts, policy.pad, policy.model.device)
    position = (attention.cumsum(1) - 1).clamp(min=0)
    read: list[torch.Tensor] = []

    def add(rows: slice) -> None:
        output = policy.model(
            input_ids=ids[rows],
            attention_mask=attention[rows],
            position_ids=position[rows],
            logits_to_keep=1,
            use_cache=False,
        )
        read.append((output.logits[:, -1].double() / temperature).log_softmax(-1))

    in_batches(add, len(texts), len(texts), "guided decoding", policy.model)
    return torch.cat(read)
