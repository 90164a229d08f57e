"""Quadratic gold: ``gold = slope u - bend (u^2 - 1) + hidden noise``, proxy u ~ N(0, 1) (ledger K29).

A full Gaussian tilt moves u to N(sqrt 2 d, 1), so gold is exactly ``d (alpha - beta d)``: the paper's best-of-n form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.joint import Joint
from overopt.toys.worlds.regression import check_positive, regression_joint

__all__ = ["Quadratic"]


@dataclass(frozen=True)
class Quadratic:
    """Gold is a parabola in the proxy."""

    slope: float = 1.0
    """dgold/dproxy at the base policy's mean, > 0."""
    bend: float = 0.1
    """Loss of gold per squared SD of the proxy, >= 0."""
    hidden: float = 1.0
    """SD of the part of gold that the proxy does not see, >= 0.1."""

    def __post_init__(self) -> None:
        check_positive("slope", self.slope)
        check_positive("bend", self.bend, zero=True)
        check_positive("hidden", self.hidden)

    @cached_property
    def joint(self) -> Joint:
        """The base policy's law on the slope scale."""

        def mean(u: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(self.slope * u - self.bend * (u**2 - 1))

        return regression_joint(mean, self.hidden)

    def tilt_coefficients(self) -> tuple[float, float]:
        """(alpha, beta) of the tilt's gold ``d (alpha - beta d)``, in gold SD: ``sqrt 2 slope / sd`` and ``2 bend /
        sd``.
        """
        sd = math.sqrt(self.slope**2 + 2 * self.bend**2 + self.hidden**2)
        return math.sqrt(2) * self.slope / sd, 2 * self.bend / sd

    def runners(self) -> dict[str, Runner]:
        """The five proxy-only optimizers."""
        return selection_runners(self.joint)
