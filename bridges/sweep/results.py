"""What a sweep's table says of one run: where gold peaked and where it ended, for every policy and for best-of-n."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from overopt.bridges.run_directory import write_json_atomically
from overopt.bridges.run_summary import RunSummary
from overopt.bridges.sweep.grid import Cell
from overopt.bridges.worker_processes import Advance

__all__ = ["RESULT", "ResultRow", "result_rows", "summarise", "table_csv"]

RESULT = "result"
"""The stage of a run that holds its summary and its rows."""

ROWS = "rows.json"


@dataclass(frozen=True)
class ResultRow:
    """Gains over the base policy in gold SD (proxy on the run's scale), KL in nats.

    Of a trained policy, the peak is chosen on half of the prompts and measured on the other half; of best-of-n it is
    the highest point of the curve.
    """

    method: str
    proxy: str
    repetition: int | None
    gold_at_peak: float
    gold_at_peak_se: float | None
    kl_at_peak: float | None
    gold_at_end: float
    kl_at_end: float | None
    proxy_at_end: float


def result_rows(summary: RunSummary) -> list[ResultRow]:
    """One row per trained policy, then one per proxy that best-of-n selects by."""
    rows = [
        ResultRow(
            peak.method, peak.proxy_name, peak.seed, peak.rise, peak.rise_se, peak.peak_kl, peak.rise - peak.fall,
            peak.end_kl, peak.proxy_end,
        )
        for peak in summary.peaks
    ]  # fmt: skip
    for curve in summary.curves:
        if curve.method == "best-of-n":
            top, end = max(curve.points, key=lambda point: point.gold), curve.points[-1]
            rows.append(
                ResultRow(
                    curve.method, curve.proxy_name, None, top.gold, top.gold_se, top.kl, end.gold, end.kl, end.proxy
                )
            )
    return rows


def summarise(world: str, limits: Sequence[str], folder: Path, run: Path, advance: Advance) -> None:
    """``summary.json`` and ``rows.json`` of a run whose other stages are finished: its last task in a sweep."""
    from overopt.bridges.run_analysis import analyse

    summary = analyse(run, world=world, limits=limits, provenance={}, timings={})
    summary.write(folder)
    write_rows(folder, result_rows(summary))


def write_rows(folder: Path, rows: Sequence[ResultRow]) -> None:
    """Write the rows of one run."""
    write_json_atomically(folder / ROWS, [asdict(row) for row in rows])


def read_rows(run: Path) -> list[ResultRow]:
    """Read the rows of one run."""
    return [ResultRow(**row) for row in json.loads((run / RESULT / ROWS).read_text(encoding="utf-8"))]


def records(table: Sequence[tuple[Cell, ResultRow]]) -> list[dict[str, Any]]:
    """The table as one flat object per row: settings, seed, results."""
    return [{**_settings(cell.settings), "seed": cell.seed, **asdict(row)} for cell, row in table]


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "+".join(map(str, v)) if isinstance(v, tuple) else v for name, v in settings.items()}


def table_csv(table: Sequence[tuple[Cell, ResultRow]], settings: Sequence[str]) -> str:
    """The table as CSV with every digit: equal tables, equal bytes."""
    text = io.StringIO()
    names = [*settings, "seed", *(field.name for field in fields(ResultRow))]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records(table))
    return text.getvalue()
