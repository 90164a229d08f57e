"""The page of ``overopt diagnose``: what somebody's score tables say about each proxy.

It takes the command's JSON object and computes nothing. One proxy gets a page of its own sections; several get an
overview first and one section each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from overopt.bridges.run_summary import CurvePoint, FittedLaw, MeasuredCurve, SplitRow
from overopt.reports.charts.gap import gap_domain
from overopt.reports.charts.on_policy_slope import on_policy_slope
from overopt.reports.charts.overoptimization import BOTH, d_title, overoptimization, value_domain
from overopt.reports.charts.path import path
from overopt.reports.charts.promises import promises
from overopt.reports.charts.regret import regret
from overopt.reports.charts.theme import TERMS
from overopt.reports.numbers import count, interval, plain, signed, with_interval
from overopt.reports.pages.blocks import Block, Bullets, Figure, Measured, Note, Page, Section, Table
from overopt.reports.pages.split_blocks import (
    METHOD_NAMES,
    TERM_KEY,
    gap_figure,
    law_formula,
    side_by_side,
    waterfall_domain,
    waterfall_figure,
)

__all__ = ["diagnose_page"]

Json = Mapping[str, Any]
Kind = Literal["best-of-n", "checkpoints"]
MOST_TIMES_GOLD = 4
"""Where the proxy reaches further than this many times gold, gold gets a panel: on one axis it would be a flat line."""
_KINDS: tuple[Kind, ...] = ("best-of-n", "checkpoints")
_PRESSURE = {"best-of-n": "n", "checkpoints": "checkpoint"}


@dataclass(frozen=True)
class _Optimizer:
    """One proxy under one optimizer: its splits that tell a promise and a delivery, and the rest of the record."""

    proxy: str
    method: Kind
    splits: tuple[SplitRow, ...]
    kl_kind: str
    law: FittedLaw | None
    turn: Json | None
    stopping: Json | None

    @property
    def x_title(self) -> str:
        return _PRESSURE[self.method] if any(row.d is None for row in self.splits) else d_title(self.kl_kind)

    @property
    def at(self) -> str:
        return _at(self.method, self.splits[-1].pressure)


def diagnose_page(result: Json, *, source: str = "") -> Page:
    """The page for one diagnosis; ``source`` names the files that were read."""
    proxies: Mapping[str, Json] = result["proxies"]
    found = {name: _optimizers(name, record) for name, record in proxies.items()}
    size = f"{count(result['n_prompts'])} prompts, {count(result['samples_per_prompt'])} samples per prompt"
    several = len(proxies) > 1
    hero: tuple[Block, ...] = ()
    sections: list[Section] = []
    if several:
        hero = _overview(found)
        sections = [
            Section(name, tuple(block for _, blocks in _parts(found[name], record) for block in blocks))
            for name, record in proxies.items()
        ]
    else:
        for name, record in proxies.items():
            first, *rest = _parts(found[name], record)
            hero = first[1]
            sections = [Section(title, blocks) for title, blocks in rest]
    if result["warnings"]:
        sections.append(Section("Warnings", (Bullets(tuple(result["warnings"])),)))
    return Page(
        title="overopt diagnose",
        kicker=f"overopt diagnose{f' · {source}' if source else ''} · {size}",
        headline=_headline(found),
        hero=hero,
        sections=tuple(sections),
        footer=(
            f"Scale: {result['scale']}. Gains are over the base policy; intervals are 95%, over prompts."
            + (" On this scale what is marked gold SD counts gold's own units." if result["scale"] == "raw" else ""),
            "promise − regressional − extremal − causal − unattributed = delivered. Promise and regressional depend on "
            "the scale of the proxy, extremal on the one its null is built on.",
        ),
    )


def _optimizers(name: str, record: Json) -> list[_Optimizer]:
    found = []
    for method in _KINDS:
        splits = tuple(_splits(record, method))
        if splits:
            kind = next(row["kl_kind"] for row in record["curve"] if row.get("method", method) == method)
            turn, stopping = ((record.get(key) or {}).get(method) for key in ("turn", "stopping"))
            found.append(_Optimizer(name, method, splits, kind or "", _law(name, record, method), turn, stopping))
    return found


def _splits(record: Json, method: Kind) -> list[SplitRow]:
    key = _PRESSURE[method]
    curve = {row[key]: row for row in record["curve"] if row.get(key) is not None}
    rows = []
    for row in record["decomposition"]:
        if row.get(key) is None or row["promise"] is None or row["delivered"] is None:
            continue
        at = curve.get(row[key], {})
        rows.append(
            SplitRow(
                method=method,
                proxy_name="",
                seed=None,
                pressure=row[key],
                kl=at.get("kl"),
                d=at.get("d"),
                **{name: row[name] for name in ("promise", *TERMS, "delivered")},
                ci={name: (bounds[0], bounds[1]) for name, bounds in row["ci"].items() if None not in bounds},
                path_selection=row.get("path_selection"),
                path_shift=row.get("path_shift"),
                on_policy_slope=row.get("on_policy_slope"),
            )
        )
    return rows


def _law(name: str, record: Json, method: Kind) -> FittedLaw | None:
    """The fitted law, from gold's own units to gold SD by the unit that the record names."""
    fit = (record.get("fits") or {}).get(method)
    scale = (record.get("scale") or {}).get(method)
    if not fit or not scale or fit.get("alpha") is None or not fit.get("line"):
        return None
    line = tuple((d, gold / scale["gold_unit"]) for d, gold in fit["line"])
    return FittedLaw(method, name, None, law_formula(fit["law"]), fit["alpha"], fit["beta"] or 0.0, line)


