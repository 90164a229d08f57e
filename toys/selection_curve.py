"""A proxy-only optimizer in a world with one joint law of gold and proxy: exact terms by quadrature, and a simulation
beside them.

The decomposition, with ``m(p) = E_base[gold | proxy = p]``:

- an optimizer that selects by rank is run in the null world too (same gold, same error, independent of each other),
  where it would
  find ``gold_null``: regressional = promise - gold_null, extremal = gold_null - delivered. This is what the residual-
  permutation null of a measured best-of-n curve estimates;
- an optimizer that weighs proxy *values* is judged by ``m0``, the null world's regression: regressional = E_pi[p -
  m0(p)], extremal
  = E_pi[m0(p) - m(p)];
- causal = E_pi[m(p) - gold] is 0: a reweighting by proxy keeps the base relation; nothing lies outside the base
  policy's support.

Both readings agree where the error is independent of gold: there m0 = m and extremal = 0.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.curve import ToyPoint
from overopt.toys.optimizers.selection import SelectionOptimizer
from overopt.toys.worlds.base_law import BaseLaw
from overopt.toys.worlds.joint import Joint

__all__ = ["exact_points", "selection_points", "simulated_samples"]

Array = NDArray[np.float64]


def _weights(law: BaseLaw, optimizer: SelectionOptimizer, pressure: float, cut: float | None) -> tuple[Array, Array]:
    """Log ratio and normalised policy mass at the nodes."""
    log_ratio = optimizer.log_ratio(law, pressure, cut)
    mass = law.mass * np.exp(log_ratio)
    return log_ratio, mass / mass.sum()


def exact_points(joint: Joint, optimizer: SelectionOptimizer, pressures: tuple[float, ...]) -> tuple[ToyPoint, ...]:
    """The exact policy at every pressure, without simulation (``gold`` and ``proxy`` are NaN)."""
    for pressure in pressures:
        optimizer.check(joint, pressure)
    cuts = [optimizer.cut(joint, pressure) for pressure in pressures]
    jumps = np.array([cut for cut in cuts if cut is not None])
    law = joint.law(joint.quantile(jumps)) if jumps.size else joint.base
    null_law = null_regression = None
    if joint.null is not None and optimizer.by_rank:
        null_law = joint.null.law(joint.null.quantile(jumps) if jumps.size else None)
    elif joint.null is not None:
        null_regression = joint.null.mean(law.proxy)

    points = []
    for pressure, cut in zip(pressures, cuts, strict=True):
        log_ratio, mass = _weights(law, optimizer, pressure, cut)
        change = mass - law.mass
        promise, delivered = float(change @ law.proxy), float(change @ law.gold)
        null_gold, null_proxy = delivered, promise if optimizer.by_rank else math.nan
        if null_law is not None:
            _, null_mass = _weights(null_law, optimizer, pressure, cut)
            null_change = null_mass - null_law.mass
            null_gold, null_proxy = float(null_change @ null_law.gold), float(null_change @ null_law.proxy)
        elif null_regression is not None:
            null_gold = float(mass @ null_regression)
        kl = max(optimizer.kl(law, log_ratio, pressure), 0.0)
        points.append(ToyPoint(
            pressure=pressure, kl=kl, d=math.sqrt(kl), proxy=math.nan, gold=math.nan, gold_exact=delivered,
            gold_se=math.nan, promise=promise, regressional=promise - null_gold, extremal=null_gold - delivered,
            causal=0.0, unattributed=0.0, delivered=delivered, null_proxy=null_proxy,
        ))  # fmt: skip
    return tuple(points)


def simulated_samples(
    rng: np.random.Generator, joint: Joint, optimizer: SelectionOptimizer, pressure: float, size: int
) -> tuple[Array, Array]:
    """``(gold, proxy)`` of ``size`` independent samples of the optimized policy, on the world's scale."""
    proxy = joint.quantile_table(optimizer.draw_logit(rng, joint, pressure, size))
    return joint.draw_gold(rng, proxy), proxy


def selection_points(
    rng: np.random.Generator,
    joint: Joint,
    optimizer: SelectionOptimizer,
    pressures: tuple[float, ...],
    replicates: int,
) -> tuple[ToyPoint, ...]:
    """Exact and simulated point at every pressure; ``replicates`` samples of the policy each (0: no simulation)."""
    if replicates < 0 or replicates == 1:
        raise InputError(f"`replicates` must be 0 (no simulation) or >= 2, got {replicates}.")
    points = []
    for point in exact_points(joint, optimizer, pressures):
        if replicates:
            gold, proxy = simulated_samples(rng, joint, optimizer, point.pressure, replicates)
            root = math.sqrt(replicates)
            point = replace(
                point, gold=float(gold.mean()), gold_se=float(gold.std(ddof=1)) / root,
                proxy=float(proxy.mean()), proxy_se=float(proxy.std(ddof=1)) / root,
            )  # fmt: skip
        points.append(point)
    return tuple(points)
