"""``overopt report``: one self-contained HTML page from one or several run directories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from overopt.reports.arguments import check_folder, check_outputs
from overopt.reports.options import parse_options
from overopt.reports.output import print_json
from overopt.theory.errors import InputError

__all__ = ["ReportOptions", "main", "write_report"]


@dataclass(frozen=True)
class ReportOptions:
    """Options of ``overopt report``."""

    runs: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN_DIRECTORY ...")]
    """Run directories; several runs of one recipe are overlaid, seed by seed."""
    out: Path | None = None
    """Where the page goes (default: report.html in the run directory, or here for several runs)."""
    again: bool = False
    """Analyse each run's finished stages again with this version first; `summary.json` is replaced and says so."""
    figures: Path | None = None
    """Also write every figure as SVG and PNG into this folder."""
    json: bool = False
    """Print one JSON object with the paths written instead of the path of the page."""


def write_report(runs: Sequence[Path], out: Path, figures: Path | None = None) -> list[Path]:
    """Write the page to ``out`` and, if wanted, its figures; return the paths, the page first.

    Raises
    ------
    InputError
        A directory that holds no finished run, or runs that do not belong on one page.
    """
    from overopt.bridges.run_summary import RunSummary
    from overopt.reports.pages.export import write_figures
    from overopt.reports.pages.page import write_page
    from overopt.reports.pages.run_page import demo_picture, run_page

    summary = RunSummary.overlay([RunSummary.read(run) for run in runs])
    page = run_page(summary)
    written = [write_page(out, page)]
    if figures is not None:
        charts = {"overoptimization": demo_picture(summary)}
        charts |= {figure.name: figure.chart for figure in page.figures() if figure.name}
        written += write_figures(figures, charts)
    return written


def analyse_again(run: Path) -> None:
    """Replace the summary of a finished run by what this version makes of its stages.

    What made the stages stays in ``provenance``; ``analysed by`` there is the commit of this version.

    Raises
    ------
    InputError
        A directory that holds no finished run, or only a kept summary without the stages.
    """
    from overopt.bridges.provenance import commit
    from overopt.bridges.run_analysis import analyse
    from overopt.bridges.run_summary import RunSummary

    before = RunSummary.read(run)
    if not (run / "bank" / "bank.parquet").is_file():
        raise InputError(f"`--again` needs the run's finished stages; '{run}' has no bank/bank.parquet.")
    origin = {**before.provenance, "analysed by": commit()}
    analyse(run, world=before.world, limits=before.limits, provenance=origin, timings=before.timings).write(run)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parse_options(
        ReportOptions, argv, prog="overopt report", description="One self-contained HTML page from run directories."
    )
    if not options.runs:
        raise InputError("overopt report: give at least one run directory, got none.")
    out = options.out
    if out is None:
        out = options.runs[0] / "report.html" if len(options.runs) == 1 else Path("report.html")
    _check(options, out)
    if options.again:
        for run in options.runs:
            analyse_again(run)
    page, *figures = write_report(options.runs, out, options.figures)
    if options.json:
        print_json(
            {"report": str(page), "runs": [str(run) for run in options.runs], "figures": list(map(str, figures))}
        )
    else:
        for path in (*figures, page):
            print(path)
    return 0


def _check(options: ReportOptions, out: Path) -> None:
    """What can be refused before anything is computed; a run's own files are inputs, its pages are not."""
    from overopt.bridges.run_summary import RunSummary

    for run in options.runs:
        RunSummary.read(run)
    files = (file for run in options.runs for file in run.rglob("*") if file.is_file() and file.suffix != ".html")
    check_outputs({"--out": out}, inputs=files)
    check_folder("--figures", options.figures)
