"""Blocks about the decomposition that the run page and the diagnose page share."""

from __future__ import annotations

from collections.abc import Sequence

from overopt.bridges.run_summary import CurvePoint, MeasuredCurve, SplitRow
from overopt.reports.charts.gap import gap
from overopt.reports.charts.losses import NOT_SPLIT, losses
from overopt.reports.charts.theme import TERMS
from overopt.reports.charts.waterfall import waterfall
from overopt.reports.numbers import count, interval, plain, signed
from overopt.reports.pages.blocks import Block, Columns, Figure, Key, Measured, Table
from overopt.theory.scaling_laws import law_named

__all__ = [
    "METHOD_NAMES",
    "TERM_KEY",
    "curve_table",
    "gap_figure",
    "law_formula",
    "side_by_side",
    "split_table",
    "waterfall_domain",
    "waterfall_figure",
]

TERM_KEY = Key(
    (
        ("regressional", "**regressional**: selection on noise that is independent of gold"),
        ("extremal", "**extremal**: the proxy's error depends on gold, already among the base policy's samples"),
        ("causal", "**causal**: the policy broke the base relation between proxy and gold"),
        ("unattributed", "**unattributed**: proxy scores beyond anything the base policy produced"),
    )
)


METHOD_NAMES = {
    "best-of-n": "Best-of-n", "ppo": "PPO", "rloo": "RLOO (TRL)", "grpo": "GRPO (TRL)", "dpo": "DPO",
    "expert-iteration": "Expert iteration", "reward-conditioned": "Reward-conditioned generation",
    "guided-decoding": "Reward-guided decoding", "tilt-mcmc": "Exponential tilt (MCMC)",
    "best-of-poisson": "Best-of-Poisson", "checkpoints": "Checkpoints",
}  # fmt: skip


def method_name(method: str) -> str:
    """A method as it is written; a changed PPO is called by its change, ``ppo-kl0.03`` for example."""
    return METHOD_NAMES.get(method, method)


def law_formula(name: str) -> str:
    """The law of this name as printed in the paper, with Greek letters."""
    formula = law_named(name).formula
    for word, letter in (("alpha", "α"), ("beta", "β"), ("gamma", "γ"), ("-", "−")):
        formula = formula.replace(word, letter)
    return formula


def side_by_side(figures: Sequence[Figure]) -> Block:
    """Figures in columns, or one figure alone."""
    return Columns(tuple(figures)) if len(figures) > 1 else figures[0]


def pressure_name(method: str) -> str:
    """What the pressure of a method is called."""
    if method == "best-of-poisson":
        return "mean n"
    return "n" if method == "best-of-n" else "PPO step" if method.startswith("ppo") else "checkpoint"


def waterfall_domain(splits: Sequence[SplitRow]) -> tuple[float, float]:
    """One axis for several waterfalls, so that their bars compare."""
    levels = [0.0]
    for split in splits:
        level = split.promise or 0.0
        levels.append(level)
        for loss in losses(split).values():
            level -= loss
            levels.append(level)
        levels.append(split.delivered or 0.0)
    air = 0.03 * (max(levels) - min(levels))
    return min(levels) - (air if min(levels) < 0 else 0), max(levels) + air


def waterfall_figure(split: SplitRow, title: str, domain: tuple[float, float], name: str = "") -> Figure:
    """The waterfall of one split; its alternative text carries all the numbers."""
    kl = "" if split.kl is None else f" · KL {plain(split.kl, 1)} nats"
    seed = "" if split.seed is None else f" · seed {split.seed}"
    terms = ", ".join(f"{term} {signed(getattr(split, term))}" for term in ("promise", *TERMS, "delivered"))
    return Figure(
        chart=waterfall(split, domain=domain),
        title=title,
        subtitle=f"{pressure_name(split.method)} = {count(split.pressure)}{kl}{seed}",
        alt=f"Waterfall from promise to delivered, in gold SD (losses positive): {terms}.",
        name=name,
    )


def gap_figure(splits: Sequence[SplitRow], title: str, domain: tuple[float, float], name: str = "") -> Figure:
    """The stacked loss terms over pressures, with all terms and intervals in its table."""
    first, last = splits[0], splits[-1]
    pressure = pressure_name(first.method)
    parts = ", ".join(f"{term} {plain(getattr(last, term))}" for term in TERMS)
    return Figure(
        chart=gap(splits, x_title=pressure, domain=domain),
        title=title,
        subtitle="gap between promise and delivery (dot) by term; grey: cannot be split"
        if any(NOT_SPLIT in losses(split) for split in splits)
        else "gap between promise and delivery (dot) by term",
        alt=f"Stacked bars of the loss terms per {pressure}; at {count(last.pressure)} they are {parts} gold SD.",
        table=split_table(splits),
        name=name,
    )


def split_table(splits: Sequence[SplitRow]) -> Table:
    """Every term with its 95% interval."""

    def cell(split: SplitRow, term: str) -> Measured:
        value = getattr(split, term)
        return Measured("cannot tell" if value is None else plain(value), interval(split.ci.get(term)))

    names = ("promise", *TERMS, "delivered")
    return Table(
        (pressure_name(splits[0].method), "KL", *names),
        tuple((count(s.pressure), s.kl, *(cell(s, term) for term in names)) for s in splits),
        caption="Gold SD with 95% intervals; the four terms are losses.",
    )


def curve_table(curves: Sequence[MeasuredCurve]) -> Table:
    """Every point of the curves with its standard errors."""

    def with_se(value: float | None, se: float | None) -> str:
        return plain(value) + ("" if se is None else f" ± {plain(se)}")

    def row(curve: MeasuredCurve, point: CurvePoint) -> tuple[object, ...]:
        seed = () if curve.seed is None else (str(curve.seed),)
        return (
            *seed, count(point.pressure), with_se(point.kl, point.kl_se), point.d,
            with_se(point.proxy, point.proxy_se), with_se(point.gold, point.gold_se),
        )  # fmt: skip

    seeded = ("seed",) if curves[0].seed is not None else ()
    return Table(
        (*seeded, pressure_name(curves[0].method), "KL (nats)", "d", "proxy gain", "gold gain"),
        tuple(row(curve, point) for curve in curves for point in curve.points),
        caption=f"Gains in gold SD ± standard error. KL: {curves[0].kl_kind}.",
    )
