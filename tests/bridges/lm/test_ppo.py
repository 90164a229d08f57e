"""PPO against policies whose gradient, KL and optimum can be enumerated."""

import copy

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from tabular_policy import EOS, LONGEST, PAD, PROMPT, TabularPolicy, all_completions, reward_table, sequence_logprob

from overopt.bridges.lm.completions import completion_batch, completion_logits, completion_logprob, sequence_kl
from overopt.bridges.lm.ppo import PPOConfig, advantages_and_returns, clipped_surrogate, ppo
from overopt.bridges.lm.sampler import sample_completions
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm

PROMPTS = [[PROMPT], [3, PROMPT]]


def exact_kl(policy: TabularPolicy, base: TabularPolicy, prompt: list[int]) -> float:
    """Sum over all completions of pi log(pi / pi0)."""
    with torch.no_grad():
        logp = torch.stack([sequence_logprob(policy, prompt, row) for row in all_completions()])
        logq = torch.stack([sequence_logprob(base, prompt, row) for row in all_completions()])
    return float((logp.exp() * (logp - logq)).sum())


def exact_value(policy: TabularPolicy, prompt: list[int], reward=reward_table) -> torch.Tensor:
    """E_pi[reward], differentiable."""
    return sum(sequence_logprob(policy, prompt, row).exp() * reward(row) for row in all_completions())


def scorer(prompts, completions):
    return np.array([reward_table(list(row)) for row in completions])


@pytest.mark.parametrize("prompt", PROMPTS)
def test_full_vocabulary_kl_is_the_exact_kl(prompt):
    policy, base, n = TabularPolicy(1), TabularPolicy(2), 4_000
    rows = [prompt] * n
    drawn = sample_completions(np.random.default_rng(0), policy, rows, max_new_tokens=LONGEST, eos=EOS, pad=PAD).rows()
    measured = sequence_kl(policy, base, rows, drawn, pad=PAD)
    truth = exact_kl(policy, base, prompt)
    for estimate in (measured.full_vocabulary, measured.logratio):
        z = (estimate.mean() - truth) / (estimate.std() / np.sqrt(n))
        assert abs(z) < 5
    assert measured.full_vocabulary.std() < measured.logratio.std(), (
        "the full-vocabulary sum should be the steadier one"
    )


def test_kl_ignores_prompt_and_padding():
    policy, base = TabularPolicy(1), TabularPolicy(2)
    prompts, rows = [[PROMPT], [3, 1, PROMPT], [2, PROMPT]], [[1, 2, 3], [EOS], [2, EOS]]
    together = sequence_kl(policy, base, prompts, rows, pad=PAD)
    for i, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
        with torch.no_grad():
            alone = float(sequence_logprob(policy, prompt, row) - sequence_logprob(base, prompt, row))
        assert together.logratio[i] == pytest.approx(alone, abs=1e-5)


def test_first_gradient_is_the_exact_policy_gradient():
    """At ratio 1, without baseline and clipping, the surrogate's gradient is that of the expected reward."""
    policy, n = TabularPolicy(3), 1_000
    exact = torch.autograd.grad(exact_value(policy, [PROMPT]), policy.table)[0]
    rng, parts = np.random.default_rng(5), []
    for _ in range(20):
        rows = [[PROMPT]] * n
        drawn = sample_completions(rng, policy, rows, max_new_tokens=LONGEST, eos=EOS, pad=PAD).rows()
        batch = completion_batch(rows, drawn, pad=PAD)
        rewards = torch.zeros(batch.tokens.shape)
        rewards[torch.arange(n), batch.mask.sum(1) - 1] = torch.tensor(scorer(rows, drawn), dtype=torch.float32)
        advantage, _ = advantages_and_returns(rewards, torch.zeros_like(rewards), batch.mask, 1.0)
        logprob = completion_logprob(completion_logits(policy, batch), batch.tokens)
        surrogate = clipped_surrogate(logprob, logprob.detach(), advantage, 0.2)
        parts.append(torch.autograd.grad((surrogate * batch.mask).sum() / n, policy.table)[0])
    stack = torch.stack(parts)
    error = stack.std(0) / np.sqrt(len(parts))
    visited = error > 0
    z = ((stack.mean(0) - exact) / error.clamp(min=1e-12))[visited]
    assert z.abs().max() < 5
    assert exact[visited].abs().max() > 0.05, "the exact gradient is too small for the comparison to mean anything"
    assert ((-stack.mean(0) - exact)[visited].abs() / error[visited]).max() > 5, "a flipped sign must not pass"


def test_advantages_match_the_definition():
    """A_t = sum_l lambda^l delta_(t+l), by the double loop."""
    rng = np.random.default_rng(0)
    rewards, values = torch.tensor(rng.normal(size=(5, 6))), torch.tensor(rng.normal(size=(5, 6)))
    lengths = [6, 1, 3, 4, 2]
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    rewards, values = rewards * mask, values * mask
    advantage, target = advantages_and_returns(rewards, values, mask, 0.9)
    for i, length in enumerate(lengths):
        following = [*values[i, 1:length].tolist(), 0.0]
        delta = [float(rewards[i, t] + following[t] - values[i, t]) for t in range(length)]
        for t in range(length):
            expected = sum(0.9 ** (s - t) * delta[s] for s in range(t, length))
            assert float(advantage[i, t]) == pytest.approx(expected)
            assert float(target[i, t]) == pytest.approx(expected + float(values[i, t]))
        assert (advantage[i, length:] == 0).all()


