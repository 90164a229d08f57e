"""Composite Gauss-Legendre panels: quadrature, antiderivatives and interpolation of vectorised functions.

A function is held by its values at the `ORDER` Legendre nodes of every panel of a partition. Panels are halved until
the last Legendre coefficients are negligible: kinks and jumps cost a few dozen narrow panels and no accuracy. A
function that stays rough everywhere (noise) is left as it is once a thousand panels at a time would have to be halved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike, NDArray

from overopt.theory.numerics import MAX_DEPTH, MAX_PANELS, NARROWEST_PANEL, ORDER, PANEL_TOLERANCE, TAIL_COEFFICIENTS

__all__ = ["Interpolant", "integral_to_right", "panel_nodes", "refine"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = legendre.leggauss(ORDER)
_DEGREE = np.arange(ORDER)
_VANDERMONDE = legendre.legvander(_NODES, ORDER - 1)
_COEFFICIENTS = (_DEGREE[:, None] + 0.5) * _VANDERMONDE.T * _WEIGHTS


def panel_nodes(edges: Array) -> tuple[Array, Array]:
    """Nodes and weights of the Gauss-Legendre rule on every panel, both of shape (panels, ORDER)."""
    half = np.diff(edges)[:, None] / 2
    middle = (edges[1:] + edges[:-1])[:, None] / 2
    return middle + half * _NODES, half * _WEIGHTS


def _unresolved(values: Array, floor: ArrayLike) -> Array:
    """Size of the last Legendre coefficients relative to the largest value in the panel; shape (panels,)."""
    size = np.maximum(np.abs(values).max(axis=-1), np.asarray(floor, dtype=float)[..., None])
    tail = np.abs(values @ _COEFFICIENTS[-TAIL_COEFFICIENTS:].T).max(axis=-1)
    relative: Array = np.divide(tail, size, out=np.zeros_like(size), where=size > 0).max(axis=0)
    return relative


def refine(
    function: Callable[[Array], Array],
    edges: Array,
    *,
    tolerance: float = PANEL_TOLERANCE,
    importance: Callable[[Array], Array] | None = None,
    floor: ArrayLike = 0.0,
) -> tuple[Array, Array]:
    """Panels on which `function` is resolved to `tolerance`, and its values on them.

    Parameters
    ----------
    function : maps points of shape (k,) to values of shape (components, k).
    edges : increasing panel edges to start from, shape (panels + 1,).
    tolerance : a panel is halved while (relative unresolved part) x (share of its first width) x importance exceeds it.
    importance : maps panel midpoints to the largest weight that an integral can give them; default 1.
    floor : size below which the values of a component count as 0, scalar or shape (components,).

    Returns
    -------
    edges, values : shapes (panels + 1,) and (components, panels, ORDER).
    """
    left, right = edges[:-1], edges[1:]
    share = np.ones_like(left)
    done_left: list[Array] = []
    done_values: list[Array] = []
    for _ in range(MAX_DEPTH):
        half, middle = (right - left) / 2, (right + left) / 2
        points = middle[:, None] + half[:, None] * _NODES
        values = function(points.ravel())
        values = values.reshape(values.shape[0], *points.shape)
        weight = share if importance is None else share * importance(middle)
        splittable = half > NARROWEST_PANEL * np.spacing(np.abs(middle))
        bad = (_unresolved(values, floor) * weight > tolerance) & splittable
        if np.count_nonzero(bad) > MAX_PANELS:
            bad[:] = False
        done_left.append(left[~bad])
        done_values.append(values[:, ~bad])
        if not bad.any():
            break
        left, middle, right = left[bad], middle[bad], right[bad]
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
        share = np.tile(share[bad] / 2, 2)
    else:
        done_left.append(left)
        done_values.append(function(panel_points(left, right)).reshape(-1, left.size, ORDER))
    starts = np.concatenate(done_left)
    order = np.argsort(starts)
    return np.append(starts[order], edges[-1]), np.concatenate(done_values, axis=1)[:, order]


def panel_points(left: Array, right: Array) -> Array:
    """Legendre nodes of the panels [left, right], flattened panel by panel."""
    points: Array = ((right + left)[:, None] / 2 + (right - left)[:, None] / 2 * _NODES).ravel()
    return points


def integral_to_right(values: Array, edges: Array) -> Array:
    """Integral from every node to the right end of its panel; same shape as `values`, (..., panels, ORDER)."""
    # d/dx [P_(k+1) - P_(k-1)] = (2k + 1) P_k, and P_(k+1) - P_(k-1) vanishes at 1 for k >= 1.
    extended = legendre.legvander(_NODES, ORDER)
    antiderivative = np.empty((ORDER, ORDER))
    antiderivative[:, 0] = 1 - _NODES
    antiderivative[:, 1:] = -(extended[:, 2:] - extended[:, :-2]) / (2 * _DEGREE[1:] + 1)
    matrix = antiderivative @ _COEFFICIENTS
    result: Array = (values @ matrix.T) * (np.diff(edges)[:, None] / 2)
    return result


@dataclass(frozen=True, eq=False)
class Interpolant:
    """Piecewise Legendre interpolant of one function, `values` of shape (panels, ORDER)."""

    edges: Array
    values: Array

    @cached_property
    def _series(self) -> Array:
        return self.values @ _COEFFICIENTS.T

    def __call__(self, points: Array) -> Array:
        """Value at `points` of any shape; points outside the edges take the value at the nearest edge."""
        panel, position = self.locate(points)
        return self.evaluate(panel, position)

    def derivative(self, panel: NDArray[np.intp], position: Array) -> Array:
        """Derivative with respect to `position` at `position` in [-1, 1] of `panel`."""
        slope = legendre.legder(self._series, axis=-1)
        result: Array = np.einsum("...k,...k->...", slope[panel], legendre.legvander(position, ORDER - 2))
        return result

    def locate(self, points: Array) -> tuple[NDArray[np.intp], Array]:
        """Panel index and position in [-1, 1] of `points`."""
        inside = np.clip(points, self.edges[0], self.edges[-1])
        panel = np.clip(np.searchsorted(self.edges, inside, side="right") - 1, 0, self.edges.size - 2)
        left, right = self.edges[panel], self.edges[panel + 1]
        return panel, ((inside - left) - (right - inside)) / (right - left)

    def evaluate(self, panel: NDArray[np.intp], position: Array) -> Array:
        """Value at `position` in [-1, 1] of `panel`."""
        result: Array = np.einsum("...k,...k->...", self._series[panel], legendre.legvander(position, ORDER - 1))
        return result
