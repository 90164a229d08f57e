"""The map from mechanism to law: gold under best-of-n against d, one small chart per mechanism."""

from __future__ import annotations

from typing import Any

import altair as alt

from overopt.reports.charts.theme import color
from overopt.theory.mechanism_table import MechanismRow
from overopt.theory.world import ExactCurve

__all__ = ["mechanism_chart"]


def mechanism_chart(row: MechanismRow, curve: ExactCurve, *, fitted_to: float, height: int = 130) -> Any:
    """Exact gold gain of best-of-n (solid) and the quadratic form fitted to it (dashed) against d.

    Parameters
    ----------
    row
        The fit.
    curve
        The exact curve, from n = 1 on.
    fitted_to
        The d up to which the form was fitted: to the right of the rule it is extrapolated.
    """
    fitted = curve.d * (row.alpha - row.beta * curve.d)
    points = [
        {"d": d, "exact": exact, "fitted": fit}
        for d, exact, fit in zip(curve.d.tolist(), (curve.gold - curve.gold[0]).tolist(), fitted.tolist(), strict=True)
    ]
    base = alt.Chart(alt.Data(values=points)).encode(x=alt.X("d:Q", title="d = √KL"))
    tooltip = [alt.Tooltip(f"{name}:Q", format="+.3f") for name in ("d", "exact", "fitted")]
    return alt.layer(
        alt.Chart(alt.Data(values=[{"end": fitted_to}]))
        .mark_rule(stroke=color("rule"), strokeWidth=1.5)
        .encode(x="end:Q"),
        base.mark_line(stroke=color("gold")).encode(y=alt.Y("exact:Q", title="gold gain"), tooltip=tooltip),
        base.mark_line(stroke=color("ink"), strokeWidth=1.5, strokeDash=[5, 4]).encode(y="fitted:Q"),
    ).properties(height=height)
