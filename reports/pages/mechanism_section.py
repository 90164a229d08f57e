"""The map from mechanism to law as a section: twelve small charts, and the same rows as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from overopt.reports.charts.mechanism_map import mechanism_chart
from overopt.reports.numbers import plain
from overopt.reports.pages.blocks import Columns, Figure, Note, Section, Table
from overopt.theory.mechanism_table import MechanismRow
from overopt.theory.world import ExactCurve

__all__ = ["mechanism_section"]

_FORMS = {"bon": "d(α − βd)", "rl": "d(α − β log d)", "linear": "αd", "power": "d(α − βd^γ)"}
_PER_ROW = 3


def mechanism_section(rows: Sequence[MechanismRow], curves: Mapping[str, ExactCurve], fitted_to: float) -> Section:
    """The section for ``rows``; ``curves`` holds every mechanism's exact best-of-n curve, ``fitted_to`` a d."""
    figures = [_figure(row, curves[row.mechanism], fitted_to) for row in rows]
    return Section(
        "From mechanism to law",
        (
            *(Columns(tuple(figures[start : start + _PER_ROW])) for start in range(0, len(figures), _PER_ROW)),
            Note(
                "Solid: exact gold gain of best-of-n. Dashed: d(α − βd) fitted to it at n = 2 .. 1024, left of the "
                "rule, and extrapolated to its right. Gold or noise of variance 1, standard normal proxies."
            ),
            Table(
                ("mechanism", "exact law of the tilt", "fitted α", "fitted β", "R²", "better form, short", "long"),
                tuple(
                    (row.mechanism, _implied(row), row.alpha, row.beta, f"{row.r2:.3f}", _form(row.short),
                     _form(row.long))
                    for row in rows
                ),
                caption="The better of the paper's two forms for best-of-n / the tilt, up to KL 6 and 35 nats",
            ),
        ),
        lead="What each mechanism does to gold, and what the paper's protocol would report for it.",
    )  # fmt: skip


def _figure(row: MechanismRow, curve: ExactCurve, fitted_to: float) -> Figure:
    gold = curve.gold - curve.gold[0]
    words = (
        f"Gold under {row.mechanism} peaks at {plain(float(gold.max()))} and stands at {plain(float(gold[-1]))} at "
        f"d = {plain(float(curve.d[-1]))}; the quadratic form fits beta = {plain(row.beta)}."
    )
    return Figure(
        chart=mechanism_chart(row, curve, fitted_to=fitted_to),
        alt=words,
        title=row.mechanism,
        subtitle=f"fitted β {plain(row.beta)}, R² {row.r2:.3f}",
        name=f"mechanism-{row.mechanism.replace(' ', '-').lower()}",
    )


def _implied(row: MechanismRow) -> str:
    if row.implied is None:
        return "–"
    name, values = row.implied
    return f"{_FORMS.get(name, name)} with {', '.join(f'{value:.3g}' for value in values)}"


def _form(preferred: tuple[str, str | None]) -> str:
    return " / ".join("–" if name is None else _FORMS[name] for name in preferred)
