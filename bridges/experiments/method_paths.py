"""How optimizers move: KL against updates, gold at equal proxy, the proxy's bend, laws beyond their fitted range."""

from __future__ import annotations

import numpy as np

from overopt.bridges.experiments.reading import (
    Verdict,
    curves_of,
    equality,
    family_names,
    made_of_gold,
    mean_interval,
    trend,
)
from overopt.bridges.run_summary import FittedLaw, MeasuredCurve, RunSummary, SplitRow, Trend

__all__ = ["method_trends"]

QUADRATIC = (1.5, 2.5)
"""Exponents of KL in updates that are called about quadratic."""

RISE, FALL = 5.0, 3.0
"""Standard errors that gold's rise and fall must exceed to count."""


def method_trends(run: RunSummary) -> list[Trend]:
    """Every trend about paths that the run's curves can speak about."""
    found = (
        _kl_growth(run), _gold_at_equal_proxy(run), _concave(run), _extrapolation(run, "best-of-n", "bon"),
        _extrapolation(run, "ppo", "rl"), _two_readings(run), _shift_grows(run), *_each_method(run),
    )  # fmt: skip
    return [one for one in found if one is not None]


def _kl_growth(run: RunSummary) -> Trend | None:
    """Exponent of KL in the number of updates, by least squares on logarithms after the warm-up."""
    exponents = []
    for curve in curves_of(run, "ppo"):
        points = [(p.pressure, p.kl) for p in curve.points if p.pressure >= 8 and p.kl and p.kl > 0]
        if len(points) >= 4:
            steps, kl = np.log(np.array(points, dtype=np.float64).T)
            exponents.append(float(np.polyfit(steps, kl, 1)[0]))
    if not exponents:
        return None
    mean = float(np.mean(exponents))
    verdict: Verdict = "reproduced" if QUADRATIC[0] <= mean <= QUADRATIC[1] else "not reproduced"
    evidence = (
        f"exponent {mean:.2f} on average, {min(exponents):.2f} to {max(exponents):.2f} over {len(exponents)} runs"
    )
    return trend("PPO's KL grows about quadratically in updates.", verdict, evidence, 7)


def _gold_at_equal_proxy(run: RunSummary) -> Trend | None:
    """Gold of PPO minus gold of best-of-n at half of the smaller proxy gain."""
    selected = {curve.proxy_name: curve for curve in curves_of(run, "best-of-n")}
    differences = []
    for curve in curves_of(run, "ppo"):
        other = selected.get(curve.proxy_name)
        if other is not None:
            reach = min(max(p.proxy for p in curve.points), max(p.proxy for p in other.points)) / 2
            differences.append(_gold_at_proxy(curve, reach) - _gold_at_proxy(other, reach))
    if len(differences) < 2:
        return None
    mean, low, high = mean_interval(differences)
    verdict = equality((low, high))
    evidence = f"PPO minus best-of-n {mean:+.2f} [{low:+.2f}, {high:+.2f}] gold SD over {len(differences)} runs"
    return trend("At equal proxy gain, PPO and best-of-n deliver similar gold.", verdict, evidence, 7)


def _gold_at_proxy(curve: MeasuredCurve, proxy: float) -> float:
    """Gold at a proxy gain: at the first crossing, linear between the points around it."""
    for low, high in zip(curve.points[:-1], curve.points[1:], strict=True):
        if low.proxy <= proxy <= high.proxy:
            share = (proxy - low.proxy) / (high.proxy - low.proxy) if high.proxy > low.proxy else 0.0
            return low.gold + share * (high.gold - low.gold)
    return curve.points[-1].gold


def _concave(run: RunSummary) -> Trend | None:
    """Whether the proxy of best-of-n lies above its chord over d."""
    above = []
    for curve in curves_of(run, "best-of-n"):
        points = [(p.d or 0.0, p.proxy) for p in curve.points]
        end = points[-1]
        middle = float(np.interp(end[0] / 2, [p[0] for p in points], [p[1] for p in points]))
        if end[1] > 0:
            above.append(middle / end[1] - 0.5)
    if not above:
        return None
    verdict: Verdict = "reproduced" if min(above) > 0 else "not reproduced" if max(above) < 0 else "cannot tell"
    evidence = (
        f"at half of d, {100 * (0.5 + float(np.mean(above))):.0f}% of the proxy gain is reached, {len(above)} curves"
    )
    return trend("Best-of-n's proxy is slightly concave in d.", verdict, evidence, 9)


