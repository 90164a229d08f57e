"""The path decomposition: gold gained by selection along the current relation, and by that relation's shift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from overopt.bridges.run_summary import SplitRow
from overopt.reports.charts.labels import apart
from overopt.reports.charts.theme import color

__all__ = ["path"]

_PARTS = {
    "selection": ("path_selection", "proxy"),
    "shift": ("path_shift", "causal"),
    "delivered": ("delivered", "gold"),
}
"""Name of a line -> (term of the split, concept that gives its colour)."""


def path(splits: Sequence[SplitRow], *, x_title: str, height: int = 300) -> Any:
    """Cumulative selection, shift and their sum, the delivered gold, against d (gold SD); one line per seed.

    Bands are 95% intervals, where the split has them.
    """
    rows: list[dict[str, Any]] = []
    for split in splits:
        for part, (term, _) in _PARTS.items():
            value = getattr(split, term)
            if value is not None:
                low, high = split.ci.get(term, (value, value))
                rows.append({"seed": split.seed, "part": part, "d": _x(split), "gain": value, "low": low, "high": high})
    ends = list({row["part"]: row for row in sorted(rows, key=lambda row: row["d"])}.values())
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    air = 0.06 * (high - low)
    domain = (min(low, 0.0) - air, max(high, 0.0) + air)
    x = alt.X("d:Q", title=x_title, scale=alt.Scale(nice=False, zero=True))
    y = alt.Y("gain:Q", scale=alt.Scale(domain=list(domain), nice=False), title="gold gained so far (gold SD)")
    palette = [color(concept) for _, concept in _PARTS.values()]
    hue = alt.Color("part:N", legend=None, scale=alt.Scale(domain=list(_PARTS), range=palette))
    line = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, color=hue, detail="seed:N")
    tooltip = [
        "part:N",
        alt.Tooltip("gain:Q", title="gold SD", format="+.3f"),
        alt.Tooltip("d:Q", format=".2f"),
        "seed:N",
    ]
    label = (
        alt.Chart(alt.Data(values=apart(ends, "gain", domain, height)))
        .mark_text(align="left", dx=9, fontSize=13, fontWeight=600)
        .encode(x=x, y="at:Q", text="part:N", color=hue)
    )
    return alt.layer(
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1).encode(y="zero:Q"),
        line.mark_area(opacity=0.16, line=False, tooltip=None).encode(y=alt.Y("low:Q"), y2="high:Q"),
        line.mark_line(opacity=0.9),
        line.mark_point(size=28).encode(tooltip=tooltip),
        label,
    ).properties(height=height)


def _x(split: SplitRow) -> float:
    return split.pressure if split.d is None else split.d