def _at(method: str, pressure: float) -> str:
    return f"best-of-{count(pressure)}" if method == "best-of-n" else f"checkpoint {count(pressure)}"


def _headline(found: Mapping[str, Sequence[_Optimizer]]) -> str:
    optimizers = [optimizer for group in found.values() for optimizer in group]
    if not optimizers:
        return "The data cannot tell"
    turned = [optimizer for optimizer in optimizers if optimizer.turn and _turns(optimizer.turn)]
    if len(found) == 1 and turned:
        turn = turned[-1].turn or {}
        rise, fall = turn["shown_rise"], with_interval(turn["fall"], turn["fall_interval"])
        risen = with_interval(rise["gain"], rise["interval"])
        if rise["pressure"] == turn["peak"] is not None:
            fall += f": it was highest at {_at(turned[-1].method, turn['peak'])}"
        return f"Gold rose by {risen}, then fell by {fall}".replace("+", "")
    if len(found) > 1:
        return _verdict_on_several(found, {optimizer.proxy for optimizer in turned})
    last = optimizers[-1].splits[-1]
    if "delivered" not in last.ci:
        return "The data cannot tell"
    delivered = with_interval(last.delivered, last.ci["delivered"])
    return f"At {optimizers[-1].at} the proxy promised {signed(last.promise)} SD of gold and delivered {delivered}"


def _verdict_on_several(found: Mapping[str, Sequence[_Optimizer]], turned: set[str]) -> str:
    """How many proxies raise gold at the largest pressure, lower it, or show neither; and how many make it turn."""
    intervals = [group[-1].splits[-1].ci.get("delivered") for group in found.values() if group]
    raised = sum(bounds is not None and bounds[0] > 0 for bounds in intervals)
    lowered = sum(bounds is not None and bounds[1] < 0 for bounds in intervals)
    counts = {"raise gold": raised, "lower gold": lowered, "not shown to do either": len(found) - raised - lowered}
    told = ", ".join(f"{number} {words}" for words, number in counts.items() if number)
    turn = f"{len(turned)} make gold rise, then fall" if turned else "none is shown to make gold rise, then fall"
    return f"{len(found)} proxies: {told}; {turn}"


def _turns(turn: Json) -> bool:
    return bool(turn["shape"] == "turns")


