"""Recipe `gpu-10min`: its world in miniature on the CPU, and its numbers."""

import json

import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

from tiny_hub import chatml, write_policy

from overopt.bridges.lm.gpu_recipe import GPU_10MIN
from overopt.bridges.lm.gpu_world import FROM_NOTHING, GpuWorld, build_gpu_world
from overopt.bridges.lm.own_models import with_own_models
from overopt.bridges.lm.train_backbone_gold import BackboneGold
from overopt.bridges.lm.world import WorldSource

pytestmark = [pytest.mark.lm, pytest.mark.smoke]

TINY_GOLD = BackboneGold(steps=6, human=8, spoiled=5, learning_rate=1e-3)


def test_the_world_is_made_in_miniature(tmp_path):
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
    assert (report["device"], report["precision"]) == ("cpu", "float32")
    world = str(tmp_path / "world")
    source = WorldSource(policy=f"{world}/policy", gold=f"{world}/gold", chat="off", dtype="bfloat16")
    recipe, source = with_own_models(GPU_10MIN.smoke(), source, ())
    assert recipe == GPU_10MIN.smoke(), "the recipe is made for the policy that it gets"


def test_the_recipe_is_what_the_issue_asks_for():
    assert (GPU_10MIN.prompts, GPU_10MIN.samples, GPU_10MIN.bank_chunk) == (32, 4096, 4096)
    assert len({proxy.size for proxy in GPU_10MIN.trained}) == 3
    layer = 4 * FROM_NOTHING.width**2 + 3 * FROM_NOTHING.width * FROM_NOTHING.feed_forward
    assert FROM_NOTHING.layers * layer > 100e6
    assert max(size.layers for size in GPU_10MIN.sizes) <= FROM_NOTHING.layers
