"""Where the gap between promise and delivery goes as optimization continues: the four loss terms, stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from overopt.bridges.run_summary import SplitRow
from overopt.reports.charts.losses import LOSSES, losses
from overopt.reports.charts.theme import TERMS, color

__all__ = ["gap", "gap_domain"]


def gap_domain(splits: Sequence[SplitRow]) -> tuple[float, float]:
    """The range of the stacked terms, with some air, so that panels side by side share one axis."""
    parts = [losses(split).values() for split in splits]
    low = min(sum(min(loss, 0.0) for loss in row) for row in parts)
    high = max(sum(max(loss, 0.0) for loss in row) for row in parts)
    air = 0.05 * (high - low)
    return low - air, high + air


def gap(splits: Sequence[SplitRow], *, x_title: str, domain: tuple[float, float], height: int = 300) -> Any:
    """Stacked loss terms (gold SD) per pressure; losses above zero, gains below, the dot is promise - delivered."""
    rows: list[dict[str, Any]] = []
    dots: list[dict[str, Any]] = []
    for split in splits:
        label = f"{split.pressure:,.0f}"
        up = down = 0.0
        for term, loss in losses(split).items():
            start = up if loss >= 0 else down
            rows.append({"at": label, "term": term, "start": start, "end": start + loss, "loss": loss})
            if loss >= 0:
                up += loss
            else:
                down += loss
        if split.promise is not None and split.delivered is not None:
            dots.append({"at": label, "gap": split.promise - split.delivered})
    order = [f"{split.pressure:,.0f}" for split in splits]
    x = alt.X("at:O", sort=order, title=x_title, axis=alt.Axis(labelAngle=0, labelOverlap="greedy"))
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(width={"band": 0.72})
        .encode(
            x=x,
            y=alt.Y(
                "start:Q",
                title="gold lost against the promise (gold SD)",
                scale=alt.Scale(domain=list(domain), nice=False),
            ),
            y2="end:Q",
            color=alt.Color(
                "term:N", legend=None, scale=alt.Scale(domain=list(LOSSES), range=[*map(color, TERMS), color("rule")])
            ),
            tooltip=[
                alt.Tooltip("at:N", title=x_title),
                "term:N",
                alt.Tooltip("loss:Q", title="loss (gold SD)", format="+.3f"),
            ],
        )
    )
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1, stroke=color("ink")).encode(y="zero:Q")
    dot = (
        alt.Chart(alt.Data(values=dots))
        .mark_point(size=46, filled=True, fill=color("ink"), stroke=color("paper"), strokeWidth=1.5, opacity=1)
        .encode(x=x, y="gap:Q", tooltip=[alt.Tooltip("gap:Q", title="promise − delivered", format="+.3f")])
    )
    return alt.layer(bars, zero, dot).properties(height=height)
