"""One-dimensional densities in the form that the quadratures need: log density, effective support, panel edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Density", "density_of_sum", "gaussian_density", "gaussian_smoothed", "piecewise_linear_density"]

Array = NDArray[np.float64]

_SPLINE_NODES = 1200


@dataclass(frozen=True, eq=False)
class Density:
    """A density on the line.

    Attributes
    ----------
    log_pdf
        Vectorised natural logarithm of the density, ``-inf`` outside its support.
    edges
        Increasing panel edges; between two of them the density is smooth enough for 8 Gauss-Legendre nodes. The first
        and the last bound the effective support (what is outside has probability below ``e^-95``).
    """

    log_pdf: Callable[[Array], Array]
    edges: Array

    @property
    def low(self) -> float:
        """Left end of the effective support."""
        return float(self.edges[0])

    @property
    def high(self) -> float:
        """Right end of the effective support."""
        return float(self.edges[-1])


def gaussian_density(mean: float = 0.0, sd: float = 1.0) -> Density:
    """The normal density; 14.5 standard deviations hold all but ``e^-105``."""

    def log_pdf(x: Array) -> Array:
        return np.asarray(-0.5 * ((x - mean) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi)))

    return Density(log_pdf, mean + sd * np.linspace(-14.5, 14.5, 40))


def gaussian_smoothed(weights: Array, means: Array, sd: float) -> Density:
    """The law of ``a + sd * N(0, 1)`` with ``P(a = means[i]) = weights[i]``, its logarithm held as a cubic spline.

    Parameters
    ----------
    weights, means
        (Q,) nodes of a quadrature over ``a``; they must lie closer together than about ``sd``.
    sd
        > 0.
    """
    from scipy.interpolate import CubicSpline
    from scipy.special import logsumexp

    grid = np.linspace(means.min() - 14 * sd, means.max() + 14 * sd, int(np.ptp(means) / sd * 12) + 340)
    log_weights = np.log(weights) - np.log(sd * np.sqrt(2 * np.pi))
    values = np.concatenate(
        [logsumexp(log_weights - 0.5 * ((x[:, None] - means) / sd) ** 2, axis=1) for x in np.array_split(grid, 16)]
    )
    spline = CubicSpline(grid, values)

    def log_pdf(x: Array) -> Array:
        return np.asarray(np.where((x >= grid[0]) & (x <= grid[-1]), spline(x), -np.inf))

    return Density(log_pdf, np.linspace(grid[0], grid[-1], int((grid[-1] - grid[0]) / (1.25 * sd)) + 2))


def piecewise_linear_density(knots: Array, heights: Array) -> Density:
    """The density that is linear between ``knots`` and 0 outside; ``heights`` need not be normalised."""
    total = float(np.trapezoid(heights, knots))

    def log_pdf(x: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.interp(x, knots, heights / total, left=0.0, right=0.0)))

    return Density(log_pdf, knots)


def density_of_sum(first: Density, second: Density) -> Density:
    """The density of the sum of two independent variables, its logarithm held as a cubic spline of asinh(value)."""
    from scipy.interpolate import CubicSpline

    from overopt.toys.worlds.independent_sum import IndependentSum

    low, high = first.low + second.low, first.high + second.high
    unit = min(_finest(first), _finest(second))
    position = np.linspace(np.arcsinh(low / unit), np.arcsinh(high / unit), _SPLINE_NODES)
    value = unit * np.sinh(position)
    log_density = IndependentSum(first, second).log_density_and_mean(value)[0]
    inside = np.isfinite(log_density)
    spline = CubicSpline(position[inside], log_density[inside])
    start, stop = value[inside][0], value[inside][-1]

    def log_pdf(x: Array) -> Array:
        return np.asarray(np.where((x >= start) & (x <= stop), spline(np.arcsinh(x / unit)), -np.inf))

    edges = np.concatenate([[start, stop], unit * np.sinh(np.linspace(position[0], position[-1], 120))])
    return Density(log_pdf, np.unique(np.clip(edges, start, stop)))


def _finest(density: Density) -> float:
    """The narrowest panel: the length over which the density changes."""
    return float(np.diff(density.edges).min())
