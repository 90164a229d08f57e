"""The README's numbers, made from the kept demo run: the block between the two markers.

``python -m overopt.reports.keep`` rewrites it; ``tests/reports/test_readme.py`` compares it with the kept summary.
"""

from __future__ import annotations

from overopt.bridges.run_summary import RunSummary
from overopt.reports.numbers import plain, signed
from overopt.reports.pages.sentences import headline, headline_peaks
from overopt.theory.errors import InputError

__all__ = ["BEGIN", "END", "replaced", "results_block"]

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
