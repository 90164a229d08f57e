"""What a proxy of a given size and data is worth: its gold curve under best-of-n and the height of its peak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from overopt.bridges.run_summary import CurvePoint, MeasuredCurve, ProxyModel
from overopt.reports.charts.overoptimization import Z95
from overopt.reports.charts.theme import STEPS, color
from overopt.reports.numbers import count

__all__ = ["gold_curves", "proxy_peaks"]


def proxy_peaks(proxies: Sequence[ProxyModel], *, height: int = 300) -> Any:
    """Peak gold gain of best-of-n (gold SD) against preference labels, one line per proxy size, 95% intervals."""
    rows: list[dict[str, Any]] = [
        {
            "labels": proxy.labels, "size": count(proxy.parameters), "peak": proxy.gold_peak,
            "low": proxy.gold_peak_ci[0] if proxy.gold_peak_ci else None,
            "high": proxy.gold_peak_ci[1] if proxy.gold_peak_ci else None,
            "accuracy": proxy.heldout_accuracy, "name": proxy.name,
        }
        for proxy in proxies
        if proxy.gold_peak is not None
    ]  # fmt: skip
    sizes = [count(value) for value in sorted({proxy.parameters for proxy in proxies})]
    ends = list({row["size"]: row for row in sorted(rows, key=lambda row: row["labels"])}.values())
    hue = alt.Color("size:N", legend=None, scale=alt.Scale(domain=sizes, range=_ramp(len(sizes))))
    labels = sorted({proxy.labels for proxy in proxies})
    x = alt.X(
        "labels:Q", title="preference labels", scale=alt.Scale(type="log"), axis=alt.Axis(values=labels, format=",")
    )
    y = alt.Y("peak:Q", title="highest gold gain under best-of-n (gold SD)")
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, color=hue)
    tooltip = ["name:N", alt.Tooltip("peak:Q", format="+.3f"), alt.Tooltip("accuracy:Q", format=".3f")]
    return alt.layer(
        base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(opacity=0.9),
        base.mark_point(size=60).encode(tooltip=tooltip),
        alt.Chart(alt.Data(values=ends))
        .mark_text(align="left", dx=10, fontSize=13, fontWeight=600)
        .encode(x=x, y=y, text="size:N", color=hue),
    ).properties(height=height, padding={"left": 4, "top": 4, "right": 56, "bottom": 4})


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
            "curve": number, "size": count(parameters[curve.proxy_name]), "d": point.d, "gold": point.gold,
            "n": point.pressure, "low": _band(point, -1), "high": _band(point, +1),
        }
        for number, curve in enumerate(curves)
        for point in curve.points
    ]  # fmt: skip
    ends = list({row["size"]: row for row in rows}.values())
    hue = alt.Color("size:N", legend=None, scale=alt.Scale(domain=list(map(count, sizes)), range=_ramp(len(sizes))))
    x = alt.X("d:Q", title=x_title, scale=alt.Scale(nice=False, zero=True))
    y = alt.Y("gold:Q", title="gold gain (gold SD)", scale=alt.Scale(domain=list(domain), nice=False))
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, color=hue, detail="curve:N")
    tooltip = ["size:N", alt.Tooltip("gold:Q", format="+.3f"), alt.Tooltip("n:Q", format=",")]
    return alt.layer(
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1).encode(y="zero:Q"),
        base.mark_area(opacity=0.16, line=False, tooltip=None).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(),
        base.mark_point(size=22).encode(tooltip=tooltip),
        alt.Chart(alt.Data(values=_spread(ends, domain, height)))
        .mark_text(align="left", dx=8, fontWeight=600)
        .encode(x=x, y=alt.Y("at:Q"), text="size:N", color=hue),
    ).properties(height=height, padding={"left": 4, "top": 4, "right": 54, "bottom": 4})


def _band(point: CurvePoint, side: int) -> float | None:
    return None if point.gold_se is None else point.gold + side * Z95 * point.gold_se


def _spread(ends: list[dict[str, Any]], domain: tuple[float, float], height: int) -> list[dict[str, Any]]:
    """The end labels with ``at``: their height, moved up where two would overlap."""
    step = 15 * (domain[1] - domain[0]) / height
    placed: list[dict[str, Any]] = []
    for row in sorted(ends, key=lambda row: row["gold"]):
        placed.append({**row, "at": max(row["gold"], placed[-1]["at"] + step) if placed else row["gold"]})
    return placed


def _ramp(length: int) -> list[str]:
    """``length`` colours from weak to strong, spread over the palette's ordered steps."""
    last = len(STEPS) - 1
    return [color(STEPS[round(i * last / max(length - 1, 1))]) for i in range(length)]
