"""Additive worlds: `proxy = gold + noise` with independent gold X and noise Z, by convolution.

Goodhart's regressional model. The law of the sum and `m(s) = E[X | X + Z = s]` come from one integral per point,
taken over panels on which both densities are smooth, and are then tabulated over the whole line.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike, NDArray

from overopt.theory.numerics import (
    CONVOLUTION_BATCH,
    CONVOLUTION_NODES,
    DENSITY_LOGITS,
    LARGEST_VALUE,
    NEGLIGIBLE_LOG,
    PANEL_PROBES,
    QUANTILE_NEWTON_STEPS,
    QUANTILE_STEP,
    SAME_EDGE,
    SAME_Y,
    STEEPEST_LOG_DENSITY,
    SUM_EDGES,
    WIDTH_LOGITS,
)
from overopt.theory.panels import Interpolant, integral_to_right, panel_nodes, refine
from overopt.theory.proxy_law import FrozenLaw, Mixture, density_law
from overopt.theory.world import World, rank_importance

__all__ = ["Convolution", "additive_world"]

Array = NDArray[np.float64]

_X, _W = legendre.leggauss(CONVOLUTION_NODES)
_NODES, _WEIGHTS = (_X + 1) / 2, _W / 2


def _density_edges(law: FrozenLaw | Mixture) -> Array:
    """Points between which the law's log-density is smooth: quantiles, those of every component for a mixture."""
    laws = [FrozenLaw(component) for component in law.components] if isinstance(law, Mixture) else [law]
    points = np.unique(np.concatenate([component.quantile(DENSITY_LOGITS) for component in laws]))
    finite = points[np.abs(points) < LARGEST_VALUE]
    inner = finite[np.append(True, np.diff(finite) > SAME_EDGE * np.abs(finite[1:]))]
    # One more panel outside, empty beyond a bounded support, lets the other part sit at its own extremes.
    reach = np.ptp(inner)
    return np.concatenate([[inner[0] - reach], inner, [inner[-1] + reach]])


