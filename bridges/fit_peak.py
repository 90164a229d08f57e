"""Where a fitted law peaks, how high, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from overopt.bridges.fit_laws import FitLaw

__all__ = ["Peak", "find_peak", "ratio_interval"]

Array = NDArray[np.float64]
Interval = tuple[float | None, float | None]


@dataclass(frozen=True)
class Peak:
    """The maximum of a fitted law on (0, d_max].

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
    form: FitLaw, estimate: Array, d_max: float, replicates: Array | None, ratio: tuple[float, float] | None
) -> Peak:
    """The peak inside the data.

    Parameters
    ----------
    estimate
        (Q,) fitted parameters.
    d_max
        Largest d of the data.
    replicates
        (B, Q) bootstrap parameters, or None.
    ratio
        Fieller interval of alpha / beta for ``bon`` and ``rl`` (ends may be infinite), or None.
    """
    d = _argmax(form, estimate, d_max)
    if d is None:
        return Peak(None, None, reason=f"no peak inside the data (d up to {d_max:.4g})")
    gain = float(form(np.array([d]), estimate)[0])
    d_interval: Interval | None = None
    if ratio is not None:
        low, high = (_peak_of_ratio(form.name, value) for value in ratio)
        d_interval = (low if math.isfinite(low) else None, high if math.isfinite(high) else None)
    gain_interval: Interval | None = None
    if replicates is not None:
        grid = np.linspace(0.0, d_max, 513)[1:]
        curves = form(grid, replicates)
        low, high = np.quantile(curves.max(axis=1), [0.025, 0.975])
        gain_interval = (float(low), float(high))
        if ratio is None:
            at = np.argmax(curves, axis=1)
            location = np.where(at < grid.size - 1, grid[at], math.inf)
            first, last = np.quantile(location, [0.025, 0.975], method="nearest")
            d_interval = (float(first), float(last)) if math.isfinite(last) else (float(first), None)
    return Peak(d, gain, d_interval, gain_interval)


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


def _peak_of_ratio(law: str, ratio: float) -> float:
    """``alpha/(2 beta)`` for bon, ``exp(alpha/beta - 1)`` for rl (Gao, Schulman and Hilton 2022)."""
    if math.isinf(ratio):
        return math.inf
    return max(ratio, 0.0) / 2 if law == "bon" else math.exp(min(ratio - 1, 700.0))


def _argmax(form: FitLaw, parameters: Array, d_max: float) -> float | None:
    """Location of an interior maximum of the law on (0, d_max], or None."""
    grid = np.linspace(0.0, d_max, 2049)
    values = form(grid, parameters)
    at = int(np.argmax(values))
    if at in (0, grid.size - 1):
        return None
    found = optimize.minimize_scalar(
        lambda d: -float(form(np.array([d]), parameters)[0]),
        bounds=(grid[at - 1], grid[at + 1]),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return float(found.x)
