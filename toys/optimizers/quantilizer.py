"""Quantilizer: a base sample drawn uniformly from the top fraction q by proxy (Taylor 2016; ledger K46)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.worlds.base_law import BaseLaw
from overopt.toys.worlds.joint import Joint

__all__ = ["Quantilizer"]

Array = NDArray[np.float64]

LARGEST_PRESSURE = 1e30


@dataclass(frozen=True)
class Quantilizer:
    """Pressure: 1/q. ``KL = log(1/q)``."""

    name: ClassVar[str] = "quantilizer"
    by_rank: ClassVar[bool] = True
    default_pressures: ClassVar[tuple[float, ...]] = (1, 2, 4, 8, 16, 64, 256, 1024, 60000, 1e13)

    def check(self, joint: Joint, pressure: float) -> None:
        del joint
        self.check_pressure(pressure)

    def check_pressure(self, pressure: float) -> None:
        """Raise InputError outside the range of the pressure."""
        if not 1 <= pressure <= LARGEST_PRESSURE:
            raise InputError(
                f"`pressures` of quantilizer (1/q) must lie in [1, {LARGEST_PRESSURE:g}], got {pressure:g}."
            )

    def cut(self, joint: Joint, pressure: float) -> float | None:
        del joint
        return float(np.log(pressure - 1)) if pressure > 1 else None

    def log_ratio(self, law: BaseLaw, pressure: float, cut: float | None) -> Array:
        kept = law.log_cdf - law.log_sf >= (-np.inf if cut is None else cut)
        return np.where(kept, np.log(pressure), -np.inf)

    def rank_sf(self, base_sf: Array, pressure: float) -> Array:
        """``min(1, (1 - F) / q)``."""
        return np.minimum(1.0, base_sf * pressure)

    def kl(self, law: BaseLaw, log_ratio: Array, pressure: float) -> float:
        del law, log_ratio
        return float(np.log(pressure))

    def draw_logit(self, rng: np.random.Generator, joint: Joint, pressure: float, size: int) -> Array:
        del joint
        upper = (1 - rng.random(size)) / pressure
        return np.asarray(np.log1p(-np.minimum(upper, 1 - 1e-16)) - np.log(upper))
