"""TRL's online trainers on a transformer whose completions can be enumerated: the exact expected reward must rise."""

import copy
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from tiny_llama import LONGEST, PROMPTS, expected, probabilities, tiny_llama

from overopt.bridges.lm.ppo import PPOConfig
from overopt.bridges.lm.trl_online import train_with_grpo, train_with_rloo

pytestmark = pytest.mark.lm

CONFIG = PPOConfig(
    steps=6, prompts_per_step=2, samples_per_prompt=16, max_new_tokens=LONGEST, learning_rate=2e-2, minibatches=2
)


def reward_of(row: list[int]) -> float:
    return float(np.sin(2.0 * sum((i + 1) * token for i, token in enumerate(row))))


@pytest.mark.parametrize("train", [train_with_rloo, train_with_grpo])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["reward", "planted sign error"])
def test_expected_reward_moves_with_the_reward_and_against_its_negative(train, sign):
    policy = tiny_llama(0)
    start, values, steps = expected(policy.model, reward_of), [], []

    def scorer(prompts, completions):
        assert all(list(prompt) in PROMPTS for prompt in prompts)
        return np.array([sign * reward_of(list(row)) for row in completions])

    def on_step(step, model):
        steps.append(step)
        values.append(expected(model, reward_of))

    train(1, policy, tiny_llama(0), PROMPTS, scorer, CONFIG, on_step)
    assert steps == list(range(CONFIG.steps + 1))
    assert values[0] == pytest.approx(start, abs=1e-6)
    assert sign * (values[-1] - start) > 0.3, f"{start:.3f} -> {values[-1]:.3f}"


def test_grpo_is_not_rloo_and_both_are_reproducible():
    def final(train, seed):
        policy = tiny_llama(0)
        short = PPOConfig(steps=1, prompts_per_step=2, samples_per_prompt=4, max_new_tokens=LONGEST)
        train(seed, policy, tiny_llama(0), PROMPTS, scores, short, _ignore)
        return copy.deepcopy(policy.model.lm_head.weight.detach())

    assert torch.equal(final(train_with_grpo, 1), final(train_with_grpo, 1))
    assert not torch.equal(final(train_with_grpo, 1), final(train_with_rloo, 1))


@pytest.mark.parametrize("train", [train_with_rloo, train_with_grpo])
def test_a_kl_penalty_pulls_towards_the_base_policy(train):
    """With a reward of 0 the penalty is all there is; without it nothing may move."""
    base = tiny_llama(1)

    def kl_at_the_ends(coefficient):
        policy, found = tiny_llama(0), []

        def on_step(step, model):
            found.append(np.mean([kl(model, base.model, prompt) for prompt in PROMPTS]))

        config = replace(CONFIG, kl_coefficient=coefficient)
        train(1, policy, base, PROMPTS, lambda _, rows: np.zeros(len(rows)), config, on_step)
        return found[0], found[-1]

    start, end = kl_at_the_ends(0.0)
    assert end == pytest.approx(start, rel=1e-4)
    start, end = kl_at_the_ends(0.1)
    assert end < 0.8 * start, f"{start:.3f} -> {end:.3f}"


@pytest.mark.parametrize("train", [train_with_rloo, train_with_grpo])
def test_clip_0_is_no_clip_as_in_ppo(train):
    def final(clip):
        policy = tiny_llama(0)
        train(1, policy, tiny_llama(0), PROMPTS, scores, replace(CONFIG, steps=2, clip=clip), _ignore)
        return copy.deepcopy(policy.model.lm_head.weight.detach())

    assert torch.equal(final(0.0), final(1e6))
    assert not torch.equal(final(0.0), final(0.2))


def kl(model, base, prompt):
    """KL(model || base) over all completions of a prompt, nats."""
    p, q = probabilities(model, prompt), probabilities(base, prompt)
    return float((p * (p.log() - q.log())).sum())


def scores(_, rows):
    return np.array([reward_of(list(row)) for row in rows])


def _ignore(step, model):
    pass
