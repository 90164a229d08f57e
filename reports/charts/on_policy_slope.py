"""What the proxy is still worth along a run: the slope of gold on proxy among each checkpoint's own samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from overopt.bridges.run_summary import SplitRow
from overopt.reports.charts.theme import color

__all__ = ["on_policy_slope"]


def on_policy_slope(splits: Sequence[SplitRow], *, x_title: str, height: int = 300) -> Any:
    """Cov(gold, proxy) / Var(proxy) among each checkpoint's own samples, against d; at 0 the proxy is spent."""
    rows: list[dict[str, Any]] = []
    for split in splits:
        slope = split.on_policy_slope
        if slope is not None:
            low, high = split.ci.get("on_policy_slope", (slope, slope))
            d = split.pressure if split.d is None else split.d
            rows.append({"seed": split.seed, "d": d, "slope": slope, "low": low, "high": high})
    line = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("d:Q", title=x_title, scale=alt.Scale(nice=False, zero=True)),
        y=alt.Y("slope:Q", title="gold per unit of proxy, on policy"),
        detail="seed:N",
    )
    return alt.layer(
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1.5, stroke=color("ink")).encode(y="zero:Q"),
        line.mark_area(opacity=0.18, fill=color("ppo"), line=False, tooltip=None).encode(y=alt.Y("low:Q"), y2="high:Q"),
        line.mark_line(stroke=color("ppo")),
        line.mark_point(size=28, fill=color("ppo")).encode(
            tooltip=[alt.Tooltip("slope:Q", format="+.3f"), alt.Tooltip("d:Q", format=".2f"), "seed:N"]
        ),
    ).properties(height=height)
