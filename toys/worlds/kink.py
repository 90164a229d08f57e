"""A kink: gold rises with the proxy up to ``tau`` and falls beyond it. Best-of-n prefers the quadratic law, the tilt
the log form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from overopt.theory.errors import InputError
from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.joint import Joint
from overopt.toys.worlds.regression import check_positive, regression_joint

__all__ = ["Kink"]


@dataclass(frozen=True)
class Kink:
    """``gold = slope min(u, tau) - drop max(u - tau, 0) + hidden noise``, proxy u ~ N(0, 1)."""

    tau: float = 1.2
    """Where gold turns, in proxy SD."""
    slope: float = 1.0
    """Slope below tau, > 0."""
    drop: float = 1.0
    """Loss per proxy SD beyond tau, >= 0 (0: a ceiling)."""
    hidden: float = 1.0
    """SD of the part of gold that the proxy does not see, >= 0.1."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.tau):
            raise InputError(f"`tau` must be a finite number, got {self.tau:g}.")
        check_positive("slope", self.slope)
        check_positive("drop", self.drop, zero=True)
        check_positive("hidden", self.hidden)

    @cached_property
    def joint(self) -> Joint:
        """The base policy's law on the slope scale."""

        def mean(u: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(self.slope * np.minimum(u, self.tau) - self.drop * np.maximum(u - self.tau, 0.0))

        return regression_joint(mean, self.hidden, (self.tau,))

    def tilt_gold(self, shift: float) -> float:
        """Raw gold gain when u moves to N(shift, 1): ``E max(u - tau, 0) = a Phi(a) + phi(a)``, ``a = shift - tau``."""

        def gold(at: float) -> float:
            a = at - self.tau
            excess = a * float(ndtr(a)) + math.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
            return self.slope * at - (self.slope + self.drop) * excess

        return gold(shift) - gold(0.0)

    def runners(self) -> dict[str, Runner]:
        """The five proxy-only optimizers."""
        return selection_runners(self.joint)
