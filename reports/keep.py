"""The kept runs: their tables and pictures under ``reports/gallery/``, and the table of all trends across them.

    python -m overopt.reports.keep runs/demo runs/rm-size ...

in the root of the source tree keeps each run's summary and opening picture under ``reports/gallery/RECIPE/``, rewrites
``reports/gallery/TRENDS.md`` from all kept summaries and README's numbers from the demo's. Nothing in them is typed by
hand; ``tests/reports/test_kept_runs.py`` compares both with the kept summaries.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from overopt.bridges.experiments import experiment_trends
from overopt.bridges.run_summary import RunSummary
from overopt.reports.readme import replaced, results_block
from overopt.reports.trends import trends_figure, trends_page
from overopt.theory.errors import InputError

__all__ = ["keep_run", "kept_runs"]


def kept_runs(gallery: Path) -> dict[str, RunSummary]:
    """Recipe -> its kept summary, in alphabetical order."""
    return {path.parent.name: RunSummary.read(path.parent) for path in sorted(gallery.glob("*/summary.json"))}


def keep_run(run: Path, root: Path) -> list[Path]:
    """Keep one run's summary and picture in the gallery of the source tree ``root``; its trends are judged anew."""
    from overopt.reports.pages.export import write_figure
    from overopt.reports.pages.run_page import demo_picture

    summary = RunSummary.read(run)
    judged = experiment_trends(summary)
    said = {trend.statement for trend in judged}
    summary = replace(summary, trends=(*(t for t in summary.trends if t.statement not in said), *judged))
    folder = root / "reports" / "gallery" / summary.recipe
    folder.mkdir(parents=True, exist_ok=True)
    return [summary.write(folder), write_figure(folder / "overoptimization.svg", demo_picture(summary))]


def main(argv: Sequence[str]) -> int:
    """``python -m overopt.reports.keep RUN ...``, in the root of the source tree."""
    from overopt.reports.pages.export import write_figure

    root = Path.cwd()
    gallery, readme = root / "reports" / "gallery", root / "README.md"
    if not gallery.is_dir():
        raise InputError(f"the current folder must be overopt's source tree, got {root}.")
    written = [path for run in argv for path in keep_run(Path(run), root)]
    runs = kept_runs(gallery)
    text = replaced(readme.read_text(encoding="utf-8"), results_block(runs["tiny"]))
    readme.write_text(text, encoding="utf-8")
    (gallery / "TRENDS.md").write_text(trends_page(runs), encoding="utf-8")
    written.append(write_figure(gallery / "trends.svg", trends_figure(runs), width=1080))
    for path in (*written, gallery / "TRENDS.md", readme):
        print(path)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        print(f"overopt: {error}", file=sys.stderr)
        sys.exit(2)
