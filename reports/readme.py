"""The README's picture and numbers, made from a finished run: nothing in them is typed by hand.

    python -m overopt.reports.readme runs/demo

keeps the run's summary and picture under ``reports/gallery/RECIPE/`` and rewrites the block of README.md between the
two markers. ``tests/reports/test_readme.py`` compares the block with the kept summary.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from overopt.bridges.run_summary import RunSummary
from overopt.reports.numbers import plain, signed
from overopt.reports.pages.sentences import headline, headline_peaks
from overopt.theory.errors import InputError

__all__ = ["BEGIN", "END", "keep_run", "results_block"]

BEGIN, END = "<!-- numbers of reports/gallery/tiny -->", "<!-- end of numbers -->"


def results_block(run: RunSummary) -> str:
    """What a run found, as Markdown: the sentence, PPO seed by seed, and best-of-n by proxy."""
    seeds = "\n".join(
        f"| {peak.seed} | {signed(peak.rise)} ± {plain(peak.rise_se)} at KL {plain(peak.peak_kl, 1)} | "
        f"{signed(-peak.fall)} ± {plain(peak.fall_se)} to KL {plain(peak.end_kl, 1)} | {signed(peak.proxy_after)} ± "
        f"{plain(peak.proxy_after_se)} |"
        for peak in headline_peaks(run)
    )
    proxies = "\n".join(
        f"| {proxy.name} | {proxy.parameters:,} | {plain(100 * proxy.heldout_accuracy, 0)}% | "
        f"{signed(proxy.gold_peak)} at n = {proxy.gold_peak_n:,.0f} |"
        for proxy in run.proxies
    )
    trends = "\n".join(f"- **{trend.verdict}**: {trend.statement}" for trend in run.trends)
    return (
        f"{headline(run)}. PPO against the proxy {run.headline_proxy}; gold in SD of the base policy's gold, ± one "
        "standard error over held-out prompts; the peak is chosen on half of them, measured on the rest:\n\n"
        "| PPO seed | gold, start to peak | gold, peak to end | proxy, peak to end |\n| --- | --- | --- | --- |\n"
        f"{seeds}\n\nBest-of-n against nine proxies (name: parameters and labels):\n\n"
        "| proxy | parameters | pairs ordered as gold does | highest gold |\n| --- | --- | --- | --- |\n"
        f"{proxies}\n\n{trends}\n"
    )


def replaced(text: str, block: str) -> str:
    """``text`` with ``block`` between the markers.

    Raises
    ------
    InputError
        If a marker is missing.
    """
    if BEGIN not in text or END not in text:
        raise InputError(f"README.md must hold the markers '{BEGIN}' and '{END}'.")
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{block}{END}{rest.split(END, 1)[1]}"


def keep_run(run: Path, root: Path) -> list[Path]:
    """Keep a run's summary and picture in the gallery of the source tree ``root`` and refresh its README."""
    from overopt.reports.pages.export import write_figure
    from overopt.reports.pages.run_page import demo_picture

    summary = RunSummary.read(run)
    folder = root / "reports" / "gallery" / summary.recipe
    folder.mkdir(parents=True, exist_ok=True)
    readme = root / "README.md"
    text = replaced(readme.read_text(encoding="utf-8"), results_block(summary))
    kept = summary.write(folder)
    picture = write_figure(folder / "overoptimization.svg", demo_picture(summary))
    readme.write_text(text, encoding="utf-8")
    return [kept, picture, readme]


def main(argv: Sequence[str]) -> int:
    """``python -m overopt.reports.readme RUN``, in the root of the source tree."""
    if len(argv) != 1:
        raise InputError(f"one run directory is needed, got {len(argv)} arguments.")
    for path in keep_run(Path(argv[0]), Path.cwd()):
        print(path)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        print(f"overopt: {error}", file=sys.stderr)
        sys.exit(2)
