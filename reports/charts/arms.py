"""Gold against d for many policies at once: one hue per optimizer or per proxy, one line per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from overopt.bridges.run_summary import MeasuredCurve
from overopt.reports.charts.theme import color, ramp

__all__ = ["gold_of_arms"]

_HUES = ("ppo", "gold", "proxy", "regressional", "causal", "extremal", "unattributed", "muted", "best-of-n", "step-1")


def gold_of_arms(
    groups: Mapping[str, Sequence[MeasuredCurve]], *, x_title: str, ordered: bool = False, height: int = 420
) -> Any:
    """Gold gain (gold SD) against d; ``groups`` are named sets of curves, ``ordered`` ones get the size ramp."""
    rows: list[dict[str, Any]] = [
        {
            "group": name, "curve": f"{name} {curve.seed}", "seed": curve.seed, "order": order,
            "d": point.d, "gold": point.gold, "proxy": point.proxy, "kl": point.kl,
        }
        for name, curves in groups.items()
        for curve in curves
        for order, point in enumerate(curve.points)
        if point.d is not None
    ]  # fmt: skip
    names = list(groups)
    hues = ramp(len(names)) if ordered else [color(_HUES[i % len(_HUES)]) for i in range(len(names))]
    hue = alt.Color(
        "group:N",
        scale=alt.Scale(domain=names, range=hues),
        legend=alt.Legend(orient="top", title=None, columns=5, symbolType="stroke", labelLimit=260, offset=38),
    )
    x = alt.X("d:Q", title=x_title, scale=alt.Scale(nice=False, zero=True))
    y = alt.Y("gold:Q", title="gold gain (gold SD)")
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, color=hue, detail="curve:N", order="order:Q")
    tooltip = [
        alt.Tooltip("group:N", title=" "), alt.Tooltip("gold:Q", format="+.3f"), alt.Tooltip("proxy:Q", format="+.3f"),
        alt.Tooltip("kl:Q", title="KL (nats)", format=".2f"), "seed:N",
    ]  # fmt: skip
    return alt.layer(
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1).encode(y="zero:Q"),
        base.mark_line(opacity=0.9, strokeWidth=1.8),
        base.mark_point(size=22, filled=True).encode(tooltip=tooltip),
    ).properties(height=height)
