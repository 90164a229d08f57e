"""The gallery's table says what the kept summaries say, and judging them again gives the same verdicts."""

from dataclasses import replace
from pathlib import Path

import pytest

from overopt.bridges.experiments import experiment_trends, paper_table
from overopt.bridges.experiments.paper_table import CLAIMS
from overopt.reports.keep import kept_runs
from overopt.reports.trends import MEASURED_BY, findings, trends_figure, trends_page

pytestmark = pytest.mark.docs

GALLERY = Path(__file__).parents[2] / "reports" / "gallery"


def test_the_table_is_made_from_the_kept_runs():
    assert (GALLERY / "TRENDS.md").read_text(encoding="utf-8") == trends_page(kept_runs(GALLERY))


def test_every_trend_of_every_kept_run_is_in_the_table_once():
    runs = kept_runs(GALLERY)
    rows = paper_table(runs)
    for recipe, run in runs.items():
        assert sum(row.recipe == recipe for row in rows) == len(run.trends)
    assert {row.number for row in rows} == set(range(11))
    assert {row.recipe for row in rows} <= {*runs, "none", "policy sizes"}


def test_what_runs_share_counts_once():
    """Runs merged into one finding say the same and hold a curve in common; every row is in exactly one finding."""
    runs = kept_runs(GALLERY)
    found = findings(runs)
    rows = paper_table(runs)
    said = [(f.statement, f.verdict, f.evidence, recipe) for f in found for recipe in f.recipes]
    assert sorted(said) == sorted((row.statement, row.verdict, row.evidence, row.recipe) for row in rows)
    assert any(len(finding.recipes) > 1 for finding in found)
    for finding in found:
        for recipe in finding.recipes[1:]:
            assert set(map(repr, runs[recipe].curves)) & set(map(repr, runs[finding.recipes[0]].curves))


def test_equal_words_of_different_experiments_are_two_findings():
    """Two policies whose proxies are equally concave: one number, two experiments."""
    runs = kept_runs(GALLERY)
    pair = {"methods": runs["methods"], "policy-67k": replace(runs["policy-67k"], trends=runs["methods"].trends)}
    assert all(len(finding.recipes) == 1 for finding in findings(pair))
    twins = {"methods": runs["methods"], "twin": runs["methods"]}
    shared = [finding for finding in findings(twins) if finding.recipes != ("policy sizes",)]
    assert all(finding.recipes == ("methods", "twin") for finding in shared if finding.statement)


def test_the_overview_shows_every_claim_with_the_recipe_made_for_it():
    runs = kept_runs(GALLERY)
    page = trends_page(runs)
    overview = page.split("## The claims", 1)[1].split("\n## ", 1)[0]
    assert set(MEASURED_BY) == set(CLAIMS) - {0}
    headings = {line[3:] for line in page.splitlines() if line.startswith("## ")}
    for number, claim in CLAIMS.items():
        if number:
            assert f"{number}. {claim}" in headings
            assert f"| [{number}. " in overview
    of_claims = {f.statement for f in findings(runs) if f.number}
    assert all(f"| {statement} |" in overview for statement in of_claims)


def test_the_figure_has_a_cell_for_every_run_and_statement():
    runs = kept_runs(GALLERY)
    cells = trends_figure(runs).to_dict()["data"]["values"]
    found = [f for f in findings(runs) if f.number]
    assert len(cells) == sum(len(finding.recipes) for finding in found)
    assert sum(cell["fresh"] for cell in cells) == len(found)
    assert len({cell["statement"] for cell in cells}) == len({f.statement for f in found})


def test_judging_them_again_gives_the_same_verdicts():
    for recipe, run in kept_runs(GALLERY).items():
        judged = experiment_trends(run)
        assert judged, recipe
        assert [trend for trend in run.trends if trend in judged] == list(judged), recipe


def test_a_claim_that_no_run_speaks_about_says_so():
    rows = paper_table({})
    assert {row.verdict for row in rows} == {"not measured"}
    assert len(rows) == 11
