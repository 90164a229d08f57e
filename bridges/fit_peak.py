"""Where a fitted law peaks inside the data, how high, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overopt.theory.scaling_laws import LawFit, ScalingLaw

__all__ = ["FittedPeak", "find_peak", "ratio_interval"]

Array = NDArray[np.float64]
Interval = tuple[float | None, float | None]


@dataclass(frozen=True)
class FittedPeak:
    """The maximum of a fitted law between the smallest and the largest d of the data.

    Attributes
    ----------
    d, gain
        Location in sqrt(nats) and height over the base policy; None where the law has no maximum inside the data.
    d_interval, gain_interval
        95% intervals; an end that is None is unbounded. None where nothing carries an interval, or without a peak.
    reason
        Why there is no peak.
    """

    d: float | None
    gain: float | None
    d_interval: Interval | None = None
    gain_interval: Interval | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.d is None or self.gain is None:
            return str(self.reason)
        return f"peak {self.gain:.4g} at d = {self.d:.4g} (KL {self.d**2:.4g} nats)"


def find_peak(
    fit: LawFit, d_range: tuple[float, float], replicates: LawFit | None, ratio: tuple[float, float] | None
) -> FittedPeak:
    """The peak of one fitted curve, if it lies inside the data.

    Parameters
    ----------
    fit
        The fitted law; coefficients of shape (parameters,).
    d_range
        Smallest and largest d of the data.
    replicates
        The same law fitted to bootstrap curves, coefficients (B, parameters), or None.
    ratio
        Fieller interval of alpha / beta for ``bon`` and ``rl`` (ends may be infinite), or None.
    """
    d, gain = float(fit.peak.d), float(fit.peak.gold)
    low, high = d_range
    if not low <= d < high or gain <= 0:
        return FittedPeak(None, None, reason=f"no peak inside the data (d from {low:.4g} to {high:.4g})")
    d_interval: Interval | None = None
    if ratio is not None:
        d_interval = _bounded(*(_peak_of_ratio(fit.law, value) for value in ratio))
    gain_interval: Interval | None = None
    if replicates is not None:
        gain_interval = _bounded(*np.quantile(replicates.peak.gold, [0.025, 0.975], method="nearest"))
        if ratio is None:
            d_interval = _bounded(*np.quantile(replicates.peak.d, [0.025, 0.975], method="nearest"))
    return FittedPeak(d, gain, d_interval, gain_interval)


def _bounded(low: float, high: float) -> Interval:
    return (float(low) if math.isfinite(low) else None, float(high) if math.isfinite(high) else None)


def _peak_of_ratio(law: ScalingLaw, ratio: float) -> float:
    return math.inf if math.isinf(ratio) else float(law.peak(ratio, 1.0).d)


def ratio_interval(estimate: Array, covariance: Array, critical: float) -> tuple[float, float]:
    """Fieller's interval of ``alpha / beta``, with ``beta > 0``: the r at which ``alpha - r beta = 0`` is not rejected.

    Unbounded above where beta may be 0 or negative: then the data do not show a peak at any finite d.
    """
    alpha, beta = estimate
    (vaa, vab), (_, vbb) = covariance
    square = critical**2
    a, b, c = beta**2 - square * vbb, alpha * beta - square * vab, alpha**2 - square * vaa
    root = math.sqrt(max(b**2 - a * c, 0.0))
    if a > 0:
        return (b - root) / a, (b + root) / a
    if a == 0 or b**2 < a * c:
        return 0.0, math.inf
    # beta may be 0: the set lies outside the roots, and starts at the upper one if that alone is positive.
    first, second = sorted(((b - root) / a, (b + root) / a))
    return (second if first <= 0 < second else 0.0), math.inf
