"""alpha, beta and gold against the proxy's size and its data: slopes with intervals, and sizes left out of the line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from scipy import stats

from overopt.bridges.experiments.reading import Verdict, curves_of, direction, gold_at_n, mean_interval, trend
from overopt.bridges.fit_trends import coefficient_trend
from overopt.bridges.run_summary import ProxyModel, RunSummary, Trend

__all__ = ["coefficient_trends", "held_out_error", "label_trends"]

ENOUGH = 3
"""Different sizes, or numbers of labels, that a slope needs."""

THRESHOLD = 2000
"""Comparisons below which the reference experiment's reward models are near chance, whatever their size."""

CHANCE, NEAR = 0.5, 0.05
"""Share of pairs that a coin orders as gold does, and how far above it still counts as near."""

FLAT = 0.25
"""A coefficient is called constant if its change over all sizes is surely below this share of its mean."""

Claim = Literal["up", "down", "flat"]
SIZE_CLAIMS: tuple[tuple[str, str, Claim], ...] = (
    ("best-of-n", "alpha", "up"),
    ("best-of-n", "beta", "down"),
    ("ppo", "alpha", "flat"),
    ("ppo", "beta", "down"),
)
"""Gao, Schulman and Hilton 2022, figure 3: (optimizer, coefficient, what it does as the proxy grows)."""

SAID = {"up": "rises", "down": "falls", "flat": "is about constant"}


def coefficient_trends(run: RunSummary) -> list[Trend]:
    """Coefficients, and the highest gold, against the number of parameters at one number of labels."""
    plain = [proxy for proxy in run.proxies if proxy.kind == "trained" and not proxy.variant]
    if len({proxy.parameters for proxy in plain}) < ENOUGH or len({proxy.labels for proxy in plain}) > 1:
        return []
    trends = [_coefficient(run, plain, *claim, "parameters", lambda p: p.parameters, 3) for claim in SIZE_CLAIMS]
    trends.append(_best_gold(run, plain, "parameters", lambda p: p.parameters, 5))
    return [found for found in trends if found is not None]


def label_trends(run: RunSummary) -> list[Trend]:
    """Gold, coefficients and the held-out loss against the number of labels; more epochs against more labels."""
    plain = [proxy for proxy in run.proxies if proxy.kind == "trained" and not proxy.variant]
    trends: list[Trend | None] = []
    if len({proxy.labels for proxy in plain}) >= ENOUGH and len({proxy.size for proxy in plain}) == 1:
        trends.append(_best_gold(run, plain, "labels", lambda p: p.labels, 4))
        trends.append(_coefficient(run, plain, "best-of-n", "beta", "down", "labels", lambda p: p.labels, 4))
        trends.append(_coefficient(run, plain, "ppo", "beta", "down", "labels", lambda p: p.labels, 4))
        trends += _threshold(plain)
        trends.append(_share_lost_to_noise(run, plain))
        trends.append(_more_epochs(run))
    trends.append(_loss_predicts_gold(run))
    return [found for found in trends if found is not None]


def _fitted(run: RunSummary, method: str, name: str, proxies: Sequence[ProxyModel]) -> dict[str, list[float]]:
    law = "bon" if method == "best-of-n" else "rl"
    known = {proxy.name for proxy in proxies}
    found: dict[str, list[float]] = {}
    for fit in run.laws:
        if (fit.method, fit.law) == (method, law) and fit.proxy_name in known:
            found.setdefault(fit.proxy_name, []).append(getattr(fit, name))
    return found


def _coefficient(
    run: RunSummary,
    proxies: Sequence[ProxyModel],
    method: str,
    name: str,
    claim: Claim,
    axis: str,
    size: Callable[[ProxyModel], int],
    paper: int,
) -> Trend | None:
    fitted = _fitted(run, method, name, proxies)
    x = np.array([size(proxy) for proxy in proxies for _ in fitted.get(proxy.name, [])], dtype=np.float64)
    y = np.array([value for proxy in proxies for value in fitted.get(proxy.name, [])])
    if np.unique(x).size < ENOUGH:
        return None
    line = coefficient_trend(x, y, coefficient=f"{name} ({method})", size=axis)
    verdict = (
        _flat(line.slope_interval, x, float(y.mean())) if claim == "flat" else direction(line.slope_interval, claim)
    )
    means = ", ".join(f"{value:,.0f}: {y[x == value].mean():+.2f}" for value in np.unique(x))
    error, spread = held_out_error(x, y)
    evidence = (
        f"{line}; means {means}; each of the {np.unique(x).size} sizes predicted from the others: "
        f"root mean squared error {error:.2f}, against {spread:.2f} when the mean of the others is said"
    )
    return trend(f"{name} of {method} {SAID[claim]} with {axis}.", verdict, evidence, paper)


