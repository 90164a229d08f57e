"""What a toy returns: one point per pressure, exact and simulated side by side, with the exact decomposition."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ToyCurve", "ToyPoint"]


@dataclass(frozen=True)
class ToyPoint:
    """One policy. Rewards are gains over the base policy in gold SD, on the world's scale (``slope`` wherever it
    exists).

    Attributes
    ----------
    pressure
        The optimizer's own parameter: n, 1/q, lambda, steps, ...
    kl, d
        Exact KL(policy || base) in nats and its square root.
    proxy, gold
        Simulated means; NaN without simulation.
    gold_exact
        What ``gold`` estimates.
    gold_se, proxy_se
        Standard errors of the simulated means.
    promise, regressional, extremal, causal, unattributed, delivered
        Exact, ``promise - regressional - extremal - causal - unattributed = delivered``: promise and delivered are
        gains, the terms between them losses.
    null_proxy
        Proxy gain of the same selection in the null world; far from ``promise`` the split between regressional and
        extremal depends on definitions. NaN for policies that are not a selection by rank.
    """

    pressure: float
    kl: float
    d: float
    proxy: float
    gold: float
    gold_exact: float
    gold_se: float
    promise: float
    regressional: float
    extremal: float
    causal: float
    unattributed: float
    delivered: float
    proxy_se: float = math.nan
    null_proxy: float = math.nan

    @property
    def z(self) -> float:
        """Simulated minus exact gold in standard errors; 0 where both agree to rounding."""
        difference = self.gold - self.gold_exact
        if abs(difference) <= 1e-12 * max(1.0, abs(self.gold_exact)):
            return 0.0
        return difference / self.gold_se if self.gold_se > 0 else math.copysign(math.inf, difference)


@dataclass(frozen=True)
class ToyCurve:
    """One optimizer in one world, points in the order asked for.

    Attributes
    ----------
    world, optimizer
        Names, as on the command line.
    parameters
        The world's parameters in force.
    points
        One per pressure.
    """

    world: str
    optimizer: str
    parameters: dict[str, Any]
    points: tuple[ToyPoint, ...]
    scale: str = field(default="slope")

    def column(self, name: str) -> NDArray[np.float64]:
        """One attribute of the points (``z`` included) as an array of shape (points,)."""
        return np.array([getattr(point, name) for point in self.points], dtype=float)

    def to_frame(self) -> pa.Table:
        """One row per point, one column per attribute of :class:`ToyPoint`."""
        import pyarrow as pa

        return pa.Table.from_pylist([asdict(point) for point in self.points])

    def __str__(self) -> str:
        names = ("pressure", "kl", "promise", "regressional", "extremal", "causal", "delivered", "gold", "gold_se")
        head = f"{self.optimizer} in {self.world}, gains in gold SD ({self.scale} scale), KL in nats"
        rows = ["".join(f"{name:>13}" for name in names)]
        rows += ["".join(f"{getattr(point, name):>13.5g}" for name in names) for point in self.points]
        return "\n".join([head, *rows])
