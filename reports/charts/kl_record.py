"""The KL record: how far each run had moved from the base policy at every evaluated step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from overopt.bridges.run_summary import MeasuredCurve
from overopt.reports.charts.overoptimization import Z95
from overopt.reports.charts.theme import color

__all__ = ["kl_record"]


def kl_record(curves: Sequence[MeasuredCurve], *, height: int = 300) -> Any:
    """KL to the base policy (nats) against the optimizer's step, with 95% bands; one line per curve."""
    rows: list[dict[str, Any]] = [
        {
            "curve": number, "seed": curve.seed, "proxy": curve.proxy_name, "step": point.pressure, "kl": point.kl,
            "low": None if point.kl_se is None else point.kl - Z95 * point.kl_se,
            "high": None if point.kl_se is None else point.kl + Z95 * point.kl_se,
        }
        for number, curve in enumerate(curves)
        for point in curve.points
        if point.kl is not None
    ]  # fmt: skip
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("step:Q", title="PPO step"), y=alt.Y("kl:Q", title="KL to the base policy (nats)"), detail="curve:N"
    )
    tooltip = ["step:Q", alt.Tooltip("kl:Q", title="KL (nats)", format=".2f"), "seed:N", "proxy:N"]
    return alt.layer(
        base.mark_area(opacity=0.18, fill=color("ppo"), line=False, tooltip=None).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(stroke=color("ppo")),
        base.mark_point(size=28, fill=color("ppo")).encode(tooltip=tooltip),
    ).properties(height=height)
