"""A slope per prompt, shrunk towards the pooled one as far as the spread of slopes is sampling noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["own_weights", "shrunken_slopes"]

Array = NDArray[np.float64]

MIN_PROMPTS = 3


def shrunken_slopes(xx: Array, xy: Array, yy: Array, count: NDArray[np.intp]) -> Array:
    """(K,) slopes of y on x from each prompt's centred sums ``x x``, ``x y``, ``y y`` over ``count`` samples.

    Weights are ``tau^2 / (tau^2 + v_k)`` with the method-of-moments ``tau^2`` (DerSimonian and Laird 1986) and ``v_k``
    the sampling variance; where the slopes agree, all are the pooled one. The spread of one or two slopes is unknown,
    and slopes without sampling noise need no shrinking: those are returned as they are.
    """
    total = float(xx.sum())
    if total == 0.0:
        return np.zeros_like(xx)
    pooled = float(xy.sum()) / total
    slope = np.divide(xy, xx, out=np.full_like(xx, pooled), where=_live(xx))
    return np.asarray(pooled + own_weights(xx, xy, yy, count) * (slope - pooled))


def own_weights(xx: Array, xy: Array, yy: Array, count: NDArray[np.intp]) -> Array:
    """(K,) weight of each prompt's own slope in its shrunken one; the rest is the pooled slope's."""
    total = float(xx.sum())
    live = _live(xx)
    if live.sum() < MIN_PROMPTS:
        return np.ones_like(xx)
    slope = np.divide(xy, xx, out=np.full_like(xx, float(xy.sum()) / total), where=live)
    freedom = np.maximum(count - 2, 1)
    noise = np.maximum(yy - slope * (2 * xy - slope * xx), 0.0) / freedom
    noise = (noise * freedom).sum() / freedom.sum() * 0.5 + noise * 0.5  # a few samples hardly know their own noise
    if not (noise > 1e-12 * yy / count).any():
        return np.ones_like(xx)
    variance = np.divide(noise, xx, out=np.full_like(xx, np.inf), where=live)
    weight = np.where(live, 1.0 / variance, 0.0)
    centre = float((weight * slope).sum() / weight.sum())
    excess = float((weight * (slope - centre) ** 2).sum()) - (live.sum() - 1)
    spread = max(excess / (weight.sum() - (weight**2).sum() / weight.sum()), 0.0)
    return np.asarray(spread / (spread + variance))


def _live(xx: Array) -> NDArray[np.bool_]:
    """Prompts whose x varies."""
    return np.asarray(xx > 1e-12 * float(xx.sum()) / xx.size)
