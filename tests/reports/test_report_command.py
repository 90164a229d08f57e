"""``overopt report``: a page and figures from run directories, or one line and exit code 2."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from overopt.reports.cli import main


@pytest.fixture
def run_directory(run_summary, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    run_summary.write(folder)
    return folder


def test_the_page_goes_into_the_run_directory(run_directory, capsys):
    assert main(["report", str(run_directory)]) == 0
    page = run_directory / "report.html"
    assert capsys.readouterr().out.splitlines() == [str(page)]
    assert "<h1>Gold rose by" in page.read_text(encoding="utf-8")


def test_json_names_the_page_and_every_figure(run_directory, tmp_path, capsys):
    figures = tmp_path / "figures"
    assert main(["report", str(run_directory), "--json", "--figures", str(figures)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["report"] == str(run_directory / "report.html")
    assert sorted(printed["figures"]) == sorted(str(path) for path in figures.iterdir())
    assert str(figures / "overoptimization.svg") in printed["figures"]


def test_runs_are_overlaid(run_summary, run_directory, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    replace(run_summary, seeds=(7,)).write(other)
    page = tmp_path / "both.html"
    assert main(["report", str(run_directory), str(other), "--out", str(page)]) == 0
    assert "seeds 0, 1, 2, 7" in page.read_text(encoding="utf-8")


def test_bad_input_is_one_line(run_directory, tmp_path, capsys):
    for arguments, message in (
        (["report"], "give at least one run directory"),
        (["report", str(tmp_path / "none")], "must be a folder, found none"),
        (["report", str(tmp_path)], "must hold summary.json"),
        (["report", str(run_directory), str(run_directory)], "different seeds"),
        (["report", str(run_directory), "--figure", "x"], "Did you mean '--figures'"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
