"""From promise to delivered: each loss term as one step of a waterfall, with its value and interval beside it."""

from __future__ import annotations

import itertools
from typing import Any

import altair as alt

from overopt.bridges.run_summary import SplitRow
from overopt.reports.charts.losses import NOT_SPLIT, losses
from overopt.reports.charts.theme import TERMS, color
from overopt.reports.numbers import interval, signed

__all__ = ["waterfall"]


def waterfall(split: SplitRow, *, domain: tuple[float, float] | None = None) -> Any:
    """The decomposition at one pressure, in gold SD. What the data cannot split is one grey bar.

    ``promise`` and ``delivered`` must be numbers.
    """
    rows: list[dict[str, Any]] = []

    def add(term: str, start: float, end: float, value: float, bounds: tuple[float, float] | None) -> None:
        rows.append({"term": term, "start": start, "end": end, "value": signed(value), "ci": interval(bounds)})

    level = float(split.promise or 0.0)
    add("promise", 0.0, level, level, split.ci.get("promise"))
    for term, loss in losses(split).items():
        bounds = split.ci.get(term)
        add(term, level, level - loss, -loss, None if bounds is None else (-bounds[1], -bounds[0]))
        level -= loss
    delivered = float(split.delivered or 0.0)
    add("delivered", 0.0, delivered, delivered, split.ci.get("delivered"))

    order = [row["term"] for row in rows]
    steps = [
        {"level": row["end"], "term": row["term"], "next": after["term"]} for row, after in itertools.pairwise(rows)
    ]
    concepts = {"promise": "proxy", **{term: term for term in TERMS}, NOT_SPLIT: "rule", "delivered": "gold"}
    palette = [color(concept) for concept in concepts.values()]
    y = alt.Y(
        "term:N",
        scale=alt.Scale(domain=order),
        title=None,
        axis=alt.Axis(labelColor=color("ink"), labelFontSize=13, grid=False),
    )
    x_scale = alt.Scale(domain=list(domain), nice=False) if domain else alt.Scale()
    base = alt.Chart(alt.Data(values=rows))
    bars = base.mark_bar(height={"band": 0.58}).encode(
        y=y,
        x=alt.X("start:Q", title="gain over the base policy (gold SD)", scale=x_scale, axis=alt.Axis(tickCount=4)),
        x2="end:Q",
        color=alt.Color("term:N", legend=None, scale=alt.Scale(domain=list(concepts), range=palette)),
        tooltip=["term:N", alt.Tooltip("value:N", title="gold SD"), alt.Tooltip("ci:N", title="95% interval")],
    )
    right = alt.value("width")
    value = base.mark_text(align="left", dx=10, dy=-7, fontSize=13, fontWeight=600).encode(x=right, y=y, text="value:N")
    ci = base.mark_text(align="left", dx=10, dy=8, fontSize=11, fill=color("muted")).encode(x=right, y=y, text="ci:N")
    links = alt.Chart(alt.Data(values=steps)).mark_rule(strokeWidth=1).encode(x="level:Q", y=y, y2="next:N")
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1, stroke=color("ink")).encode(x="zero:Q")
    return alt.layer(links, bars, zero, value, ci).properties(height=44 * len(rows))
