"""Local linear regression of gold on proxy, linear in gold, so that every average of it has exact sample weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.decomposition.flat import sum_by

__all__ = ["LocalLinear", "Support"]

Array = NDArray[np.float64]

GRID = 400
MIN_NEIGHBOURS = 50
MIN_BANDWIDTH = 0.25
SUPPORT_RANK = 20


class Support:
    """Where a sample of proxies can be regressed on: from its 20th smallest to its 20th largest value.

    Attributes
    ----------
    low, high
        The ends. Beyond them nothing is extrapolated.
    grid
        (G,) points at which the regression is evaluated.
    bandwidth
        (G,) half widths of the kernel: .25 SD, or as much as it takes to hold 50 samples.
    """

    def __init__(self, proxy: Array) -> None:
        ordered = np.sort(proxy)
        rank = min(SUPPORT_RANK, max((ordered.size + 3) // 4, 1))
        self.low, self.high = float(ordered[rank - 1]), float(ordered[-rank])
        self.grid = np.linspace(self.low, self.high, GRID)
        spread = float(np.subtract(*np.quantile(ordered, (0.75, 0.25)))) / 1.349 or float(ordered.std())
        self.bandwidth = np.maximum(MIN_BANDWIDTH * spread, _neighbour_distance(ordered, self.grid))

    def holds(self, proxy: Array) -> NDArray[np.bool_]:
        """Which proxies lie inside."""
        return np.asarray((proxy >= self.low) & (proxy <= self.high))

    def mass(self, proxy: Array, weight: Array) -> Array:
        """(G,) weights on the grid whose product with a function on the grid sums its linear interpolation."""
        left, right_share = self._cells(proxy)
        return sum_by(left, weight * (1.0 - right_share), GRID) + sum_by(left + 1, weight * right_share, GRID)

    def interpolate(self, values: Array, proxy: Array) -> Array:
        """A function on the grid at ``proxy``, constant beyond the ends."""
        left, right_share = self._cells(proxy)
        return np.asarray(values[left] + right_share * (values[left + 1] - values[left]))

    def _cells(self, proxy: Array) -> tuple[NDArray[np.intp], Array]:
        """Left grid point of each proxy's cell, and how far into the cell it lies."""
        if self.high == self.low:
            return np.zeros(proxy.size, dtype=np.intp), np.zeros(proxy.size)
        position = np.clip((proxy - self.low) / (self.high - self.low), 0.0, 1.0) * (GRID - 1)
        left = np.minimum(position.astype(np.intp), GRID - 2)
        return left, position - left


def _neighbour_distance(ordered: Array, points: Array) -> Array:
    """Smallest half width around each point that holds ``MIN_NEIGHBOURS`` of the sorted values, by bisection."""
    needed = min(MIN_NEIGHBOURS, ordered.size)
    low, high = np.zeros_like(points), np.full_like(points, float(np.ptp(ordered)) + 1e-12)
    for _ in range(40):
        middle = (low + high) / 2
        inside = np.searchsorted(ordered, points + middle, "right") - np.searchsorted(ordered, points - middle, "left")
        enough = inside >= needed
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return high


class LocalLinear:
    """``r(x) = E[y | x]`` by local linear regression with an Epanechnikov kernel on binned samples.

    Each bin keeps the exact moments of its samples; only the kernel weight is taken at the bin's centre (Fan and Marron
    1994). Without spread inside a kernel (a coarse proxy) the fit is the local mean.

    Parameters
    ----------
    support
        Grid and bandwidths.
    x
        (R,) regressor; samples outside the support are not used.
    """

    def __init__(self, support: Support, x: Array) -> None:
        self.support = support
        self.x = x
        self.inside = support.holds(x)
        step = (support.high - support.low) / (GRID - 1) or 1.0
        self.bin = np.clip(np.rint((x - support.low) / step), 0, GRID - 1).astype(np.intp)
        grid, width = support.grid, support.bandwidth[:, None]
        self.kernel = np.maximum(1.0 - ((grid[None, :] - grid[:, None]) / width) ** 2, 0.0)
        count, first, second = (self._sums(power) for power in (np.ones_like(x), x, x**2))
        s0 = self.kernel @ count
        s1 = self.kernel @ first - grid * s0
        s2 = self.kernel @ second - 2 * grid * (self.kernel @ first) + grid**2 * s0
        determinant = s0 * s2 - s1**2
        flat = determinant <= 1e-6 * (s0 * width[:, 0]) ** 2
        safe = np.where(flat, np.maximum(s0, 1e-300), determinant)
        # r = level * (kernel @ sum y) + tilt * (kernel @ sum x y)
        self.level = np.where(flat, 1.0, s2 + grid * s1) / safe
        self.tilt = np.where(flat, 0.0, -s1) / safe

    def _sums(self, values: Array) -> Array:
        return sum_by(self.bin[self.inside], values[self.inside], GRID)

    def fit(self, y: Array) -> Array:
        """(G,) regression of (R,) ``y`` on the grid."""
        level, tilt = self.kernel @ self._sums(y), self.kernel @ self._sums(y * self.x)
        return np.asarray(self.level * level + self.tilt * tilt)

    def sample_weights(self, mass: Array) -> Array:
        """(R,) weights L with ``sum(L * y) == mass @ fit(y)`` for every y."""
        constant = (mass * self.level) @ self.kernel
        linear = (mass * self.tilt) @ self.kernel
        return np.asarray(np.where(self.inside, constant[self.bin] + linear[self.bin] * self.x, 0.0))
