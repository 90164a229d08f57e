"""Does gold turn? Rise to the peak and fall from it, the peak chosen on other prompts than it is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from overopt.bridges.curve import Curve

__all__ = ["Lift", "Turn", "measure_turn"]

Array = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Lift:
    """Gold's gain over the base policy at one pressure (None: the base policy itself) with its 95% interval."""

    pressure: float | None
    gain: float
    interval: Interval | None


@dataclass(frozen=True)
class Turn:
    """Rise, fall and net change of gold along a curve, in gold's own units.

    Attributes
    ----------
    peak
        Pressure at which measured gold is highest; None where the base policy's is.
    last
        The last pressure with a standard error.
    rise, fall
        Gold at the peak over the base policy, and over the last point. The peak is chosen on one half of the clusters
        and judged on the other, both ways round, so that neither is flattered by the choice.
    net
        Gold at the last point over the base policy.
    rise_interval, fall_interval, net_interval
        95% t intervals over clusters; None with fewer than 4.
    lift
        A point at which gold is above the base policy's for sure, by intervals that hold at all points together
        (Bonferroni), the highest of them. None where no point is.
    """

    peak: float | None
    last: float
    rise: float
    fall: float
    net: float
    rise_interval: Interval | None
    fall_interval: Interval | None
    net_interval: Interval | None
    lift: Lift | None = None

    @property
    def shown_rise(self) -> Lift:
        """The rise to the peak, or where its own interval includes 0 the point that shows one, if any does."""
        shown = self.rise_interval is not None and self.rise_interval[0] > 0
        if self.lift is not None and not shown:
            return self.lift
        return Lift(self.peak, self.rise, self.rise_interval)

    @property
    def shape(self) -> Literal["rises", "turns", "falls", "falls back", "flat", "cannot tell"]:
        """What the intervals allow to say.

        "turns" needs a rise and a fall that both exclude 0, "falls" a last point below the base policy. A fall from the
        highest point alone "falls back": where few base samples are shared by all checkpoints, it is surer than where
        either end lies. Gold that rose for sure has risen, also where the last point is too noisy to show it.
        """
        if self.rise_interval is None or self.fall_interval is None or self.net_interval is None:
            return "cannot tell"
        rose = self.lift is not None or self.net_interval[0] > 0
        fell = self.fall_interval[0] > 0
        if fell and (rose or self.rise_interval[0] > 0):
            return "turns"
        if self.net_interval[1] < 0:
            return "falls"
        if fell:
            return "falls back"
        return "rises" if rose else "flat"


def measure_turn(curve: Curve) -> Turn | None:
    """The turn of a curve with clusters; None where it has none or no point beyond the base policy."""
    clusters = curve.clusters
    if clusters is None:
        return None
    gains = clusters.gold_gain
    usable = np.isfinite(gains).all(axis=0)
    if not usable.any():
        return None
    # The base policy is the first candidate for the peak: a curve may fall from the start.
    gains = np.column_stack([np.zeros(gains.shape[0]), gains[:, usable]])
    pressure = curve.pressure[usable]
    best = int(np.argmax(gains.mean(axis=0)))
    rise = np.empty(gains.shape[0])
    fall = np.empty(gains.shape[0])
    half = np.arange(gains.shape[0]) % 2
    for chosen_on, judged_on in ((half == 0, half == 1), (half == 1, half == 0)):
        if not chosen_on.any() or not judged_on.any():
            return None
        at = int(np.argmax(gains[chosen_on].mean(axis=0)))
        rise[judged_on] = gains[judged_on, at]
        fall[judged_on] = gains[judged_on, at] - gains[judged_on, -1]
    net = gains[:, -1]
    return Turn(
        peak=float(pressure[best - 1]) if best > 0 else None,
        last=float(pressure[-1]),
        rise=float(rise.mean()),
        fall=float(fall.mean()),
        net=float(net.mean()),
        rise_interval=_interval(rise),
        fall_interval=_interval(fall),
        net_interval=_interval(net),
        lift=_lift(gains[:, 1:], pressure),
    )


def _lift(gains: Array, pressure: Array) -> Lift | None:
    """The highest mean among the columns whose mean is above 0 for sure, whichever column it is."""
    count, points = gains.shape
    if count < 4:
        return None
    mean = gains.mean(axis=0)
    half = stats.t.ppf(1 - 0.025 / points, count - 1) * gains.std(axis=0, ddof=1) / np.sqrt(count)
    shown = mean > half
    if not shown.any():
        return None
    best = int(np.argmax(np.where(shown, mean, -np.inf)))
    return Lift(float(pressure[best]), float(mean[best]), (float((mean - half)[best]), float((mean + half)[best])))


def _interval(values: Array) -> Interval | None:
    if values.size < 4:
        return None
    half = float(stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
    return float(values.mean()) - half, float(values.mean()) + half
