"""Policies that move the base policy instead of selecting from it, where gold and proxy stay jointly normal.

The base relation ``m(p) = E_base[gold | proxy = p]`` is then a straight line and the error is independent of gold on
the slope scale, so extremal is 0 and what the move loses beyond shrinkage is causal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from overopt.toys.curve import ToyPoint
from overopt.toys.worlds.joint import Scale

__all__ = ["sampled_point", "shift_point"]

Array = NDArray[np.float64]


def shift_point(pressure: float, kl: float, promise: float, delivered: float, scale: Scale) -> ToyPoint:
    """The exact terms of a policy with mean proxy ``promise`` and mean gold ``delivered``, both gains on ``scale``.

    ``m(p) = m0(p) = rho^2 p`` on the slope scale and ``rho p`` on the pooled-SD scale.
    """
    believed = promise * (scale.correlation**2 if scale.kind == "slope" else scale.correlation)
    return ToyPoint(
        pressure=pressure, kl=kl, d=math.sqrt(max(kl, 0.0)), proxy=math.nan, gold=math.nan, gold_exact=delivered,
        gold_se=math.nan, promise=promise, regressional=promise - believed, extremal=0.0, causal=believed - delivered,
        unattributed=0.0, delivered=delivered,
    )  # fmt: skip


def sampled_point(point: ToyPoint, draw: Callable[[int], tuple[Array, Array]], replicates: int) -> ToyPoint:
    """``point`` with the means of ``draw(replicates) -> (gold, proxy)``, gains on the scale; no simulation for 0."""
    if not replicates:
        return point
    gold, proxy = draw(replicates)
    root = math.sqrt(replicates)
    return replace(
        point, gold=float(gold.mean()), gold_se=float(gold.std(ddof=1)) / root,
        proxy=float(proxy.mean()), proxy_se=float(proxy.std(ddof=1)) / root,
    )  # fmt: skip