def _extrapolation(run: RunSummary, method: str, law: str) -> Trend | None:
    """Error beyond the fitted range against gold's own standard error there."""
    made = made_of_gold(run)
    fits = [fit for fit in run.laws if (fit.method, fit.law) == (method, law) and fit.proxy_name not in made]
    pairs = [(fit.heldout_rmse, _late_error(run, fit)) for fit in fits if fit.heldout_rmse is not None]
    if not pairs:
        return None
    good = sum(rmse <= 2 * error for rmse, error in pairs)
    verdict: Verdict = (
        "reproduced" if good > 0.8 * len(pairs) else "not reproduced" if good < len(pairs) / 2 else "cannot tell"
    )
    evidence = (
        f"fitted at low d and asked at high d, the error is within 2 standard errors of gold in {good} of {len(pairs)} "
        f"curves; median error {np.median([r for r, _ in pairs]):.2f}, "
        f"gold's standard error {np.median([e for _, e in pairs]):.2f}"
    )
    form = {"bon": "d(alpha - beta d)", "rl": "d(alpha - beta log d)"}[law]
    return trend(f"{form} fitted to low KL predicts {method} at high KL.", verdict, evidence, 2)


def _late_error(run: RunSummary, fit: FittedLaw) -> float:
    curve = next(c for c in run.curves if (c.method, c.proxy_name, c.seed) == (fit.method, fit.proxy_name, fit.seed))
    return float(np.mean([p.gold_se or 0.0 for p in curve.points[len(curve.points) // 2 :]]))


def _two_readings(run: RunSummary) -> Trend | None:
    """The paper's reading of beta as the extremal loss against the structural extremal term, at the largest n."""
    inside, shown = [], []
    made = made_of_gold(run)
    for fit in (f for f in run.laws if (f.method, f.law) == ("best-of-n", "bon") and f.proxy_name not in made):
        rows = [row for row in run.splits if (row.method, row.proxy_name) == ("best-of-n", fit.proxy_name)]
        last = max(rows, key=lambda row: row.pressure, default=None)
        if last is None or last.d is None or last.extremal is None or "extremal" not in last.ci:
            continue
        bent = fit.beta * last.d**2
        inside.append(last.ci["extremal"][0] <= bent <= last.ci["extremal"][1])
        shown.append(
            (abs(bent - last.extremal), f"{fit.proxy_name}: beta d^2 = {bent:+.2f}, extremal {last.extremal:+.2f}")
        )
    if not inside:
        return None
    verdict: Verdict = "reproduced" if all(inside) else "not reproduced"
    evidence = (
        f"inside the extremal term's interval for {sum(inside)} of {len(inside)} proxies; farthest {max(shown)[1]}"
    )
    return trend("The beta term is the extremal loss (section 4.2).", verdict, evidence, 10)


def _shift_grows(run: RunSummary) -> Trend | None:
    """Whether the cumulative shift along PPO's path costs gold by the end, proxy by proxy."""
    ends: dict[tuple[str, int | None], SplitRow] = {}
    for row in sorted((r for r in run.splits if r.method == "ppo"), key=lambda r: r.pressure):
        if row.path_shift is not None and row.proxy_name != "gold":
            ends[row.proxy_name, row.seed] = row
    if not ends:
        return None
    lost = [row.ci["path_shift"][1] < 0 for row in ends.values() if "path_shift" in row.ci]
    families = family_names(run)
    groups: dict[str, list[float]] = {}
    for (name, _), row in ends.items():
        groups.setdefault(families.get(name, name), []).append(row.path_shift or 0.0)
    verdict: Verdict = (
        "reproduced" if lost and all(lost) else "not reproduced" if lost and not any(lost) else "cannot tell"
    )
    said = ", ".join(f"{name} {np.mean(values):+.2f}" for name, values in groups.items())
    return trend(
        "Along PPO's path gold is lost to shift of the relation.", verdict,
        f"interval below 0 in {sum(lost)} of {len(lost)} runs; gold gained by shift, mean over seeds: {said}",
    )  # fmt: skip


def _each_method(run: RunSummary) -> list[Trend]:
    """Whether gold turns under each optimizer: it rises, and ends below its peak."""
    trends = []
    for method in dict.fromkeys(peak.method for peak in run.peaks if peak.method != "ppo"):
        peaks = [p for p in run.peaks if p.method == method and p.proxy_name != "gold"]
        risen = [p.rise > RISE * p.rise_se for p in peaks]
        fallen = [p.fall > FALL * p.fall_se for p in peaks]
        verdict: Verdict = "cannot tell"
        if all(risen):
            verdict = "reproduced" if all(fallen) else "cannot tell" if any(fallen) else "not reproduced"
        evidence = "; ".join(
            f"{p.proxy_name}{'' if p.seed is None else f' seed {p.seed}'}: gold {p.rise:+.2f} at KL {p.peak_kl:.1f}, "
            f"{p.rise - p.fall:+.2f} at KL {p.end_kl:.1f}, proxy {p.proxy_end:+.2f}"
            for p in peaks
        )
        trends.append(trend(f"{method}: gold rises, then falls.", verdict, evidence))
    return trends
