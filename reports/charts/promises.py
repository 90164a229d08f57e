"""Promise and delivery of several proxies: one row each, the distance between the dots is what was lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from overopt.bridges.run_summary import SplitRow
from overopt.reports.charts.theme import color

__all__ = ["promises"]


def promises(splits: Mapping[str, SplitRow]) -> Any:
    """Promised and delivered gain (gold SD, 95% intervals) by name, the best delivery on top."""
    order = sorted(splits, key=lambda name: -(splits[name].delivered or 0.0))
    rows: list[dict[str, Any]] = []
    for name in order:
        for what, term in (("promised", "promise"), ("delivered", "delivered")):
            value = getattr(splits[name], term)
            low, high = splits[name].ci.get(term, (value, value))
            rows.append({"name": name, "what": what, "gain": value, "low": low, "high": high})
    hue = alt.Color(
        "what:N",
        scale=alt.Scale(domain=["delivered", "promised"], range=[color("gold"), color("proxy")]),
        legend=alt.Legend(title=None, symbolType="circle", symbolOpacity=1),
    )
    axis = alt.Axis(labelColor=color("ink"), labelFontSize=13, grid=False, labelLimit=180)
    y = alt.Y("name:N", scale=alt.Scale(domain=order), title=None, axis=axis)
    # Long names leave a phone's plot narrower than the title, which then runs out under the names, not off the page.
    side = alt.Axis(grid=True, titleAnchor="end", titleAlign="right")
    x = alt.X("gain:Q", title="gain over the base policy (gold SD)", axis=side)
    base = alt.Chart(alt.Data(values=rows))
    ends = [{"name": name, "from": splits[name].delivered, "to": splits[name].promise} for name in order]
    between = alt.Chart(alt.Data(values=ends))
    return alt.layer(
        between.mark_rule(strokeWidth=1, stroke=color("muted")).encode(y=y, x="from:Q", x2="to:Q"),
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeWidth=1, stroke=color("ink")).encode(x="zero:Q"),
        base.mark_rule(strokeWidth=5, opacity=0.3).encode(y=y, x="low:Q", x2="high:Q", color=hue),
        base.mark_point(size=70).encode(
            y=y, x=x, color=hue, tooltip=["name:N", "what:N", alt.Tooltip("gain:Q", title="gold SD", format="+.3f")]
        ),
    ).properties(height=max(30 * len(order), 60))
