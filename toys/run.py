"""One call: a world, an optimizer, the pressures; back comes the curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from overopt.theory.errors import InputError
from overopt.toys.curve import ToyCurve, ToyPoint
from overopt.toys.registry import WORLDS, world_named

__all__ = ["simulate", "toy"]

DEFAULT_REPLICATES = 100_000


def simulate(
    rng: np.random.Generator,
    world: Any,
    optimizer: str = "best-of-n",
    pressures: Sequence[float] | None = None,
    *,
    replicates: int = DEFAULT_REPLICATES,
    seeds: int = 1,
) -> ToyCurve:
    """The exact curve of ``optimizer`` in ``world``, and a simulation beside it.

    Parameters
    ----------
    world
        A world's dataclass, for example ``Additive(noise="laplace")``.
    optimizer
        A key of ``world.runners()``.
    pressures
        The optimizer's own parameter (n, 1/q, lambda, steps, ...); default: the optimizer's.
    replicates
        Simulated samples of the policy per pressure and seed, 0 for none; tables are simulated by drawing them.
    seeds
        Independent repetitions, averaged; worlds that are drawn (tables, learned reward models) are drawn anew for
        each.

    Raises
    ------
    InputError
        On an unknown optimizer or a pressure outside its range.
    """
    runners = world.runners()
    if optimizer not in runners:
        close = get_close_matches(optimizer, runners, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise InputError(f"`optimizer` must be one of {', '.join(runners)} in this world, got '{optimizer}'.{hint}")
    if seeds < 1:
        raise InputError(f"`seeds` must be >= 1, got {seeds}.")
    if replicates < 0 or replicates == 1:
        raise InputError(f"`replicates` must be 0 (no simulation) or >= 2, got {replicates}.")
    runner = runners[optimizer]
    wanted = tuple(float(value) for value in (runner.default_pressures if pressures is None else pressures))
    if not wanted:
        raise InputError("`pressures` must hold at least one value.")
    if any(math.isnan(value) for value in wanted):
        raise InputError("`pressures` must be numbers, got nan.")
    runs = [runner.points(child, wanted, replicates) for child in rng.spawn(seeds)]
    joint = getattr(world, "joint", None)
    return ToyCurve(
        world=next((name for name, kind in WORLDS.items() if kind is type(world)), type(world).__name__),
        optimizer=optimizer,
        parameters=asdict(world),
        points=tuple(_average(points) for points in zip(*runs, strict=True)),
        scale=getattr(world, "scale_kind", "slope") if joint is None else joint.scale.kind,
    )


def toy(
    world: str,
    optimizer: str = "best-of-n",
    pressures: Sequence[float] | None = None,
    *,
    seed: int = 0,
    replicates: int = DEFAULT_REPLICATES,
    seeds: int = 1,
    **parameters: Any,
) -> ToyCurve:
    """:func:`simulate` in one line: ``print(toy("additive", pressures=[1, 42, 1000], noise="student_t"))``."""
    kind = world_named(world)
    known = [item.name for item in fields(kind)] if is_dataclass(kind) else []
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise InputError(f"world '{world}' has no parameter `{unknown[0]}`; it has {', '.join(known)}.")
    return simulate(
        np.random.default_rng(seed), kind(**parameters), optimizer, pressures, replicates=replicates, seeds=seeds
    )


def _average(points: tuple[ToyPoint, ...]) -> ToyPoint:
    """Mean over seeds; standard errors add in squares."""
    if len(points) == 1:
        return points[0]
    mean = {item.name: float(np.mean([getattr(point, item.name) for point in points])) for item in fields(ToyPoint)}
    for name in ("gold_se", "proxy_se"):
        mean[name] = math.sqrt(sum(getattr(point, name) ** 2 for point in points)) / len(points)
    mean["d"] = math.sqrt(mean["kl"])
    return ToyPoint(**mean)
