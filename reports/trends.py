"""The page "what the kept runs say": an overview of the reference experiment's claims, then every number."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import groupby
from textwrap import shorten
from typing import Any

from overopt.bridges.experiments import paper_table
from overopt.bridges.run_summary import RunSummary
from overopt.reports.charts.verdicts import MARKS, verdicts

__all__ = ["MEASURED_BY", "Finding", "findings", "trends_figure", "trends_page"]

MEASURED_BY = {
    1: "cross-check", 2: "rm-size", 3: "rm-size", 4: "data-size", 5: "rm-size", 6: "policy sizes", 7: "rm-size",
    8: "kl-penalty", 9: "rm-size", 10: "rm-size",
}  # fmt: skip
"""Claim -> the recipe that was made for it, or has the most reward models; the overview gives its numbers."""

_SIGNS = {**MARKS, "not measured": "–"}


@dataclass(frozen=True)
class Finding:
    """One verdict on one statement, with every run that rests it on the same results.

    Recipes share what they have computed: PPO with the same seed on the same proxy is one experiment, however many
    recipes hold it.
    """

    number: int
    claim: str
    statement: str
    verdict: str
    evidence: str
    recipes: tuple[str, ...]


def findings(runs: Mapping[str, RunSummary]) -> tuple[Finding, ...]:
    """The rows of the paper's table in its order; those that say the same of runs with a curve in common are merged."""
    found: list[Finding] = []
    for row in paper_table(runs):
        said = (row.number, row.claim, row.statement, row.verdict, row.evidence)
        for place, other in enumerate(found):
            if astuple(other)[:-1] == said and _have_a_curve_in_common(runs, other.recipes[0], row.recipe):
                found[place] = replace(other, recipes=(*other.recipes, row.recipe))
                break
        else:
            found.append(Finding(*said, (row.recipe,)))
    return tuple(found)


def _have_a_curve_in_common(runs: Mapping[str, RunSummary], one: str, other: str) -> bool:
    return one in runs and other in runs and any(curve in runs[other].curves for curve in runs[one].curves)


def trends_page(runs: Mapping[str, RunSummary]) -> str:
    """The table "paper's claim, measured here, verdict" as Markdown: an overview, then claim by claim."""
    found = findings(runs)
    lines = [
        "# What the kept runs say",
        "",
        "Made by `python -m overopt.reports.keep`, every number read from the kept summaries; nothing is typed by "
        "hand. Gold and proxy gains in gold SD of the base policy, KL in nats, intervals 95%. ✓ reproduced, "
        "✗ not reproduced, ? cannot tell, – not measured.",
        "",
        "![Verdict of every kept run on every statement about the reference experiment](trends.svg)",
        "",
        "Pale: the same results as in a run further to the left, because recipes share what they have computed. They "
        "count once below.",
        "",
        "## The claims of the reference experiment",
        "",
        "The verdict and the first numbers of the recipe that was made for the claim (all of them are below), and how "
        "many others say what.",
        "",
        "| claim | | measured here | numbers | elsewhere |",
        "| --- | --- | --- | --- | --- |",
    ]
    for number, of_claim in groupby((f for f in found if f.number), key=lambda finding: finding.number):
        lines += _overview(number, list(of_claim))
    for (number, claim), rows in groupby(found, key=lambda finding: (finding.number, finding.claim)):
        section = _by_statement if number else _by_recipe
        lines += ["", f"## {_heading(number, claim)}", *section(list(rows))]
    return "\n".join(lines) + "\n"


def trends_figure(runs: Mapping[str, RunSummary]) -> Any:
    """The verdicts on the reference experiment's claims: statements by runs."""
    ordered = [f for f in findings(runs) if f.number and f.verdict in MARKS]
    statements = {finding.statement: finding.number for finding in ordered}
    return verdicts(
        [
            (shorten(f"{number}. {statement.rstrip('.')}", 68, placeholder=" …"), recipe, finding.verdict, fresh)
            for statement, number in statements.items()
            for finding in ordered
            for recipe, fresh in zip(finding.recipes, (True, *[False] * len(finding.recipes)), strict=False)
            if finding.statement == statement
        ]
    )


def _overview(number: int, rows: Sequence[Finding]) -> list[str]:
    made_for = MEASURED_BY[number]
    claim = f"[{number}. {re.sub(r' [(][^()]*[)]$', '', rows[0].claim)}](#{_anchor(_heading(number, rows[0].claim))})"
    lines = []
    for statement, of_statement in groupby(sorted(rows, key=_statement_order(rows)), key=lambda row: row.statement):
        group = list(of_statement)
        own = next((row for row in group if made_for in row.recipes), None)
        others = Counter(_SIGNS[row.verdict] for row in group if row is not own)
        counts = ", ".join(f"{sign} {others[sign]}" for sign in _SIGNS.values() if others[sign])
        if own is None:
            lines.append(f"| {claim} | | {statement or '–'} | | {counts} |")
        else:
            numbers = _cell(own.evidence.split("; ")[0])
            lines.append(f"| {claim} | {_SIGNS[own.verdict]} | {statement} | {numbers} | {counts} |")
        claim = ""
    return lines


def _by_statement(rows: Sequence[Finding]) -> list[str]:
    lines = []
    for statement, group in groupby(sorted(rows, key=_statement_order(rows)), key=lambda row: row.statement):
        lines += ["", f"**{statement or 'Not measured.'}**", "", "| | runs | numbers |", "| --- | --- | --- |"]
        lines += [f"| {_SIGNS[row.verdict]} | {', '.join(row.recipes)} | {_cell(row.evidence)} |" for row in group]
    return lines


def _by_recipe(rows: Sequence[Finding]) -> list[str]:
    lines = []
    for recipes, group in groupby(sorted(rows, key=lambda row: row.recipes), key=lambda row: row.recipes):
        lines += ["", f"### {', '.join(recipes)}", "", "| | measured | numbers |", "| --- | --- | --- |"]
        lines += [f"| {_SIGNS[row.verdict]} | {row.statement or '–'} | {_cell(row.evidence)} |" for row in group]
    return lines


def _statement_order(rows: Sequence[Finding]) -> Any:
    order = {statement: place for place, statement in enumerate(dict.fromkeys(row.statement for row in rows))}
    return lambda row: order[row.statement]


def _heading(number: int, claim: str) -> str:
    return f"{number}. {claim}" if number else claim


def _anchor(heading: str) -> str:
    """How GitHub names a heading's link target."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", "/")
