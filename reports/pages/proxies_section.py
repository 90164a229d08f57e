"""The section of the run page about proxies: what size and data of a proxy buy under best-of-n."""

from __future__ import annotations

from collections.abc import Sequence

from overopt.bridges.run_summary import MeasuredCurve, ProxyModel, RunSummary
from overopt.reports.charts.gold_curves import gold_curves
from overopt.reports.charts.overoptimization import d_title
from overopt.reports.charts.proxy_peaks import peaks_by_accuracy, peaks_by_labels
from overopt.reports.numbers import count, interval, plain, short, signed
from overopt.reports.pages.blocks import Block, Columns, Figure, Measured, Section, Table

__all__ = ["proxies_section"]


def proxies_section(run: RunSummary) -> Section | None:
    """Gold under best-of-n by proxy, its peaks and the table of proxies; None where there is no proxy."""
    if not run.proxies:
        return None
    trained = [proxy for proxy in run.proxies if proxy.kind == "trained" and not proxy.variant]
    if not trained:
        return Section("The proxies", (_proxy_table(run.proxies),))
    by_labels: dict[int, list[MeasuredCurve]] = {}
    labels = {proxy.name: proxy.labels for proxy in trained}
    for curve in run.curves:
        if curve.method == "best-of-n" and curve.proxy_name in labels:
            by_labels.setdefault(labels[curve.proxy_name], []).append(curve)
    blocks: list[Block] = []
    if by_labels:
        curves = [curve for group in by_labels.values() for curve in group]
        gold = [point.gold for curve in curves for point in curve.points]
        air = 0.08 * (max(*gold, 0.0) - min(*gold, 0.0))
        domain = (min(*gold, 0.0) - air, max(*gold, 0.0) + air)
        panels = tuple(
            Figure(
                chart=gold_curves(group, run.proxies, x_title=d_title(group[0].kl_kind), domain=domain),
                title=f"{count(number)} labels",
                alt=f"Gold under best-of-n with proxies of {count(number)} labels: at the largest n "
                + ", ".join(f"{curve.proxy_name} {signed(curve.points[-1].gold)}" for curve in group)
                + " gold SD.",
                name=f"best-of-n-{number}-labels",
            )
            for number, group in sorted(by_labels.items())
        )
        blocks.append(Columns(panels) if len(panels) > 1 else panels[0])
    known = [proxy for proxy in trained if proxy.gold_peak is not None and not proxy.replicate]
    if len({proxy.labels for proxy in known}) > 1:
        peaks = ", ".join(f"{proxy.name} {signed(proxy.gold_peak)}" for proxy in known)
        blocks.append(
            Columns(
                (
                    Figure(
                        chart=peaks_by_labels(known),
                        title="Peak gold, by labels and size",
                        subtitle="95% intervals; one line per proxy size",
                        alt=f"Peak gold gain under best-of-n, gold SD: {peaks}.",
                        name="peaks-by-labels",
                    ),
                    Figure(
                        chart=peaks_by_accuracy(trained),
                        title="Peak gold, by held-out accuracy",
                        subtitle="95% intervals; darker is larger",
                        alt="Peak gold gain against held-out accuracy; the table below holds the numbers.",
                        name="peaks-by-accuracy",
                    ),
                )
            )
        )
    blocks.append(_proxy_table(run.proxies))
    return Section(
        "Size and data of the proxy",
        tuple(blocks),
        lead="Gold gain under best-of-n. Darker is larger; the name at the end of a line is its number of parameters.",
    )


def _proxy_table(proxies: Sequence[ProxyModel]) -> Table:
    columns: dict[str, list[object]] = {
        "proxy": [p.name for p in proxies],
        "parameters": [short(p.parameters) for p in proxies],
        "labels": [count(p.labels) for p in proxies],
        "held-out accuracy": [Measured(plain(p.heldout_accuracy), interval(p.heldout_accuracy_ci)) for p in proxies],
        "held-out loss": [plain(p.heldout_loss, 3) for p in proxies],
        "peak gold, best-of-n": [Measured(signed(p.gold_peak), interval(p.gold_peak_ci)) for p in proxies],
        "at n": ["–" if p.gold_peak_n is None else count(p.gold_peak_n) for p in proxies],
    }
    if any(p.ppo_peak is not None for p in proxies):
        columns["peak gold, PPO"] = [Measured(signed(p.ppo_peak), interval(p.ppo_peak_ci)) for p in proxies]
    return Table(
        tuple(columns), tuple(zip(*columns.values(), strict=True)), caption="Gold in gold SD, with 95% intervals."
    )