def _overview(found: Mapping[str, Sequence[_Optimizer]]) -> tuple[Block, ...]:
    names = ("promise", *TERMS, "delivered")
    ends = {
        name if len(group) == 1 else f"{name}, {optimizer.at}": optimizer.splits[-1]
        for name, group in found.items()
        for optimizer in group
    }
    if not ends:
        return ()
    rows = tuple(
        (
            name,
            _at(last.method, last.pressure),
            *(Measured(_number(getattr(last, term)), interval(last.ci.get(term))) for term in names),
        )
        for name, last in ends.items()
    )
    words = ", ".join(f"{name} {signed(last.promise)} → {signed(last.delivered)}" for name, last in ends.items())
    return (
        Figure(
            chart=promises(ends),
            title="What each proxy promised and delivered",
            subtitle="at the largest pressure; thick bars are 95% intervals",
            alt=f"Promised and delivered gold SD by proxy: {words}.",
            table=Table(("proxy", "at", *names), rows, caption="Gold SD with 95% intervals; terms are losses."),
            name="promises",
        ),
    )


def _number(value: float | None) -> str:
    return "cannot tell" if value is None else plain(value)


def _parts(optimizers: Sequence[_Optimizer], record: Json) -> list[tuple[str, tuple[Block, ...]]]:
    """Titles and blocks about one proxy, the picture first; parts without content are left out."""
    parts: list[tuple[str, Sequence[Block]]] = [
        ("Gold and proxy", _pictures(optimizers)),
        ("What the data say", [Bullets(tuple(record["verdicts"]))]),
        ("Where the promise went", _promise(optimizers)),
        ("Step by step along the checkpoints", _steps(optimizers)),
        ("Where to stop", _stopping(optimizers)),
        ("Fitted laws", _laws(record)),
    ]
    return [(title, tuple(blocks)) for title, blocks in parts if blocks or title == "Gold and proxy"]


def _pictures(optimizers: Sequence[_Optimizer]) -> list[Block]:
    curves = [
        MeasuredCurve(
            optimizer.method,
            optimizer.proxy,
            None,
            optimizer.kl_kind,
            tuple(
                CurvePoint(
                    pressure=row.pressure,
                    kl=row.kl,
                    d=row.d,
                    proxy=row.promise or 0.0,
                    gold=row.delivered or 0.0,
                    proxy_ci=row.ci.get("promise"),
                    gold_ci=row.ci.get("delivered"),
                )
                for row in optimizer.splits
            ),
        )
        for optimizer in optimizers
    ]
    if not curves:
        return []
    panels: list[tuple[str, ...]] = [BOTH]
    if _reach(curves, "proxy") > MOST_TIMES_GOLD * _reach(curves, "gold") > 0:
        panels = [("gold",), ("proxy",)]
    rows = [
        [
            _picture(optimizer, curve, shown, value_domain(curves, shown))
            for optimizer, curve in zip(optimizers, curves, strict=True)
        ]
        for shown in panels
    ]
    if len(optimizers) == 1:
        return [side_by_side([figure for row in rows for figure in row])]
    return [side_by_side(row) for row in rows]


def _reach(curves: Sequence[MeasuredCurve], what: str) -> float:
    low, high = value_domain(curves, (what,))
    return high - low


def _picture(
    optimizer: _Optimizer, curve: MeasuredCurve, shown: tuple[str, ...], domain: tuple[float, float]
) -> Figure:
    last = curve.points[-1]
    laws = [optimizer.law] if optimizer.law is not None and "gold" in shown else []
    gains = {"gold": f"gold gained {signed(last.gold)} SD", "proxy": f"the proxy {signed(last.proxy)} SD"}
    alone = "" if len(shown) > 1 else f": {shown[0]}, on an axis of its own"
    return Figure(
        chart=overoptimization([curve], laws, x_title=optimizer.x_title, domain=domain, shown=shown),
        title=f"{METHOD_NAMES[optimizer.method]}{alone}",
        subtitle=f"to {optimizer.at}" + (f"; dashed: fitted {laws[0].law}" if laws else ""),
        alt=f"{optimizer.proxy}: at {optimizer.at} {', '.join(gains[what] for what in shown)}.",
        name=f"{optimizer.proxy}-{optimizer.method}{'-proxy' if shown == ('proxy',) else ''}",
    )


