"""`overopt run` and `overopt sweep` with `--device cuda`, up to where the workers would begin: no GPU is needed."""

import json

import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

from tiny_hub import chatml, write_policy

from overopt.bridges.lm import workers, world
from overopt.bridges.lm.pipeline import Pipeline
from overopt.reports.cli import main
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    plain = chatml()
    plain.chat_template = None
    return write_policy(tmp_path_factory.mktemp("hub") / "policy", plain, layers=4)


def begin(*_, **__):
    raise InputError("the workers would begin")


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_the_process_that_only_checks_keeps_nothing_on_the_gpu(command, policy, tmp_path, monkeypatch, capsys):
    checked, read = [], []
    load = world.load_policy
    monkeypatch.setattr(workers, "check_device", checked.append)
    monkeypatch.setattr(world, "load_policy", lambda source: (read.append(source.device), load(source))[1])
    monkeypatch.setattr(Pipeline, "run", begin)
    monkeypatch.setattr("overopt.bridges.sweep.sweep.run_sweep", begin)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"word {k}\n" for k in range(30)))
    words = ["--policy", policy, "--prompts", str(prompts), "--device", "cuda", "--dtype", "bfloat16"]
    assert main([command, "smoke", "--out", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert "the workers would begin" in error
    assert "The policy continues prompts as plain text" in error, "how models read is still said"
    assert checked == ["cuda"], "the device that was asked for is the one that is checked"
    assert set(read) == {"cpu"}
    if command == "run":
        config = json.loads((tmp_path / "out" / "config.json").read_text())
        assert config["in_force"]["source"]["device"] == "cuda"
