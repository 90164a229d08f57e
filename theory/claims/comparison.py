"""What a check measures: one number against another that was obtained independently."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import SupportsFloat

__all__ = ["Comparison", "at_least", "at_most", "equal", "printed"]


@dataclass(frozen=True)
class Comparison:
    """One measured number beside its reference.

    ``deviation`` is ``|value - reference| / max(1, |reference|)`` for an equality, the violation (0 where it holds) for
    an inequality, and the excess over half a unit of the last digit for a printed figure.
    """

    what: str
    value: float
    reference: float
    deviation: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the deviation is a number within the tolerance."""
        return self.deviation <= self.tolerance


def equal(what: str, value: SupportsFloat, reference: SupportsFloat, tolerance: float = 1e-9) -> Comparison:
    """``value`` equals ``reference``, an independent oracle's number; infinities equal themselves."""
    found, wanted = float(value), float(reference)
    if math.isinf(wanted):
        deviation = 0.0 if found == wanted else math.inf
    else:
        deviation = abs(found - wanted) / max(1.0, abs(wanted))
    return Comparison(what, found, wanted, deviation, tolerance)


def printed(what: str, value: SupportsFloat, figure: str) -> Comparison:
    """``value`` rounds to ``figure``, a number as a source prints it (its last digit sets the precision)."""
    decimals = len(figure.partition(".")[2])
    found = float(value)
    excess = abs(found - float(figure)) - 0.5 * 10.0**-decimals
    return Comparison(what, found, float(figure), math.nan if math.isnan(found) else max(0.0, excess), 1e-9)


def at_most(what: str, value: SupportsFloat, bound: SupportsFloat, tolerance: float = 1e-12) -> Comparison:
    """``value <= bound``."""
    return Comparison(what, float(value), float(bound), _violation(float(value), float(bound)), tolerance)


def at_least(what: str, value: SupportsFloat, bound: SupportsFloat, tolerance: float = 1e-12) -> Comparison:
    """``value >= bound``."""
    return Comparison(what, float(value), float(bound), _violation(float(bound), float(value)), tolerance)


def _violation(low: float, high: float) -> float:
    if math.isnan(low) or math.isnan(high):
        return math.nan
    return max(0.0, low - high) if low != high else 0.0
