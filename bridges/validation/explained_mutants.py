"""Mutants that nothing notices, with the reason: data of the mutation study, keyed by file and source line.

A test fails when a line, or the change on it, is gone from the file.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EXPLAINED", "Explained"]


@dataclass(frozen=True)
class Explained:
    """Why one change to one line goes unnoticed."""

    module: str
    line: str
    """The source line without indentation."""
    change: str
    """As :class:`~overopt.bridges.validation.mutants.Mutant` words it."""
    reason: str
    equivalent: bool = True
    """Whether the changed file provably computes the same; if not, the mutant counts as a survivor."""
    ordinal: int | None = None
    """Which of several equal changes on the line, from 0; None for all of them."""


EXPLAINED: tuple[Explained, ...] = (
    Explained(
        "best_of_n",
        "step = np.where(rank > size, np.log1p(-(size - 1) / np.maximum(rank - 1, 1)), 0.0)",
        "0.0 becomes 1.0",
        "ranks up to n are masked on the last line: rank n, the first that is not, subtracts its own step again",
    ),
)
