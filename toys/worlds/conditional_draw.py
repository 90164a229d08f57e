"""Exact draws of gold given ``gold + noise = proxy``, for N(0, 1) gold and any unimodal noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overopt.toys.worlds.noise import Noise

__all__ = ["draw_gold_given_sum"]

Array = NDArray[np.float64]

_ROW_WIDTH = 0.05
_GOLD_EDGES = np.linspace(-15.0, 15.0, 121)
_REACH = np.concatenate([np.arange(0.0, 3.0, 0.25), 3.0 * 2.0 ** (np.arange(0, 20) / 2)])


def draw_gold_given_sum(rng: np.random.Generator, noise: Noise, total: Array) -> Array:
    """One draw of gold for each value of ``total``, by rejection from a piecewise constant envelope.

    Values of ``total`` that lie close together share an envelope. In each of its cells it is the product of the largest
    gold density and the largest noise density there (the noise is unimodal), so the draws are exact up to gold beyond
    15 SD.

    Parameters
    ----------
    total
        (R,) values of the proxy.

    Returns
    -------
    (R,) gold.
    """
    unit = min(noise.scale, 1.0)
    _, row = np.unique(np.floor(np.arcsinh((total - noise.mode) / unit) / _ROW_WIDTH), return_inverse=True)
    order = np.argsort(row, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(row[order]) > 0))
    low = np.minimum.reduceat(total[order], starts)
    high = np.maximum.reduceat(total[order], starts)

    mirrored = (0.5 * (low + high) - noise.mode)[:, None] + noise.scale * np.concatenate([-_REACH[:0:-1], _REACH])
    fixed = np.broadcast_to(_GOLD_EDGES, (low.size, _GOLD_EDGES.size))
    edges = np.sort(np.concatenate([fixed, np.clip(mirrored, _GOLD_EDGES[0], _GOLD_EDGES[-1])], axis=1), axis=1)
    left, width = edges[:, :-1], np.diff(edges, axis=1)
    nearest_mode = np.clip(noise.mode, low[:, None] - edges[:, 1:], high[:, None] - left)
    envelope = noise.density.log_pdf(nearest_mode) - 0.5 * np.clip(0.0, left, edges[:, 1:]) ** 2
    with np.errstate(divide="ignore"):
        log_mass = envelope + np.log(width)
    cumulative = np.cumsum(np.exp(log_mass - log_mass.max(axis=1, keepdims=True)), axis=1)
    cumulative = cumulative / cumulative[:, -1:] + np.arange(low.size)[:, None]

    gold = np.empty(total.size)
    open_ = np.arange(total.size)
    while open_.size:
        cell = np.searchsorted(cumulative.ravel(), row[open_] + rng.random(open_.size), side="right")
        x = left.ravel()[cell] + width.ravel()[cell] * rng.random(open_.size)
        log_accept = noise.density.log_pdf(total[open_] - x) - 0.5 * x**2 - envelope.ravel()[cell]
        accepted = -rng.standard_exponential(open_.size) < log_accept
        gold[open_[accepted]] = x[accepted]
        open_ = open_[~accepted]
    return gold
