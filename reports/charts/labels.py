"""Names at the ends of lines, moved apart where two would overlap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

__all__ = ["LINE_HEIGHT", "apart"]

LINE_HEIGHT = 15
"""Pixels that one line of label text needs."""


def apart(rows: Sequence[dict[str, Any]], key: str, domain: tuple[float, float], height: int) -> list[dict[str, Any]]:
    """The rows with ``at``: their ``key``, at least one line of text apart on an axis of ``height`` pixels.

    Labels are pushed up from below, then the stack is pushed down where it would leave the top of the axis.
    """
    step = LINE_HEIGHT * (domain[1] - domain[0]) / height
    placed = [{**row, "at": row[key]} for row in sorted(rows, key=lambda row: row[key])]
    for below, row in pairwise(placed):
        row["at"] = max(row["at"], below["at"] + step)
    ceiling = domain[1]
    for row in reversed(placed):
        row["at"] = min(row["at"], ceiling)
        ceiling = row["at"] - step
    return placed
