"""The page of one run: the picture first, then the texts, the decomposition, the proxies, the record and the limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from overopt.bridges.run_summary import FittedLaw, MeasuredCurve, RunSummary, SplitRow
from overopt.reports.charts.exchange import exchange
from overopt.reports.charts.gap import gap_domain
from overopt.reports.charts.kl_record import kl_record
from overopt.reports.charts.on_policy_slope import on_policy_slope
from overopt.reports.charts.overoptimization import d_title, overoptimization, value_domain
from overopt.reports.charts.path import path
from overopt.reports.numbers import count, interval, plain, signed
from overopt.reports.pages.arms_section import CONTROL, arms_section
from overopt.reports.pages.blocks import (
    Block,
    Bullets,
    Facts,
    Figure,
    Mark,
    Measured,
    Note,
    Page,
    Sample,
    SampleColumn,
    Samples,
    Section,
    Table,
    Text,
)  # fmt: skip
from overopt.reports.pages.coefficients_section import coefficients_section
from overopt.reports.pages.proxies_section import proxies_section
from overopt.reports.pages.sentences import best_of_n_sentence, headline, opening, span, where_it_went
from overopt.reports.pages.split_blocks import (
    TERM_KEY,
    curve_table,
    gap_figure,
    law_formula,
    method_name,
    side_by_side,
    split_table,
    waterfall_domain,
    waterfall_figure,
)  # fmt: skip

__all__ = ["CONTROL", "demo_picture", "run_page"]


def run_page(run: RunSummary) -> Page:
    """The page of a run, or of several seeds overlaid (:meth:`RunSummary.overlay`)."""
    sections = (
        _texts(run), _decomposition(run), _along_ppo(run), arms_section(run), proxies_section(run),
        coefficients_section(run), _exchange(run), _trends(run), _laws(run), _kl(run), _limits(run),
    )  # fmt: skip
    seeds = ", ".join(map(str, run.seeds))
    said = f" · seed{'s' if len(run.seeds) > 1 else ''} {seeds}" if run.seeds else ""
    return Page(
        title=f"overopt: {run.recipe}",
        kicker=f"overopt · recipe {run.recipe}{said}",
        headline=headline(run),
        summary=(opening(run),),
        hero=_picture(run),
        sections=tuple(section for section in sections if section is not None),
        footer=(run.world, f"Scale: {run.scale}."),
    )


def _curves(run: RunSummary, method: str, proxy: str) -> list[MeasuredCurve]:
    return [curve for curve in run.curves if curve.method == method and curve.proxy_name == proxy]


def _papers_fits(run: RunSummary, method: str, proxy: str) -> list[FittedLaw]:
    """The fits of the law that the reference experiment uses for this method."""
    name = "bon" if method == "best-of-n" else "rl"
    return [law for law in run.laws if (law.method, law.proxy_name, law.law) == (method, proxy, name)]


def _splits(run: RunSummary, method: str, *, first_seed: bool) -> list[SplitRow]:
    rows = [row for row in run.splits if row.method == method and row.proxy_name == run.headline_proxy]
    return [row for row in rows if row.seed == rows[0].seed] if first_seed else rows


def _panels(run: RunSummary) -> list[tuple[str, list[MeasuredCurve], list[FittedLaw]]]:
    found = [
        (method, _curves(run, method, run.headline_proxy), _papers_fits(run, method, run.headline_proxy))
        for method in ("best-of-n", "ppo", "checkpoints")
    ]
    return [panel for panel in found if panel[1]]


def _picture(run: RunSummary) -> tuple[Block, ...]:
    panels = _panels(run)
    domain = value_domain([curve for _, curves, _ in panels for curve in curves])
    figures = tuple(_panel(method, curves, laws, domain) for method, curves, laws in panels)
    laws = [law for _, _, fits in panels for law in fits]
    names = list(dict.fromkeys(law_formula(law.law) for law in laws))
    fitted = f" Dashed: fitted {' and '.join(names)}." if names else ""
    if any(law.fitted_to_d is not None and law.fitted_to_d < law.line[-1][0] for law in laws):
        fitted += " Dotted: beyond the points that the fit saw."
    return (side_by_side(figures), Note(f"Bands are 95% intervals over prompts.{fitted}"))


def _panel(
    method: str, curves: Sequence[MeasuredCurve], laws: Sequence[FittedLaw], domain: tuple[float, float]
) -> Figure:
    last = curves[0].points[-1]
    what = {"best-of-n": f"best of up to {count(last.pressure)}", "ppo": f"{count(last.pressure)} steps"}.get(
        method, ""
    )
    seeds = f", {len(curves)} seeds" if len(curves) > 1 else ""
    return Figure(
        chart=overoptimization(curves, laws, x_title=d_title(curves[0].kl_kind), domain=domain),
        title=method_name(method),
        subtitle=f"{what}{seeds}",
        alt=(
            f"{method_name(method)}: gold and proxy gain against d. At the last point, KL {plain(last.kl, 1)} nats, "
            f"the proxy gained {signed(last.proxy)} and gold {signed(last.gold)} gold SD."
        ),
        table=curve_table(curves),
        name=f"overoptimization-{method}",
    )


def demo_picture(run: RunSummary, *, panel_width: int = 430) -> Any:
    """The opening picture as one chart, panels side by side, for a README."""
    panels = _panels(run)
    domain = value_domain([curve for _, curves, _ in panels for curve in curves])
    charts = []
    for method, curves, laws in panels:
        panel = overoptimization(curves, laws, x_title=d_title(curves[0].kl_kind), domain=domain, height=330)
        panel = panel.properties(width=panel_width, title=method_name(method))
        charts.append(panel)
    return alt.hconcat(*charts, spacing=60).properties(padding={"left": 10, "top": 10, "right": 50, "bottom": 10})


def _texts(run: RunSummary) -> Section | None:
    titles = {"base": ("Base policy", "muted"), "peak": ("At gold's peak", "gold"), "end": ("At the end", "extremal")}
    columns = []
    for stage, (title, tone) in titles.items():
        rows = [sample for sample in run.samples if sample.stage == stage]
        if rows:
            note = f"step {count(rows[0].pressure)}, KL {plain(rows[0].kl, 1)}"
            texts = tuple(Sample(row.prompt, row.completion, row.gold, row.proxy) for row in rows)
            columns.append(SampleColumn(title, note, tone, texts))
    if not columns:
        return None
    return Section(
        "What the policy writes",
        (Samples(tuple(columns)),),
        lead="The same prompts (grey) along one PPO run; scores in gold SD.",
    )


def _decomposition(run: RunSummary) -> Section | None:
    chosen = [(method, _splits(run, method, first_seed=True)) for method in ("best-of-n", "ppo", "checkpoints")]
    chosen = [(method, rows) for method, rows in chosen if rows]
    if not chosen:
        return None
    ends = [rows[-1] for _, rows in chosen]
    domain = waterfall_domain(ends)
    falls = tuple(
        waterfall_figure(rows[-1], f"{method_name(method)}: from promise to delivered", domain, f"waterfall-{method}")
        for method, rows in chosen
    )
    opened = gap_domain([row for _, rows in chosen for row in rows])
    gaps = tuple(
        gap_figure(rows, f"{method_name(method)}: the gap as it opens", opened, f"gap-{method}")
        for method, rows in chosen
    )
    return Section(
        "Where the promise went",
        (
            Text(" ".join((best_of_n_sentence(run), where_it_went(run)))),
            TERM_KEY,
            side_by_side(falls),
            side_by_side(gaps),
            Bullets(run.verdicts),
            *_seed_splits(run),
        ),
        lead="promise − regressional − extremal − causal − unattributed = delivered, exactly. "
        "Promise and regressional depend on the proxy's scale, extremal on the one its null is built on (see below).",
    )


def _seed_splits(run: RunSummary) -> tuple[Block, ...]:
    rows = _splits(run, "ppo", first_seed=False)
    last = {row.seed: row for row in rows}
    if len(last) < 2:
        return ()
    table = split_table(list(last.values()))
    return (
        Table(
            ("seed", *table.columns),
            tuple((str(seed), *cells) for seed, cells in zip(last, table.rows, strict=True)),
            caption="The last PPO checkpoint of every seed: intervals are over prompts, rows over seeds.",
        ),
    )


def _along_ppo(run: RunSummary) -> Section | None:
    rows = [row for row in _splits(run, "ppo", first_seed=False) if row.path_selection is not None]
    if not rows:
        return None
    curves = _curves(run, "ppo", run.headline_proxy)
    title = d_title(curves[0].kl_kind)
    last = rows[-1]
    slopes = [row for row in rows if row.on_policy_slope is not None]
    figures = [
        Figure(
            chart=path(rows, x_title=title),
            title="Selection and shift along the run",
            subtitle="cumulative gold gain, one line per seed; selection + shift = delivered",
            alt=(
                f"Cumulative gold gain along PPO: at the end selection {signed(last.path_selection)}, "
                f"shift {signed(last.path_shift)}, delivered {signed(last.delivered)} gold SD."
            ),
            table=Table(
                ("seed", "PPO step", "KL", "selection", "shift", "delivered", "on-policy slope"),
                tuple(
                    (
                        str(row.seed),
                        count(row.pressure),
                        row.kl,
                        row.path_selection,
                        row.path_shift,
                        row.delivered,
                        row.on_policy_slope,
                    )
                    for row in rows
                ),
                caption="Gold SD, from the base policy to each checkpoint.",
            ),
            name="path",
        )
    ]
    if slopes:
        figures.append(
            Figure(
                chart=on_policy_slope(slopes, x_title=title),
                title="What the proxy is still worth",
                subtitle="slope of gold on proxy among each checkpoint's own samples; at 0 the proxy is spent",
                alt=(
                    f"On-policy slope from {plain(slopes[0].on_policy_slope)} at the base policy "
                    f"to {plain(slopes[-1].on_policy_slope)} at the last checkpoint."
                ),
                name="on-policy-slope",
            )
        )
    return Section(
        "Step by step along PPO",
        (side_by_side(figures),),
        lead="Late checkpoints lie outside the base policy's samples, so each is compared with the one before: "
        "selection along the current relation between proxy and gold, and that relation's shift.",
    )


def _exchange(run: RunSummary) -> Section | None:
    curves = [curve for _, group, _ in _panels(run) for curve in group]
    control = _curves(run, "ppo", CONTROL)
    blocks: list[Figure] = []
    if curves:
        ends = ", ".join(
            f"{method_name(curve.method)} promised {signed(last.proxy)}, delivered {signed(last.gold)}"
            for curve in curves
            for last in curve.points[-1:]
        )
        blocks.append(
            Figure(
                chart=exchange(curves),
                title="Gold bought per unit of proxy",
                subtitle="on the dashed line the proxy delivers what it promises",
                alt=f"Gold against proxy gain, gold SD. At the end: {ends}.",
                name="exchange",
            )
        )
    if control:
        last = control[0].points[-1]
        blocks.append(
            Figure(
                chart=overoptimization(control, x_title=d_title(control[0].kl_kind), height=380),
                title="Control: PPO on gold itself",
                subtitle="nothing to overoptimize: gold should rise and stay",
                alt=f"PPO on gold: {signed(last.gold)} gold SD at KL {plain(last.kl, 1)} nats.",
                table=curve_table(control),
                name="control",
            )
        )
    return Section("What the proxy buys", (side_by_side(blocks),)) if blocks else None


def _trends(run: RunSummary) -> Section | None:
    if not run.trends:
        return None
    kinds = {"reproduced": "good", "not reproduced": "bad", "cannot tell": "open"}
    rows = tuple(
        (trend.statement, Mark(trend.verdict, kinds[trend.verdict]), trend.evidence)  # type: ignore[arg-type]
        for trend in run.trends
    )
    return Section(
        "Against the reference experiment",
        (Table(("trend", "here", "evidence"), rows),),
        lead="Trends of Gao, Schulman and Hilton (2022), arXiv 2210.10760; the paper prints no coefficients to match.",
    )


def _laws(run: RunSummary) -> Section | None:
    shown = [law for law in run.laws if law.proxy_name == run.headline_proxy]
    others = [law for law in run.laws if law.proxy_name != run.headline_proxy]
    blocks = [_law_table(shown)] if shown else []
    if others:
        blocks.append(_law_table(others, fold="Other proxies"))
    lead = "Gold gain in gold SD against d in √nats; error beyond: RMSE on the points that the fit did not see."
    return Section("Fitted laws", tuple(blocks), lead=lead) if blocks else None


def _law_table(laws: Sequence[FittedLaw], fold: str = "") -> Table:
    rows = tuple(
        (
            law.proxy_name,
            method_name(law.method) + ("" if law.seed is None else f", seed {law.seed}"),
            law_formula(law.law),
            Measured(plain(law.alpha), interval(law.alpha_ci)),
            Measured(plain(law.beta), interval(law.beta_ci)),
            "none inside" if law.peak_d is None else plain(law.peak_d),
            plain(law.r2, 3),
            law.fitted_to_d,
            law.heldout_rmse,
        )
        for law in laws
    )
    columns = ("proxy", "method", "law", "α", "β", "peak at d", "R²", "fitted to d", "error beyond")
    return Table(columns, rows, fold=fold)


def _kl(run: RunSummary) -> Section | None:
    curves = [curve for curve in _curves(run, "ppo", run.headline_proxy) if any(p.kl is not None for p in curve.points)]
    if not curves:
        return None
    ends = span([curve.points[-1].kl for curve in curves if curve.points[-1].kl is not None], 1)
    kinds = {method_name(curve.method): curve.kl_kind for curve in run.curves}
    return Section(
        "How far the policy moved",
        (
            Figure(
                chart=kl_record(curves),
                title="KL against PPO step",
                subtitle="95% bands, one line per seed",
                alt=f"KL to the base policy rises with the PPO step to {ends} nats at the end.",
                table=curve_table(curves),
                name="kl",
            ),
            Facts(tuple((f"KL of {name}", kind) for name, kind in kinds.items())),
        ),
    )


def _limits(run: RunSummary) -> Section | None:
    blocks: list[Block] = []
    if run.limits:
        blocks.append(Bullets(run.limits))
    blocks.append(Text("**Provenance**"))
    blocks.append(Facts(tuple(run.provenance.items())))
    if run.timings:
        seconds = {stage: f"{plain(value, 0)} s" for stage, value in run.timings.items()}
        blocks += [Text("**Time**"), Facts(tuple(seconds.items()))]
    return Section("Limits and provenance", tuple(blocks))
