"""The tables of the estimators' page: read from stored tallies, and the page holds what the code writes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from overopt.bridges.validation.study import STUDIES, Rate, Tally, tally_path
from overopt.reports.commands.validate import main
from overopt.reports.validation_tables import read_tallies, validation_tables
from overopt.theory.errors import InputError

DOCS = Path(__file__).parents[2] / "reports" / "docs"


def stored(folder: Path) -> None:
    cell = STUDIES["coverage"][0]
    rates = {
        "promise, n = 2": Rate(95, 100), "promise, n = 4": Rate(96, 100), "extremal, n = 2": Rate(90, 100),
        "dependent error claimed": Rate(1, 100),
    }  # fmt: skip
    path = tally_path(folder, "coverage", cell, seed=0)
    path.parent.mkdir(parents=True)
    Tally("0123456789abcdef", 100, rates).write(path)


def test_tables_hold_ranges_and_mark_what_is_off_nominal(tmp_path: Path) -> None:
    stored(tmp_path)
    text = validation_tables(read_tallies(tmp_path))
    assert "### coverage (commit 0123456789ab)" in text
    row = next(line for line in text.splitlines() if line.startswith("| gaussian"))
    assert row.split("|")[2:6] == [" 100 ", " .950-.960 ", " **.900** ", " .010 "]


def test_a_share_of_hardly_any_bank_is_not_shown(tmp_path: Path) -> None:
    cell = STUDIES["coverage"][0]
    path = tally_path(tmp_path, "coverage", cell, seed=0)
    path.parent.mkdir(parents=True)
    Tally("0" * 40, 100, {"promise, n = 2": Rate(94, 100), "promise, n = 4": Rate(0, 4)}).write(path)
    assert "| 100 | .940 |" in validation_tables(read_tallies(tmp_path))


def test_document_rewrites_only_what_stands_between_the_markers(tmp_path: Path) -> None:
    stored(tmp_path / "tallies")
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- tallies: begin -->\nold\n<!-- tallies: end -->\nafter\n", encoding="utf-8")
    assert main(["document", "--out", str(tmp_path / "tallies"), "--page", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    with pytest.raises(InputError, match=r"must hold '<!-- tallies: begin -->'"):
        main(["document", "--out", str(tmp_path / "tallies"), "--page", str(tmp_path / "none.md")])
    with pytest.raises(InputError, match=r"`--out` must hold tallies"):
        main(["document", "--out", str(tmp_path / "empty"), "--page", str(page)])


def test_the_page_holds_the_stored_tallies_of_a_known_commit() -> None:
    tallies = read_tallies(DOCS / "validation")
    assert validation_tables(tallies) in (DOCS / "estimator.md").read_text(encoding="utf-8")
    root = DOCS.parents[1]
    if (root / ".git").exists() and not (root / ".git" / "shallow").exists():
        for commit in {tally.commit for cells in tallies.values() for tally in cells.values()}:
            assert subprocess.run(["git", "cat-file", "-e", commit], cwd=root, check=False).returncode == 0
