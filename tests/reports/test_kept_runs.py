"""The gallery's table says what the kept summaries say, and judging them again gives the same verdicts."""

from pathlib import Path

import pytest

from overopt.bridges.experiments import experiment_trends, paper_table
from overopt.reports.keep import kept_runs, trends_page

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


def test_judging_them_again_gives_the_same_verdicts():
    for recipe, run in kept_runs(GALLERY).items():
        judged = experiment_trends(run)
        assert judged, recipe
        assert [trend for trend in run.trends if trend in judged] == list(judged), recipe


def test_a_claim_that_no_run_speaks_about_says_so():
    rows = paper_table({})
    assert {row.verdict for row in rows} == {"not measured"}
    assert len(rows) == 11
