"""Arms of one run beside each other: rounds of fresh labels, proxies made otherwise, a planted exploit."""

from __future__ import annotations

import numpy as np

from overopt.bridges.experiments.reading import (
    Verdict,
    at_d,
    curves_of,
    direction,
    equality,
    family_names,
    gold_at_n,
    mean_interval,
    trend,
)
from overopt.bridges.run_summary import MeasuredCurve, ProxyModel, RunSummary, Trend

__all__ = ["comparison_trends"]

AHEAD = 1.0
"""Gold SD by which the proxy's gain must exceed gold's for an exploit to count as found."""

BEST_OF = 256


def comparison_trends(run: RunSummary) -> list[Trend]:
    """Every comparison of arms that the run holds."""
    return [*_rounds(run), *_proxies(run), *_exploits(run)]


def _rounds(run: RunSummary) -> list[Trend]:
    """Gold at the end against the number of rounds, and the iterated law from one round's coefficients."""
    arms = {int(arm.settings["iterations"]): arm.name for arm in run.arms if arm.kind == "iterated"}
    curves = {k: {(c.proxy_name, c.seed): c for c in curves_of(run, name)} for k, name in sorted(arms.items())}
    curves = {k: found for k, found in curves.items() if found}
    if len(curves) < 2 or 1 not in curves:
        return []
    slopes = _slopes_by_seed(curves)
    slope, *interval = mean_interval(slopes)
    means = ", ".join(f"{k}: {_mean_gold(found, -1):+.2f}" for k, found in curves.items())
    tops = ", ".join(
        f"{k}: {np.mean([max(p.gold for p in c.points) for c in f.values()]):+.2f}" for k, f in curves.items()
    )
    evidence = (
        f"per doubling of the rounds {slope:+.2f} [{interval[0]:+.2f}, {interval[1]:+.2f}], {len(slopes)} seeds; gold "
        f"at the end, by rounds {means}; highest gold {tops}"
    )
    statement = "More rounds of fresh labels, labels and updates equal: higher gold at the end."
    return [trend(statement, direction((interval[0], interval[1]), "up"), evidence), *_iterated_law(curves)]


def _slopes_by_seed(curves: dict[int, dict[tuple[str, int | None], MeasuredCurve]]) -> list[float]:
    """Gold at the end per doubling of the rounds, seed by seed: a seed's arms share their first round."""
    slopes = []
    for key in curves[1]:
        ends = [(np.log2(k), found[key].points[-1].gold) for k, found in curves.items() if key in found]
        if len(ends) > 1:
            x, y = np.array(ends).T
            slopes.append(float(np.polyfit(x, y, 1)[0]))
    return slopes


def _mean_gold(curves: dict[tuple[str, int | None], MeasuredCurve], index: int) -> float:
    return float(np.mean([curve.points[index].gold for curve in curves.values()]))


def _iterated_law(curves: dict[int, dict[tuple[str, int | None], MeasuredCurve]]) -> list[Trend]:
    """``gold_k(d) = gold_1(d) + beta d log k`` (section 4.3, iterated RLHF), beta from each seed's single round."""
    missed: dict[tuple[str, int | None], list[float]] = {}
    said = []
    for k in (k for k in curves if k > 1):
        found, foretold = [], []
        for key, curve in curves[k].items():
            single = curves[1].get(key)
            if single is None:
                continue
            reach = max(p.d or 0.0 for p in single.points)
            d = np.array([p.d for p in curve.points if p.d and p.d <= reach])
            if d.size:
                found.append(float(np.mean([at_d(curve, x, "gold") - at_d(single, x, "gold") for x in d])))
                foretold.append(float(np.mean(_beta(single) * d * np.log(k))))
                missed.setdefault(key, []).append(found[-1] - foretold[-1])
        if found:
            said.append(f"{k} rounds {np.mean(found):+.2f}, foretold {np.mean(foretold):+.2f}")
    if len(missed) < 2:
        return []
    mean, low, high = mean_interval([float(np.mean(values)) for values in missed.values()])
    evidence = (
        f"gold beyond one round's at equal d: {'; '.join(said)}; missed by {mean:+.2f} [{low:+.2f}, {high:+.2f}], "
        f"{len(missed)} seeds"
    )
    return [trend("k rounds gain beta d log k over one round at equal d.", equality((low, high)), evidence)]


