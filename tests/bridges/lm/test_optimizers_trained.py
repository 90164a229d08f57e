"""Expert iteration, DPO and reward conditioning on policies whose completions can be enumerated."""

import copy
from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from tabular_policy import PAD as TABULAR_PAD
from tabular_policy import PROMPT, TabularPolicy, all_completions, reward_table, sequence_logprob
from tiny_llama import LONGEST, PROMPTS, expected, tiny_llama

from overopt.bridges.lm.completions import sequence_kl
from overopt.bridges.lm.dpo import DPOConfig, dpo_loss, train_with_dpo
from overopt.bridges.lm.expert_iteration import ExpertIterationConfig, train_with_expert_iteration
from overopt.bridges.lm.reward_conditioned import (
    ConditionedPolicy,
    RewardConditionedConfig,
    quantile_bins,
    train_reward_conditioned,
)
from overopt.bridges.lm.supervised import add_cross_entropy_gradient
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm

COMMON = {"max_new_tokens": LONGEST, "learning_rate": 2e-2}
METHODS = {
    "expert iteration": (
        train_with_expert_iteration,
        ExpertIterationConfig(steps=10, prompts_per_step=2, samples_per_prompt=32, keep=4, **COMMON),
    ),
    "dpo": (train_with_dpo, DPOConfig(steps=16, pairs=64, pairs_per_step=16, **COMMON)),
    "reward-conditioned": (
        train_reward_conditioned,
        RewardConditionedConfig(
            steps=12, prompts_per_step=2, samples_per_prompt=16, bins=4, bin_learning_rate=5e-2, **COMMON
        ),
    ),
}


def reward_of(row: list[int]) -> float:
    return float(np.sin(2.0 * sum((i + 1) * token for i, token in enumerate(row))))


@cache
def trained(name: str, seed: int, sign: float = 1.0):
    """The steps seen, the exact expected reward at each of them, and the last policy."""
    train, config = METHODS[name]
    policy, steps, values, last = tiny_llama(0), [], [], []

    def on_step(step, model):
        steps.append(step)
        values.append(expected(model, reward_of))
        last[:] = [model]

    metrics = train(
        seed, policy, PROMPTS, lambda _, rows: np.array([sign * reward_of(row) for row in rows]), config, on_step
    )
    assert steps == list(range(config.steps + 1))
    assert [record["step"] for record in metrics] == steps[1:]
    return values, last[0], metrics


@pytest.mark.parametrize("name", METHODS)
def test_expected_reward_rises_and_falls_with_a_planted_sign_error(name):
    start = expected(tiny_llama(0).model, reward_of)
    up, _, _ = trained(name, 1)
    down, _, _ = trained(name, 1, sign=-1.0)
    assert up[0] == down[0] == pytest.approx(start, abs=1e-6)
    assert up[-1] > start + 0.2, f"{start:.3f} -> {up[-1]:.3f}"
    assert down[-1] < start - 0.2, f"{start:.3f} -> {down[-1]:.3f}"
    again, same, _ = trained.__wrapped__(name, 1)
    assert again == up
    assert trained(name, 2)[0] != up
    base = tiny_llama(0)
    rows = [PROMPTS[0]] * 2
    assert sequence_kl(same, base.model, rows, [[2, 3], [3, 1]], pad=base.pad).full_vocabulary.min() > 0.01


def exact_dpo_loss(policy, base, beta):
    """The expected loss over every pair of the base policy's completions with Bradley-Terry labels of the reward."""
    rows = all_completions()
    reward = torch.tensor([reward_table(row) for row in rows])
    with torch.no_grad():
        base_logprob = torch.stack([sequence_logprob(base, [PROMPT], row) for row in rows])
    logratio = torch.stack([sequence_logprob(policy, [PROMPT], row) for row in rows]) - base_logprob
    weight = base_logprob.exp()[:, None] * base_logprob.exp() * torch.sigmoid(reward[:, None] - reward)
    return (weight * dpo_loss(logratio[:, None], logratio[None, :], beta)).sum()


