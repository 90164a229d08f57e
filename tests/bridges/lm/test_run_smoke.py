"""`overopt run smoke`: the whole pipeline once, its identities, its resume, its answers to wrong input."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

from overopt.bridges.run_directory import RunDirectory
from overopt.bridges.run_summary import RunSummary
from overopt.reports.cli import main

pytestmark = [pytest.mark.lm, pytest.mark.smoke]


def tables(run):
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.suffix in (".parquet", ".safetensors")
        or path.name in ("held_out.json", "metrics.json", "manifest.json")
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke") / "run"
    assert main(["run", "smoke", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def summary(run):
    return RunSummary.read(run)


def test_every_file_is_whole_and_the_report_is_there(run):
    assert RunDirectory(run).verify() == []
    assert (run / "report.html").stat().st_size > 100_000
    config = json.loads((run / "config.json").read_text())
    assert config["given"]["recipe"] == "smoke"
    assert config["in_force"]["recipe"]["ppo"]["kl_coefficient"] == 0.0
    assert "numpy" in json.loads((run / "provenance.json").read_text())


def test_the_decomposition_adds_up_everywhere(summary):
    assert {row.method for row in summary.splits} == {"best-of-n", "ppo"}
    for row in summary.splits:
        terms = (row.regressional, row.extremal, row.causal, row.unattributed)
        if None not in terms:
            assert row.promise - sum(terms) == pytest.approx(row.delivered, abs=1e-9)
        if row.path_selection is not None:
            assert row.path_selection + row.path_shift == pytest.approx(row.delivered, abs=1e-9)


def test_gold_as_its_own_proxy_has_no_gap_under_best_of_n(summary):
    for row in summary.splits:
        if row.method == "best-of-n" and row.proxy_name == "gold":
            assert row.promise == pytest.approx(row.delivered, abs=1e-9)
            # Ties at gold's floor let the split of a gap of 0 into parts be noise; the parts must cancel.
            assert row.regressional + row.extremal == pytest.approx(0.0, abs=1e-9)


def test_kl_is_zero_at_the_start_typed_and_with_an_error(summary):
    for curve in summary.curves:
        if curve.method == "ppo":
            assert curve.points[0].kl == pytest.approx(0.0, abs=1e-6)
            assert curve.points[-1].kl > 0
            assert curve.points[-1].kl_se > 0
            assert curve.kl_kind.startswith("full-vocabulary, policy||base, sequence sum, completion only")


def test_an_interrupted_run_ends_with_the_same_bytes(run, tmp_path):
    """Whole stages missing, a stage half-written and damaged: the same command mends it."""
    again = shutil.copytree(run, tmp_path / "again")
    shutil.rmtree(again / "samples" / "01")
    shutil.rmtree(again / "ppo" / "41k-120-0")
    (again / ".bank.partial").mkdir()
    (again / ".bank.partial" / "bank.parquet").write_bytes(b"half")
    shutil.rmtree(again / "bank")
    (again / "summary.json").unlink()
    assert main(["run", "smoke", "--out", str(again)]) == 0
    assert tables(again) == tables(run)
    first, second = RunSummary.read(run), RunSummary.read(again)
    assert first.curves == second.curves
    assert first.splits == second.splits


def test_an_analysis_again_gives_the_same_summary_and_says_who_made_it(run, summary, tmp_path, capsys):
    copied = tmp_path / "again"
    shutil.copytree(run, copied)
    assert main(["report", str(copied), "--again"]) == 0
    again = RunSummary.read(copied)
    assert "analysed by" in again.provenance
    assert replace(again, provenance=summary.provenance) == summary
    shutil.rmtree(copied / "bank")
    capsys.readouterr()
    assert main(["report", str(copied), "--again"]) == 2
    assert "has no bank/bank.parquet" in capsys.readouterr().err


def test_another_configuration_in_the_same_folder_is_refused(run, capsys):
    before = tables(run)
    assert main(["run", "smoke", "--out", str(run), "--seed", "1"]) == 2
    assert "`seed` is 0 there, 1 here" in capsys.readouterr().err
    assert tables(run) == before


def test_shown_texts_begin_with_their_prompts_and_have_scores(summary):
    assert {sample.stage for sample in summary.samples} == {"base", "peak", "end"}
    for sample in summary.samples:
        assert sample.completion
        assert np.isfinite([sample.gold, sample.proxy]).all()