def _beta(curve: MeasuredCurve) -> float:
    """beta of ``d (alpha - beta log d)`` by least squares."""
    d, gold = np.array([(p.d, p.gold) for p in curve.points if p.d]).T
    return float(np.linalg.lstsq(np.column_stack([d, -d * np.log(d)]), gold, rcond=None)[0][1])


def _proxies(run: RunSummary) -> list[Trend]:
    """PPO against a proxy made otherwise, paired by seed with PPO against the plain one."""
    if not any(proxy.variant or proxy.kind == "ensemble" for proxy in run.proxies):
        return []
    families = family_names(run)
    peaks: dict[str, dict[int | None, tuple[float, float]]] = {}
    for peak in (peak for peak in run.peaks if peak.method == "ppo" and peak.proxy_name in families):
        peaks.setdefault(families[peak.proxy_name], {})[peak.seed] = (peak.rise, peak.rise - peak.fall)
    first = {families[proxy.name]: proxy for proxy in reversed(run.proxies)}
    trends = []
    for name, proxy in first.items():
        base = _plain(proxy, first)
        if base is None or name not in peaks or base not in peaks:
            continue
        seeds = [seed for seed in peaks[name] if seed in peaks[base]]
        if len(seeds) < 2:
            continue
        rise, end = ([peaks[name][s][i] - peaks[base][s][i] for s in seeds] for i in (0, 1))
        top, low, high = mean_interval(rise)
        last, end_low, end_high = mean_interval(end)
        evidence = (
            f"at the peak {top:+.2f} [{low:+.2f}, {high:+.2f}], at the end {last:+.2f} "
            f"[{end_low:+.2f}, {end_high:+.2f}], {len(seeds)} seeds{_best_of(run, families, name, base)}"
        )
        statement = f"PPO against {name} instead of {base}: higher gold at its peak."
        trends.append(trend(statement, direction((low, high), "up"), evidence))
    return trends


def _plain(proxy: ProxyModel, first: dict[str, ProxyModel]) -> str | None:
    """The family that differs from ``proxy`` by what was done to it alone; None for a plain one."""
    trained = {name: other for name, other in first.items() if other.kind == "trained"}
    if proxy.kind == "ensemble":
        return next((name for name, other in trained.items() if other.variant == proxy.variant), None)
    if proxy.kind != "trained":
        return None
    plain = {name: other for name, other in trained.items() if not other.variant and other.labels == proxy.labels}
    same = next((name for name, other in plain.items() if other.size == proxy.size), None)
    if proxy.variant:
        return same
    altered = {other.size for other in trained.values() if other.variant and other.labels == proxy.labels}
    if proxy.size in altered:
        return None
    return next((name for name, other in plain.items() if other.size in altered), None)


def _best_of(run: RunSummary, families: dict[str, str], *names: str) -> str:
    """Mean gold of best-of-256 for two families, as a clause."""
    means = []
    for name in names:
        golds = [
            gold_at_n(curve, BEST_OF)
            for curve in curves_of(run, "best-of-n")
            if families[curve.proxy_name] == name and any(p.pressure == BEST_OF for p in curve.points)
        ]
        if not golds:
            return ""
        means.append(f"{np.mean(golds):+.2f}")
    return f"; best-of-{BEST_OF} {means[0]} against {means[1]}"


def _exploits(run: RunSummary) -> list[Trend]:
    """When each trained arm's proxy runs ahead of gold by a planted exploit, and what gold it has by then."""
    trends = []
    for proxy in (p.name for p in run.proxies if p.kind == "planted" and "exploit" in p.name):
        methods = dict.fromkeys(c.method for c in run.curves if c.proxy_name == proxy and c.seed is not None)
        for method in methods:
            curves = curves_of(run, method, proxy)
            first = [next((p for p in c.points if p.proxy - p.gold > AHEAD), None) for c in curves]
            found = [point is not None for point in first]
            verdict: Verdict = "reproduced" if all(found) else "cannot tell" if any(found) else "not reproduced"
            said = "; ".join(
                f"seed {c.seed}: "
                + (f"from step {p.pressure:g}, KL {p.kl or 0.0:.1f}" if p is not None else "never")
                + f", at the end gold {c.points[-1].gold:+.2f}, proxy {c.points[-1].proxy:+.2f}"
                for c, p in zip(curves, first, strict=True)
            )
            statement = f"{method} finds the exploit of {proxy}: the proxy runs {AHEAD:g} SD ahead of gold."
            trends.append(trend(statement, verdict, said))
    return trends
