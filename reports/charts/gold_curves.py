"""Gold under best-of-n for proxies of several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from overopt.bridges.run_summary import MeasuredCurve, ProxyModel
from overopt.reports.charts.labels import apart
from overopt.reports.charts.overoptimization import band
from overopt.reports.charts.theme import ramp
from overopt.reports.numbers import short

__all__ = ["gold_curves"]


def gold_curves(
    curves: Sequence[MeasuredCurve],
    proxies: Sequence[ProxyModel],
    *,
    x_title: str,
    domain: tuple[float, float],
    height: int = 260,
) -> Any:
    """Gold gain against d for the best-of-n curves of several proxies; the line's colour is the proxy's size."""
    parameters = {proxy.name: proxy.parameters for proxy in proxies}
    sizes = sorted(set(parameters.values()))
    rows: list[dict[str, Any]] = [
        {
            "curve": number, "size": short(parameters[curve.proxy_name]), "d": point.d, "gold": point.gold,
            "n": point.pressure, "low": band(point, "gold")[0], "high": band(point, "gold")[1],
        }
        for number, curve in enumerate(curves)
        for point in curve.points
    ]  # fmt: skip
    ends = list({row["size"]: row for row in rows}.values())
    hue = alt.Color("size:N", legend=None, scale=alt.Scale(domain=list(map(short, sizes)), range=ramp(len(sizes))))
    x = alt.X("d:Q", title=x_title, scale=alt.Scale(nice=False, zero=True), axis=alt.Axis(tickCount=3))
    y = alt.Y("gold:Q", title="gold gain (gold SD)", scale=alt.Scale(domain=list(domain), nice=False))
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, color=hue, detail="curve:N")
    tooltip = ["size:N", alt.Tooltip("gold:Q", format="+.3f"), alt.Tooltip("n:Q", format=",")]
    return alt.layer(
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1).encode(y="zero:Q"),
        base.mark_area(opacity=0.16, line=False, tooltip=None).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(),
        base.mark_point(size=22).encode(tooltip=tooltip),
        alt.Chart(alt.Data(values=apart(ends, "gold", domain, height)))
        .mark_text(align="left", dx=8, fontWeight=600)
        .encode(x=x, y=alt.Y("at:Q"), text="size:N", color=hue),
    ).properties(height=height)
