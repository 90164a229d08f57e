"""Reading curves of a summary: values at a given d or n, means over seeds with their standard error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from overopt.bridges.run_summary import MeasuredCurve, RunSummary, Trend

__all__ = [
    "Verdict",
    "at_d",
    "curves_of",
    "direction",
    "equality",
    "family_names",
    "gold_at_n",
    "made_of_gold",
    "mean_interval",
    "trend",
]

SAME = 0.2
"""Gold SD within which two gains count as the same."""

Verdict = Literal["reproduced", "not reproduced", "cannot tell"]


def trend(statement: str, verdict: Verdict, evidence: str, paper: int = 0) -> Trend:
    """A trend; ``paper`` is the number of the reference experiment's trend that it speaks about, 0 for none."""
    return Trend(statement, verdict, evidence, paper)


def curves_of(run: RunSummary, method: str, proxy: str | None = None) -> list[MeasuredCurve]:
    """The curves of one method, of one proxy or of all reward models: neither gold itself nor gold with a fault."""
    wanted = [curve for curve in run.curves if curve.method == method]
    if proxy is None:
        made = made_of_gold(run)
        return [curve for curve in wanted if curve.proxy_name not in made]
    return [curve for curve in wanted if curve.proxy_name == proxy]


def made_of_gold(run: RunSummary) -> set[str]:
    """Names of the rewards that are gold, or gold with a planted fault: the paper says nothing about them."""
    return {"gold", *(proxy.name for proxy in run.proxies if proxy.kind == "planted")}


def family_names(run: RunSummary) -> dict[str, str]:
    """Proxy -> its name without the number of its replicate."""
    return {proxy.name: proxy.name.removesuffix(f"-r{proxy.replicate}") for proxy in run.proxies}


def at_d(curve: MeasuredCurve, d: float, value: Literal["gold", "proxy"]) -> float:
    """Gold or proxy gain at ``d``, linear between the measured points in order of d."""
    points = sorted((point.d or 0.0, getattr(point, value)) for point in curve.points)
    return float(np.interp(d, [p[0] for p in points], [p[1] for p in points]))


def gold_at_n(curve: MeasuredCurve, n: float) -> float:
    """Gold gain of best-of-n at one n of the curve's grid."""
    return next(point.gold for point in curve.points if point.pressure == n)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean with its 95% t interval from the values' own scatter; the interval is infinite for one value."""
    x = np.asarray(values, dtype=np.float64)
    if x.size < 2:
        return float(x.mean()), -np.inf, np.inf
    half = float(stats.t.ppf(0.975, x.size - 1) * x.std(ddof=1) / np.sqrt(x.size))
    return float(x.mean()), float(x.mean()) - half, float(x.mean()) + half


def equality(interval: tuple[float, float]) -> Verdict:
    """Whether a difference (gold SD) is 0 as far as it matters: its interval lies within :data:`SAME` of 0.

    An interval that is wider and includes 0 shows nothing: too few runs must not look like agreement.
    """
    low, high = interval
    if low >= -SAME and high <= SAME:
        return "reproduced"
    return "cannot tell" if low <= 0 <= high else "not reproduced"


def direction(interval: tuple[float, float] | None, claimed: Literal["up", "down"]) -> Verdict:
    """Whether a slope's interval lies on the claimed side of 0."""
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "cannot tell"
    return "reproduced" if (interval[0] > 0) == (claimed == "up") else "not reproduced"