def test_dpo_optimum_is_the_tilt():
    """pi* = pi0 exp(r / beta) / Z (Rafailov et al. 2023, equation 4) minimises the loss under Bradley-Terry labels."""
    beta, base = 0.7, TabularPolicy(3)
    policy = copy.deepcopy(base)
    optimizer = torch.optim.LBFGS([policy.table], max_iter=150, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def closure():
        optimizer.zero_grad()
        loss = exact_dpo_loss(policy, base, beta)
        loss.backward()
        return loss

    optimizer.step(closure)
    rows = all_completions()
    with torch.no_grad():
        reached = torch.stack([sequence_logprob(policy, [PROMPT], row) for row in rows]).exp()
        base_logprob = torch.stack([sequence_logprob(base, [PROMPT], row) for row in rows])
    reward = torch.tensor([reward_table(row) for row in rows])
    distance = {b: float((reached - torch.softmax(base_logprob + reward / b, 0)).abs().sum()) for b in (beta, 2 * beta)}
    assert distance[beta] < 0.02
    assert distance[2 * beta] > 0.2, "a wrong beta must not pass"


def test_dpo_starts_at_ln_2_and_learns_its_pairs():
    _, _, metrics = trained("dpo", 1)
    assert metrics[0]["loss"] == pytest.approx(np.log(2), abs=1e-6)
    assert metrics[0]["margin"] == pytest.approx(0, abs=1e-5)
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert metrics[-1]["accuracy"] > 0.8
    assert metrics[-1]["margin"] > 1


def test_expert_iteration_imitates_the_best():
    _, _, metrics = trained("expert iteration", 1)
    assert metrics[0]["kept_reward"] > metrics[0]["reward"] + 0.2


def test_cross_entropy_gradient_is_that_of_the_sum_over_rows():
    policy = TabularPolicy(1)
    prompts, rows = [[PROMPT], [3, 1, PROMPT], [PROMPT]], [[1, 2, 3], [0], [2, 0]]
    nll = -sum(sequence_logprob(policy, p, row) for p, row in zip(prompts, rows, strict=True)) / 6
    (exact,) = torch.autograd.grad(nll, policy.table)
    value = add_cross_entropy_gradient(policy, prompts, rows, pad=TABULAR_PAD, temperature=1.0, part=2)
    assert value == pytest.approx(float(nll.detach()), abs=1e-5)
    torch.testing.assert_close(policy.table.grad, exact)


def test_every_bin_is_the_base_policy_before_training_and_ordered_after():
    base = tiny_llama(0)
    fresh = ConditionedPolicy(base.model, 3)
    for given in range(3):
        fresh.bin = given
        divergence = sequence_kl(fresh, base.model, PROMPTS, [[2, 3], [1]], pad=base.pad)
        assert divergence.full_vocabulary == pytest.approx([0, 0], abs=1e-6)
    values, model, _ = trained("reward-conditioned", 1)
    model.bin = 0
    assert values[-1] > expected(model, reward_of) + 0.2, "the worst bin must be worse than the best"


def test_quantile_bins_are_of_equal_size_and_keep_ties_together():
    rng = np.random.default_rng(0)
    score = rng.normal(size=100)
    bins = quantile_bins(score, 4)
    assert np.bincount(bins).tolist() == [25] * 4
    assert (np.diff(bins[np.argsort(score)]) >= 0).all()
    assert quantile_bins(np.array([0.0, 0.0, 0.0, 1.0]), 2).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("config", "field", "value", "message"),
    [
        (ExpertIterationConfig, "keep", 8, "`keep` must be < samples_per_prompt = 8, got 8."),
        (ExpertIterationConfig, "steps", 0, "`steps` must be >= 1, got 0."),
        (DPOConfig, "beta", 0.0, "`beta` must be > 0, got 0.0."),
        (DPOConfig, "pairs_per_step", 2000, "`pairs_per_step` must be <= pairs = 1024, got 2000."),
        (RewardConditionedConfig, "bins", 1, "`bins` must be >= 2, got 1."),
        (RewardConditionedConfig, "learning_rate", -1.0, "`learning_rate` must be > 0, got -1.0."),
    ],
)
def test_bad_configuration_is_named(config, field, value, message):
    with pytest.raises(InputError) as error:
        config(**{field: value})
    assert str(error.value) == message


@pytest.mark.parametrize("name", METHODS)
def test_reward_that_is_not_finite_stops_the_run(name):
    train, config = METHODS[name]
    with pytest.raises(InputError, match="the reward of completion 0 is not finite"):
        train(0, tiny_llama(0), PROMPTS, lambda _, rows: np.full(len(rows), np.nan), config, lambda *_: None)
