"""What a proxy of a given size, data or accuracy is worth: the height of its gold peak under best-of-n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from overopt.bridges.run_summary import ProxyModel
from overopt.reports.charts.labels import apart
from overopt.reports.charts.theme import ramp
from overopt.reports.numbers import short

__all__ = ["peaks_by_accuracy", "peaks_by_labels"]

_ASIDE = 0.035
"""Relative step to the side per proxy size on the labels axis, so that intervals do not hide each other."""


def _rows(proxies: Sequence[ProxyModel]) -> list[dict[str, Any]]:
    sizes = sorted({proxy.parameters for proxy in proxies})
    middle = (len(sizes) - 1) / 2
    return [
        {
            "name": proxy.name, "size": short(proxy.parameters), "accuracy": proxy.heldout_accuracy,
            "labels": proxy.labels, "at": proxy.labels * (1 + _ASIDE * (sizes.index(proxy.parameters) - middle)),
            "peak": proxy.gold_peak, "low": None if proxy.gold_peak_ci is None else proxy.gold_peak_ci[0],
            "high": None if proxy.gold_peak_ci is None else proxy.gold_peak_ci[1],
        }
        for proxy in proxies
        if proxy.gold_peak is not None
    ]  # fmt: skip


def _hue(proxies: Sequence[ProxyModel]) -> Any:
    sizes = [short(value) for value in sorted({proxy.parameters for proxy in proxies})]
    return alt.Color("size:N", legend=None, scale=alt.Scale(domain=sizes, range=ramp(len(sizes))))


def _y(rows: Sequence[dict[str, Any]]) -> tuple[Any, tuple[float, float]]:
    high = max(row["peak"] if row["high"] is None else row["high"] for row in rows)
    low = min(row["peak"] if row["low"] is None else row["low"] for row in rows)
    air = 0.06 * (max(high, 0.0) - min(low, 0.0))
    domain = (min(low - air, 0.0), max(high, 0.0) + air)
    scale = alt.Scale(domain=list(domain), nice=False)
    return alt.Y("peak:Q", title="highest gold gain (gold SD)", scale=scale), domain


_TOOLTIP = [
    alt.Tooltip("name:N", title="proxy"),
    alt.Tooltip("peak:Q", title="peak gold (gold SD)", format="+.3f"),
    alt.Tooltip("accuracy:Q", title="held-out accuracy", format=".3f"),
]


def peaks_by_labels(proxies: Sequence[ProxyModel], *, height: int = 300) -> Any:
    """Peak gold gain against the number of preference labels (log axis), one line per proxy size, 95% intervals."""
    rows = _rows(proxies)
    ends = list({row["size"]: row for row in sorted(rows, key=lambda row: row["labels"])}.values())
    labels = sorted({proxy.labels for proxy in proxies})
    reach = [0.85 * labels[0], 1.15 * labels[-1]]
    axis = alt.Axis(values=labels, format=",")
    x = alt.X("at:Q", title="preference labels", scale=alt.Scale(type="log", domain=reach, nice=False), axis=axis)
    y, domain = _y(rows)
    hue = _hue(proxies)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, color=hue)
    return alt.layer(
        base.mark_rule(strokeWidth=2, opacity=0.6).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(),
        base.mark_point(size=60).encode(tooltip=_TOOLTIP),
        alt.Chart(alt.Data(values=[{**row, "end": reach[1]} for row in apart(ends, "peak", domain, height)]))
        .mark_text(align="left", dx=4, fontSize=13, fontWeight=600)
        .encode(x="end:Q", y="at:Q", text="size:N", color=hue),
    ).properties(height=height)


def peaks_by_accuracy(proxies: Sequence[ProxyModel], *, height: int = 300) -> Any:
    """Peak gold gain against the proxy's held-out accuracy, 95% intervals."""
    rows = _rows(proxies)
    y, _ = _y(rows)
    x = alt.X("accuracy:Q", title="held-out accuracy on gold's labels", scale=alt.Scale(zero=False, padding=16))
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, color=_hue(proxies))
    return alt.layer(
        base.mark_rule(strokeWidth=2, opacity=0.6).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(size=60).encode(tooltip=_TOOLTIP),
    ).properties(height=height)
