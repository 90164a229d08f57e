"""How numbers read in a sentence: signed, with a true minus and their interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["count", "interval", "plain", "short", "signed", "with_interval"]


def plain(value: float | None, decimals: int = 2) -> str:
    """``1.37``, ``−0.24``; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed(value: float | None, decimals: int = 2) -> str:
    """``+1.37``, ``−0.24``, ``0.00``."""
    text = plain(value, decimals)
    return text if text.startswith("−") or text == "–" or float(text) == 0 else f"+{text}"


def interval(bounds: Sequence[float | None] | None, decimals: int = 2) -> str:
    """``[−0.31, 0.05]``, or an empty string where there is none."""
    if bounds is None or any(bound is None for bound in bounds):
        return ""
    low, high = bounds
    return f"[{plain(low, decimals)}, {plain(high, decimals)}]"


def with_interval(value: float | None, bounds: Sequence[float | None] | None, decimals: int = 2) -> str:
    """``+0.61 [0.52, 0.70]``."""
    return f"{signed(value, decimals)} {interval(bounds, decimals)}".rstrip()


def count(value: float) -> str:
    """``60,000``."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """A size in short: ``200``, ``67k``, ``1.4M``, ``6.0B``."""
    for unit, letter, decimals in ((1e9, "B", 1), (1e6, "M", 1), (1e3, "k", 0)):
        if value >= unit:
            return f"{value / unit:.{decimals}f}{letter}"
    return f"{value:,.0f}"
