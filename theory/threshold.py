"""Threshold conditioning: the base policy given `proxy >= c`; the quantilizer with `q = P_base(proxy >= c)`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.proxy_law import log_sf_of_logit
from overopt.theory.quantilizer import top_expectation
from overopt.theory.world import ExactCurve, World

__all__ = ["threshold"]

Array = NDArray[np.float64]


def threshold(world: World, c: ArrayLike) -> ExactCurve:
    """Exact curve of conditioning on `proxy >= c` at every threshold `c`.

    `KL = -log P(proxy >= c)` and `chi^2 = 1/P - 1`; a threshold above the support gives `inf` and `nan`.
    """
    values = np.asarray(c, dtype=float)
    log_q = np.minimum(log_sf_of_logit(world.law.logit(values)), 0.0)
    reachable = log_q > -np.inf
    usable = np.where(reachable, log_q, 0.0)
    with np.errstate(over="ignore"):
        chi2 = np.expm1(-log_q)
    return ExactCurve(
        method="threshold",
        pressure=values,
        kl=-log_q,
        chi2=chi2,
        win_rate=1 - np.exp(log_q) / 2,
        proxy=np.where(reachable, top_expectation(world, world.grid.proxy, usable), np.nan),
        gold=np.where(reachable, top_expectation(world, world.grid.gold, usable), np.nan),
    )
