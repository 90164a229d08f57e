"""Coefficients across reward models, and one law across iterations of RLHF."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from overopt.bridges.curve import Curve
from overopt.theory.errors import InputError
from overopt.theory.scaling_laws import LAWS

__all__ = ["CoefficientTrend", "IteratedFit", "coefficient_trend", "fit_iterated"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class CoefficientTrend:
    """``coefficient = intercept + slope log(size)``, by ordinary least squares over reward models.

    Attributes
    ----------
    coefficient, size
        What is regressed on what: ``"alpha"`` on ``"parameters"``, for example.
    slope, intercept
        Per natural logarithm of the size.
    slope_interval
        95% t interval from the scatter about the line, or None with two models.
    models
        Number of reward models.
    """

    coefficient: str
    size: str
    slope: float
    intercept: float
    slope_interval: Interval | None
    models: int

    def __str__(self) -> str:
        if self.slope_interval is None:
            return f"{self.coefficient} per doubling of {self.size}: {self.slope * math.log(2):+.2g} (2 models)"
        low, high = (end * math.log(2) for end in self.slope_interval)
        direction = "rises" if low > 0 else "falls" if high < 0 else "has no clear trend"
        return (
            f"{self.coefficient} {direction} with {self.size}: {self.slope * math.log(2):+.2g} per doubling "
            f"[{low:+.2g}, {high:+.2g}], {self.models} reward models"
        )


def coefficient_trend(
    sizes: ArrayLike, values: ArrayLike, *, coefficient: str = "alpha", size: str = "parameters"
) -> CoefficientTrend:
    """The trend of one fitted coefficient in the log of reward-model size or of its data.

    Raises
    ------
    InputError
        Unless there are at least 2 different positive sizes and as many finite values.
    """
    x, y = np.asarray(sizes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or np.unique(x).size < 2 or not (x > 0).all():
        raise InputError(f"`sizes` must be at least 2 different positive numbers, one per value, got {x.tolist()}.")
    if not np.isfinite(y).all():
        raise InputError(f"`values` must be finite, got {y.tolist()}.")
    line = stats.linregress(np.log(x), y)
    interval = None
    if x.size > 2:
        half = float(stats.t.ppf(0.975, x.size - 2) * line.stderr)
        interval = (float(line.slope) - half, float(line.slope) + half)
    return CoefficientTrend(coefficient, size, float(line.slope), float(line.intercept), interval, int(x.size))


@dataclass(frozen=True)
class IteratedFit:
    """``R(d) = d (alpha - beta log d + beta log k)`` after k iterations (Gao, Schulman and Hilton 2022, section 4.3).

    Attributes
    ----------
    alpha, beta
        Shared by all iterations, gold units per sqrt(nat).
    r2
        About the mean of all fitted points.
    residual
        Iteration -> root mean squared residual: where the shared law fails.
    """

    alpha: float
    beta: float
    r2: float | None
    residual: Mapping[int, float]


def fit_iterated(curves: Mapping[int, Curve] | Sequence[Curve]) -> IteratedFit:
    """Fit the iterated form to the gold curves of iterations k = 1, 2, ... together, by ordinary least squares.

    Raises
    ------
    InputError
        If an iteration is below 1 or fewer than 3 points have a KL above 0.
    """
    by_iteration = dict(curves) if isinstance(curves, Mapping) else dict(enumerate(curves, start=1))
    if any(k < 1 for k in by_iteration):
        raise InputError(f"`curves` must be keyed by iterations >= 1, got {sorted(by_iteration)}.")
    features: list[NDArray[np.float64]] = []
    gains: list[NDArray[np.float64]] = []
    for k, curve in by_iteration.items():
        keep = curve.d > 0
        d = curve.d[keep]
        features.append(LAWS["rl"].design(d) + np.outer(d * math.log(k), [0.0, 1.0]))
        gains.append(curve.gold_gain[keep])
    design, y = np.concatenate(features), np.concatenate(gains)
    if y.size < 3:
        raise InputError(f"a fit needs at least 3 points with KL > 0, got {y.size}.")
    coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
    residuals = {
        k: float(np.sqrt(np.mean((g - f @ coefficients) ** 2)))
        for k, f, g in zip(by_iteration, features, gains, strict=True)
        if g.size
    }
    total = float(((y - y.mean()) ** 2).sum())
    unexplained = float(((y - design @ coefficients) ** 2).sum())
    return IteratedFit(
        float(coefficients[0]), float(coefficients[1]), 1 - unexplained / total if total > 0 else None, residuals
    )
