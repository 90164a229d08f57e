"""A KL penalty against early stopping: gold and proxy at equal d, arm by arm, seed by seed."""

from __future__ import annotations

import numpy as np

from overopt.bridges.experiments.reading import at_d, curves_of, equality, mean_interval, trend
from overopt.bridges.run_summary import MeasuredCurve, OptimizerArm, RunSummary, Trend

__all__ = ["penalty_trends"]

NEAR_START = 1.0
"""Points below this d (sqrt nats) say nothing: every arm starts at the same policy."""


def penalty_trends(run: RunSummary) -> list[Trend]:
    """Each changed PPO arm against the arm that differs from it by that change alone."""
    plain = next((arm for arm in run.arms if arm.kind == "ppo" and not arm.settings), None)
    changed = [arm for arm in run.arms if arm.kind == "ppo" and arm.settings]
    if plain is None:
        return []
    trends: list[Trend] = []
    for proxy in dict.fromkeys(curve.proxy_name for curve in curves_of(run, plain.name)):
        for arm in changed:
            trends += _against(run, arm, plain, proxy)
    return trends


def _against(run: RunSummary, arm: OptimizerArm, plain: OptimizerArm, proxy: str) -> list[Trend]:
    stopped = {curve.seed: curve for curve in curves_of(run, plain.name, proxy)}
    penalised = [curve for curve in curves_of(run, arm.name, proxy) if curve.seed in stopped]
    if not penalised:
        return []
    gold = [_difference(curve, stopped[curve.seed], "gold") for curve in penalised]
    promised = [_difference(curve, stopped[curve.seed], "proxy") for curve in penalised]
    if any(np.isnan(value) for value in (*gold, *promised)):
        return []
    mean, low, high = mean_interval(gold)
    proxy_mean, proxy_low, proxy_high = mean_interval(promised)
    ends = ", ".join(f"{curve.points[-1].gold:+.2f} at KL {curve.points[-1].kl or 0.0:.0f}" for curve in penalised)
    what = ", ".join(f"{name} {value:g}" for name, value in arm.settings.items())
    evidence = (
        f"gold minus that of {plain.name} at equal d, {len(gold)} seeds: {mean:+.2f} [{low:+.2f}, {high:+.2f}]; "
        f"proxy {proxy_mean:+.2f} [{proxy_low:+.2f}, {proxy_high:+.2f}]; ends: {ends}"
    )
    only_penalty = set(arm.settings) == {"kl_coefficient"}
    statement = f"PPO with {what}: the same gold at the same KL as stopping PPO without it early."
    return [trend(statement, equality((low, high)), evidence, 8 if only_penalty else 0)]


def _difference(curve: MeasuredCurve, other: MeasuredCurve, value: str) -> float:
    """Mean difference at the points of ``curve`` beyond the start, as far as ``other`` reaches; NaN without a point."""
    reach = max(point.d or 0.0 for point in other.points)
    points = [point for point in curve.points if NEAR_START < (point.d or 0.0) <= reach]
    if not points:
        return float("nan")
    return float(np.mean([getattr(p, value) - at_d(other, p.d or 0.0, value) for p in points]))  # type: ignore[arg-type]
