"""The section of the run page that sets all trained policies side by side: optimizers, or proxies under PPO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from overopt.bridges.run_summary import GoldPeak, MeasuredCurve, RunSummary
from overopt.reports.charts.arms import CONTROL_SUFFIX, gold_of_arms
from overopt.reports.charts.overoptimization import d_title, overoptimization, value_domain
from overopt.reports.numbers import count, plain, signed
from overopt.reports.pages.blocks import Block, Columns, Figure, Section, Table
from overopt.reports.pages.split_blocks import curve_table, method_name, pressure_name

__all__ = ["CONTROL", "arms_section"]

CONTROL = "gold"
"""Proxy name of the control arm, in which gold itself is optimized."""

ABREAST = 3
"""Panels side by side."""


def arms_section(run: RunSummary) -> Section | None:
    """Gold of every arm on one axis, a table of where each peaks and ends, and a panel per arm; None with one arm."""
    families = _families(run)
    groups: dict[tuple[str, str], list[MeasuredCurve]] = {}
    for curve in run.curves:
        if curve.method != "best-of-n":
            groups.setdefault((curve.method, families.get(curve.proxy_name, curve.proxy_name)), []).append(curve)
    if len(groups) < 2:
        return None
    methods = {method for method, _ in groups}
    proxies = {proxy for _, proxy in groups if proxy != CONTROL}
    named = {_name(method, proxy, len(methods), len(proxies)): curves for (method, proxy), curves in groups.items()}
    return Section(
        "Every policy, side by side",
        (
            _overlay(named, ordered=_by_size(run, proxies)),
            _table(run, groups, len(methods), len(proxies)),
            *_panels(named),
        ),
        lead="One line per seed. The peak is chosen on half of the held-out prompts and measured on the other half.",
    )


def _families(run: RunSummary) -> dict[str, str]:
    """Proxy -> its name without the number of its replicate: replicates are seeds of one policy."""
    return {proxy.name: proxy.name.removesuffix(f"-r{proxy.replicate}") for proxy in run.proxies}


def _name(method: str, proxy: str, methods: int, proxies: int) -> str:
    if proxy == CONTROL:
        return method_name(method) + CONTROL_SUFFIX
    if proxies == 1:
        return method_name(method)
    return proxy if methods == 1 else f"{method_name(method)} on {proxy}"


def _by_size(run: RunSummary, names: set[str]) -> bool:
    """Whether these proxies differ by their size or their labels alone, so that an ordered ramp fits."""
    shown = [proxy for proxy in run.proxies if proxy.name in names]
    return len(shown) > 1 and all(proxy.kind == "trained" and not proxy.variant for proxy in shown)


def _x_title(curves: Sequence[MeasuredCurve]) -> str:
    return d_title(" or ".join(dict.fromkeys(curve.kl_kind for curve in curves)))


def _overlay(named: Mapping[str, Sequence[MeasuredCurve]], *, ordered: bool) -> Figure:
    ends = ", ".join(
        f"{name} {signed(float(np.mean([c.points[-1].gold for c in group])))}" for name, group in named.items()
    )
    return Figure(
        chart=gold_of_arms(
            named, x_title=_x_title([curve for group in named.values() for curve in group]), ordered=ordered
        ),
        title="Gold along every path",
        alt=f"Gold gain at the last measurement, mean over seeds: {ends} gold SD.",
        name="arms",
    )


def _table(
    run: RunSummary, groups: Mapping[tuple[str, str], Sequence[MeasuredCurve]], methods: int, proxies: int
) -> Table:
    rows = []
    for (method, proxy), curves in groups.items():
        members = {curve.proxy_name for curve in curves}
        peaks = [peak for peak in run.peaks if peak.method == method and peak.proxy_name in members]
        seeds = "–" if curves[0].seed is None else str(len(curves))
        rows.append((_name(method, proxy, methods, proxies), seeds, *_peak_cells(peaks)))
    columns = ("policy", "seeds", "gold at its peak", "KL there", "gold at the end", "KL there", "proxy at the end")
    return Table(columns, tuple(rows), caption="Mean over seeds, ± the seeds' standard deviation; gold SD, nats.")


def _peak_cells(peaks: Sequence[GoldPeak]) -> tuple[str, ...]:
    def cell(values: Sequence[float], decimals: int = 2, sign: bool = True) -> str:
        mean = signed(float(np.mean(values))) if sign else plain(float(np.mean(values)), decimals)
        return f"{mean} ± {plain(float(np.std(values, ddof=1)), decimals)}" if len(values) > 1 else mean

    if not peaks:
        return ("–",) * 5
    return (
        cell([peak.rise for peak in peaks]),
        cell([peak.peak_kl for peak in peaks], 1, sign=False),
        cell([peak.rise - peak.fall for peak in peaks]),
        cell([peak.end_kl for peak in peaks], 1, sign=False),
        cell([peak.proxy_end for peak in peaks]),
    )


def _panels(named: Mapping[str, Sequence[MeasuredCurve]]) -> list[Block]:
    domain = value_domain([curve for group in named.values() for curve in group])
    figures = []
    for name, group in named.items():
        last = group[0].points[-1]
        seeds = f", {len(group)} seeds" if len(group) > 1 else ""
        figures.append(
            Figure(
                chart=overoptimization(group, x_title=d_title(group[0].kl_kind), domain=domain, height=260),
                title=name,
                subtitle=f"{pressure_name(group[0].method)} {count(last.pressure)}{seeds}",
                alt=f"{name}: the proxy gained {signed(last.proxy)} and gold {signed(last.gold)} gold SD.",
                table=curve_table(group),
                name=f"arm-{name}".replace(" ", "-").lower(),
            )
        )
    rows = [tuple(figures[i : i + ABREAST]) for i in range(0, len(figures), ABREAST)]
    return [Columns(row) if len(row) > 1 else row[0] for row in rows]
