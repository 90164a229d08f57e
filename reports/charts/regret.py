"""What each stopping rule gives up against the best point, chosen and judged on different prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from overopt.reports.charts.theme import color

__all__ = ["regret"]


def regret(rules: Sequence[Mapping[str, Any]]) -> Any:
    """Regret (gold's own units, ± one standard deviation over splits of the prompts) by rule, the best on top.

    A rule is a mapping with ``name``, ``sees_gold``, ``choice``, ``regret`` and ``regret_se``.
    """
    rows = sorted(
        (
            {
                "name": rule["name"], "kind": "sees gold" if rule["sees_gold"] else "sees no gold",
                "choice": rule["choice"], "regret": rule["regret"],
                "low": rule["regret"] - rule["regret_se"], "high": rule["regret"] + rule["regret_se"],
            }
            for rule in rules
        ),
        key=lambda row: row["regret"],
    )  # fmt: skip
    kinds = {"sees gold": "gold", "sees no gold": "proxy"}
    hue = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=list(kinds), range=[color(concept) for concept in kinds.values()]),
        legend=alt.Legend(title=None, symbolType="circle", symbolOpacity=1),
    )
    axis = alt.Axis(labelColor=color("ink"), labelFontSize=13, grid=False, labelLimit=200)
    y = alt.Y("name:N", scale=alt.Scale(domain=[row["name"] for row in rows]), title=None, axis=axis)
    x = alt.X("regret:Q", title="gold given up (own units)", axis=alt.Axis(grid=True, tickCount=4))
    base = alt.Chart(alt.Data(values=rows)).encode(y=y, color=hue)
    return alt.layer(
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1, stroke=color("ink")).encode(x="zero:Q"),
        base.mark_rule(strokeWidth=2, opacity=0.6).encode(x="low:Q", x2="high:Q"),
        base.mark_point(size=80).encode(
            x=x, tooltip=["name:N", alt.Tooltip("choice:Q", title="stops at"), alt.Tooltip("regret:Q", format=".3f")]
        ),
    ).properties(height=30 * len(rows))
