"""What a study returns: a question, a verdict with its numbers, and the points of one chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Line", "Study", "verdict"]

Verdict = Literal["pass", "fail", "cannot tell"]


@dataclass(frozen=True)
class Line:
    """One line of the chart: its name and its (x, y) points."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Study:
    """The answer to one question.

    Attributes
    ----------
    claim
        What is tested, as a statement.
    verdict
        Whether the toys agree with the claim.
    finding
        One sentence with the numbers behind the verdict.
    x, y
        Axis titles.
    lines
        What the chart shows.
    """

    claim: str
    verdict: Verdict
    finding: str
    x: str
    y: str
    lines: tuple[Line, ...]


def verdict(holds: bool, *, decidable: bool = True) -> Verdict:
    """``cannot tell`` where the evidence does not separate the answers."""
    if not decidable:
        return "cannot tell"
    return "pass" if holds else "fail"
