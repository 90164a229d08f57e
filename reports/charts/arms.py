"""Gold against d for many policies at once: one hue per optimizer or per proxy, one line per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import altair as alt

from overopt.bridges.run_summary import MeasuredCurve
from overopt.reports.charts.theme import color, ramp

__all__ = ["CONTROL_SUFFIX", "gold_of_arms"]

_HUES = ("ppo", "proxy", "gold", "regressional", "causal", "extremal", "best-of-n", "leaf", "muted")

CONTROL_SUFFIX = " on gold itself"
"""Ends the name of a control arm: it is drawn dashed, in the hue of the optimizer that it controls."""


def gold_of_arms(
    groups: Mapping[str, Sequence[MeasuredCurve]], *, x_title: str, ordered: bool = False, height: int = 420
) -> Any:
    """Gold gain (gold SD) against d; ``groups`` are named sets of curves, ``ordered`` ones get the size ramp.

    A name that ends in :data:`CONTROL_SUFFIX` is a control arm.
    """
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
    families = list(dict.fromkeys(name.removesuffix(CONTROL_SUFFIX) for name in names))
    hue_of = dict(zip(families, ramp(len(families)) if ordered else map(color, cycle(_HUES)), strict=False))
    legend = alt.Legend(orient="top", title=None, columns=5, symbolType="stroke", labelLimit=260, offset=38)
    hue = alt.Color(
        "group:N",
        scale=alt.Scale(domain=names, range=[hue_of[name.removesuffix(CONTROL_SUFFIX)] for name in names]),
        legend=legend,
    )
    dash = alt.StrokeDash(
        "group:N",
        scale=alt.Scale(domain=names, range=[[4, 3] if name.endswith(CONTROL_SUFFIX) else [1, 0] for name in names]),
        legend=legend,
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
        base.mark_line(opacity=0.9, strokeWidth=1.8).encode(strokeDash=dash),
        base.mark_point(size=22, filled=True).encode(tooltip=tooltip),
    ).properties(height=height)
