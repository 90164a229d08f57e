"""The page of ``overopt diagnose``: what somebody's score tables say about each proxy.

It takes the command's JSON object (stable keys: ``scale``, ``n_prompts``, ``samples_per_prompt``, ``proxies``,
``warnings``) and computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from overopt.bridges.run_summary import CurvePoint, MeasuredCurve, SplitRow
from overopt.reports.charts.gap import gap_domain
from overopt.reports.charts.overoptimization import d_title, overoptimization
from overopt.reports.charts.path import path
from overopt.reports.charts.theme import TERMS
from overopt.reports.numbers import count, interval, plain, signed, with_interval
from overopt.reports.pages.blocks import (
    Block,
    Bullets,
    Columns,
    Figure,
    Measured,
    Note,
    Page,
    Section,
    Table,
    Text,
)
from overopt.reports.pages.split_blocks import (
    METHOD_NAMES,
    TERM_KEY,
    gap_figure,
    waterfall_domain,
    waterfall_figure,
)

__all__ = ["diagnose_page"]

Json = Mapping[str, Any]


def diagnose_page(result: Json, *, source: str = "") -> Page:
    """The page for one diagnosis; ``source`` names the files that were read."""
    proxies: Mapping[str, Json] = result["proxies"]
    sections = [_overview(proxies)] if len(proxies) > 1 else []
    sections += [_proxy(name, found) for name, found in proxies.items()]
    if result.get("warnings"):
        sections.append(Section("Warnings", (Bullets(tuple(result["warnings"])),)))
    size = f"{count(result['n_prompts'])} prompts, {count(result['samples_per_prompt'])} samples per prompt"
    return Page(
        title="overopt diagnose",
        kicker=f"overopt diagnose{f' · {source}' if source else ''} · {size}",
        headline=_headline(proxies),
        sections=tuple(sections),
        footer=(
            f"Scale: {result['scale']}. Gains are over the base policy; intervals are 95%, over prompts.",
            "promise − regressional − extremal − causal − unattributed = delivered. Promise and regressional depend on "
            "the scale of the proxy; the other terms do not.",
        ),
    )


def _rows(found: Json, method: Literal["best-of-n", "checkpoints"]) -> list[SplitRow]:
    key = "n" if method == "best-of-n" else "checkpoint"
    kl = {row[key]: row.get("kl") for row in found["curve"] if row.get(key) is not None}
    d = {row[key]: row.get("d") for row in found["curve"] if row.get(key) is not None}
    names = ("promise", *TERMS, "delivered")
    return [
        SplitRow(
            method=method,
            proxy_name="",
            seed=None,
            pressure=row[key],
            kl=kl.get(row[key]),
            d=d.get(row[key]),
            **{name: row[name] for name in names},
            ci={name: tuple(bounds) for name, bounds in (row.get("ci") or {}).items() if _complete(bounds)},
            path_selection=row.get("path_selection"),
            path_shift=row.get("path_shift"),
            on_policy_slope=row.get("on_policy_slope"),
        )
        for row in found["decomposition"]
        if row.get(key) is not None
    ]


def _complete(bounds: Sequence[float | None] | None) -> bool:
    return bounds is not None and None not in bounds


def _told(rows: Sequence[SplitRow]) -> list[SplitRow]:
    return [row for row in rows if row.promise is not None and row.delivered is not None]


def _methods(found: Json) -> list[tuple[str, list[SplitRow]]]:
    groups = [(method, _told(_rows(found, method))) for method in ("best-of-n", "checkpoints")]
    return [(method, rows) for method, rows in groups if rows]


def _headline(proxies: Mapping[str, Json]) -> str:
    ends = [(name, rows[-1]) for name, found in proxies.items() for _, rows in _methods(found)[-1:]]
    if not ends:
        return "The data cannot tell"
    name, worst = max(ends, key=lambda end: (end[1].promise or 0.0) - (end[1].delivered or 0.0))
    at = f"best-of-{count(worst.pressure)}" if worst.method == "best-of-n" else f"checkpoint {count(worst.pressure)}"
    delivered = with_interval(worst.delivered, worst.ci.get("delivered"))
    return f"At {at}, {name} promised {signed(worst.promise)} SD of gold and delivered {delivered}"


def _overview(proxies: Mapping[str, Json]) -> Section:
    names = ("promise", *TERMS, "delivered")
    rows = []
    for name, found in proxies.items():
        for _, splits in _methods(found):
            last = splits[-1]
            cells = [_measured(getattr(last, term), last.ci.get(term)) for term in names]
            rows.append((name, _at(last), *cells, plain(found.get("independence_p"), 3)))
    columns = ("proxy", "at", *names, "p(error independent of gold)")
    return Section("All proxies", (Table(columns, tuple(rows), caption="Gold SD at the largest pressure."),))


def _measured(value: float | None, bounds: Sequence[float] | None) -> Measured:
    return Measured("cannot tell" if value is None else plain(value), interval(bounds))


def _at(split: SplitRow) -> str:
    return f"best-of-{count(split.pressure)}" if split.method == "best-of-n" else f"checkpoint {count(split.pressure)}"


def _proxy(name: str, found: Json) -> Section:
    groups = _methods(found)
    blocks: list[Block] = [Text(text) for text in found.get("verdicts", ())]
    pictures = [_picture(name, method, rows, found) for method, rows in groups]
    ends = [rows[-1] for _, rows in groups]
    if groups:
        domain = waterfall_domain(ends)
        opened = gap_domain([row for _, rows in groups for row in rows])
        falls = [
            waterfall_figure(
                rows[-1], f"{METHOD_NAMES[method]}: from promise to delivered", domain, f"{name}-waterfall-{method}"
            )
            for method, rows in groups
        ]
        gaps = [
            gap_figure(rows, f"{METHOD_NAMES[method]}: the gap as it opens", opened, f"{name}-gap-{method}")
            for method, rows in groups
        ]
        if len(groups) == 1:
            blocks += [pictures[0], TERM_KEY, Columns((falls[0], gaps[0]))]
        else:
            blocks += [Columns(tuple(pictures)), TERM_KEY, Columns(tuple(falls)), Columns(tuple(gaps))]
        blocks += _path(name, groups[-1][1])
    blocks += _fit(found.get("fit"))
    if found.get("independence_p") is not None:
        blocks.append(Note(f"Permutation p-value of “error independent of gold”: {plain(found['independence_p'], 3)}."))
    return Section(name, tuple(blocks))


def _picture(name: str, method: str, rows: Sequence[SplitRow], found: Json) -> Figure:
    points = tuple(
        CurvePoint(
            pressure=row.pressure, kl=row.kl, d=row.d, proxy=row.promise or 0.0, gold=row.delivered or 0.0,
            proxy_ci=row.ci.get("promise"), gold_ci=row.ci.get("delivered"),
        )
        for row in rows
    )  # fmt: skip
    kind = next((row["kl_kind"] for row in found["curve"] if row.get("kl_kind")), "")
    without_kl = any(point.d is None for point in points)
    x_title = {"best-of-n": "n", "checkpoints": "checkpoint"}[method] if without_kl else d_title(kind)
    curve = MeasuredCurve("best-of-n" if method == "best-of-n" else "checkpoints", name, None, kind, points)
    last = points[-1]
    return Figure(
        chart=overoptimization([curve], x_title=x_title),
        title=f"{METHOD_NAMES[method]}: gold and proxy",
        subtitle="gain over the base policy with 95% bands",
        alt=f"{name}, {method}: at the last point the proxy gained {signed(last.proxy)}, gold {signed(last.gold)} SD.",
        name=f"{name}-{method}",
    )


def _path(name: str, rows: Sequence[SplitRow]) -> list[Block]:
    known = [row for row in rows if row.path_selection is not None]
    if len(known) < 2:
        return []
    last = known[-1]
    title = "d = √KL (√nats)" if last.d is not None else "checkpoint"
    return [
        Figure(
            chart=path(known, x_title=title),
            title="Selection and shift along the checkpoints",
            subtitle="cumulative gold gain; selection + shift = delivered",
            alt=f"At the end selection {signed(last.path_selection)}, shift {signed(last.path_shift)} gold SD.",
            name=f"{name}-path",
        )
    ]


def _fit(fit: Json | None) -> list[Block]:
    if not fit or fit.get("alpha") is None:
        return []
    peak = "no peak inside the data" if fit.get("peak_d") is None else f"peak at d = {plain(fit['peak_d'])}"
    r2 = "" if fit.get("r2") is None else f", R² {plain(fit['r2'], 3)}"
    sentence = (
        f"Fitted law `{fit['law']}`: α = {plain(fit['alpha'])} {interval(fit.get('alpha_ci'))}, "
        f"β = {plain(fit['beta'])} {interval(fit.get('beta_ci'))}; {peak}{r2}."
    )
    return [Note(sentence.replace(" ,", ",").replace(" ;", ";"))]
