"""The losses of a split as they are drawn: its terms, and what the data cannot split."""

from __future__ import annotations

from overopt.bridges.run_summary import SplitRow
from overopt.reports.charts.theme import TERMS

__all__ = ["LOSSES", "NOT_SPLIT", "losses"]

NOT_SPLIT = "not split"
"""Name of the part of the gap that belongs to terms which the data cannot tell."""

LOSSES = (*TERMS, NOT_SPLIT)
"""All names that :func:`losses` may give, in drawing order."""


def losses(split: SplitRow) -> dict[str, float]:
    """Losses by name (gold SD); with the promise and the delivery known, they add up to the gap between both."""
    known: dict[str, float] = {term: getattr(split, term) for term in TERMS if getattr(split, term) is not None}
    if len(known) < len(TERMS) and split.promise is not None and split.delivered is not None:
        known[NOT_SPLIT] = split.promise - split.delivered - sum(known.values())
    return known
