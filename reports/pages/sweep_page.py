"""The page of a sweep: one table with a row per run and optimizer, and what failed."""

from __future__ import annotations

from collections.abc import Sequence

from overopt.bridges.sweep.grid import Cell
from overopt.bridges.sweep.results import ResultRow, records
from overopt.bridges.sweep.sweep import SweepResult
from overopt.reports.numbers import plain, signed
from overopt.reports.pages.blocks import Block, Bullets, Measured, Page, Section, Table

__all__ = ["sweep_page"]

Rows = Sequence[tuple[Cell, ResultRow]]


def sweep_page(result: SweepResult, recipe: str) -> Page:
    """The page of the sweep ``result`` of a recipe."""
    trained = [(cell, row) for cell, row in result.table if row.method != "best-of-n"]
    selected = [(cell, row) for cell, row in result.table if row.method == "best-of-n"]
    sections = [
        Section(title, (_table(rows),))
        for title, rows in (("Trained policies", trained), ("Best-of-n", selected))
        if rows
    ]
    if result.failures:
        lines = tuple(
            f"{task.cell.label}, seed {task.cell.seed}, `{task.stage}`: {task.error}" for task in result.failures
        )
        sections.append(Section("Failed", (Bullets(lines),)))
    runs = len(result.finished)
    return Page(
        title=f"overopt sweep: {recipe}",
        kicker=f"overopt sweep · recipe {recipe}",
        headline=f"{runs} finished run{'' if runs == 1 else 's'}"
        + (f", {len(result.failures)} failed tasks" if result.failures else ""),
        sections=tuple(sections),
        footer=("Gains over the base policy in gold SD, proxy on its run's scale, KL in nats.",),
    )


def _table(rows: Rows) -> Block:
    settings = list(rows[0][0].settings)
    cells = []
    for record, (_, row) in zip(records(rows), rows, strict=True):
        error = None if row.gold_at_peak_se is None else f"± {plain(row.gold_at_peak_se)}"
        cells.append(
            (
                *(str(record[name]) for name in settings), record["seed"], row.method, row.proxy,
                Measured(signed(row.gold_at_peak), error or ""), row.kl_at_peak, signed(row.gold_at_end), row.kl_at_end,
                signed(row.proxy_at_end),
            )
        )  # fmt: skip
    columns = ("seed", "optimizer", "proxy", "gold at peak", "KL there", "gold at end", "KL there", "proxy at end")
    return Table((*settings, *columns), tuple(cells))
