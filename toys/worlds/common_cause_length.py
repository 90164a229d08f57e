"""Length as a shared cause: careful answers are longer and better, and the proxy likes length.

``effort ~ N(0, 1); length = kappa effort + noise; gold = kappa effort + noise; proxy = length``. Conditioning on the
proxy selects effort and keeps the correlation kappa^2; a policy that moves length itself breaks it and gains nothing:
causal Goodhart, shared cause.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.curve import ToyPoint
from overopt.toys.linear_shift import sampled_point, shift_point
from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.gaussian_mixture import GaussianMixture
from overopt.toys.worlds.joint import Joint

__all__ = ["CommonCauseLength"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CommonCauseLength:
    """Length and gold share a cause; the proxy is length."""

    kappa: float = 0.8
    """Loading of length and of gold on their common cause, in (0, 1)."""

    def __post_init__(self) -> None:
        if not 0 < self.kappa < 1:
            raise InputError(f"`kappa` must lie in (0, 1), got {self.kappa:g}.")

    @cached_property
    def joint(self) -> Joint:
        """Length and gold are standard normal with correlation kappa^2."""
        one, zero = np.ones(1), np.zeros(1)
        return GaussianMixture(one, zero, zero, one, one, np.array([self.kappa**2])).joint(independent_error=True)

    def structural(self, rng: np.random.Generator, size: int, padding: float = 0.0) -> tuple[Array, Array]:
        """Raw (gold, length) from the structural equations, ``padding`` added to every length by the policy."""
        effort, own_length, own_gold = rng.standard_normal((3, size))
        spread = math.sqrt(1 - self.kappa**2)
        return self.kappa * effort + spread * own_gold, self.kappa * effort + spread * own_length + padding

    def kl(self, padding: float) -> float:
        """KL of adding ``padding`` to length given everything else, whose conditional variance is ``1 - kappa^2``, in
        nats.
        """
        return padding**2 / (2 * (1 - self.kappa**2))

    def runners(self) -> dict[str, Runner]:
        """Proxy-only selection, and the policy that pads."""

        def one(rng: np.random.Generator, padding: float, replicates: int) -> ToyPoint:
            if not (math.isfinite(padding) and padding >= 0):
                raise InputError(f"`pressures` of move-length (padding in SD) must be >= 0, got {padding:g}.")

            def draw(size: int) -> tuple[Array, Array]:
                gold, length = self.structural(rng, size, padding)
                return gold, self.joint.scale.proxy(length)

            exact = shift_point(padding, self.kl(padding), padding / self.joint.scale.proxy_unit, 0.0, self.joint.scale)
            return sampled_point(exact, draw, replicates)

        move = Runner(
            "padding of every answer, in SD of length",
            (0.0, 0.5, 1.0, 1.5, 2.0, 3.0),
            lambda rng, pressures, replicates: tuple(one(rng, value, replicates) for value in pressures),
        )
        return selection_runners(self.joint) | {"move-length": move}
