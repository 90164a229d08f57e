"""A KL divergence with a name: which estimator, which direction, summed over what, at which temperature, how sure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from overopt.theory.errors import InputError

__all__ = ["BASE_KL", "KL", "KLEstimator"]

KLEstimator = Literal[
    "analytic", "ties-exact", "full-vocabulary", "k1", "k2", "k3", "thermodynamic-integration", "imported"
]

BASE_KL = 0.05
"""Nats up to which checkpoint 0 is the base policy: two engines never agree on its log-probabilities to the digit."""


@dataclass(frozen=True, slots=True)
class KL:
    """KL(policy || base policy) in nats, with everything needed to compare it with another one.

    Attributes
    ----------
    value
        Nats. An unbiased estimate (k1) may be slightly negative; ``d`` is then 0.
    estimator, direction, reduction, tokens, temperature
        How it was measured. ``reduction`` is ``"sequence sum"`` (nats per completion) or ``"per-token mean"``.
    n
        Number of sequences behind an estimate, 0 for an exact value.
    standard_error
        Nats, clustered by prompt; 0 for an exact value, None where it is unknown.
    """

    value: float
    estimator: KLEstimator
    direction: Literal["policy||base", "base||policy"] = "policy||base"
    reduction: Literal["sequence sum", "per-token mean"] = "sequence sum"
    tokens: str = "completion only"
    temperature: float = 1.0
    n: int = 0
    standard_error: float | None = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise InputError(f"`KL.value` must be finite, got {self.value}.")

    @property
    def d(self) -> float:
        """``sqrt(KL)``, the x axis of Gao, Schulman and Hilton 2022; 0 where the estimate is negative."""
        return math.sqrt(max(self.value, 0.0))

    @property
    def kind(self) -> str:
        """One string; two points belong on one axis only if their kinds agree up to the estimator's exactness."""
        return f"{self.estimator}, {self.direction}, {self.reduction}, {self.tokens}, T={self.temperature:g}"
