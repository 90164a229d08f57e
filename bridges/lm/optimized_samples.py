"""What an optimizer without training returns: completions at one strength, and their KL from the base policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.kl import KL
from overopt.theory.errors import InputError

__all__ = ["OptimizedSamples", "checked_strengths", "within_prompt_sd"]


@dataclass(frozen=True)
class OptimizedSamples:
    """Completions of P prompts, S each and a prompt's own together, drawn at one optimization strength.

    Attributes
    ----------
    strength
        Nats per standard deviation of the reward within the base policy's prompts; 0 is the base policy.
    completions
        (P * S) rows of token ids.
    kl
        KL(policy || base), averaged over prompts.
    logratio
        (P * S,) log pi(y|x) - log pi0(y|x), nats per sequence; None where the law's normaliser is unknown.
    metrics
        Diagnostics of the method, named in its module.
    """

    strength: float
    completions: list[list[int]]
    kl: KL
    logratio: NDArray[np.float64] | None
    metrics: Mapping[str, float]


def checked_strengths(strengths: tuple[float, ...]) -> None:
    """Raise InputError unless the strengths are positive and ascending."""
    if not strengths or strengths[0] <= 0 or any(not a < b for a, b in pairwise(strengths)):
        raise InputError(f"`strengths` must be positive and ascending, got {strengths}.")


def within_prompt_sd(score: NDArray[np.float64], prompts: int) -> float:
    """The standard deviation of scores (P * S,) within their prompts, pooled.

    Raises
    ------
    InputError
        If there is fewer than two scores per prompt, or they do not differ.
    """
    by_prompt = score.reshape(prompts, -1)
    if by_prompt.shape[1] < 2:
        raise InputError(f"`samples` must be >= 2, got {by_prompt.shape[1]}.")
    sd = float(np.sqrt(by_prompt.var(axis=1, ddof=1).mean()))
    if not sd > 0:
        raise InputError("the reward gives equal scores to all of the base policy's completions of every prompt.")
    return sd
