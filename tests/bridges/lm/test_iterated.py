"""Iterated RLHF on a policy whose completions can be enumerated: who labels what, when, and does gold rise?"""

import copy
from dataclasses import asdict

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from tiny_llama import LONGEST, PROMPTS, every_completion, expected, probabilities, tiny_llama

from overopt.bridges.lm.iterated import IteratedConfig, train_iterated
from overopt.bridges.lm.ppo import PPOConfig, ppo
from overopt.bridges.lm.preferences import label_pairs
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm

CONFIG = {
    "steps": 9, "prompts_per_step": 2, "samples_per_prompt": 8, "max_new_tokens": LONGEST, "learning_rate": 4e-3,
    "comparisons": 50,
}  # fmt: skip


def value(row: list[int]) -> float:
    return float(np.sin(2.0 * sum((i + 1) * token for i, token in enumerate(row))))


def gold(prompts, rows):
    return np.array([value(row) for row in rows])


def run(iterations: int, fit):
    policy, base = tiny_llama(0), tiny_llama(0)
    seen = []
    metrics = train_iterated(
        3, policy, base, PROMPTS, IteratedConfig(**CONFIG, iterations=iterations),
        lambda step, model: seen.append((step, expected(model, value))), gold=gold, fit=fit,
    )  # fmt: skip
    return policy, seen, metrics


def test_labels_and_updates_are_shared_out_and_every_label_is_used():
    sizes, margins = [], []

    def fit(iteration, pairs):
        sizes.append((iteration, len(pairs)))
        margins.extend(
            value(chosen) - value(rejected) for chosen, rejected in zip(pairs.chosen, pairs.rejected, strict=True)
        )
        return gold

    _, seen, metrics = run(4, fit)
    assert sizes == [(0, 13), (1, 26), (2, 38), (3, 50)]
    assert min(margins) > 0
    assert [step for step, _ in seen] == list(range(10))
    assert [record["step"] for record in metrics] == list(range(1, 10))
    assert [record["iteration"] for record in metrics] == [1, 1, 1, 2, 2, 3, 3, 4, 4]
    assert seen[-1][1] > seen[0][1] + 0.1


def test_later_labels_come_from_the_later_policy():
    """The second round's completions follow the trained policy, not the first one."""
    batches, trained = [], []

    def fit(iteration, pairs):
        batches.append(pairs)
        return gold

    config = IteratedConfig(**{**CONFIG, "steps": 20, "comparisons": 2000}, iterations=2)
    policy, base = tiny_llama(0), tiny_llama(0)
    train_iterated(
        3, policy, base, PROMPTS, config,
        lambda step, model: trained.append(copy.deepcopy(model)) if step == 10 else None, gold=gold, fit=fit,
    )  # fmt: skip
    mode = every_completion()[int(probabilities(trained[0], PROMPTS[0]).argmax())]
    labelled = batches[1]
    early, late = (
        np.array([row == mode for row in (*labelled.chosen[part], *labelled.rejected[part])])
        for part in (slice(1000), slice(1000, None))
    )
    error = np.hypot(early.std(), late.std()) / np.sqrt(len(early))
    assert late.mean() - early.mean() > 5 * error
    assert all(batches[0].chosen[i] == labelled.chosen[i] for i in range(1000))


def test_one_iteration_is_ppo_on_labels_of_the_first_policy():
    policy, _, metrics = run(1, lambda iteration, pairs: gold)
    rng = np.random.default_rng(3)
    other, base = tiny_llama(0), tiny_llama(0)
    label_pairs(rng, other.model, gold, PROMPTS, 50, max_new_tokens=LONGEST, eos=base.eos, pad=base.pad)
    numbers = {name: number for name, number in CONFIG.items() if name in asdict(PPOConfig())}
    expected_metrics = ppo(
        int(rng.integers(2**31)), other.model, base.model, PROMPTS, gold, PPOConfig(**numbers), eos=base.eos,
        pad=base.pad,
    )  # fmt: skip
    assert [record["reward"] for record in metrics] == [record["reward"] for record in expected_metrics]
    for ours, theirs in zip(policy.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_more_iterations_than_updates_are_refused():
    with pytest.raises(InputError, match=r"`iterations` must be in 1\.\.9, the number of steps, got 10"):
        IteratedConfig(**CONFIG, iterations=10)
