"""Runs of optimized policies with known truth: exponential tilts of a bank world, also with a shifted relation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.kl import KL
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.validation.worlds import BANK_WORLDS, BankWorld

__all__ = ["POLICY_WORLDS", "PolicyStep", "PolicyWorld", "Run", "draw_run"]

Array = NDArray[np.float64]

POOL = 4000


@dataclass(frozen=True)
class PolicyStep:
    """One checkpoint: ``pi(y) ~ pi0(y) exp(tilt * proxy)``, then every sample's proxy and gold are moved.

    The move is a hack: it raises the proxy of whatever the policy writes and changes its gold.
    """

    tilt: float
    proxy_shift: float = 0.0
    gold_shift: float = 0.0


@dataclass(frozen=True)
class PolicyWorld:
    """A base world and the checkpoints of a run in it."""

    description: str
    bank: BankWorld
    steps: tuple[PolicyStep, ...]


@dataclass(frozen=True)
class Run:
    """What a user would bring: the samples of the checkpoints. Their KL is not measured here."""

    banks: Mapping[float, ScoreBank]
    kl: Mapping[float, KL] = field(default_factory=dict)

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(self.banks)

    def at(self, value: float) -> ScoreBank:
        return self.banks[value]


def draw_run(
    world: PolicyWorld, rng: np.random.Generator, prompts: int, samples: int, policy_samples: int
) -> tuple[ScoreBank, Run]:
    """A base bank and one sample of every checkpoint on the same prompts."""
    prompt = rng.random((prompts, 1))
    gold, proxy = world.bank.draw(rng, prompt, samples)
    bank = ScoreBank.from_rectangle(gold, {"proxy": proxy})
    banks = {}
    for index, step in enumerate(world.steps, start=1):
        pool_gold, pool_proxy = world.bank.draw(rng, prompt, POOL)
        weight = np.exp(step.tilt * (pool_proxy - pool_proxy.max(axis=1, keepdims=True)))
        quantile = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)
        draws = rng.random((prompts, policy_samples))
        rows = np.stack([np.searchsorted(q, u) for q, u in zip(quantile, draws, strict=True)]).clip(max=POOL - 1)
        banks[float(index)] = ScoreBank.from_rectangle(
            np.take_along_axis(pool_gold, rows, axis=1) + step.gold_shift,
            {"proxy": np.take_along_axis(pool_proxy, rows, axis=1) + step.proxy_shift},
        )
    return bank, Run(banks)


# Samples are drawn from a pool of base samples by weight. Twice a tilt must lie well below the rate of the noise's tail
# (1.41 for Laplace, 1 for exponential noise of variance 1), or the pool does not hold what the tilt asks for.


def _tilts(*values: float) -> tuple[PolicyStep, ...]:
    return tuple(PolicyStep(value) for value in values)


_HACK = (PolicyStep(0.2, 0.5, -0.25), PolicyStep(0.4, 1.0, -0.6), PolicyStep(0.6, 1.5, -1.0))

POLICY_WORLDS: dict[str, PolicyWorld] = {
    "gaussian-tilt": PolicyWorld("tilts, independent Gaussian noise", BANK_WORLDS["gaussian"], _tilts(0.3, 0.7, 1.1)),
    "laplace-tilt": PolicyWorld("tilts, independent Laplace noise", BANK_WORLDS["laplace"], _tilts(0.15, 0.3, 0.45)),
    "skewed-tilt": PolicyWorld("tilts, independent exponential noise", BANK_WORLDS["skewed"], _tilts(0.1, 0.2, 0.3)),
    "scale-varies-tilt": PolicyWorld(
        "tilts, gold's SD varies by prompt", BANK_WORLDS["gold-scale-varies"], _tilts(0.2, 0.4, 0.6)
    ),
    "noise-varies-tilt": PolicyWorld(
        "tilts, the error's SD varies by prompt", BANK_WORLDS["noise-scale-varies"], _tilts(0.2, 0.4, 0.6)
    ),
    "kink-tilt": PolicyWorld("tilts, gold falls beyond a kink", BANK_WORLDS["kink"], _tilts(0.5, 1.0, 1.5)),
    "gaussian-hack": PolicyWorld("tilts and a hack that costs gold", BANK_WORLDS["gaussian"], _HACK),
    "kink-hack": PolicyWorld("a kink and a hack that costs gold", BANK_WORLDS["kink"], _HACK),
}