def test_clipping_takes_the_pessimistic_side():
    old = torch.zeros(4)
    new = torch.log(torch.tensor([1.5, 1.5, 0.5, 0.5]))
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0])
    clipped = clipped_surrogate(new, old, advantage, 0.2)
    torch.testing.assert_close(clipped, torch.tensor([1.2, -1.5, 0.5, -0.8]))
    torch.testing.assert_close(clipped_surrogate(new, old, advantage, 0.0), torch.tensor([1.5, -1.5, 0.5, -0.5]))


CONFIG = PPOConfig(
    steps=40, prompts_per_step=2, samples_per_prompt=32, max_new_tokens=LONGEST, learning_rate=0.05, epochs=2
)


def test_ppo_climbs_to_the_best_completion():
    base = TabularPolicy(3)
    policy = copy.deepcopy(base)
    with torch.no_grad():
        before = [float(exact_value(policy, prompt)) for prompt in PROMPTS]
    ppo(0, policy, base, PROMPTS, scorer, CONFIG, eos=EOS, pad=PAD)
    best = max(reward_table(row) for row in all_completions())
    for start, prompt in zip(before, PROMPTS, strict=True):
        with torch.no_grad():
            after = float(exact_value(policy, prompt))
        assert after > start + 0.8 * (best - start), f"{start:.3f} -> {after:.3f}, best {best:.3f}"


def test_kl_penalty_leads_to_the_tilt():
    """With coefficient c the optimum is pi0 exp(r / c): the reward-KL trade is that of the exponential tilt."""
    base, coefficient = TabularPolicy(3), 1.0
    policy = copy.deepcopy(base)
    config = PPOConfig(
        steps=120, prompts_per_step=1, samples_per_prompt=128, max_new_tokens=LONGEST, learning_rate=0.01,
        kl_coefficient=coefficient, minibatches=1,
    )  # fmt: skip
    ppo(0, policy, base, [[PROMPT]], scorer, config, eos=EOS, pad=PAD)
    with torch.no_grad():
        logq = torch.stack([sequence_logprob(base, [PROMPT], row) for row in all_completions()])
    rewards = torch.tensor([reward_table(row) for row in all_completions()])
    optimum = float(coefficient * torch.logsumexp(logq + rewards / coefficient, 0))
    with torch.no_grad():
        reached = float(exact_value(policy, [PROMPT])) - coefficient * exact_kl(policy, base, [PROMPT])
        start = float(exact_value(base, [PROMPT]))
    assert start + 0.98 * (optimum - start) < reached <= optimum + 1e-6
    tilt_kl = float((torch.softmax(logq + rewards / coefficient, 0) * (rewards / coefficient)).sum()) - optimum
    assert exact_kl(policy, base, [PROMPT]) == pytest.approx(tilt_kl, rel=0.05)


def test_same_seed_same_policy_other_seed_other_policy():
    def final(seed: int) -> torch.Tensor:
        policy = TabularPolicy(3)
        ppo(seed, policy, TabularPolicy(3), PROMPTS, scorer, PPOConfig(
            steps=3, prompts_per_step=2, samples_per_prompt=8, max_new_tokens=LONGEST), eos=EOS, pad=PAD)  # fmt: skip
        return policy.table.detach()

    assert torch.equal(final(1), final(1))
    assert not torch.equal(final(1), final(2))


def test_metrics_are_what_they_say():
    base = TabularPolicy(3)
    policy = copy.deepcopy(base)
    steps: list[int] = []
    metrics = ppo(0, policy, base, PROMPTS, scorer, CONFIG, eos=EOS, pad=PAD, on_step=lambda s, _: steps.append(s))
    assert steps == list(range(CONFIG.steps + 1))
    first = metrics[0]
    assert abs(first["logratio"]) < 1e-5, "the first rollout is drawn from the initial policy"
    assert 0 < first["entropy"] < np.log(4)
    assert all(record["approx_kl"] >= 0 and 0 <= record["clip_fraction"] <= 1 for record in metrics)
    assert metrics[-1]["logratio"] > 0.5


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "`steps` must be >= 1, got 0."),
        ("learning_rate", 0.0, "`learning_rate` must be > 0, got 0.0."),
        ("clip", -0.1, "`clip` must be >= 0, got -0.1."),
        ("gae_lambda", 1.5, "`gae_lambda` must be in [0, 1], got 1.5."),
    ],
)
def test_bad_configuration_is_named(field, value, message):
    with pytest.raises(InputError) as error:
        PPOConfig(**{field: value})
    assert str(error.value) == message


def test_reward_that_is_not_finite_stops_the_run():
    def broken(prompts, completions):
        return np.where(np.arange(len(completions)) == 3, np.nan, 0.0)

    with pytest.raises(InputError, match="the reward of completion 3 is not finite"):
        ppo(0, TabularPolicy(0), TabularPolicy(0), PROMPTS, broken, CONFIG, eos=EOS, pad=PAD)
