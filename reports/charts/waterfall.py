"""From promise to delivered: each loss term as one step of a waterfall, with its value and interval beside it."""

from __future__ import annotations

import itertools
from typing import Any

import altair as alt

from overopt.bridges.run_summary import SplitRow
from overopt.reports.charts.theme import TERMS, color
from overopt.reports.numbers import signed, with_interval

__all__ = ["waterfall"]


def waterfall(split: SplitRow, *, domain: tuple[float, float] | None = None) -> Any:
    """The decomposition at one pressure, in gold SD. Terms without a value ("cannot tell") are left out.

    ``promise`` and ``delivered`` must be numbers.
    """
    rows: list[dict[str, Any]] = []
    level = float(split.promise or 0.0)
    rows.append(_row("promise", "proxy", 0.0, level, signed(split.promise)))
    for term in TERMS:
        loss = getattr(split, term)
        if loss is None:
            continue
        label = with_interval(-loss, _flipped(split.ci.get(term)))
        rows.append(_row(term, term, level, level - loss, label))
        level -= loss
    label = with_interval(split.delivered, split.ci.get("delivered"))
    rows.append(_row("delivered", "gold", 0.0, float(split.delivered or 0.0), label))
    steps = [
        {"level": row["end"], "from": row["name"], "to": following["name"]}
        for row, following in itertools.pairwise(rows)
    ]
    order = [row["name"] for row in rows]
    concepts = ("proxy", *TERMS, "gold")
    y = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(labelColor=color("ink"), labelFontSize=13, grid=False))
    x_scale = alt.Scale(domain=list(domain), nice=False) if domain else alt.Scale()
    base = alt.Chart(alt.Data(values=rows))
    bars = base.mark_bar(height={"band": 0.62}).encode(
        y=y,
        x=alt.X("start:Q", title="gain over the base policy (gold SD)", scale=x_scale, axis=alt.Axis(grid=True)),
        x2="end:Q",
        color=alt.Color(
            "concept:N", legend=None, scale=alt.Scale(domain=list(concepts), range=[color(name) for name in concepts])
        ),
        tooltip=[alt.Tooltip("name:N", title="term"), alt.Tooltip("label:N", title="gold SD")],
    )
    text = base.mark_text(align="left", dx=6, fontSize=12).encode(y=y, x="right:Q", text="label:N")
    links = (
        alt.Chart(alt.Data(values=steps))
        .mark_rule(strokeWidth=1)
        .encode(x="level:Q", y=alt.Y("from:N", sort=order), y2="to:N")
    )
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1, stroke=color("ink")).encode(x="zero:Q")
    return alt.layer(links, bars, zero, text).properties(
        height=alt.Step(38), padding={"left": 4, "top": 4, "right": 96, "bottom": 4}
    )


def _row(name: str, concept: str, start: float, end: float, label: str) -> dict[str, Any]:
    return {"name": name, "concept": concept, "start": start, "end": end, "right": max(start, end), "label": label}


def _flipped(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if bounds is None else (-bounds[1], -bounds[0])
