"""A saturating feature: gold rises with the proxy and then stays flat, ``height Phi((u - centre) / width)``."""

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

__all__ = ["Saturation"]


@dataclass(frozen=True)
class Saturation:
    """``gold = height Phi((u - centre) / width) + hidden noise``, proxy u ~ N(0, 1)."""

    centre: float = 0.5
    """Where gold has half of its height, in proxy SD."""
    width: float = 1.0
    """How gradually it saturates, > 0."""
    height: float = 4.0
    """Gold between nothing and saturation, > 0."""
    hidden: float = 1.0
    """SD of the part of gold that the proxy does not see, >= 0.1."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.centre):
            raise InputError(f"`centre` must be a finite number, got {self.centre:g}.")
        for name in ("width", "height", "hidden"):
            check_positive(name, getattr(self, name))

    @cached_property
    def joint(self) -> Joint:
        """The base policy's law on the slope scale."""

        def mean(u: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(self.height * ndtr((u - self.centre) / self.width))

        return regression_joint(mean, self.hidden)

    def tilt_gold(self, shift: float) -> float:
        """Raw gold gain when u moves to N(shift, 1): ``E Phi((u - c)/w) = Phi((shift - c) / sqrt(1 + w^2))``."""
        root = math.sqrt(1 + self.width**2)
        return self.height * float(ndtr((shift - self.centre) / root) - ndtr(-self.centre / root))

    def runners(self) -> dict[str, Runner]:
        """The five proxy-only optimizers."""
        return selection_runners(self.joint)
