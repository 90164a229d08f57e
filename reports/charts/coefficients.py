"""Fitted coefficients against the proxy's size or data: every model a point, their mean a line, intervals behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from overopt.reports.charts.theme import color

__all__ = ["coefficients_by_size"]


def coefficients_by_size(
    points: Sequence[tuple[float, float, tuple[float, float] | None]],
    *,
    x_title: str,
    y_title: str,
    hue: str,
    height: int = 230,
) -> Any:
    """(size, coefficient, 95% interval or None) of every fitted curve, on a log axis of size; the line joins means."""
    sizes = sorted({size for size, _, _ in points})
    rows = [
        {"size": size, "value": value, "low": ci[0] if ci else None, "high": ci[1] if ci else None}
        for size, value, ci in points
    ]
    means = [{"size": size, "value": float(np.mean([v for s, v, _ in points if s == size]))} for size in sizes]
    x = alt.X(
        "size:Q",
        title=x_title,
        scale=alt.Scale(type="log", domain=[0.8 * sizes[0], 1.25 * sizes[-1]], nice=False),
        axis=alt.Axis(values=sizes, format=".2~s"),
    )
    y = alt.Y("value:Q", title=y_title, scale=alt.Scale(zero=False, padding=8))
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    tooltip = [alt.Tooltip("size:Q", format=",.0f"), alt.Tooltip("value:Q", format="+.3f")]
    return alt.layer(
        base.mark_rule(strokeWidth=1.5, opacity=0.35, stroke=color(hue)).encode(
            y=alt.Y("low:Q", title=y_title), y2="high:Q"
        ),
        alt.Chart(alt.Data(values=means)).mark_line(strokeWidth=2, stroke=color(hue)).encode(x=x, y=y),
        base.mark_point(size=44, filled=True, fill=color(hue), opacity=0.9).encode(tooltip=tooltip),
    ).properties(height=height)
