"""Best-of-n: the sample with the largest proxy among n of the base policy, n >= 1 real and of any size.

The winner's rank is drawn exactly as ``V^(1/n)``, V uniform: best-of-e^30 costs what best-of-2 costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from overopt.theory.best_of_n import best_of_n_kl, best_of_n_log_ratio
from overopt.theory.errors import InputError
from overopt.toys.worlds.base_law import BaseLaw
from overopt.toys.worlds.joint import Joint

__all__ = ["BestOfN"]

Array = NDArray[np.float64]

LARGEST_N = 1e30


@dataclass(frozen=True)
class BestOfN:
    """Pressure: n. ``KL = log n - (n - 1)/n`` (ledger K01)."""

    name: ClassVar[str] = "best-of-n"
    by_rank: ClassVar[bool] = True
    default_pressures: ClassVar[tuple[float, ...]] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 60000, 1e13)

    def check(self, joint: Joint, pressure: float) -> None:
        del joint
        self.check_pressure(pressure)

    def check_pressure(self, pressure: float) -> None:
        """Raise InputError outside the range of the pressure."""
        if not 1 <= pressure <= LARGEST_N:
            raise InputError(f"`pressures` of best-of-n (n) must lie in [1, {LARGEST_N:g}], got {pressure:g}.")

    def cut(self, joint: Joint, pressure: float) -> float | None:
        del joint, pressure
        return None

    def log_ratio(self, law: BaseLaw, pressure: float, cut: float | None) -> Array:
        del cut
        return best_of_n_log_ratio(law.log_cdf, pressure)

    def rank_sf(self, base_sf: Array, pressure: float) -> Array:
        """``1 - F^n``: probability that the winner's rank lies above a base rank with ``1 - F = base_sf``."""
        with np.errstate(divide="ignore"):
            return np.asarray(-np.expm1(pressure * np.log1p(-base_sf)))

    def kl(self, law: BaseLaw, log_ratio: Array, pressure: float) -> float:
        del law, log_ratio
        return float(best_of_n_kl(pressure))

    def draw_logit(self, rng: np.random.Generator, joint: Joint, pressure: float, size: int) -> Array:
        """``log F = -E/n`` with E standard exponential, which is ``log V / n``."""
        del joint
        log_cdf = rng.standard_exponential(size)
        log_cdf *= -1.0 / pressure
        log_sf = np.expm1(log_cdf)
        np.negative(log_sf, out=log_sf)
        np.log(log_sf, out=log_sf)
        log_cdf -= log_sf
        return log_cdf
