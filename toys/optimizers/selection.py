"""What all optimizers share that reweight base samples by their proxy alone: weights, exact KL, and a draw of the
winner.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from overopt.theory.proxy_law import log_cdf_of_logit, log_sf_of_logit
from overopt.toys.worlds.base_law import BaseLaw
from overopt.toys.worlds.joint import Joint

__all__ = ["SelectionOptimizer", "draw_logit_by_inversion"]

Array = NDArray[np.float64]


class SelectionOptimizer(Protocol):
    """A proxy-only reweighting of the base policy, indexed by a pressure.

    ``by_rank`` is true where the weight is a function of the sample's rank: the same selection then exists in any other
    world, the null included. Otherwise the weight is a function of the proxy's value.
    """

    @property
    def name(self) -> str: ...

    @property
    def by_rank(self) -> bool: ...

    @property
    def default_pressures(self) -> tuple[float, ...]: ...

    def check(self, joint: Joint, pressure: float) -> None:
        """Raise InputError where the policy does not exist."""
        ...

    def cut(self, joint: Joint, pressure: float) -> float | None:
        """Log-odds of the rank at which the weight jumps, or None."""
        ...

    def log_ratio(self, law: BaseLaw, pressure: float, cut: float | None) -> Array:
        """Log density of the policy against the base policy at the nodes, ``-inf`` where it has none."""
        ...

    def kl(self, law: BaseLaw, log_ratio: Array, pressure: float) -> float:
        """KL(policy || base) in nats."""
        ...

    def draw_logit(self, rng: np.random.Generator, joint: Joint, pressure: float, size: int) -> Array:
        """(size,) log-odds of the base rank of the policy's samples."""
        ...


def draw_logit_by_inversion(
    rng: np.random.Generator, joint: Joint, optimizer: SelectionOptimizer, pressure: float, size: int
) -> Array:
    """Winner's log-odds of rank by inverting its distribution function on the quantile table's grid.

    Between two grid points of log-odds, 0.0046 apart, the density is taken as constant.
    """
    logit = joint.quantile_table.grid
    log_cdf, log_sf = log_cdf_of_logit(logit), log_sf_of_logit(logit)
    law = BaseLaw(joint.quantile_table.values, np.exp(log_cdf + log_sf), log_cdf, log_sf, np.zeros_like(logit))
    density = np.exp(optimizer.log_ratio(law, pressure, None)) * law.mass
    cumulative = np.append(0.0, np.cumsum(0.5 * (density[1:] + density[:-1])))
    return np.asarray(np.interp(rng.random(size) * cumulative[-1], cumulative, logit))