def _flat(interval: tuple[float, float] | None, x: np.ndarray, mean: float) -> Verdict:
    if interval is None:
        return "cannot tell"
    low, high = (end * np.log(x.max() / x.min()) / abs(mean) for end in interval)
    if low > -FLAT and high < FLAT:
        return "reproduced"
    return "not reproduced" if low > FLAT or high < -FLAT else "cannot tell"


def held_out_error(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Root mean squared error of ``y`` at sizes that a line in log ``x`` was not fitted to, and of the others' mean.

    Leave one size out: all models of that size are predicted from all others.
    """
    lines, means = [], []
    for size in np.unique(x):
        out = x == size
        slope, intercept = np.polyfit(np.log(x[~out]), y[~out], 1)
        lines.append(y[out] - (slope * np.log(size) + intercept))
        means.append(y[out] - y[~out].mean())
    return tuple(float(np.sqrt(np.mean(np.concatenate(errors) ** 2))) for errors in (lines, means))  # type: ignore[return-value]


def _best_gold(
    run: RunSummary, proxies: Sequence[ProxyModel], axis: str, size: Callable[[ProxyModel], int], paper: int
) -> Trend | None:
    golds = [(size(p), p.gold_peak) for p in proxies if p.gold_peak is not None]
    if len({x for x, _ in golds}) < ENOUGH:
        return None
    x, y = np.array([g[0] for g in golds], dtype=np.float64), np.array([g[1] for g in golds])
    line = coefficient_trend(x, y, coefficient="highest gold (best-of-n)", size=axis)
    means = ", ".join(f"{value:,.0f}: {y[x == value].mean():+.2f}" for value in np.unique(x))
    risen = _ppo_rise(run, proxies, size)
    evidence = f"{line}; means {means}{risen}"
    return trend(
        f"Highest gold under best-of-n rises with {axis}.", direction(line.slope_interval, "up"), evidence, paper
    )


def _ppo_rise(run: RunSummary, proxies: Sequence[ProxyModel], size: Callable[[ProxyModel], int]) -> str:
    """PPO's rise to gold's peak by size, or nothing where PPO was not run on these proxies."""
    of = {proxy.name: size(proxy) for proxy in proxies}
    rises: dict[int, list[tuple[float, float]]] = {}
    for peak in run.peaks:
        if peak.method == "ppo" and peak.proxy_name in of:
            rises.setdefault(of[peak.proxy_name], []).append((peak.rise, peak.rise - peak.fall))
    if not rises:
        return ""
    said = ", ".join(
        f"{value:,}: {np.mean([r for r, _ in rises[value]]):+.2f} then {np.mean([e for _, e in rises[value]]):+.2f}"
        for value in sorted(rises)
    )
    return f"; under PPO, gold at its peak then at the end {said}"


def _threshold(proxies: Sequence[ProxyModel]) -> list[Trend]:
    """Whether proxies with fewer than about 2,000 comparisons order held-out pairs no better than chance, and whether
    gold is out of their reach.
    """
    gold: dict[int, list[float]] = {}
    accuracy: dict[int, list[float]] = {}
    for proxy in proxies:
        gold.setdefault(proxy.labels, []).append(proxy.gold_peak or 0.0)
        accuracy.setdefault(proxy.labels, []).append(proxy.heldout_accuracy)
    few, many = [n for n in gold if n < THRESHOLD], [n for n in gold if n >= THRESHOLD]
    if not few or not many:
        return []
    most, least = max(np.mean(gold[n]) for n in few), min(np.mean(gold[n]) for n in many)
    jump: Verdict = "reproduced" if most < least / 2 else "not reproduced" if most > 0.8 * least else "cannot tell"
    said = ", ".join(
        f"{n:,}: gold {np.mean(gold[n]):+.2f}, accuracy {100 * np.mean(accuracy[n]):.0f}%{_half_width(proxies, n)}"
        for n in sorted(gold)
    )
    return [
        trend(f"Below about {THRESHOLD:,} labels proxies are near chance.", _near_chance(proxies), said, 4),
        trend(f"Below about {THRESHOLD:,} labels gold rises by less than half as much.", jump, said, 4),
    ]


def _half_width(proxies: Sequence[ProxyModel], labels: int) -> str:
    ends = [p.heldout_accuracy_ci for p in proxies if p.labels == labels and p.heldout_accuracy_ci]
    return f" ± {100 * np.mean([(high - low) / 2 for low, high in ends]):.0f}" if ends else ""


def _near_chance(proxies: Sequence[ProxyModel]) -> Verdict:
    """Whether the held-out accuracy of every proxy below the threshold may be chance, by its interval."""
    ends = [p.heldout_accuracy_ci for p in proxies if p.labels < THRESHOLD]
    above = [ci is not None and ci[0] > CHANCE for ci in ends]
    at_most = [ci is not None and ci[1] < CHANCE + NEAR for ci in ends]
    return "reproduced" if all(at_most) else "not reproduced" if all(above) else "cannot tell"


def _share_lost_to_noise(run: RunSummary, proxies: Sequence[ProxyModel]) -> Trend | None:
    """The regressional share of the promise at the largest n, against labels."""
    labels = {proxy.name: proxy.labels for proxy in proxies}
    x, y = [], []
    for name in labels:
        rows = [row for row in run.splits if (row.method, row.proxy_name) == ("best-of-n", name)]
        last = max(rows, key=lambda row: row.pressure, default=None)
        if last is not None and last.promise and last.regressional is not None:
            x.append(labels[name])
            y.append(last.regressional / last.promise)
    if len(set(x)) < ENOUGH:
        return None
    line = coefficient_trend(x, y, coefficient="regressional share of the promise", size="labels")
    means = ", ".join(f"{v:,}: {np.mean([s for n, s in zip(x, y, strict=True) if n == v]):.2f}" for v in sorted(set(x)))
    return trend(
        "The share of the promise lost to selection on noise falls with labels.",
        direction(line.slope_interval, "down"), f"{line}; means {means}", 0,
    )  # fmt: skip


def _more_epochs(run: RunSummary) -> Trend | None:
    """More epochs on the same labels against as many epochs on more labels."""
    again = [p for p in run.proxies if p.kind == "trained" and p.variant.startswith("epochs")]
    if not again:
        return None
    same = [p for p in run.proxies if p.kind == "trained" and not p.variant and p.labels == again[0].labels]
    gain = [(a.gold_peak or 0.0) - (b.gold_peak or 0.0) for a, b in zip(again, same, strict=False)]
    mean, low, high = mean_interval(gain)
    losses = [float(np.mean([p.heldout_loss for p in group])) for group in (same, again)]
    more = [p.gold_peak or 0.0 for p in run.proxies if p.kind == "trained" and p.labels > again[0].labels]
    worth = float(np.mean(more)) - float(np.mean([p.gold_peak or 0.0 for p in same])) if more else 0.0
    verdict: Verdict = "not reproduced" if low > 0 else "reproduced" if high < worth / 2 else "cannot tell"
    return trend(
        "More epochs on the same labels do not help.", verdict,
        f"{again[0].variant} against 2 on {again[0].labels} labels, {len(gain)} proxies: gold {mean:+.2f} "
        f"[{low:+.2f}, {high:+.2f}], more labels {worth:+.2f}; held-out loss {losses[1]:.3f} against "
        f"{losses[0]:.3f}", 4,
    )  # fmt: skip


def _loss_predicts_gold(run: RunSummary) -> Trend | None:
    """Rank correlation of the held-out loss with gold at one n."""
    trained = [p for p in run.proxies if p.kind == "trained"]
    if len(trained) < 5:
        return None
    curves = {curve.proxy_name: curve for curve in curves_of(run, "best-of-n")}
    n = sorted(point.pressure for point in curves[trained[0].name].points)[-3]
    gold = [gold_at_n(curves[p.name], n) for p in trained]
    if np.ptp(gold) == 0 or np.ptp([p.heldout_loss for p in trained]) == 0:
        return None
    found = stats.spearmanr([p.heldout_loss for p in trained], gold)
    verdict: Verdict = "reproduced" if found.statistic < 0 and found.pvalue < 0.05 else "cannot tell"
    if found.statistic > 0 and found.pvalue < 0.05:
        verdict = "not reproduced"
    return trend(
        "A lower held-out loss predicts higher gold at fixed n.", verdict,
        f"Spearman correlation {found.statistic:+.2f} (p = {found.pvalue:.2g}), {len(trained)} proxies at n = {n:.0f}",
        5,
    )  # fmt: skip
