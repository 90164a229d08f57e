"""The one number that a Bradley-Terry proxy leaves open: the scale of its logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit

from overopt.theory.errors import InputError

__all__ = ["logit_rescale"]


def logit_rescale(margin: ArrayLike, gold_margin: ArrayLike) -> float:
    """The factor a that minimises the cross-entropy of ``sigmoid(a margin)`` on gold's soft labels.

    Parameters
    ----------
    margin
        (P,) proxy reward differences of pairs, in the proxy's own units.
    gold_margin
        (P,) gold reward differences of the same pairs in gold SD; ``sigmoid(gold_margin)`` is the soft label.

    Notes
    -----
    Gao, Schulman and Hilton 2022 recalibrate every proxy so after the experiments (gold at unit variance); it changes
    no best-of-n choice. The loss is convex in a, so its derivative ``sum margin (sigmoid(a margin) - label)`` has one
    root. A proxy that orders pairs against gold gets a negative factor; a constant proxy has none (0).

    Raises
    ------
    InputError
        If the two arrays differ in shape.
    """
    difference = np.asarray(margin, dtype=np.float64)
    label = expit(np.asarray(gold_margin, dtype=np.float64))
    if difference.shape != label.shape:
        raise InputError(f"`margin` and `gold_margin` must have one shape, got {difference.shape} and {label.shape}.")
    size = float(np.abs(difference).max(initial=0.0))
    if size == 0.0:
        return 0.0

    def derivative(factor: float) -> float:
        return float((difference * (expit(factor * difference) - label)).sum())

    limit = 1.0 / size
    while derivative(limit) < 0 or derivative(-limit) > 0:
        limit *= 2
        if limit * size > 1e6:  # all pairs on one side: the loss falls for ever
            return float(np.sign(-derivative(0.0)) * limit)
    return float(brentq(derivative, -limit, limit))
