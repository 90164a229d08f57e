"""Toy curves: gold of several optimizers against d, and where one optimizer's promise went."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from overopt.reports.charts.overoptimization import d_title
from overopt.reports.charts.theme import TERMS, color
from overopt.toys.studies import Study

__all__ = ["study_chart", "toy_gold", "toy_terms"]

_HUES = ("gold", "proxy", "regressional", "extremal", "causal", "ppo", "muted", "ink")
_INTERVAL = 1.96

_LEGEND = alt.Legend(title=None, offset=32, columns=alt.ExprRef("max(2, floor(width / 150))"))
"""Above the axis title, which stands on top of the axis, in as many columns as names fit beside each other."""
_TICKS = [float(digit * 10**power) for power in range(7) for digit in (1, 2, 5)]

Point = Mapping[str, Any]


def toy_gold(curves: Mapping[str, Sequence[Point]], *, height: int = 320) -> Any:
    """Exact gold gain (lines) against d for every optimizer, simulated gold (points) with its 95% interval."""
    names = list(curves)
    rows = [
        {
            "optimizer": name, "d": point["d"], "exact": point["gold_exact"], "gold": point["gold"],
            "pressure": point["pressure"], "kl": point["kl"],
            "low": None if point["gold_se"] is None else point["gold"] - _INTERVAL * point["gold_se"],
            "high": None if point["gold_se"] is None else point["gold"] + _INTERVAL * point["gold_se"],
        }
        for name, points in curves.items()
        for point in points
    ]  # fmt: skip
    hue = alt.Color(
        "optimizer:N", legend=_LEGEND,
        scale=alt.Scale(domain=names, range=[color(_HUES[index % len(_HUES)]) for index in range(len(names))]),
    )  # fmt: skip
    base = alt.Chart(alt.Data(values=rows)).encode(x=alt.X("d:Q", title=d_title("exact")), color=hue)
    simulated = base.transform_filter("isValid(datum.low)")
    tooltip = [
        "optimizer:N", alt.Tooltip("pressure:Q", format=".4g"), alt.Tooltip("kl:Q", format=".3f"),
        alt.Tooltip("exact:Q", format="+.4f"), alt.Tooltip("gold:Q", format="+.4f"),
    ]  # fmt: skip
    gold = alt.Y("exact:Q", title="gold gain (gold SD)")
    return alt.layer(
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1).encode(y="zero:Q"),
        base.mark_line(interpolate="monotone").encode(y=gold),
        simulated.mark_rule().encode(y=alt.Y("low:Q"), y2="high:Q"),
        simulated.mark_point(size=30).encode(y=alt.Y("gold:Q"), tooltip=tooltip),
    ).properties(height=height)


def toy_terms(points: Sequence[Point], *, height: int = 240) -> Any:
    """The exact loss terms of one optimizer against d, with delivered gold."""
    shown = (*TERMS, "delivered")
    rows = [{"d": point["d"], "term": term, "value": point[term]} for point in points for term in shown]
    hues = [color(term) for term in TERMS] + [color("gold")]
    axis = _symlog_axis([row["value"] for row in rows if row["value"] is not None])
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_line(interpolate="monotone", point=True)
        .encode(
            x=alt.X("d:Q", title=d_title("exact")),
            y=alt.Y("value:Q", title="gold SD", **axis),
            color=alt.Color("term:N", legend=_LEGEND, scale=alt.Scale(domain=list(shown), range=hues)),
            tooltip=["term:N", alt.Tooltip("d:Q", format=".3f"), alt.Tooltip("value:Q", format="+.4f")],
        )
        .properties(height=height)
    )


def _symlog_axis(values: Sequence[float]) -> dict[str, Any]:
    """Scale and axis whose ticks enclose the values on both sides of 0; Vega's own leave one side bare."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    if max(-low, high) < 2:  # the axis is nearly linear there, and so are Vega's ticks
        return {"scale": alt.Scale(type="symlog")}
    below, above = (bisect_left(_TICKS, reach) + 1 if reach > 0 else 0 for reach in (-low, high))
    ticks = [*(-tick for tick in reversed(_TICKS[:below])), 0.0, *_TICKS[:above]]
    return {
        "scale": alt.Scale(type="symlog", domain=[min(ticks[0], low), max(ticks[-1], high)]),
        "axis": alt.Axis(values=ticks, tickCount=len(ticks), labelOverlap="greedy"),
    }


def study_chart(study: Study, *, height: int = 280) -> Any:
    """The lines of a study; lines of a single point are drawn as labelled points."""
    rows = [{"line": line.name, "x": x, "y": y} for line in study.lines for x, y in line.points]
    x, y = alt.X("x:Q", title=study.x), alt.Y("y:Q", title=study.y)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    tooltip = ["line:N", alt.Tooltip("x:Q", format=".3f"), alt.Tooltip("y:Q", format="+.3f")]
    if all(len(line.points) == 1 for line in study.lines):
        names = base.mark_text(align="left", dx=7).encode(text="line:N")
        chart = alt.layer(base.mark_point(size=50, color=color("ink")).encode(tooltip=tooltip), names)
    else:
        hues = [color(_HUES[index % len(_HUES)]) for index in range(len(study.lines))]
        domain = [line.name for line in study.lines]
        hue = alt.Color("line:N", legend=_LEGEND, scale=alt.Scale(domain=domain, range=hues))
        chart = base.mark_line(point=True).encode(color=hue, tooltip=tooltip)
    return chart.properties(height=height)
