"""Exponential tilt: ``pi(y) ~ pi_0(y) exp(lambda proxy(y))``, the optimum of ``E[proxy] - KL / lambda``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from overopt.theory.errors import InputError
from overopt.toys.optimizers.selection import draw_logit_by_inversion
from overopt.toys.worlds.base_law import BaseLaw
from overopt.toys.worlds.joint import Joint

__all__ = ["ExponentialTilt"]

Array = NDArray[np.float64]

_LARGEST_END_SHARE = 1e-12
_DEEP_TAIL = 60.0


@dataclass(frozen=True)
class ExponentialTilt:
    """Pressure: lambda per gold SD of the scaled proxy, the inverse of the KL coefficient."""

    name: ClassVar[str] = "exponential-tilt"
    by_rank: ClassVar[bool] = False
    default_pressures: ClassVar[tuple[float, ...]] = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)

    def check(self, joint: Joint, pressure: float) -> None:
        if not (np.isfinite(pressure) and pressure >= 0):
            raise InputError(f"`pressures` of exponential-tilt (lambda) must be >= 0, got {pressure:g}.")
        if pressure > 0 and pressure >= joint.largest_tilt:
            raise InputError(
                f"`pressures` of exponential-tilt must be < {joint.largest_tilt:g}, or E exp(lambda proxy) is infinite "
                f"in this world, got {pressure:g}."
            )
        base = joint.base
        weight = np.exp(self.log_ratio(base, pressure, None)) * base.mass
        unbounded = base.log_sf[-1] < -_DEEP_TAIL
        if pressure > 0 and unbounded and weight[-8:].sum() > _LARGEST_END_SHARE:
            raise InputError(
                f"`pressures` of exponential-tilt must leave the mass within base ranks of 1 - e^-90, got {pressure:g}."
            )

    def cut(self, joint: Joint, pressure: float) -> float | None:
        del joint, pressure
        return None

    def log_ratio(self, law: BaseLaw, pressure: float, cut: float | None) -> Array:
        del cut
        exponent = pressure * law.proxy
        return np.asarray(exponent - logsumexp(exponent, b=law.mass))

    def kl(self, law: BaseLaw, log_ratio: Array, pressure: float) -> float:
        # E[ratio log ratio - ratio + 1] is a sum of nonnegative terms: no cancellation at small pressure.
        return float((np.exp(log_ratio) * log_ratio - np.expm1(log_ratio)) @ law.mass)

    def draw_logit(self, rng: np.random.Generator, joint: Joint, pressure: float, size: int) -> Array:
        return draw_logit_by_inversion(rng, joint, self, pressure, size)
