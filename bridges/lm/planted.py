"""Rewards with a known fault, and rewards made of several: what the decomposition is tried on, and what may resist."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from overopt.bridges.lm.ppo import Scorer
from overopt.bridges.lm.recipe import EnsembleProxy, PlantedProxy
from overopt.bridges.lm.sampler import TokenIds
from overopt.theory.errors import InputError

__all__ = ["EnsembleReward", "PlantedReward", "PlantedUnits", "hashed_normal"]


@dataclass(frozen=True)
class PlantedUnits:
    """What a planted fault is measured in, all of it taken from completions of the base policy.

    ``gold_sd`` within prompts, in gold's own units; ``length_sd`` in tokens; ``token`` the id that a planted bonus
    pays for and ``token_share`` the share of base completions that contain it.
    """

    gold_sd: float
    length_sd: float
    token: int
    token_share: float

    WANTED_SHARE = 0.02
    NEAR = 5.0

    @classmethod
    def of(
        cls, completions: Sequence[TokenIds], gold_margin: NDArray[np.float64], special: Collection[int]
    ) -> PlantedUnits:
        """Units from base completions, two per prompt, with the gold difference of each two.

        ``special`` are the token ids that are no text. The rewarded token is the one whose share of completions is
        nearest to ``WANTED_SHARE``: often enough that 128 completions of an update hold a few (44 updates never found
        one of .3%), too rare to matter before. Its share is 0 where no completion holds a token of text.
        """
        lengths = np.array([len(row) for row in completions], dtype=np.float64)
        present = np.concatenate([np.unique(np.asarray(row, dtype=np.int64)) for row in completions])
        share = np.bincount(present) / len(completions)
        share[[token for token in special if token < len(share)]] = 0.0
        distance = np.where(share > 0, np.abs(share - cls.WANTED_SHARE), np.inf)
        token = int(distance.argmin())
        # The difference of two independent draws of one prompt has twice the variance of one.
        gold_sd = float(np.sqrt(np.mean(np.square(gold_margin)) / 2))
        return cls(gold_sd, float(lengths.std()), token, float(share[token]))

    def check(self, fault: str) -> None:
        """Make sure that base completions differ in what ``fault`` pays for.

        A bonus for a token must be found, and must not matter before.

        Raises
        ------
        InputError
            If lengths that are paid for are all the same, or the token's share is not ``WANTED_SHARE`` up to a factor
            of ``NEAR``.
        """
        if fault == "length" and self.length_sd == 0:
            raise InputError(
                "a planted bonus for length needs base completions of more than one length, all have the same; "
                "prompts whose answers end before the recipe's longest completion would do."
            )
        if fault != "exploit":
            return
        least, most = self.WANTED_SHARE / self.NEAR, self.WANTED_SHARE * self.NEAR
        if not least <= self.token_share <= most:
            raise InputError(
                f"a planted exploit needs a token that {least:.1%} to {most:.0%} of the base policy's completions "
                f"contain, the nearest is in {self.token_share:.1%}."
            )


def hashed_normal(prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> NDArray[np.float64]:
    """Standard normal numbers (R,) that are fixed for each text: noise that no policy can learn to predict."""
    draws = np.empty(len(completions), dtype=np.uint64)
    for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        text = np.array([*prompt, *completion], dtype=np.int64).tobytes()
        draws[i] = int.from_bytes(blake2b(text, digest_size=8, key=b"overopt planted noise").digest(), "little")
    uniform = (draws.astype(np.float64) + 0.5) / 2.0**64
    return np.asarray(ndtri(np.clip(uniform, 1e-16, 1 - 1e-16)), dtype=np.float64)


@dataclass(frozen=True)
class PlantedReward:
    """Gold plus a known fault, in gold's own units."""

    fault: PlantedProxy
    units: PlantedUnits
    gold: Scorer

    def __call__(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> NDArray[np.float64]:
        return self.from_gold(np.asarray(self.gold(prompts, completions)), prompts, completions)

    def from_gold(
        self, gold: NDArray[np.float64], prompts: Sequence[TokenIds], completions: Sequence[TokenIds]
    ) -> NDArray[np.float64]:
        """The reward (R,) of completions whose gold (R,) is known."""
        match self.fault.fault:
            case "noise":
                error = hashed_normal(prompts, completions)
            case "length":
                error = np.array([len(row) for row in completions]) / self.units.length_sd
            case "exploit":
                error = np.array([self.units.token in row for row in completions], dtype=np.float64)
            case "bend":
                return np.asarray(gold, dtype=np.float64)
        return np.asarray(gold + self.fault.strength * self.units.gold_sd * error, dtype=np.float64)


@dataclass(frozen=True)
class EnsembleReward:
    """Several rewards as one; member ``i`` is taken as ``(score - offset[i]) / scale[i]``."""

    ensemble: EnsembleProxy
    members: Sequence[Scorer]
    offset: Sequence[float]
    scale: Sequence[float]

    def __call__(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> NDArray[np.float64]:
        scores = np.array(
            [
                (np.asarray(member(prompts, completions)) - offset) / scale
                for member, offset, scale in zip(self.members, self.offset, self.scale, strict=True)
            ]
        )
        if self.ensemble.combine == "min":
            return np.asarray(scores.min(axis=0))
        mean = scores.mean(axis=0)
        if self.ensemble.combine == "uncertainty":
            mean = mean - self.ensemble.weight * scores.var(axis=0)
        return np.asarray(mean)
