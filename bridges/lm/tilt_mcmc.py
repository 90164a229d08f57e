"""The exponential tilt of a language model, ``pi(y|x) = pi0(y|x) exp(beta r(x, y)) / Z(x)``, sampled and never trained.

Metropolis-Hastings on whole completions. A proposal keeps the first ``c`` tokens of the current completion y, of length
T, with c uniform on 0, ..., T - 1, and redraws the rest from the base policy until it ends, at length T'. Given c, the
base policy's probabilities of the two suffixes cancel against the proposal's, and what remains is

    acceptance = min(1, exp(beta (r(y') - r(y))) T / T')

where T / T' is the ratio of the chances 1/T' and 1/T to pick the same cut in the two directions (c < T' always).

The chains walk up a ladder of beta, from the base policy on. The KL of the tilt follows from thermodynamic integration,
per prompt, since d/db log Z(b) = E_b[r]:

    KL(beta) = beta E_beta[r] - log Z(beta),    log Z(beta) = integral from 0 to beta of E_b[r] db

with the integral by cubic Hermite interpolation between the rungs: the slope of E_b[r] is Var_b[r].

Metrics per rung: ``beta`` (nats per unit of reward), ``reward`` (mean of the kept sweeps), ``acceptance`` (share of
proposals accepted, kept sweeps), ``drift`` (mean reward of the second half of the kept sweeps less that of the first,
in standard errors over the independent chains: beyond about 3 the chains had not settled).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from overopt.bridges.kl import KL
from overopt.bridges.lm.optimized_samples import OptimizedSamples, checked_strengths, within_prompt_sd
from overopt.bridges.lm.policy import Policy
from overopt.bridges.lm.ppo import Scorer, finite_scores
from overopt.bridges.lm.sampler import TokenIds, sample_completions
from overopt.theory.errors import InputError

__all__ = ["TiltMCMCConfig", "log_acceptance", "thermodynamic_kl", "tilt_mcmc"]

Array = NDArray[np.float64]

PARTS = 4
"""Batches in which the suffixes of one sweep are drawn."""


@dataclass(frozen=True)
class TiltMCMCConfig:
    """Every number of the sampler of the tilt."""

    strengths: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
    """The ladder: beta times the reward's standard deviation within the base policy's prompts, ascending."""
    burn_in: int = 4
    """Sweeps at each rung that are not kept; a sweep is one proposal per chain."""
    sweeps: int = 6
    """Sweeps at each rung that are kept."""
    max_new_tokens: int = 28
    """Completions stop at the end token or here."""
    temperature: float = 1.0
    """Temperature of the base policy that is tilted."""

    def __post_init__(self) -> None:
        checked_strengths(self.strengths)
        for name, least in (("burn_in", 0), ("sweeps", 2), ("max_new_tokens", 1)):
            if getattr(self, name) < least:
                raise InputError(f"`{name}` must be >= {least}, got {getattr(self, name)}.")
        if not self.temperature > 0:
            raise InputError(f"`temperature` must be > 0, got {self.temperature}.")


def tilt_mcmc(
    seed: int, policy: Policy, prompts: Sequence[TokenIds], samples: int, reward: Scorer, config: TiltMCMCConfig
) -> Iterator[OptimizedSamples]:
    """The base policy at strength 0, then its tilt at every rung: ``samples`` completions per prompt, one per chain.

    Raises
    ------
    InputError
        If a score is not finite, or the reward is constant.
    """
    rng = np.random.default_rng(seed)
    rows = [prompt for prompt in prompts for _ in range(samples)]
    state = sample_completions(
        rng, policy.model, rows,
        max_new_tokens=config.max_new_tokens, eos=policy.eos, pad=policy.pad, temperature=config.temperature,
    ).rows()  # fmt: skip
    score = finite_scores(reward, rows, state)
    unit = within_prompt_sd(score, len(prompts))
    betas, means, variances = [], [], []
    for strength in (0.0, *config.strengths):
        beta = strength / unit
        kept, accepted = [], []
        for _ in range(config.burn_in + config.sweeps):
            proposal = _redraw_suffixes(rng, policy, rows, state, config)
            proposed = finite_scores(reward, rows, proposal)
            lengths = np.array([(len(old), len(new)) for old, new in zip(state, proposal, strict=True)])
            accept = np.log(rng.random(len(rows))) < log_acceptance(beta * (proposed - score), *lengths.T)
            state = [new if yes else old for old, new, yes in zip(state, proposal, accept, strict=True)]
            score = np.where(accept, proposed, score)
            kept.append(score)
            accepted.append(accept.mean())
        by_chain = np.stack(kept[config.burn_in :])
        by_prompt = by_chain.reshape(config.sweeps, len(prompts), samples)
        betas.append(beta)
        means.append(by_prompt.mean(axis=(0, 2)))
        variances.append(by_prompt.var(axis=(0, 2)))
        half = config.sweeps // 2
        drift = by_chain[half:].mean(axis=0) - by_chain[:half].mean(axis=0)
        yield OptimizedSamples(
            strength=strength,
            completions=state,
            kl=_mean_over_prompts(
                thermodynamic_kl(np.array(betas), np.stack(means), np.stack(variances)), len(rows), config.temperature
            ),
            logratio=None,
            metrics={
                "beta": beta,
                "reward": float(by_prompt.mean()),
                "acceptance": float(np.mean(accepted[config.burn_in :])),
                "drift": float(drift.mean() / max(_standard_error(drift), 1e-12)),
            },
        )


def log_acceptance(tilt_change: Array, length: NDArray[np.intp], proposed_length: NDArray[np.intp]) -> Array:
    """Log of the Metropolis-Hastings ratio, ``beta (r' - r) + log(T / T')``; all (R,)."""
    ratio: Array = tilt_change + np.log(length / proposed_length)
    return ratio


def thermodynamic_kl(betas: Array, mean: Array, variance: Array) -> Array:
    """KL(tilt || base) of every prompt at the last rung, in nats.

    Parameters
    ----------
    betas
        (B,) ascending from 0.
    mean, variance
        (B, P) mean and variance of the reward under every rung's tilt.
    """
    if len(betas) == 1:
        return np.zeros(mean.shape[1])
    log_z = CubicHermiteSpline(betas, mean, variance).integrate(betas[0], betas[-1])
    kl: Array = betas[-1] * mean[-1] - log_z
    return kl


def _redraw_suffixes(
    rng: np.random.Generator, policy: Policy, rows: Sequence[TokenIds], state: list[list[int]], config: TiltMCMCConfig
) -> list[list[int]]:
    """Every completion with its tokens from a uniform cut on drawn again from the base policy."""
    cut = rng.integers([len(row) for row in state])
    proposal: list[list[int]] = [[]] * len(state)
    # Rows with like cuts go together: a late cut leaves little to draw.
    for part in np.array_split(np.argsort(cut, kind="stable"), min(PARTS, len(state))):
        suffixes = sample_completions(
            rng, policy.model, [[*rows[i], *state[i][: cut[i]]] for i in part],
            max_new_tokens=config.max_new_tokens - int(cut[part].min()), eos=policy.eos, pad=policy.pad,
            temperature=config.temperature,
        ).rows()  # fmt: skip
        for i, suffix in zip(part, suffixes, strict=True):
            proposal[i] = [*state[i][: cut[i]], *suffix][: config.max_new_tokens]
    return proposal


def _standard_error(per_prompt: Array) -> float:
    return float(per_prompt.std(ddof=1) / np.sqrt(len(per_prompt)))


def _mean_over_prompts(per_prompt: Array, n: int, temperature: float) -> KL:
    return KL(
        value=float(per_prompt.mean()),
        estimator="thermodynamic-integration",
        temperature=temperature,
        n=n,
        standard_error=_standard_error(per_prompt) if len(per_prompt) > 1 else None,
    )
