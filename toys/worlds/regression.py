"""Worlds given by a curve: proxy N(0, 1), gold = m(proxy) + a hidden N(0, hidden^2) part that the proxy does not see.

A bend of m makes the error depend on gold, which is extremal Goodhart. The families of m are in the files beside this
one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from overopt.theory.errors import InputError
from overopt.theory.panels import panel_nodes
from overopt.toys.worlds.closed_form_law import ClosedFormLaw
from overopt.toys.worlds.density import gaussian_smoothed
from overopt.toys.worlds.independent_sum import IndependentSum
from overopt.toys.worlds.joint import Joint, Scale

__all__ = ["check_positive", "regression_joint"]

Array = NDArray[np.float64]

_EDGES = np.linspace(-18.0, 18.0, 73)
_NULL_REACH = 14.0
SMALLEST_HIDDEN = 0.1


def check_positive(name: str, value: float, *, zero: bool = False) -> None:
    """Raise InputError unless ``value`` is finite and > 0 (>= 0 with ``zero``)."""
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise InputError(f"`{name}` must be a finite number {'>=' if zero else '>'} 0, got {value:g}.")


def regression_joint(mean: Callable[[Array], Array], hidden: float, kinks: tuple[float, ...] = ()) -> Joint:
    """The joint law of ``proxy = u ~ N(0, 1)`` and ``gold = mean(u) + hidden * N(0, 1)``.

    Parameters
    ----------
    mean
        m, vectorised, in raw gold units.
    hidden
        Standard deviation of the part of gold that the proxy does not see, >= 0.1 (the null's quadrature needs it).
    kinks
        Where m is not smooth.
    """
    if not (math.isfinite(hidden) and hidden >= SMALLEST_HIDDEN):
        raise InputError(f"`hidden` must be a finite number >= {SMALLEST_HIDDEN:g}, got {hidden:g}.")
    edges = np.unique(np.append(_EDGES, kinks))
    nodes, weights = panel_nodes(edges)
    u = nodes.ravel()
    mass = weights.ravel() * np.exp(-0.5 * u**2)
    mass /= mass.sum()
    values = mean(u)
    gold_mean = float(mass @ values)
    gold_sd = math.sqrt(float(mass @ (values - gold_mean) ** 2) + hidden**2)
    scale = Scale.of_moments(gold_mean, gold_sd, 0.0, 1.0, float(mass @ (u * values)) / gold_sd)
    if scale.kind != "slope":
        raise InputError(
            f"gold must rise with the proxy under the base policy, got a correlation of {scale.correlation:.3g}."
        )
    unit, spread = scale.proxy_unit, hidden / gold_sd

    def scaled_mean(proxy: Array) -> Array:
        return scale.gold(mean(proxy * unit))

    exact = ClosedFormLaw(
        edges / unit,
        lambda p: np.asarray(-0.5 * (p * unit) ** 2 - 0.5 * math.log(2 * math.pi) + math.log(unit)),
        lambda p: np.asarray(log_ndtr(np.asarray(p) * unit)),
        lambda p: np.asarray(log_ndtr(-np.asarray(p) * unit)),
        scaled_mean,
    )
    likely = np.abs(u) < _NULL_REACH
    weight, gold_nodes = mass[likely], scale.gold(values[likely])
    null = IndependentSum(
        gaussian_smoothed(weight, gold_nodes, spread),
        gaussian_smoothed(weight, u[likely] / unit - gold_nodes, spread),
    )

    def draw_gold(rng: np.random.Generator, proxy: Array) -> Array:
        return np.asarray(scaled_mean(proxy) + spread * rng.standard_normal(proxy.size))

    def draw_base(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
        raw = rng.standard_normal(size)
        gold = mean(raw) + hidden * rng.standard_normal(size)
        return scale.gold(gold), scale.proxy(raw)

    return Joint(
        scale=scale, law=exact.law, quantile=exact.quantile, logit=exact.logit,
        draw_gold=draw_gold, draw_base=draw_base, null=null,
    )  # fmt: skip
