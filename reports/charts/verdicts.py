"""Which run says what about which claim: one cell per statement and run, its verdict as a sign and a colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from overopt.reports.charts.theme import color

__all__ = ["MARKS", "verdicts"]

MARKS = {"reproduced": "✓", "not reproduced": "✗", "cannot tell": "?"}
_HUES = {"reproduced": "leaf", "not reproduced": "extremal", "cannot tell": "muted"}


def verdicts(cells: Sequence[tuple[str, str, str, bool]]) -> Any:
    """Statements from top to bottom in the order of the cells, runs from left to right in alphabetical order.

    A cell is (statement, run, verdict, fresh); one that is not fresh rests on the same results as a run further to the
    left and is drawn pale.
    """
    rows = [
        {"statement": statement, "run": run, "verdict": verdict, "mark": MARKS[verdict], "fresh": fresh}
        for statement, run, verdict, fresh in cells
    ]
    statements = list(dict.fromkeys(row["statement"] for row in rows))
    runs = sorted({run for _, run, _, _ in cells})
    hue = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=list(MARKS), range=[color(_HUES[verdict]) for verdict in MARKS]),
        legend=alt.Legend(title=None, orient="bottom", symbolType="square", symbolOpacity=1, columnPadding=24),
    )
    pale = alt.Opacity("fresh:N", scale=alt.Scale(domain=[True, False], range=[1, 0.3]), legend=None)
    across = alt.Axis(orient="top", labelAngle=-40, labelColor=color("ink"), domain=False, ticks=False, grid=False)
    down = alt.Axis(
        minExtent=460, labelLimit=460, labelColor=color("ink"), labelFontSize=12, domain=False, ticks=False, grid=False
    )
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("run:N", scale=alt.Scale(domain=runs, paddingInner=0.12), title=None, axis=across),
        y=alt.Y("statement:N", scale=alt.Scale(domain=statements, paddingInner=0.12), title=None, axis=down),
        tooltip=["statement:N", "run:N", "verdict:N"],
    )
    return alt.layer(
        base.mark_rect(cornerRadius=3).encode(color=hue, opacity=pale),
        base.mark_text(fontSize=13, fontWeight="bold").encode(
            text="mark:N", color=alt.condition("datum.fresh", alt.value(color("paper")), alt.value(color("muted")))
        ),
    ).properties(height=23 * len(statements))