def _promise(optimizers: Sequence[_Optimizer]) -> list[Block]:
    if not optimizers:
        return []
    domain = waterfall_domain([optimizer.splits[-1] for optimizer in optimizers])
    opened = gap_domain([row for optimizer in optimizers for row in optimizer.splits])
    falls, gaps = [], []
    for optimizer in optimizers:
        title, name = METHOD_NAMES[optimizer.method], f"{optimizer.proxy}-{optimizer.method}"
        falls.append(
            waterfall_figure(optimizer.splits[-1], f"{title}: from promise to delivered", domain, f"{name}-waterfall")
        )
        gaps.append(gap_figure(optimizer.splits, f"{title}: the gap as it opens", opened, f"{name}-gap"))
    if len(optimizers) == 1:
        return [TERM_KEY, side_by_side([*falls, *gaps])]
    return [TERM_KEY, side_by_side(falls), side_by_side(gaps)]


def _steps(optimizers: Sequence[_Optimizer]) -> list[Block]:
    for optimizer in optimizers:
        known = [row for row in optimizer.splits if row.path_selection is not None]
        if len(known) > 1:
            last = known[-1]
            figures = [
                Figure(
                    chart=path(known, x_title=optimizer.x_title),
                    title="Selection and shift along the run",
                    subtitle="cumulative gold gain, 95% bands; selection + shift = delivered",
                    alt=f"At the end selection {signed(last.path_selection)}, shift {signed(last.path_shift)} gold SD.",
                    name=f"{optimizer.proxy}-path",
                )
            ]
            if last.on_policy_slope is not None:
                figures.append(
                    Figure(
                        chart=on_policy_slope(known, x_title=optimizer.x_title),
                        title="What the proxy is still worth",
                        subtitle="slope of gold on proxy among each checkpoint's own samples; at 0 the proxy is spent",
                        alt=f"On-policy slope {signed(known[0].on_policy_slope)} at first, "
                        f"{signed(last.on_policy_slope)} at the end.",
                        name=f"{optimizer.proxy}-on-policy-slope",
                    )
                )
            return [side_by_side(figures)]
    return []


def _stopping(optimizers: Sequence[_Optimizer]) -> list[Block]:
    figures = []
    for optimizer in optimizers:
        if optimizer.stopping and optimizer.stopping["rules"]:
            rules = optimizer.stopping["rules"]
            words = ", ".join(f"{rule['name']} {plain(rule['regret'], 3)}" for rule in rules)
            figures.append(
                Figure(
                    chart=regret(rules),
                    title=f"{METHOD_NAMES[optimizer.method]}: stop at {_recommended(optimizer)}",
                    subtitle="gold given up against the best point, ± one SD over splits of the prompts",
                    alt=f"Regret by stopping rule: {words}.",
                    name=f"{optimizer.proxy}-{optimizer.method}-stopping",
                )
            )
    return [side_by_side(figures)] if figures else []


def _recommended(optimizer: _Optimizer) -> str:
    pressure = (optimizer.stopping or {})["recommended"]
    return "the base policy" if pressure is None else _at(optimizer.method, pressure)


def _laws(record: Json) -> list[Block]:
    rows = tuple(
        (
            METHOD_NAMES[method],
            law_formula(fit["law"]),
            Measured(plain(fit["alpha"], 3), interval(fit.get("alpha_ci"), 3)),
            Measured(plain(fit.get("beta"), 3), interval(fit.get("beta_ci"), 3)),
            fit["peak"],
            plain(fit["r2"], 3),
        )
        for method, fit in (record.get("fits") or {}).items()
        if fit and fit.get("alpha") is not None
    )
    blocks: list[Block] = []
    if rows:
        caption = "Gold gain in gold's own units, d in √nats."
        blocks.append(Table(("method", "law", "α", "β", "peak", "R²"), rows, caption=caption))
    if record.get("independence_p") is not None:
        p = plain(record["independence_p"], 3)
        blocks.append(Note(f"Permutation p-value of “the proxy's error is independent of gold”: {p}."))
    return blocks
