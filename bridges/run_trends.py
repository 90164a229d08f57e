"""Trends of the reference experiment, judged on one run: reproduced, not reproduced, or cannot tell, with numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from overopt.bridges.curve import Curve
from overopt.bridges.run_summary import GoldPeak, MeasuredCurve, ProxyModel, Trend

__all__ = ["control_trend", "judge_trends"]

Verdict = Literal["reproduced", "not reproduced", "cannot tell"]

RISE_ERRORS, FALL_ERRORS = 5.0, 3.0
"""Standard errors that gold's rise and fall must exceed to count."""


def judge_trends(
    headline: str,
    best_of_n: Mapping[str, Curve],
    curves: Sequence[MeasuredCurve],
    peaks: Sequence[GoldPeak],
    proxies: Sequence[ProxyModel],
) -> tuple[Trend, ...]:
    """Every trend that one run can speak about."""
    planted = {proxy.name for proxy in proxies if proxy.kind == "planted"}  # gold with a fault: no reward model
    turned = [p for p in peaks if (p.proxy_name, p.method) == (headline, "ppo") and headline not in planted]
    trends: list[Trend | None] = [_rise_and_fall(turned)]
    trends.append(_order("More labels: higher gold under best-of-n.", 4, proxies, group=lambda p: p.parameters))
    trends.append(_order("Larger proxies: higher gold under best-of-n.", 5, proxies, group=lambda p: p.labels))
    exchange = _kl_exchange(headline, best_of_n[headline], curves)
    return tuple(trend for trend in (*trends, exchange, _cross_check(headline, curves)) if trend is not None)


def _rise_and_fall(peaks: Sequence[GoldPeak]) -> Trend | None:
    if not peaks:
        return None
    clear = [
        peak
        for peak in peaks
        if peak.rise > RISE_ERRORS * peak.rise_se
        and peak.fall > FALL_ERRORS * peak.fall_se
        and peak.proxy_after > FALL_ERRORS * peak.proxy_after_se
    ]
    no_turn = [peak for peak in peaks if peak.rise <= 0 or peak.peak_pressure == peak.end_pressure]
    evidence = "; ".join(_turn(peak) for peak in peaks)
    verdict: Verdict = "reproduced" if len(clear) == len(peaks) else "not reproduced" if no_turn else "cannot tell"
    return Trend("PPO: gold rises, then falls, while the proxy keeps rising.", verdict, evidence, 1)


def _turn(peak: GoldPeak) -> str:
    risen = f"seed {peak.seed}: gold {peak.rise:+.2f}{_in_errors(peak.rise, peak.rise_se)} at KL {peak.peak_kl:.1f}"
    if peak.peak_pressure == peak.end_pressure:
        return f"{risen}, its last measurement"
    fallen = f"then {-peak.fall:+.2f}{_in_errors(peak.fall, peak.fall_se)} to KL {peak.end_kl:.0f}"
    return f"{risen}, {fallen} while the proxy went {peak.proxy_after:+.2f}"


def _in_errors(value: float, error: float) -> str:
    return f" ({abs(value) / error:.1f} standard errors)" if error > 0 else ""


def _order(
    statement: str, paper: int, proxies: Sequence[ProxyModel], group: Callable[[ProxyModel], int]
) -> Trend | None:
    """Compare best-of-n gold at the largest n between neighbours of each group, ordered by the other property."""
    first = [proxy for proxy in proxies if proxy.kind == "trained" and not proxy.replicate and not proxy.variant]
    steps, ups, downs = [], 0, 0
    for key in sorted({group(proxy) for proxy in proxies}):
        members = sorted((p for p in first if group(p) == key), key=lambda p: (p.labels, p.parameters))
        for low, high in pairwise(members):
            if low.gold_peak is None or high.gold_peak is None or not low.gold_peak_ci or not high.gold_peak_ci:
                continue
            steps.append(f"{low.name} {low.gold_peak:.2f} -> {high.name} {high.gold_peak:.2f}")
            ups += high.gold_peak_ci[0] > low.gold_peak
            downs += high.gold_peak_ci[1] < low.gold_peak
    if not steps:
        return None
    verdict: Verdict = "reproduced" if ups == len(steps) else "not reproduced" if downs else "cannot tell"
    return Trend(statement, verdict, f"{ups} of {len(steps)} steps up beyond their interval: {'; '.join(steps)}", paper)


def kl_at_proxy(curve: MeasuredCurve, gain: float) -> float:
    """KL at which the proxy's gain is first reached, linear between the points around it."""
    for before, after in pairwise(curve.points):
        if before.proxy < gain <= after.proxy:
            share = (gain - before.proxy) / (after.proxy - before.proxy)
            return (before.kl or 0.0) + share * ((after.kl or 0.0) - (before.kl or 0.0))
    return curve.points[0].kl or 0.0


