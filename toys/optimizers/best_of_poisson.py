"""Best-of-Poisson: best of ``1 + Poisson(mu)`` base samples (Khalaf et al. 2506.19248; ledger K09)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from overopt.theory.best_of_poisson import best_of_poisson_kl, best_of_poisson_log_ratio
from overopt.theory.errors import InputError
from overopt.toys.worlds.base_law import BaseLaw
from overopt.toys.worlds.joint import Joint

__all__ = ["BestOfPoisson"]

Array = NDArray[np.float64]

LARGEST_MU = 1e15


@dataclass(frozen=True)
class BestOfPoisson:
    """Pressure: mu, the mean number of extra samples."""

    name: ClassVar[str] = "best-of-poisson"
    by_rank: ClassVar[bool] = True
    default_pressures: ClassVar[tuple[float, ...]] = (0, 1, 3, 7, 15, 63, 255, 1023, 60000)

    def check(self, joint: Joint, pressure: float) -> None:
        del joint
        self.check_pressure(pressure)

    def check_pressure(self, pressure: float) -> None:
        """Raise InputError outside the range of the pressure."""
        if not 0 <= pressure <= LARGEST_MU:
            raise InputError(f"`pressures` of best-of-poisson (mu) must lie in [0, {LARGEST_MU:g}], got {pressure:g}.")

    def cut(self, joint: Joint, pressure: float) -> float | None:
        del joint, pressure
        return None

    def log_ratio(self, law: BaseLaw, pressure: float, cut: float | None) -> Array:
        del cut
        return best_of_poisson_log_ratio(law.log_cdf, law.log_sf, pressure)

    def rank_sf(self, base_sf: Array, pressure: float) -> Array:
        """``1 - F exp(-mu (1 - F))``: probability that the winner's rank lies above a base rank with ``1 - F =
        base_sf``.
        """
        with np.errstate(divide="ignore"):
            return np.asarray(-np.expm1(np.log1p(-base_sf) - pressure * base_sf))

    def kl(self, law: BaseLaw, log_ratio: Array, pressure: float) -> float:
        del law, log_ratio
        return float(best_of_poisson_kl(pressure))

    def draw_logit(self, rng: np.random.Generator, joint: Joint, pressure: float, size: int) -> Array:
        """Draws the number of samples, then the best of that many."""
        del joint
        log_cdf = -rng.standard_exponential(size) / (1 + rng.poisson(pressure, size))
        return np.asarray(log_cdf - np.log(-np.expm1(log_cdf)))
