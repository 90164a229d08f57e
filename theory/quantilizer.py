"""Quantilizer: a base sample drawn uniformly from the top fraction q by proxy (Taylor 2016).

The density against the base policy is `1/q` on the top q, so the expectation of any cost >= 0 grows at most `1/q`-fold
(ledger K46).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError
from overopt.theory.numerics import ORDER, QUANTILIZER_PIECES
from overopt.theory.panels import Interpolant, panel_nodes
from overopt.theory.proxy_law import log_cdf_of_logit, log_sf_of_logit
from overopt.theory.world import ExactCurve, World

__all__ = ["quantilizer", "quantilizer_chi2", "quantilizer_kl", "quantilizer_win_rate", "top_expectation"]

Array = NDArray[np.float64]

_UNIT_NODES, _UNIT_WEIGHTS = (column[0] for column in panel_nodes(np.array([0.0, 1.0])))


def _checked(q: ArrayLike) -> Array:
    values = np.asarray(q, dtype=float)
    if not np.all((values > 0) & (values <= 1)):
        raise InputError(f"`q` must lie in (0, 1], got {values[~((values > 0) & (values <= 1))].flat[0]:g}.")
    return values


def quantilizer_kl(q: ArrayLike) -> Array:
    """`KL = -log q` in nats."""
    result: Array = -np.log(_checked(q))
    return result


def quantilizer_chi2(q: ArrayLike) -> Array:
    """`chi^2 = 1/q - 1`."""
    result: Array = 1 / _checked(q) - 1
    return result


def quantilizer_win_rate(q: ArrayLike) -> Array:
    """`1 - q/2`."""
    result: Array = 1 - _checked(q) / 2
    return result


def top_expectation(world: World, values: Array, log_q: ArrayLike) -> Array:
    """Expectation of `values` given that the base sample is in the top `q`.

    Parameters
    ----------
    values : on the nodes of `world.grid`, shape (nodes,).
    log_q : `log q <= 0`, any shape.
    """
    grid = world.grid
    log_fraction = np.asarray(log_q, dtype=float)
    flat = log_fraction.ravel()
    with np.errstate(divide="ignore"):
        cut = np.maximum(np.log(-np.expm1(flat)) - flat, grid.edges[0])
    panels = values.reshape(-1, ORDER)
    panel_sums = (grid.mass.reshape(-1, ORDER) * panels).sum(axis=1)
    beyond = world.beyond(np.zeros((1, values.size)), values, upper=True)
    sums_to_right = np.append(np.cumsum(panel_sums[::-1])[::-1], 0.0) + beyond

    interpolant = Interpolant(grid.edges, panels)
    panel, _ = interpolant.locate(cut)
    right = grid.edges[panel + 1]
    partial = np.zeros_like(cut)
    for start, stop in pairwise(QUANTILIZER_PIECES):
        width = (right - cut) * (stop - start)
        nodes = (cut + (right - cut) * start)[:, None] + width[:, None] * _UNIT_NODES
        density = np.exp(log_cdf_of_logit(nodes) + log_sf_of_logit(nodes))
        partial += width * ((density * interpolant(nodes)) @ _UNIT_WEIGHTS)
    # q = 1 takes the first panel whole: it is wide, and a heavy tail's values there cannot be interpolated.
    below = world.beyond(np.zeros((1, values.size)), values, upper=False)
    with np.errstate(invalid="ignore"):
        partial = np.where(flat == 0, panel_sums[0] + below, partial)
        total = partial + sums_to_right[panel + 1]
        result: Array = (total * np.exp(-flat)).reshape(log_fraction.shape)
    return result


def quantilizer(world: World, q: ArrayLike) -> ExactCurve:
    """Exact curve of the top-q quantilizer at every fraction `0 < q <= 1`."""
    values = _checked(q)
    return ExactCurve(
        method="quantilizer",
        pressure=values,
        kl=quantilizer_kl(values),
        chi2=quantilizer_chi2(values),
        win_rate=quantilizer_win_rate(values),
        proxy=top_expectation(world, world.grid.proxy, np.log(values)),
        gold=top_expectation(world, world.grid.gold, np.log(values)),
    )
