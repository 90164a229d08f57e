"""Proxy-only selection from finitely many outputs per prompt, ties broken at random."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.curve import ToyPoint
from overopt.toys.finite_base import FiniteBase
from overopt.toys.optimizers.best_of_n import BestOfN
from overopt.toys.optimizers.best_of_poisson import BestOfPoisson
from overopt.toys.optimizers.quantilizer import Quantilizer
from overopt.toys.runner import Runner

__all__ = ["conditioned_policy", "finite_selection_runners", "rank_policy", "tilted_policy"]

Array = NDArray[np.float64]
RankOptimizer = BestOfN | BestOfPoisson | Quantilizer


def rank_policy(base: FiniteBase, optimizer: RankOptimizer, pressure: float) -> Array:
    """(K, A) exact policy of a selection by rank: an output wins with the policy's probability of its interval of
    ranks.
    """
    optimizer.check_pressure(pressure)
    return base.select_by_rank(optimizer.rank_sf(base.sorted_sf, pressure))


def tilted_policy(base: FiniteBase, pressure: float) -> Array:
    """(K, A) ``pi_0 exp(lambda proxy)``, normalised in each prompt."""
    if not (math.isfinite(pressure) and pressure >= 0):
        raise InputError(f"`pressures` of exponential-tilt (lambda) must be >= 0, got {pressure:g}.")
    return base.reweight(pressure * base.proxy)


def conditioned_policy(base: FiniteBase, threshold: float) -> Array:
    """(K, A) the base policy given ``proxy >= threshold``."""
    kept = base.proxy >= threshold
    if not kept.any(axis=1).all():
        raise InputError(f"`pressures` of threshold must leave every prompt an output, got {threshold:g}.")
    return base.reweight(np.where(kept, 0.0, -np.inf))


def _simulated(rng: np.random.Generator, base: FiniteBase, point: ToyPoint, policy: Array, replicates: int) -> ToyPoint:
    """``point`` with gold and proxy from ``replicates`` outputs sampled from the policy of the one prompt."""
    drawn = np.searchsorted(np.cumsum(policy[0]), rng.random(replicates) * policy[0].sum(), side="right")
    gold, proxy = base.gold[0, drawn], base.proxy[0, drawn]
    start_gold, start_proxy = float(base.probability[0] @ base.gold[0]), float(base.probability[0] @ base.proxy[0])
    # Exact binomial spread: a sample without the rare output would otherwise look certain.
    gold_sd = math.sqrt(max(float(policy[0] @ base.gold[0] ** 2) - float(policy[0] @ base.gold[0]) ** 2, 0.0))
    proxy_sd = math.sqrt(max(float(policy[0] @ base.proxy[0] ** 2) - float(policy[0] @ base.proxy[0]) ** 2, 0.0))
    root = math.sqrt(replicates)
    return replace(
        point, gold=float(gold.mean()) - start_gold, proxy=float(proxy.mean()) - start_proxy,
        gold_se=gold_sd / root, proxy_se=proxy_sd / root,
    )  # fmt: skip


def finite_selection_runners(
    draw: Callable[[np.random.Generator], FiniteBase],
    *,
    sampled: bool,
    tilts: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
) -> dict[str, Runner]:
    """The five proxy-only optimizers on a finite base policy.

    Parameters
    ----------
    draw
        The base policy, drawn once per run.
    sampled
        Whether the simulation samples outputs of the policy (one prompt) or is the table's own draw of gold.
    tilts
        Default pressures of the exponential tilt.
    """

    def runner(policy: Callable[[FiniteBase, float], Array], pressure: str, default: tuple[float, ...]) -> Runner:
        def points(rng: np.random.Generator, pressures: tuple[float, ...], replicates: int) -> tuple[ToyPoint, ...]:
            base = draw(rng)
            found = []
            for value in pressures:
                table = policy(base, value)
                point = base.point(value, table)
                if sampled and replicates:
                    point = _simulated(rng, base, point, table, replicates)
                found.append(point)
            return tuple(found)

        return Runner(pressure, default, points)

    def by_rank(optimizer: RankOptimizer) -> Callable[[FiniteBase, float], Array]:
        return lambda base, value: rank_policy(base, optimizer, value)

    ranks: tuple[tuple[RankOptimizer, str], ...] = (
        (BestOfN(), "n"), (BestOfPoisson(), "mu, the mean number of extra samples"), (Quantilizer(), "1/q"),
    )  # fmt: skip
    runners = {
        optimizer.name: runner(by_rank(optimizer), text, optimizer.default_pressures) for optimizer, text in ranks
    }
    runners["threshold"] = runner(conditioned_policy, "threshold on the proxy, gold SD", (-1.0, 0.0, 1.0, 1.5))
    runners["exponential-tilt"] = runner(tilted_policy, "lambda per gold SD of proxy", tilts)
    return runners
