"""`overopt sweep` from the outside: what it refuses, in one line, before anything is written."""

import pytest

from overopt.reports.cli import main


def refused(capsys, *argv: str) -> str:
    assert main(["sweep", *argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_wrong_options_are_one_line(capsys, tmp_path):
    out = ["--out", str(tmp_path / "sweep")]
    assert "slurm" in refused(capsys, "smoke", *out, "--engine", "slurm")
    assert "`--seeds` must be >= 1, got 0" in refused(capsys, "smoke", *out, "--seeds", "0")
    assert "needs `--engine ray`, got 0.5" in refused(capsys, "smoke", *out, "--gpus-per-task", "0.5")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.lm
def test_wrong_grids_are_one_line(capsys, tmp_path):
    pytest.importorskip("torch", reason="the lm extra is not installed")
    out = ["--out", str(tmp_path / "sweep")]
    assert "Did you mean 'smoke'?" in refused(capsys, "smok", *out)
    assert "Did you mean 'ppo.steps'?" in refused(capsys, "smoke", *out, "--grid", "ppo-stepz=1")
    assert "`--grid ppo.steps` must hold a whole number, got 'many'" in refused(
        capsys, "smoke", *out, "--grid", "ppo-steps=many"
    )
    assert "must name a field once" in refused(capsys, "smoke", *out, "--grid", "ppo-steps=1", "--grid", "ppo.steps=2")
    assert not (tmp_path / "sweep").exists()
