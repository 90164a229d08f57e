"""Threshold conditioning: the base policy given that the proxy exceeds a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.theory.proxy_law import log_sf_of_logit
from overopt.toys.worlds.base_law import BaseLaw
from overopt.toys.worlds.joint import Joint

__all__ = ["Threshold"]

Array = NDArray[np.float64]

LARGEST_KL = 69.0


@dataclass(frozen=True)
class Threshold:
    """Pressure: the threshold on the scaled proxy, in gold SD. ``KL = -log P_base(proxy >= threshold)``."""

    name: ClassVar[str] = "threshold"
    by_rank: ClassVar[bool] = False
    default_pressures: ClassVar[tuple[float, ...]] = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0)

    def _log_share(self, joint: Joint, pressure: float) -> float:
        return float(log_sf_of_logit(joint.logit(np.asarray(pressure))))

    def check(self, joint: Joint, pressure: float) -> None:
        if not np.isfinite(pressure) or self._log_share(joint, pressure) < -LARGEST_KL:
            raise InputError(
                f"`pressures` of threshold must leave the base policy a probability above e^-{LARGEST_KL:g}, "
                f"got {pressure:g}."
            )

    def cut(self, joint: Joint, pressure: float) -> float | None:
        return float(joint.logit(np.asarray(pressure)))

    def log_ratio(self, law: BaseLaw, pressure: float, cut: float | None) -> Array:
        kept = law.proxy >= pressure
        return np.where(kept, -np.log(law.mass[kept].sum()), -np.inf)

    def kl(self, law: BaseLaw, log_ratio: Array, pressure: float) -> float:
        del law, pressure
        return float(log_ratio.max())

    def draw_logit(self, rng: np.random.Generator, joint: Joint, pressure: float, size: int) -> Array:
        log_upper = self._log_share(joint, pressure) + np.log(1 - rng.random(size))
        return np.asarray(np.log(-np.expm1(np.minimum(log_upper, -1e-16))) - log_upper)
