"""Is a larger policy just a better prior? Runs of several policies against one proxy, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats

from overopt.bridges.experiments.reading import Verdict, trend
from overopt.bridges.run_summary import GoldPeak, RunSummary, Trend

__all__ = ["policy_size_trends"]

ENOUGH = 3
"""Policies of different size that a comparison needs."""


def policy_size_trends(runs: Mapping[int, RunSummary], proxy: str) -> list[Trend]:
    """Gold's rise and the KL of its peak under PPO by the policy's number of parameters, all against ``proxy``.

    Gold is in SD of each policy's own base samples. Smallest and largest are compared by the spread of their seeds.
    """
    peaks = {size: _peaks(run, proxy) for size, run in sorted(runs.items())}
    peaks = {size: found for size, found in peaks.items() if len(found) > 1}
    if len(peaks) < ENOUGH:
        return []
    small, large = min(peaks), max(peaks)
    rise = _difference([p.rise for p in peaks[large]], [p.rise for p in peaks[small]])
    kl = _difference([p.peak_kl for p in peaks[large]], [p.peak_kl for p in peaks[small]])
    said = "; ".join(
        f"{size:,}: gold {np.mean([p.rise for p in found]):+.2f} at KL {np.mean([p.peak_kl for p in found]):.1f}, "
        f"{np.mean([p.rise - p.fall for p in found]):+.2f} at the end, KL {np.mean([p.end_kl for p in found]):.0f}"
        for size, found in peaks.items()
    )
    less: Verdict = "reproduced" if rise[2] < 0 else "not reproduced" if rise[1] > 0 else "cannot tell"
    same: Verdict = "cannot tell" if kl[1] <= 0 <= kl[2] else "not reproduced"
    return [
        trend(
            "A larger policy gains less gold.", less,
            f"largest minus smallest {rise[0]:+.2f} [{rise[1]:+.2f}, {rise[2]:+.2f}]; {said}", 6,
        ),
        trend(
            "Gold peaks at about the same KL whatever the policy's size.", same,
            f"largest minus smallest {kl[0]:+.1f} [{kl[1]:+.1f}, {kl[2]:+.1f}] nats, "
            "an interval that includes 0 does not show that they are equal", 6,
        ),
    ]  # fmt: skip


def _peaks(run: RunSummary, proxy: str) -> list[GoldPeak]:
    return [peak for peak in run.peaks if (peak.method, peak.proxy_name) == ("ppo", proxy)]


def _difference(large: list[float], small: list[float]) -> tuple[float, float, float]:
    """Difference of means with its 95% interval (Welch's t)."""
    interval = stats.ttest_ind(large, small, equal_var=False).confidence_interval()
    return float(np.mean(large) - np.mean(small)), float(interval.low), float(interval.high)
