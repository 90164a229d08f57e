"""A gradient that is not finite ends a training in one line, before any weight has moved along it."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from tiny_hub import chatml, write_gold, write_policy
from tiny_llama import LONGEST, PROMPTS, tiny_llama

from overopt.bridges.lm.dpo import DPOConfig, train_with_dpo
from overopt.bridges.lm.expert_iteration import ExpertIterationConfig, train_with_expert_iteration
from overopt.bridges.lm.gpu_world import GpuWorld, build_gpu_world
from overopt.bridges.lm.gradients import clip_gradients
from overopt.bridges.lm.ppo import PPOConfig
from overopt.bridges.lm.pretrained import read_classifier, read_tokenizer
from overopt.bridges.lm.reward_conditioned import RewardConditionedConfig, train_reward_conditioned
from overopt.bridges.lm.stages import TRAINED
from overopt.bridges.lm.text import load_rated_text
from overopt.bridges.lm.train_backbone_gold import BackboneGold, train_backbone_gold
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm

ROUND = {"steps": 3, "prompts_per_step": 2, "samples_per_prompt": 4, "max_new_tokens": LONGEST}
PLANTED = 3
"""The backward pass whose gradient is spoiled: in the second update of every training below, or a later one."""


def train_with_ppo(seed, policy, prompts, reward, config, on_step):
    return TRAINED["ppo"][1](seed, policy, tiny_llama(0), prompts, reward, config, on_step)


TRAININGS = {
    "PPO, update 1": (train_with_ppo, PPOConfig(**ROUND)),
    "DPO, update 3": (train_with_dpo, DPOConfig(steps=3, pairs=16, pairs_per_step=8, max_new_tokens=LONGEST)),
    "expert iteration, update 2": (train_with_expert_iteration, ExpertIterationConfig(**ROUND)),
    "reward conditioning, update 1": (train_reward_conditioned, RewardConditionedConfig(**ROUND, bins=2)),
}


def spoil(module, value=float("nan")):
    """Make one number of one gradient of ``module`` be ``value`` at the backward pass ``PLANTED``."""
    passes = 0

    def spoiled(gradient):
        nonlocal passes
        passes += 1
        gradient = gradient.clone()
        if passes == PLANTED:
            gradient.view(-1)[0] = value
        return gradient

    next(module.parameters()).register_hook(spoiled)


def is_finite(module):
    return all(bool(parameter.isfinite().all()) for parameter in module.parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("what", TRAININGS)
def test_an_optimizer_stops_at_the_update_before_its_weights_are_lost(what, value):
    train, config = TRAININGS[what]
    policy = tiny_llama(0)
    spoil(policy.model, value)
    with pytest.raises(InputError, match=rf"^{what}: the gradient is not finite; [^\n]*$"):
        train(0, policy, PROMPTS, lambda _, rows: np.array([float(sum(row)) for row in rows]), config, lambda *_: None)
    assert is_finite(policy.model)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    plain = chatml()
    plain.chat_template = None
    return write_policy(folder / "policy", plain), write_gold(folder / "gold", plain)


def test_the_policy_of_a_gpu_world_stops_likewise(folders, tmp_path, monkeypatch):
    from overopt.bridges.lm import gpu_world

    read = gpu_world.read_causal_model

    def spoiled(*arguments):
        model = read(*arguments)
        spoil(model)
        return model

    monkeypatch.setattr(gpu_world, "read_causal_model", spoiled)
    with pytest.raises(InputError, match="the policy's training, step 3: the gradient is not finite"):
        build_gpu_world(tmp_path / "made", folders[0], world=GpuWorld(steps=4, batch=4))
    assert not (tmp_path / "made" / "policy").exists()


def test_the_gold_of_a_gpu_world_stops_likewise(folders):
    tokenizer = read_tokenizer("gold", folders[1])
    model = read_classifier("gold", folders[1], tokenizer)
    spoil(model)
    recipe = BackboneGold(steps=4, human=4, spoiled=2)
    with pytest.raises(InputError, match="gold's training, step 3: the gradient is not finite"):
        train_backbone_gold(recipe, model, tokenizer, load_rated_text("held-out"), 0, lambda *_: None)
    assert is_finite(model)


def test_a_finite_gradient_is_clipped_and_its_norm_returned():
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    assert clip_gradients([weight], 1.0, "this") == 5.0
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.8]))
