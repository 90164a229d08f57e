"""What to measure optimization by: KL, Jensen-Shannon, steps, or the proxy's own score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overopt.toys.finite_base import mean_kl
from overopt.toys.optimizers.policy_gradient import Gradient, PolicyGradient
from overopt.toys.studies.study import Line, Study, verdict
from overopt.toys.worlds.tabular import Tabular

__all__ = ["study"]

Array = NDArray[np.float64]

_STEPS = tuple(range(0, 121, 3))


def _jensen_shannon(policy: Array, base: Array) -> float:
    middle = 0.5 * (policy + base)
    return 0.5 * (mean_kl(policy, middle) + mean_kl(base, middle))


def _spread(axes: list[Array], gold: list[Array]) -> float:
    """Mean over a common range of the axis of the gap between the highest and the lowest gold of the optimizers."""
    grid = np.linspace(0.0, min(float(axis.max()) for axis in axes), 50)[1:]
    values = np.array([np.interp(grid, axis, values) for axis, values in zip(axes, gold, strict=True)])
    return float(np.ptp(values, axis=0).mean())


def study() -> Study:
    """Gold of three policy gradients against four axes: on which do they agree?"""
    axes: dict[str, list[Array]] = {"sqrt KL": [], "sqrt JS": [], "steps": [], "proxy": []}
    golds, lines = [], []
    gradients: tuple[Gradient, ...] = ("natural", "vanilla", "ppo")
    for gradient in gradients:
        world = Tabular(prompts=16, actions=200, noise="laplace", gradient=PolicyGradient(learning_rate=0.01, epochs=1))
        base = world.draw(np.random.default_rng(0))
        policies = world.train(base, gradient, _STEPS)
        points = [base.point(step, policy) for step, policy in zip(_STEPS, policies, strict=True)]
        gold = np.array([point.delivered for point in points])
        axes["sqrt KL"].append(np.array([point.d for point in points]))
        axes["sqrt JS"].append(np.sqrt([_jensen_shannon(policy, base.probability) for policy in policies]))
        axes["steps"].append(np.array(_STEPS, dtype=float))
        axes["proxy"].append(np.array([point.promise for point in points]))
        golds.append(gold)
        lines.append(Line(gradient, tuple(zip(axes["proxy"][-1].tolist(), gold.tolist(), strict=True))))
    spread = {name: _spread(values, golds) for name, values in axes.items()}
    best, second = sorted(spread, key=lambda name: spread[name])[:2]
    return Study(
        claim="Optimizers that differ in KL for the same reward agree best against the proxy's own score (Gao 3.5).",
        verdict=verdict(best == "proxy", decidable=spread[second] > 1.2 * spread[best]),
        finding="Gap in gold between optimizers: " + ", ".join(f"{k} {v:.3f}" for k, v in spread.items()) + " gold SD.",
        x="proxy gained (gold SD)",
        y="gold gained (gold SD)",
        lines=tuple(lines),
    )
