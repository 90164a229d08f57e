"""Missing features under a resource budget (Zhuang and Hadfield-Menell 2020): the proxy counts some features, gold all
of them.

Features f_1 .. f_J are normal deviations from the base allocation that add up to 0 (the budget), so whatever the seen
features gain the others lose. Gold has diminishing returns, ``-SUM_j (f_j - target_j)^2``; its optimum gives the seen
features a little more than the base policy does. With u the proxy in its own SD, ``gold = -(u - target)^2 -
chi^2_(J-2)`` exactly: it rises, peaks at ``target`` and falls without bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import ive, log_ndtr

from overopt.theory.errors import InputError
from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.closed_form_law import ClosedFormLaw
from overopt.toys.worlds.density import Density
from overopt.toys.worlds.independent_sum import IndependentSum
from overopt.toys.worlds.joint import Joint, Scale
from overopt.toys.worlds.regression import check_positive

__all__ = ["MissingFeatures"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MissingFeatures:
    """``seen`` of ``features`` features are in the proxy; all of them share one budget."""

    features: int = 6
    """Number of features J, 4 to 100."""
    seen: int = 2
    """How many the proxy sees, from 1 to J - 1."""
    target: float = 1.5
    """Proxy, in its base SD, at which gold is best, > 0."""

    def __post_init__(self) -> None:
        if not 4 <= self.features <= 100:
            raise InputError(f"`features` must lie in [4, 100], got {self.features}.")
        if not 1 <= self.seen < self.features:
            raise InputError(f"`seen` must lie in [1, features - 1 = {self.features - 1}], got {self.seen}.")
        check_positive("target", self.target)

    @cached_property
    def scale(self) -> Scale:
        """``E gold = -(J - 1 + t^2)``, ``Var gold = 2 (J - 1) + 4 t^2``, ``Cov(gold, u) = 2 t``."""
        j, t = self.features, self.target
        gold_sd = math.sqrt(2 * (j - 1) + 4 * t**2)
        return Scale.of_moments(-(j - 1 + t**2), gold_sd, 0.0, 1.0, 2 * t / gold_sd)

    @cached_property
    def joint(self) -> Joint:
        """Proxy standard normal; gold and error are noncentral chi^2 with J - 1 degrees of freedom, up to a line."""
        scale, t, residual = self.scale, self.target, self.features - 2
        unit, sd = scale.proxy_unit, scale.gold_sd

        def mean(proxy: Array) -> Array:
            return scale.gold(-((proxy * unit - t) ** 2) - residual)

        # error = u/unit + [(u - t)^2 + chi^2 - E] / sd: completing the square shifts the centre by sd / (2 unit).
        centre = t - sd / (2 * unit)
        offset = scale.gold_mean / sd + (t**2 - centre**2) / sd
        null = IndependentSum(
            _noncentral(self.features - 1, t**2, -1 / sd, -scale.gold_mean / sd),
            _noncentral(self.features - 1, centre**2, 1 / sd, offset),
        )
        exact = ClosedFormLaw(
            np.linspace(-18.0, 18.0, 73) / unit,
            lambda p: np.asarray(-0.5 * (p * unit) ** 2 - 0.5 * math.log(2 * math.pi) + math.log(unit)),
            lambda p: np.asarray(log_ndtr(np.asarray(p) * unit)),
            lambda p: np.asarray(log_ndtr(-np.asarray(p) * unit)),
            mean,
        )

        def draw_gold(rng: np.random.Generator, proxy: Array) -> Array:
            return scale.gold(-((proxy * unit - t) ** 2) - rng.chisquare(residual, proxy.size))

        return Joint(
            scale=scale, law=exact.law, quantile=exact.quantile, logit=exact.logit,
            draw_gold=draw_gold, draw_base=self.draw_allocation, null=null,
        )  # fmt: skip

    def draw_allocation(self, rng: np.random.Generator, size: int) -> tuple[Array, Array]:
        """Gold and proxy of base samples from the features themselves, on the scale."""
        free = rng.standard_normal((size, self.features))
        allocation = free - free.mean(axis=1, keepdims=True)
        unseen = self.features - self.seen
        proxy_sd = math.sqrt(self.seen * unseen / self.features)
        lead = self.target * proxy_sd
        targets = np.where(np.arange(self.features) < self.seen, lead / self.seen, -lead / unseen)
        gold = -((allocation - targets) ** 2).sum(axis=1)
        return self.scale.gold(gold), self.scale.proxy(allocation[:, : self.seen].sum(axis=1) / proxy_sd)

    def tilt_gold(self, shift: float) -> float:
        """Gain in gold SD when u moves to N(shift, 1): ``(2 t shift - shift^2) / sd``."""
        return (2 * self.target * shift - shift**2) / self.scale.gold_sd

    def runners(self) -> dict[str, Runner]:
        """The five proxy-only optimizers."""
        return selection_runners(self.joint)


def _noncentral(dof: int, centre: float, factor: float, offset: float) -> Density:
    """The law of ``factor Q + offset``, Q noncentral chi^2 with ``dof`` degrees of freedom and noncentrality
    ``centre``.

    ``f(q) = (1/2) exp(-(sqrt q - sqrt c)^2 / 2) (q/c)^((dof-2)/4) ive((dof-2)/2, sqrt(c q))``, ive the scaled Bessel
    function.
    """
    order = dof / 2 - 1
    root = math.sqrt(max(centre, 1e-12))
    size = abs(factor)
    farthest = root + math.sqrt(dof) + 14.5
    # log ive(order, x) - order log x is smooth down to x = 0: a spline of it costs a tenth of the Bessel function.
    grid = np.linspace(farthest * 1e-6, farthest * 1.001, 4000)
    bessel = CubicSpline(grid, np.log(ive(order, grid * root)) - order * np.log(grid * root))

    def log_pdf(x: Array) -> Array:
        q = (np.asarray(x) - offset) / factor
        s = np.sqrt(np.clip(q, 1e-200, farthest**2))
        value = -0.5 * (s - root) ** 2 + 2 * order * np.log(s) + bessel(s) - math.log(2 * size)
        return np.where((q > 0) & (q <= farthest**2), value, -np.inf)

    roots = np.concatenate([farthest * 2.0 ** np.arange(-20.0, -4.0), np.linspace(0.0, farthest, 40)[1:]])
    edges = np.unique(np.concatenate([[0.0], roots**2]))
    return Density(log_pdf, np.sort(offset + factor * edges))