@dataclass(frozen=True, eq=False)
class Convolution:
    """Law of `X + Z` and the conditional mean of X; a `ProxyLaw`.

    Parameters
    ----------
    gold, noise : frozen continuous distributions of `scipy.stats` or `Mixture`s of them.
    """

    gold: Any
    noise: Any

    @cached_property
    def _laws(self) -> tuple[FrozenLaw | Mixture, FrozenLaw | Mixture]:
        return density_law(self.gold), density_law(self.noise)

    @cached_property
    def _centres(self) -> tuple[float, float]:
        first, second = (float(law.quantile(np.zeros(1))[0]) for law in self._laws)
        return first, second

    @cached_property
    def _density_edges(self) -> tuple[Array, Array]:
        first, second = (_density_edges(law) - centre for law, centre in zip(self._laws, self._centres, strict=True))
        return first, second

    def moments(self, value: ArrayLike) -> tuple[Array, Array]:
        """`log f(s)` and `E[X | X + Z = s]` at `value`, each of its shape, by quadrature."""
        s = np.asarray(value, dtype=float)
        parts = [self._moments(batch) for batch in np.array_split(s.ravel(), max(1, -(-s.size // CONVOLUTION_BATCH)))]
        log_density, mean = (np.concatenate(column).reshape(s.shape) for column in zip(*parts, strict=True))
        return log_density, mean

    def _moments(self, s: Array) -> tuple[Array, Array]:
        shifted = s - sum(self._centres)
        # Each half of the line in the variable that is small there: s - x is exact where x is not close to s.
        halves = [self._half(shifted, first=True), self._half(shifted, first=False)]
        shift = np.maximum(halves[0][0], halves[1][0])
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = [np.exp(np.where(top > -np.inf, top - shift, -np.inf)) for top, _, _ in halves]
            mass = scale[0] * halves[0][1] + scale[1] * halves[1][1]
            first_moment = scale[0] * halves[0][2] + scale[1] * halves[1][2]
            return np.log(mass) + shift, self._centres[0] + first_moment / mass

    def _half(self, s: Array, *, first: bool) -> tuple[Array, Array, Array]:
        """Integral over `|a| < |s|/2` in the centred variable a = x (`first`) or a = z: shift, mass and moment of x."""
        (law_a, law_b) = self._laws if first else self._laws[::-1]
        (centre_a, centre_b) = self._centres if first else self._centres[::-1]
        (edges_a, edges_b) = self._density_edges if first else self._density_edges[::-1]
        low = np.maximum(edges_a[0], s - edges_b[-1])
        high = np.minimum(edges_a[-1], s - edges_b[0])
        low, high = np.where(s < 0, np.maximum(low, s / 2), low), np.where(s < 0, high, np.minimum(high, s / 2))
        breaks = np.concatenate(
            [np.broadcast_to(edges_a, (s.size, edges_a.size)), s[:, None] - edges_b, low[:, None], high[:, None]],
            axis=1,
        )
        breaks = np.sort(np.clip(breaks, low[:, None], np.maximum(low, high)[:, None]), axis=1)
        left, width = breaks[:, :-1], np.diff(breaks, axis=1)
        row, column = np.nonzero(width > 0)
        left, width = left[row, column], width[row, column]

        def log_integrand(a: Array, rows: NDArray[np.intp]) -> Array:
            result: Array = law_a.log_density(a + centre_a) + law_b.log_density(s[rows, None] - a + centre_b)
            return result

        probe = log_integrand(left[:, None] + width[:, None] * PANEL_PROBES, row).max(axis=1) + np.log(width)
        shift = np.full(s.size, -np.inf)
        np.maximum.at(shift, row, probe)
        kept = probe > shift[row] - NEGLIGIBLE_LOG
        row, left, width = row[kept], left[kept], width[kept]
        points = left[:, None] + width[:, None] * _NODES
        terms = np.exp(log_integrand(points, row) - shift[row, None]) * width[:, None] * _WEIGHTS
        x = points if first else s[row, None] - points
        mass, moment = np.zeros(s.size), np.zeros(s.size)
        np.add.at(mass, row, terms.sum(axis=1))
        np.add.at(moment, row, (terms * x).sum(axis=1))
        return shift, mass, moment

    def log_density(self, value: ArrayLike) -> Array:
        """`log f(s)`."""
        return self.moments(value)[0]

    def conditional_mean_exact(self, value: ArrayLike) -> Array:
        """`E[X | X + Z = s]` by quadrature at every point."""
        return self.moments(value)[1]

    @cached_property
    def _scale(self) -> tuple[float, float]:
        """Centre and width of the coordinate `y = arcsinh((s - centre)/width)`: linear inside, logarithmic far out."""
        return sum(self._centres), sum(float(np.ptp(law.quantile(WIDTH_LOGITS))) for law in self._laws)

    def _to_y(self, value: Array) -> Array:
        centre, width = self._scale
        y: Array = np.arcsinh((value - centre) / width)
        return y

    def _from_y(self, y: Array) -> Array:
        centre, width = self._scale
        with np.errstate(over="ignore"):
            value: Array = centre + width * np.sinh(y)
        return value

    @cached_property
    def _table(self) -> tuple[Interpolant, Interpolant]:
        """Interpolants over y of the log-odds of rank and of the conditional mean."""
        start = self._laws[0].quantile(SUM_EDGES) + self._laws[1].quantile(SUM_EDGES)
        usable = np.abs(start) < LARGEST_VALUE
        y, logits = self._to_y(start[usable]), SUM_EDGES[usable]
        apart = np.append(True, np.diff(y) > SAME_Y)
        y, logits = y[apart], logits[apart]
        spread = float(np.ptp(self._laws[0].quantile(WIDTH_LOGITS)))
        edges, (log_density, mean) = refine(
            lambda points: np.stack(self.moments(self._from_y(points))),
            y,
            importance=lambda points: rank_importance(np.interp(points, y, logits)),
            floor=np.array([1.0, spread]),
        )
        fine = _split(edges, np.ptp(log_density, axis=1) / STEEPEST_LOG_DENSITY)
        points = panel_nodes(fine)[0]
        log_density_y = Interpolant(edges, log_density)(points) + np.log(self._scale[1] * np.cosh(points))
        log_sf = _log_upper_tail(fine, log_density_y)
        log_cdf = _log_upper_tail(-fine[::-1], log_density_y[::-1, ::-1])[::-1, ::-1]
        return Interpolant(fine, log_cdf - log_sf), Interpolant(edges, mean)

    def conditional_mean(self, value: ArrayLike) -> Array:
        """`m(s) = E[X | X + Z = s]` from a table resolved to about 1e-13 SD of X, constant beyond its ends."""
        return self._table[1](self._to_y(np.asarray(value, dtype=float)))

    def logit(self, value: ArrayLike) -> Array:
        """Log-odds of the rank of `value`."""
        return self._table[0](self._to_y(np.asarray(value, dtype=float)))

    def quantile(self, logit: ArrayLike) -> Array:
        """Value of the sum at log-odds of rank `logit`."""
        table = self._table[0]
        target = np.asarray(logit, dtype=float)
        ends = table.evaluate(np.arange(table.edges.size - 1), np.full(table.edges.size - 1, -1.0))
        panel = np.clip(np.searchsorted(ends, target, side="right") - 1, 0, ends.size - 1)
        position = np.zeros(target.shape)
        for _ in range(QUANTILE_NEWTON_STEPS):
            gap = table.evaluate(panel, position) - target
            moved = np.clip(position - gap / table.derivative(panel, position), -1.0, 1.0)
            position, step = moved, np.abs(moved - position)
            if not np.any(step > QUANTILE_STEP):
                break
        # The last step is not clipped: beyond the table it continues the end's slope.
        position = position - (table.evaluate(panel, position) - target) / table.derivative(panel, position)
        left, right = table.edges[panel], table.edges[panel + 1]
        return self._from_y(left * (1 - position) / 2 + right * (1 + position) / 2)


def _split(edges: Array, parts: Array) -> Array:
    """Edges of the partition in which every panel is divided evenly into at least `parts` pieces."""
    pieces = np.maximum(1, np.ceil(parts)).astype(int)
    step = np.repeat(np.diff(edges) / pieces, pieces)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    return np.append(np.repeat(edges[:-1], pieces) + number * step, edges[-1])


def _log_upper_tail(edges: Array, log_density: Array) -> Array:
    """`log (1 - F)` at the nodes, by integrating the density from the right end.

    Beyond the last edge the density is continued as an exponential, which a power law is in y.
    """
    nodes, weights = panel_nodes(edges)
    decay = (log_density[-1, -2] - log_density[-1, -1]) / (nodes[-1, -1] - nodes[-1, -2])
    beyond = log_density[-1, -1] - decay * (edges[-1] - nodes[-1, -1]) - np.log(decay)
    shift = log_density.max(axis=1, keepdims=True)
    density = np.exp(log_density - shift)
    inside = np.log(np.maximum(integral_to_right(density, edges), np.finfo(float).tiny)) + shift
    mass = np.log((weights * density).sum(axis=1)) + shift[:, 0]
    to_the_right = np.logaddexp.accumulate(np.append(beyond, mass[:0:-1]))[::-1]
    result: Array = np.logaddexp(inside, to_the_right[:, None])
    return result


def additive_world(gold: Any, noise: Any) -> World:
    """The world `proxy = gold + noise` with independent parts, each a frozen distribution or a `Mixture`."""
    law = Convolution(gold, noise)
    return World(proxy=law, gold=law.conditional_mean)