def _kl_exchange(headline: str, best_of_n: Curve, curves: Sequence[MeasuredCurve]) -> Trend | None:
    """KL that PPO and best-of-n spend for the same proxy gain."""
    ratios, evidence = [], []
    for curve in curves:
        if curve.method != "ppo" or curve.proxy_name != headline:
            continue
        gain = min(max(point.proxy for point in curve.points), float(best_of_n.proxy_gain[-1]))
        if gain <= 0:
            evidence.append(f"seed {curve.seed}: the proxy never rose")
            continue
        spent = kl_at_proxy(curve, gain)
        needed = float(np.interp(gain, best_of_n.proxy_gain, best_of_n.kl))
        ratios.append(spent / needed)
        evidence.append(f"seed {curve.seed}: {spent:.1f} against {needed:.1f} nats for a proxy gain of {gain:.2f}")
    if not evidence:
        return None
    all_rose = len(ratios) == len(evidence)
    verdict: Verdict = "cannot tell"
    if all_rose and min(ratios) > 1:
        verdict = "reproduced"
    elif all_rose and max(ratios) < 1:
        verdict = "not reproduced"
    return Trend("PPO spends more KL than best-of-n for the same proxy gain.", verdict, "; ".join(evidence), 7)


def _cross_check(headline: str, curves: Sequence[MeasuredCurve]) -> Trend | None:
    """Whether TRL's RLOO has the proxy gain of our PPO at equal d: inside the seeds' band, widened by both errors."""
    ours = [curve for curve in curves if (curve.method, curve.proxy_name) == ("ppo", headline)]
    theirs = [curve for curve in curves if (curve.method, curve.proxy_name) == ("rloo", headline)]
    if not ours or not theirs:
        return None
    reach = min(curve.points[-1].d or 0.0 for curve in ours)
    beyond, shown = [], []
    for curve in theirs:
        for point in curve.points:
            if point.d is None or not 0 < point.d <= reach:
                continue
            seeds = [_interpolated(seed, point.d) for seed in ours]
            outside = max(0.0, min(seeds) - point.proxy, point.proxy - max(seeds))
            error = float(np.hypot(point.proxy_se or 0.0, np.mean([_error_near(seed, point.d) for seed in ours])))
            beyond.append(outside / error)
            shown.append(f"{point.proxy:.2f} against {min(seeds):.2f}..{max(seeds):.2f} at d = {point.d:.1f}")
    if not beyond:
        return None
    worst = int(np.argmax(beyond))
    inside = sum(value == 0 for value in beyond)
    verdict: Verdict = "reproduced" if max(beyond) < FALL_ERRORS else "not reproduced"
    evidence = (
        f"{inside} of {len(beyond)} RLOO points inside the band of {len(ours)} PPO seeds; the farthest is "
        f"{beyond[worst]:.1f} standard errors outside ({shown[worst]}); the last is {shown[-1]}"
    )
    return Trend("TRL's RLOO on the same reward has PPO's proxy gain at equal d.", verdict, evidence)


def _interpolated(curve: MeasuredCurve, d: float) -> float:
    """Proxy gain of a policy run at ``d``, by the checkpoints around it in order of d."""
    points = np.array(sorted((point.d or 0.0, point.proxy) for point in curve.points))
    return float(np.interp(d, points[:, 0], points[:, 1]))


def _error_near(curve: MeasuredCurve, d: float) -> float:
    nearest = min(curve.points, key=lambda point: abs((point.d or 0.0) - d))
    return nearest.proxy_se or 0.0


def control_trend(peaks: Sequence[GoldPeak]) -> tuple[Trend, ...]:
    """The control arm: optimizing gold itself must raise it and must not lose it again."""
    control = [peak for peak in peaks if peak.proxy_name == "gold"]
    if not control:
        return ()
    kept = [
        peak for peak in control if peak.rise > RISE_ERRORS * peak.rise_se and peak.fall <= FALL_ERRORS * peak.fall_se
    ]
    evidence = "; ".join(
        f"{peak.method if peak.seed is None else f'seed {peak.seed}'}: {peak.rise:+.2f} at KL {peak.peak_kl:.1f}, "
        f"change to the end {-peak.fall:+.2f} (standard error {peak.fall_se:.2f})"
        for peak in control
    )
    verdict: Verdict = "reproduced" if len(kept) == len(control) else "not reproduced"
    return (Trend("Control: optimizing gold itself raises gold and keeps it.", verdict, evidence),)
