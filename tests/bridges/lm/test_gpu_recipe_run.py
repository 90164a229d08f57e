"""Recipe `gpu-10min` in miniature on the CPU: its world, its stages, its proxies cut from one backbone."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

from inline_engine import InlineEngine
from tiny_hub import chatml, write_policy

from overopt.bridges.checkpoints import Checkpoints
from overopt.bridges.lm.gpu_recipe import GPU_10MIN
from overopt.bridges.lm.gpu_world import GpuWorld, build_gpu_world
from overopt.bridges.lm.own_models import with_own_models
from overopt.bridges.lm.pipeline import Pipeline
from overopt.bridges.lm.train_backbone_gold import BackboneGold
from overopt.bridges.lm.world import WorldSource
from overopt.bridges.run_directory import RunDirectory
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.task_graph import run_graphs

pytestmark = [pytest.mark.lm, pytest.mark.smoke]

TINY_GOLD = BackboneGold(steps=6, human=8, spoiled=5, learning_rate=1e-3)


def test_every_stage_runs_in_miniature(tmp_path):
    plain = chatml()
    plain.chat_template = None
    base = write_policy(tmp_path / "base", plain, layers=15)
    seen = []
    build_gpu_world(
        tmp_path / "world", base, world=GpuWorld(steps=4, batch=8, gold=TINY_GOLD),
        progress=lambda stage, done, total: seen.append((stage, done, total)),
    )  # fmt: skip
    assert seen[-1] == ("gold", 6, 6)
    report = json.loads((tmp_path / "world" / "metrics.json").read_text())
    assert -1 <= report["gold"]["pearson_interval"][0] <= report["gold"]["pearson"] <= 1
    assert report["policy_nll_per_token"] > 0
    world = str(tmp_path / "world")
    source = WorldSource(policy=f"{world}/policy", gold=f"{world}/gold", chat="off", dtype="bfloat16")
    recipe, source = with_own_models(GPU_10MIN.smoke(), source, ())
    assert recipe == GPU_10MIN.smoke(), "the recipe is made for the policy that it gets"
    one = recipe.trained[0]
    recipe = replace(
        recipe, prompts=4, samples=8, trained=(one,), optimized=(one,), comparisons=one.labels, gold_control_seeds=0,
        ppo=replace(recipe.ppo, steps=1, max_new_tokens=8),
    )  # fmt: skip
    pipeline = Pipeline(recipe, source)
    directory = RunDirectory.open(tmp_path / "run", pipeline.config())
    run_graphs([(directory, pipeline.tasks(directory.path))], InlineEngine())
    bank = ScoreBank.read(directory.path / "bank" / "bank.parquet")
    assert set(bank.proxies) == {one.name}
    held_out = json.loads((directory.path / "proxy" / one.name / "held_out.json").read_text())
    whole = json.loads((tmp_path / "world" / "metrics.json").read_text())["parameters"]
    assert held_out["parameters"] < whole, "a proxy of two layers is smaller than gold"
    kl = Checkpoints.read(directory.path / "ppo" / f"{one.name}-0" / "checkpoints.parquet").kl
    assert kl[0.0].value == 0.0, "policy and base round alike"
