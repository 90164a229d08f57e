"""What a unit of proxy buys: gold gain against proxy gain, best-of-n and PPO on the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from overopt.bridges.run_summary import MeasuredCurve
from overopt.reports.charts.theme import color

__all__ = ["exchange"]

_NAMES = {"best-of-n": "best-of-n", "ppo": "PPO", "checkpoints": "checkpoints"}
_CONCEPTS = {"best-of-n": "best-of-n", "ppo": "ppo", "checkpoints": "ppo"}


def exchange(curves: Sequence[MeasuredCurve], *, height: int = 380) -> Any:
    """Gold against proxy (gold SD) along each curve; on the dashed diagonal the proxy delivers what it promises."""
    rows: list[dict[str, Any]] = [
        {
            "curve": number, "method": _NAMES.get(curve.method, curve.method), "seed": curve.seed, "order": order,
            "proxy": point.proxy, "gold": point.gold, "kl": point.kl,
        }
        for number, curve in enumerate(curves)
        for order, point in enumerate(curve.points)
    ]  # fmt: skip
    top = max(row["proxy"] for row in rows)
    methods = list(dict.fromkeys(curve.method for curve in curves))
    hue = alt.Color(
        "method:N",
        legend=None,
        scale=alt.Scale(domain=[_NAMES[m] for m in methods], range=[color(_CONCEPTS[m]) for m in methods]),
    )
    x = alt.X("proxy:Q", title="proxy gain: what was promised (gold SD)", scale=alt.Scale(nice=False))
    y = alt.Y("gold:Q", title="gold gain: what was delivered (gold SD)")
    line = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, color=hue, detail="curve:N", order="order:Q")
    ends = list({row["method"]: row for row in sorted(rows, key=lambda row: row["proxy"])}.values())
    tooltip = [
        "method:N", alt.Tooltip("proxy:Q", format="+.3f"), alt.Tooltip("gold:Q", format="+.3f"),
        alt.Tooltip("kl:Q", title="KL (nats)", format=".2f"), "seed:N",
    ]  # fmt: skip
    diagonal = [{"proxy": 0.0, "gold": 0.0, "text": ""}, {"proxy": top, "gold": top, "text": "as promised"}]
    ideal = alt.Chart(alt.Data(values=diagonal)).encode(x=x, y=y)
    return alt.layer(
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1).encode(y="zero:Q"),
        ideal.mark_line(strokeDash=[5, 4], strokeWidth=1.4, stroke=color("muted")),
        ideal.mark_text(align="right", dx=-14, dy=-2, baseline="bottom", fill=color("muted")).encode(text="text:N"),
        line.mark_line(opacity=0.9),
        line.mark_point(size=30).encode(tooltip=tooltip),
        alt.Chart(alt.Data(values=ends))
        .mark_text(align="left", dx=9, fontSize=13, fontWeight=600)
        .encode(x=x, y=y, text="method:N", color=hue),
    ).properties(height=height)
