"""Shift against condition: proxy X and gold Y standard normal with correlation rho (Jenner; ledger K38).

Conditioning on X moves Y along. A policy that shifts X's mean alone pays ``1 / (1 - rho^2)`` times the KL and gains no
Y. With the means (m, v) as parameters the vanilla gradient of E[X] does exactly that, and the natural gradient moves
along the covariance. ``KL(m, v) = m^2/2 + (v - rho m)^2 / (2 (1 - rho^2))``.
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

__all__ = ["JointGaussian"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class JointGaussian:
    """Proxy and gold jointly normal."""

    rho: float = 0.8
    """Correlation of proxy and gold, in (0, 1)."""

    def __post_init__(self) -> None:
        if not 0 < self.rho < 1:
            raise InputError(f"`rho` must lie in (0, 1), got {self.rho:g}.")

    @cached_property
    def joint(self) -> Joint:
        """One bivariate normal; its error is independent of gold."""
        one, zero = np.ones(1), np.zeros(1)
        return GaussianMixture(one, zero, zero, one, one, np.array([self.rho])).joint(independent_error=True)

    def kl(self, proxy_shift: float, gold_shift: float) -> float:
        """KL of moving the means by (m, v), in nats."""
        return proxy_shift**2 / 2 + (gold_shift - self.rho * proxy_shift) ** 2 / (2 * (1 - self.rho**2))

    def gradient(self, *, natural: bool) -> tuple[float, float]:
        """Direction of ascent of E[X] in (m, v): ``(1, 0)``, or Fisher^-1 (1, 0) = ``(1, rho)``."""
        return (1.0, self.rho) if natural else (1.0, 0.0)

    def runners(self) -> dict[str, Runner]:
        """Proxy-only selection, and the two gradients of the mean."""
        return selection_runners(self.joint) | {
            "vanilla-gradient": self._gradient_runner(natural=False),
            "natural-gradient": self._gradient_runner(natural=True),
        }

    def _gradient_runner(self, *, natural: bool) -> Runner:
        direction = self.gradient(natural=natural)

        def one(rng: np.random.Generator, pressure: float, replicates: int) -> ToyPoint:
            if not (math.isfinite(pressure) and pressure >= 0):
                raise InputError(f"`pressures` (shift of the proxy's mean in SD) must be >= 0, got {pressure:g}.")
            m, v = direction[0] * pressure, direction[1] * pressure

            def draw(size: int) -> tuple[Array, Array]:
                x = rng.standard_normal(size)
                y = self.rho * x + math.sqrt(1 - self.rho**2) * rng.standard_normal(size)
                return y + v, self.joint.scale.proxy(x + m)

            exact = shift_point(pressure, self.kl(m, v), m / self.joint.scale.proxy_unit, v, self.joint.scale)
            return sampled_point(exact, draw, replicates)

        return Runner(
            "shift of the proxy's mean, in its SD",
            (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0),
            lambda rng, pressures, replicates: tuple(one(rng, value, replicates) for value in pressures),
        )
