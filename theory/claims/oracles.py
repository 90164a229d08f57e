"""Independent arithmetic that the checks compare formulas with: mpmath and quadrature, nothing from `theory`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["additive_best_of_n", "integral", "normal_best_of_n", "ols", "panels", "posterior_mean"]


def integral(function: Callable[[Any], Any], edges: Sequence[float], digits: int = 20) -> float:
    """Tanh-sinh quadrature with ``digits`` digits over the panels between ``edges``."""
    with mpmath.workdps(digits):
        return float(mpmath.quad(function, [mpmath.mpf(edge) for edge in edges]))


def normal_best_of_n(value: Callable[[Any], Any], n: float, digits: int = 20) -> float:
    """``E[value(U)]`` for U the largest of ``n`` standard normals, from ``n Phi^(n-1) phi``."""
    with mpmath.workdps(digits):
        log_n = float(mpmath.log(n))
        # The winner's upper tail probability is 1/n up to a factor: panels around its quantile.
        centre = float(mpmath.sqrt(2) * mpmath.erfinv(1 - 2 / (mpmath.mpf(n) + 1))) if n > 1 else 0.0
        width = 1.0 / max(1.0, np.sqrt(2 * log_n))
        edges = [-12.0, *(centre + width * np.array([-6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 12.0])), centre + 16.0]
        edges = sorted(edge for edge in edges if edge >= -12.0)

        def integrand(u: Any) -> Any:
            log_cdf = mpmath.log(mpmath.ncdf(u)) if u < 0 else mpmath.log1p(-mpmath.ncdf(-u))
            return value(u) * n * mpmath.exp((n - 1) * log_cdf) * mpmath.npdf(u)

        return float(mpmath.quad(integrand, edges))


def ols(columns: Sequence[ArrayLike], target: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Least-squares coefficients of ``target`` on ``columns`` (no intercept), and R^2 about the mean."""
    design = np.column_stack([np.asarray(column, dtype=float) for column in columns])
    y = np.asarray(target, dtype=float)
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    residual = y - design @ coefficients
    return coefficients, 1.0 - float(residual @ residual) / float(np.sum((y - y.mean()) ** 2))


def panels(edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Legendre nodes and weights, 24 to a panel."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    left, right = edges[:-1, None], edges[1:, None]
    return ((left + right + (right - left) * nodes) / 2).ravel(), ((right - left) * weights / 2).ravel()


def posterior_mean(noise: Any, s: float, sd: float = 1.0, kinks: Sequence[float] = (0.0,)) -> float:
    """``E[X | X + Z = s]`` for ``X ~ N(0, sd^2)``: two integrals over x, cut at the kinks of f_Z."""
    reach = 14 * sd
    cuts = [s - kink for kink in kinks]
    near = [cut + step for cut in cuts for step in np.linspace(-4, 4, 33)]
    edges = np.unique(np.concatenate([np.linspace(-reach, reach, 57), cuts, near]))
    # A light-tailed noise pulls x far beyond the prior's own range.
    x, weight = panels(np.unique(np.concatenate([edges, np.linspace(min(0.0, s), max(0.0, s), 41)])))
    log_weight = -(x**2) / (2 * sd**2) + noise.logpdf(s - x)
    mass = np.exp(log_weight - log_weight.max()) * weight
    return float(mass @ x / mass.sum())


def additive_best_of_n(noise: Any, n: float, sd: float = 1.0) -> tuple[float, float]:
    """Gold and proxy of best-of-n for ``N(0, sd^2) + noise``, smooth noise with exponential tails or lighter.

    Integrates ``n F_S^(n-1) E[X; S = s]`` over the sum, ``F_S`` and the second factor by a sum over x.
    """
    x, x_weight = panels(np.linspace(-8 * sd, 8 * sd, 17))
    x_weight = x_weight * np.exp(-(x**2) / (2 * sd**2)) / np.sqrt(2 * np.pi * sd**2)
    inner = np.linspace(-8.0, 12.0, 61)
    s, weight = panels(np.concatenate([[-60.0, -40.0, -25.0, -14.0], inner, [16.0, 24.0, 36.0, 50.0]]))
    gap = s[:, None] - x
    cdf = noise.cdf(gap) @ x_weight
    winner = weight * n * np.exp((n - 1) * np.log(np.maximum(cdf, 1e-300)))
    density = noise.pdf(gap)
    return float(winner @ (density @ (x_weight * x))), float(winner @ (s * (density @ x_weight)))
