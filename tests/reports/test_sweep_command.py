"""`overopt sweep` from the outside: what it refuses, what it leaves, and that a second start adds nothing."""

import csv
import json

import pytest

from overopt.bridges.run_directory import RunDirectory
from overopt.reports.cli import main
from overopt.reports.options import parse_options


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


@pytest.mark.parametrize("share", ["0", "1.5", "2", "nan"])
def test_a_task_on_a_gpu_has_a_share_of_one(share, capsys, tmp_path):
    said = refused(
        capsys,
        "smoke",
        "--out",
        str(tmp_path / "sweep"),
        "--engine",
        "ray",
        "--device",
        "cuda",
        "--gpus-per-task",
        share,
    )
    assert f"`--gpus-per-task` must be in (0, 1] with `--device cuda`, got {share}." in said
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
    too_many = refused(capsys, "data-size", *out, "--grid", "ppo-seeds=1,4")
    assert "`seeds` must be <= 3, the replicates of the proxies that recipe 'data-size' takes" in too_many
    assert "must name a field once" in refused(capsys, "smoke", *out, "--grid", "ppo-steps=1", "--grid", "ppo.steps=2")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.lm
def test_a_sweep_on_own_models_is_runs_on_own_models(capsys, tmp_path):
    pytest.importorskip("torch", reason="the lm extra is not installed")
    from tiny_hub import chatml, write_policy

    from overopt.reports.commands import run, sweep

    model = write_policy(tmp_path / "model", chatml(), layers=4)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"word {k}\n" for k in range(30)))
    for argv in (["--policy", model, "--chat", "off"], ["--policy", model, "--proxy-base", model], []):
        words = ["smoke", "--prompts", str(prompts), *argv]
        options = parse_options(sweep.SweepOptions, words, prog="sweep", description="")
        [(_, experiment)] = sweep._plan(options)[1]
        alone = run._pipeline(parse_options(run.RunOptions, words, prog="run", description=""))
        assert experiment.config() == alone.config()
        assert dict(experiment.pipeline.source.proxy_bases) == ({"model-2l": model, "model-4l": model} if argv else {})
        assert ("by its chat template" in experiment.world) == ("--proxy-base" in argv)
    assert "The policy continues prompts as plain text (chat template: ignored" in capsys.readouterr().err


@pytest.mark.lm
def test_a_device_that_is_not_there_is_one_line(capsys, tmp_path):
    torch = pytest.importorskip("torch", reason="the lm extra is not installed")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device, which the command would use")
    assert "no CUDA device found" in refused(capsys, "smoke", "--out", str(tmp_path / "sweep"), "--device", "cuda")


@pytest.mark.lm
@pytest.mark.smoke
def test_a_sweep_leaves_a_table_a_page_and_whole_runs(capsys, tmp_path):
    pytest.importorskip("torch", reason="the lm extra is not installed")
    out = tmp_path / "sweep"
    command = ["sweep", "smoke", "--out", str(out), "--grid", "ppo-steps=1,2", "--grid", "prompts=8", "--json"]
    assert main([*command, "--grid", "samples=16", "--workers", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["failures"] == []
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    trained = [row for row in rows if row["method"] == "ppo"]
    assert {row["ppo.steps"] for row in trained} == {"1", "2"}
    assert [float(row["gold_at_end"]) for row in rows] == [row["gold_at_end"] for row in found["rows"]]
    assert "2 finished runs" in (out / "report.html").read_text()
    runs = [out / f"ppo.steps={steps},prompts=8,samples=16" / "seed-0" for steps in (1, 2)]
    for run in runs:
        assert RunDirectory(run).verify() == []
        assert (run / "summary.json").exists()
        assert (run / "report.html").exists()
    proxies = [next(run.glob("proxy/*/model/model.safetensors")) for run in runs]
    assert proxies[0].stat().st_ino == proxies[1].stat().st_ino, "the proxies do not depend on PPO's steps"
    refusal = refused(capsys, "smoke", "--out", str(out), "--grid", "ppo-steps=1,3")
    assert "belongs to another configuration (`grid." in refusal
