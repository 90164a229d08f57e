"""Many ordinary sentences and one whose reward is absurdly high (ledger K37; Chan in the Kwa-Thomas threads).

Ordinary sentences have rewards spread evenly over (0, 100) that are right; the adversarial one is an average sentence
with a reward of 10^5. Its error does not depend on gold, so what it costs is *regressional*, however adversarial it
looks: a heavy tail of one atom. No KL coefficient keeps it rare and the reward above 51; clipping the reward does
(``cap``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.finite_base import FiniteBase
from overopt.toys.finite_selection import finite_selection_runners
from overopt.toys.runner import Runner

__all__ = ["Sentences"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sentences:
    """Base policy uniform over ``count`` ordinary sentences and one adversarial one."""

    count: int = 1_000_000
    """Ordinary sentences, between 100 and 10^7."""
    reward: float = 1e5
    """Reward of the adversarial sentence, > 100."""
    cap: float = math.inf
    """Reward clipping: every reward above it counts as this much, >= 100."""

    def __post_init__(self) -> None:
        if not 100 <= self.count <= 10**7:
            raise InputError(f"`count` must lie in [100, 10^7], got {self.count}.")
        if not (math.isfinite(self.reward) and self.reward > 100):
            raise InputError(f"`reward` must be a finite number > 100, got {self.reward:g}.")
        if not self.cap >= 100:
            raise InputError(f"`cap` must be >= 100, got {self.cap:g}.")

    @cached_property
    def raw_gold(self) -> Array:
        """(count + 1,) gold; the adversarial sentence is the last and has the average 50."""
        return np.append((np.arange(self.count) + 0.5) * (100 / self.count), 50.0)

    @cached_property
    def gold_sd(self) -> float:
        """Gold's standard deviation under the base policy, in raw reward."""
        return float(self.raw_gold.std())

    @cached_property
    def base(self) -> FiniteBase:
        """Slope scale: the error is 0 on all sentences but one, whose gold is average, so ``Cov(proxy, gold) =
        Var(gold)``.
        """
        proxy = self.raw_gold.copy()
        proxy[-1] = min(self.reward, self.cap)
        gold = ((self.raw_gold - 50.0) / self.gold_sd)[None]
        probability = np.full_like(gold, 1 / gold.size)
        # The null moves the error to a random sentence; a rebuilt proxy equal to the adversarial one still means gold
        # 50.
        return FiniteBase(probability, ((proxy - proxy.mean()) / self.gold_sd)[None], gold, gold, gold)

    def raw_reward(self, promise: float) -> float:
        """Mean raw reward of a policy from its promise on the slope scale."""
        return promise * self.gold_sd + 50.0 + (min(self.reward, self.cap) - 50.0) / (self.count + 1)

    def adversarial_probability(self, policy: Array) -> float:
        """Probability that a policy, shape (1, count + 1), emits the adversarial sentence."""
        return float(policy[0, -1])

    def switching_lambda(self) -> float:
        """Raw inverse KL coefficient at which the tilt switches to the adversarial sentence: ``log N / (R - 50)``,
        first order.
        """
        return math.log(self.count) / (self.reward - 50.0)

    def runners(self) -> dict[str, Runner]:
        """The five proxy-only optimizers."""
        tilts = tuple(
            round(share * self.switching_lambda() * self.gold_sd, 6) for share in (0.0, 0.5, 0.9, 0.99, 1.01, 1.1, 2)
        )
        return finite_selection_runners(lambda rng: self.base, sampled=True, tilts=tilts)
