"""The picture of the project: gold and proxy against d = sqrt(KL), with 95% bands and the fitted law."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from overopt.bridges.run_summary import CurvePoint, FittedLaw, MeasuredCurve
from overopt.reports.charts.labels import apart
from overopt.reports.charts.theme import color

__all__ = ["BOTH", "Z95", "band", "d_title", "overoptimization", "value_domain"]

BOTH = ("gold", "proxy")

Z95 = 1.96
"""Half-width of a 95% band in standard errors, for points that carry a standard error but no interval."""


def d_title(kl_kind: str) -> str:
    """Axis title of d with its unit and the estimator behind it (the first word of the KL's kind)."""
    return f"d = √KL (√nats; {kl_kind.split(',')[0]} KL)"


def value_domain(curves: Sequence[MeasuredCurve], shown: Sequence[str] = BOTH) -> tuple[float, float]:
    """The range of what is shown over all curves, with some air, so that panels side by side share one axis."""
    points = [point for curve in curves for point in curve.points]
    reach = [value for point in points for what in shown for value in (*band(point, what), 0.0)]
    low, high = min(reach), max(reach)
    air = 0.06 * (high - low)
    return low - air, high + air


def _rows(curves: Sequence[MeasuredCurve], shown: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, curve in enumerate(curves):
        for point in curve.points:
            common = {"curve": number, "seed": curve.seed, "d": _x(point), "kl": point.kl, "pressure": point.pressure}
            for what in shown:
                low, high = band(point, what)
                rows.append({**common, "what": what, "gain": getattr(point, what), "low": low, "high": high})
    return rows


def band(point: CurvePoint, what: str) -> tuple[float, float]:
    """95% interval of the point's ``"gold"`` or ``"proxy"``; its own value where nothing says how sure it is."""
    value, se, bounds = (getattr(point, name) for name in (what, f"{what}_se", f"{what}_ci"))
    half = Z95 * se if se is not None else 0.0
    return bounds if bounds is not None else (value - half, value + half)


def _x(point: CurvePoint) -> float:
    return point.pressure if point.d is None else point.d


def overoptimization(
    curves: Sequence[MeasuredCurve],
    laws: Sequence[FittedLaw] = (),
    *,
    x_title: str,
    y_title: str = "gain over the base policy (gold SD)",
    domain: tuple[float, float] | None = None,
    height: int = 400,
    shown: Sequence[str] = BOTH,
) -> Any:
    """Proxy and gold gain (gold SD) against d for curves of one method and one proxy; one line per curve.

    ``shown`` leaves out the proxy where there is none, or where it has a panel and an axis of its own. Fitted laws are
    dashed where the fit saw data and dotted beyond. Curves without a KL are drawn against pressure.
    """
    rows = _rows(curves, shown)
    reach = domain or value_domain(curves, shown)
    last = max((row for row in rows if row["what"] == shown[0]), key=lambda row: row["d"])
    ends = [row for row in rows if row["curve"] == last["curve"] and row["d"] == last["d"]]
    scale = alt.Scale(domain=["gold", "proxy"], range=[color("gold"), color("proxy")])
    hue = alt.Color("what:N", scale=scale, legend=None)
    x = alt.X("d:Q", title=x_title, scale=alt.Scale(nice=False, zero=True))
    y = alt.Y(
        "gain:Q",
        title=y_title,
        scale=alt.Scale(domain=list(reach), nice=False),
    )
    base = alt.Chart(alt.Data(values=rows))
    line = base.encode(x=x, y=y, color=hue, detail="curve:N")
    tooltip = [
        alt.Tooltip("what:N", title="score"),
        alt.Tooltip("gain:Q", format="+.3f"),
        alt.Tooltip("d:Q", format=".2f"),
        alt.Tooltip("kl:Q", title="KL (nats)", format=".2f"),
        alt.Tooltip("pressure:Q", title="n or step"),
        alt.Tooltip("seed:N"),
    ]
    layers = [
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1).encode(y="zero:Q"),
        base.mark_area(opacity=0.16, line=False, tooltip=None).encode(
            x=x, y=alt.Y("low:Q"), y2="high:Q", color=hue, detail="curve:N"
        ),
        line.mark_line(strokeWidth=2.5, opacity=0.9),
        line.mark_point(size=34, filled=True, opacity=1).encode(tooltip=tooltip),
    ]
    layers += _law_layers(laws, x, y)
    layers.append(
        alt.Chart(alt.Data(values=apart(ends, "gain", reach, height)))
        .mark_text(align="left", dx=9, fontSize=14, fontWeight=600)
        .encode(x=x, y="at:Q", text="what:N", color=hue)
    )
    return alt.layer(*layers).properties(height=height)


def _law_layers(laws: Sequence[FittedLaw], x: Any, y: Any) -> list[Any]:
    layers = []
    for dash, beyond in (([6, 4], False), ([1.5, 4], True)):
        rows = [
            {"curve": number, "d": d, "gain": gold}
            for number, law in enumerate(laws)
            for d, gold in law.line
            if (law.fitted_to_d is not None and d > law.fitted_to_d) == beyond
        ]
        if rows:
            layers.append(
                alt.Chart(alt.Data(values=rows))
                .mark_line(strokeDash=dash, strokeWidth=1.6, stroke=color("ink"), clip=True, tooltip=None)
                .encode(x=x, y=y, detail="curve:N")
            )
    return layers
