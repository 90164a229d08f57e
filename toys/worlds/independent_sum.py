"""``proxy = gold + error`` with error independent of gold: the proxy's exact law and ``E[gold | proxy]``.

Every additive world is such a sum, and so is the null of every other world: the world with the same gold, the same
error, and nothing between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from overopt.theory.panels import integral_to_right, panel_nodes
from overopt.toys.worlds.base_law import MAX_LOGIT, BaseLaw
from overopt.toys.worlds.density import Density

__all__ = ["IndependentSum"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_PANELS = 160
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class IndependentSum:
    """The law of ``gold + error``: a :class:`~overopt.theory.proxy_law.ProxyLaw`, with ``E[gold | sum]`` beside it.

    Parameters
    ----------
    gold, error
        The two densities.
    """

    gold: Density
    error: Density

    def log_density_and_mean(self, total: Array) -> tuple[Array, Array]:
        """``log f(total)`` and ``E[gold | gold + error = total]``, both of the shape of ``total``.

        Composite Gauss-Legendre over gold; the panels of a point are gold's edges together with the error's, mirrored
        there.
        """
        flat = np.atleast_1d(np.asarray(total, dtype=float)).ravel()
        pieces = [self._block(part) for part in np.array_split(flat, max(1, -(-flat.size // _BLOCK)))]
        log_density = np.concatenate([piece[0] for piece in pieces]).reshape(np.shape(total))
        mean = np.concatenate([piece[1] for piece in pieces]).reshape(np.shape(total))
        return log_density, mean

    def _block(self, total: Array) -> tuple[Array, Array]:
        mirrored = np.clip(total[:, None] - self.error.edges, self.gold.low, self.gold.high)
        fixed = np.broadcast_to(self.gold.edges, (total.size, self.gold.edges.size))
        edges = np.sort(np.concatenate([fixed, mirrored], axis=1), axis=1)
        half = np.diff(edges, axis=1)[..., None] / 2
        x = (edges[:, :-1, None] + half + half * _NODES).reshape(total.size, -1)
        with np.errstate(divide="ignore"):
            log_terms = np.log(half * _WEIGHTS).reshape(total.size, -1)
        log_terms += self.gold.log_pdf(x)
        log_terms += self.error.log_pdf(total[:, None] - x)
        peak = log_terms.max(axis=1, keepdims=True)
        terms = np.exp(log_terms - np.where(np.isfinite(peak), peak, 0.0))
        mass = terms.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(mass) + peak[:, 0], (terms * x).sum(axis=1) / mass

    def mean(self, total: Array) -> Array:
        """``E[gold | gold + error = total]``, same shape."""
        return self.log_density_and_mean(total)[1]

    def law(self, cuts: Array | None = None) -> BaseLaw:
        """The law of the sum on quadrature nodes, with panel edges at ``cuts``."""
        if cuts is None:
            return self._uncut
        return _base_law(self._solve(cuts))

    @cached_property
    def _solved(self) -> tuple[Array, Array, Array, Array, Array, Array]:
        return self._solve()

    @cached_property
    def _uncut(self) -> BaseLaw:
        return _base_law(self._solved)

    def _solve(self, cuts: Array | None = None) -> tuple[Array, Array, Array, Array, Array, Array]:
        """Value, density, ``E[gold | value]``, rank from below and above, and mass at the nodes."""
        low, high = self.gold.low + self.error.low, self.gold.high + self.error.high
        middle = 0.5 * (self.gold.low + self.gold.high)
        start, stop = math.asinh(low - middle), math.asinh(high - middle)
        spread = middle + np.sinh(np.linspace(start, stop, _PANELS + 1))
        kinks = (self.gold.edges[:, None] + self.error.edges).ravel() if self._coarse else np.empty(0)
        # A bounded support ends like a power: best-of-n lives ever closer to its end.
        towards_ends = (high - low) * 2.0 ** -np.arange(2.0, 40.0)
        edges = np.concatenate(
            [spread, kinks, low + towards_ends, high - towards_ends, np.empty(0) if cuts is None else np.asarray(cuts)]
        )
        edges = np.unique(edges[(edges >= low) & (edges <= high)])
        nodes, weights = panel_nodes(edges)
        log_density, gold = self.log_density_and_mean(nodes)
        density = np.exp(log_density)
        to_right = integral_to_right(density, edges)
        to_left = integral_to_right(density[::-1, ::-1], -edges[::-1])[::-1, ::-1]
        panel = (weights * density).sum(axis=1)
        above = np.append(np.cumsum(panel[::-1])[::-1][1:], 0.0)
        below = np.append(0.0, np.cumsum(panel)[:-1])
        lower, upper = to_left + below[:, None], to_right + above[:, None]
        total = lower + upper
        columns = nodes, density, gold, lower / total, upper / total, weights * density / panel.sum()
        inside = (upper > np.exp(-MAX_LOGIT - 5)) & (lower > np.exp(-MAX_LOGIT - 5)) & (density > 0)
        value, density, gold, lower, upper, mass = (column[inside] for column in columns)
        return value, density, gold, lower, upper, mass

    @cached_property
    def _rank(self) -> tuple[Array, Array, Array]:
        """Log-odds of rank, value, and the derivative of value by log-odds, at increasing nodes."""
        value, density, _, lower, upper, _ = self._solved
        logit = np.log(lower) - np.log(upper)
        increasing = np.append(True, np.diff(np.maximum.accumulate(logit)) > 0)
        slope = lower * upper / (lower + upper) / density
        return logit[increasing], value[increasing], slope[increasing]

    @property
    def _coarse(self) -> bool:
        """Densities with few panels are piecewise polynomials: their sum has a kink at every sum of two edges."""
        return self.gold.edges.size * self.error.edges.size <= 64

    def quantile(self, logit: Array) -> Array:
        """The value at log-odds of rank ``logit``; log-odds beyond about +-90 get the last value."""
        from scipy.interpolate import CubicHermiteSpline

        z, value, slope = self._rank
        return np.asarray(CubicHermiteSpline(z, value, slope)(np.clip(logit, z[0], z[-1])), dtype=float)

    def logit(self, value: Array) -> Array:
        """Log-odds of the rank of ``value``."""
        from scipy.interpolate import CubicHermiteSpline

        z, values, slope = self._rank
        inside = np.clip(value, values[0], values[-1])
        return np.asarray(CubicHermiteSpline(values, z, 1 / slope)(inside), dtype=float)


def _base_law(columns: tuple[Array, Array, Array, Array, Array, Array]) -> BaseLaw:
    """The columns of a solved sum as a base law; each rank's logarithm is taken from its smaller side."""
    value, _, gold, lower, upper, mass = columns
    with np.errstate(divide="ignore"):
        log_cdf = np.where(upper < 0.5, np.log1p(-upper), np.log(lower))
        log_sf = np.where(lower < 0.5, np.log1p(-lower), np.log(upper))
    return BaseLaw(value, mass, log_cdf, log_sf, gold)
