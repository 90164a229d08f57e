"""Break points: gold is the sum of many features, and each stops paying when the proxy passes its own tau (ledger K31,
K33).

With S(u) the share of features whose break point lies above u, ``m'(u) = S(u) - reversal (1 - S(u))``. The density of
tau fixes the form of the curve inside its range: uniform ``d (a - b d)``, log-uniform ``d (a - b log d)``, tau^(g-1)
``d (a - b d^g)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.joint import Joint
from overopt.toys.worlds.regression import check_positive, regression_joint

__all__ = ["BreakPoints"]

Array = NDArray[np.float64]
Shape = Literal["uniform", "log-uniform", "power"]


@dataclass(frozen=True)
class BreakPoints:
    """Features that stop paying (and then cost) at break points between ``first`` and ``last``."""

    shape: Shape = "log-uniform"
    """Density of the break points."""
    first: float = 0.5
    """Smallest break point in proxy SD, > 0."""
    last: float = 20.0
    """Largest break point, > first."""
    exponent: float = 0.5
    """g of the power density tau^(g-1), > 0."""
    reversal: float = 1.0
    """What a feature costs per proxy SD after its break point, >= 0; 0: it only stops paying."""
    hidden: float = 1.0
    """SD of the part of gold that the proxy does not see, >= 0.1."""

    def __post_init__(self) -> None:
        if self.shape not in get_args(Shape):
            raise InputError(f"`shape` must be one of {', '.join(get_args(Shape))}, got '{self.shape}'.")
        for name in ("first", "exponent", "hidden"):
            check_positive(name, getattr(self, name))
        check_positive("reversal", self.reversal, zero=True)
        if not (math.isfinite(self.last) and self.last > self.first):
            raise InputError(f"`last` must be > first = {self.first:g}, got {self.last:g}.")

    def surviving(self, u: Array) -> Array:
        """S(u): share of features whose break point lies above u."""
        t0, t1, g = self.first, self.last, self.exponent
        t = np.clip(u, t0, t1)
        if self.shape == "uniform":
            return np.asarray((t1 - t) / (t1 - t0))
        if self.shape == "log-uniform":
            return np.asarray(np.log(t1 / t) / math.log(t1 / t0))
        return np.asarray((t1**g - t**g) / (t1**g - t0**g))

    def paid(self, u: Array) -> Array:
        """``INT_0^u S``: what the features paid before their break points."""
        t0, t1, g = self.first, self.last, self.exponent
        t = np.clip(u, t0, t1)
        if self.shape == "uniform":
            inside = (t - t0) * (t1 - 0.5 * (t + t0)) / (t1 - t0)
        elif self.shape == "log-uniform":
            inside = (t * (np.log(t1 / t) + 1) - t0 * (math.log(t1 / t0) + 1)) / math.log(t1 / t0)
        else:
            inside = ((t - t0) * t1**g - (t ** (g + 1) - t0 ** (g + 1)) / (g + 1)) / (t1**g - t0**g)
        return np.asarray(np.minimum(u, t0) + inside)

    def mean(self, u: Array) -> Array:
        """m(u), raw gold given the proxy."""
        return np.asarray((1 + self.reversal) * self.paid(u) - self.reversal * u)

    @cached_property
    def joint(self) -> Joint:
        """The base policy's law on the slope scale."""
        return regression_joint(self.mean, self.hidden, (self.first, self.last))

    def runners(self) -> dict[str, Runner]:
        """The five proxy-only optimizers."""
        return selection_runners(self.joint)
