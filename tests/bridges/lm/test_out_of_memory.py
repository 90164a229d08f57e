"""A device that runs out of memory changes how much is read at once, and nothing that is measured or learned."""

import copy
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from tabular_policy import PAD, PROMPT, TabularPolicy, all_completions
from tiny_llama import LONGEST, PROMPTS, tiny_llama

from overopt.bridges.lm import completions, dpo, expert_iteration, gold, ppo, reward_conditioned, sampler
from overopt.bridges.lm.batching import rows_at_once
from overopt.bridges.lm.completions import sequence_kl
from overopt.bridges.lm.gold import GoldRewardModel
from overopt.bridges.lm.guided_decoding import GuidedDecodingConfig, guided_decoding
from overopt.bridges.lm.reward_model import RewardModel
from overopt.bridges.lm.stages import TRAINED

pytestmark = pytest.mark.lm


def limit_rows(module, most):
    """Make ``module`` run out of memory above ``most`` rows; the list returned collects how many it read."""
    forward, read = module.forward, []

    def limited(*arguments, **options):
        rows = next(len(value) for value in (*arguments, *options.values()) if isinstance(value, torch.Tensor))
        if rows > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        read.append(rows)
        return forward(*arguments, **options)

    module.forward = limited
    return read


def test_kl_is_that_of_a_device_with_enough_memory():
    policy, base, rows = TabularPolicy(1), TabularPolicy(2), all_completions()
    prompts = [[PROMPT]] * len(rows)
    expected = sequence_kl(policy, base, prompts, rows, pad=PAD)
    tight = TabularPolicy(1)
    read = limit_rows(tight, 9)
    with pytest.warns(RuntimeWarning, match="measuring KL: out of memory"):
        measured = sequence_kl(tight, base, prompts, rows, pad=PAD)
    assert max(read) > 1
    np.testing.assert_allclose(measured.full_vocabulary, expected.full_vocabulary, atol=1e-6)
    np.testing.assert_allclose(measured.logratio, expected.logratio, atol=1e-6)


def test_gold_is_that_of_a_device_with_enough_memory():
    model = GoldRewardModel.from_folder()
    texts = ["a fine film", "a dull and stupid film, and a dull and stupid film", "good", "moving, warm and funny"] * 3
    expected = model.score(texts)
    limit_rows(model.rating_if_natural, 6)
    with pytest.warns(RuntimeWarning, match="gold: out of memory with a batch of 12, going on with 6"):
        scores = model.score(texts)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.score(texts)


def test_guided_decoding_is_that_of_a_device_with_enough_memory():
    def decoded(policy):
        config = GuidedDecodingConfig(strengths=(2.0,), max_new_tokens=LONGEST, candidates=3)
        return list(
            guided_decoding(0, policy, PROMPTS, 8, lambda _, rows: np.array(list(map(sum, rows)), float), config)
        )

    expected, tight = decoded(tiny_llama(0)), tiny_llama(0)
    limit_rows(tight.model, 8)
    with (
        pytest.warns(RuntimeWarning, match="sampling: out of memory"),
        pytest.warns(RuntimeWarning, match="guided decoding: out of memory"),
    ):
        found = decoded(tight)
    for one, other in zip(found, expected, strict=True):
        assert one.completions == other.completions
        np.testing.assert_allclose(one.logratio, other.logratio, atol=1e-6)


ROUND = {"steps": 2, "prompts_per_step": 2, "max_new_tokens": LONGEST, "learning_rate": 0.1}
TRAININGS = {
    "ppo": ppo.PPOConfig(samples_per_prompt=40, minibatches=1, value_learning_rate=0.1, **ROUND),
    "expert-iteration": expert_iteration.ExpertIterationConfig(samples_per_prompt=32, keep=24, **ROUND),
    "dpo": dpo.DPOConfig(steps=2, pairs=48, pairs_per_step=32, max_new_tokens=LONGEST, learning_rate=0.1),
    "reward-conditioned": reward_conditioned.RewardConditionedConfig(
        samples_per_prompt=40, bins=2, batch_size=72, bin_learning_rate=0.1, **ROUND
    ),
}


def trained(kind, monkeypatch, fails_at=None):
    """Weights and metrics; the forward pass ``fails_at`` with gradients runs out of memory. Steps are gradients."""
    monkeypatch.setattr(torch.optim, "AdamW", lambda groups, weight_decay, lr=0.0: torch.optim.SGD(groups, lr=lr))
    policy = tiny_llama(0)
    forward, passes = policy.model.forward, 0

    def forgetful(*arguments, **options):
        nonlocal passes
        passes += torch.is_grad_enabled()
        if passes == fails_at and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*arguments, **options)

    policy.model.forward = forgetful
    metrics = TRAINED[kind][1](
        3, policy, tiny_llama(0), PROMPTS, lambda _, rows: np.sin([float(sum(row)) for row in rows]),
        TRAININGS[kind], lambda *_: None,
    )  # fmt: skip
    return copy.deepcopy(policy.model.state_dict()), metrics


@pytest.mark.parametrize("kind", TRAININGS)
def test_an_update_that_began_is_begun_again(kind, monkeypatch):
    """The second part of the first update fails: what the first part had added must not count twice."""
    weights, metrics = trained(kind, monkeypatch)
    with pytest.warns(RuntimeWarning, match="out of memory with a batch of") as said:
        again, found = trained(kind, monkeypatch, fails_at=2)
    assert len(said) == 1
    for one, other in zip(found, metrics, strict=True):
        assert one == pytest.approx(other, abs=2e-5)
    for name, value in weights.items():
        torch.testing.assert_close(again[name], value, atol=1e-5, rtol=1e-4)
    start = tiny_llama(0).model.state_dict()
    assert max(float((weights[name] - start[name]).abs().max()) for name in weights) > 1e-3, "nothing was learned"


@pytest.mark.parametrize("kind", ["ppo", "expert-iteration", "reward-conditioned"])
def test_more_is_trained_on_at_once_on_a_gpu(kind, monkeypatch):
    module = {"ppo": ppo, "expert-iteration": expert_iteration, "reward-conditioned": reward_conditioned}[kind]
    monkeypatch.setattr(module, "rows_at_once", lambda device, *, cpu, gpu: (cpu, gpu))
    monkeypatch.setattr(module, "in_parts", asked)
    with pytest.raises(AskedFor, match=r"\(32, 128\)"):
        trained(kind, monkeypatch)


class AskedFor(Exception):
    pass


def asked(work, rows, size, *_):
    raise AskedFor(size)


def test_more_is_read_at_once_on_a_gpu(monkeypatch):
    for device, expected in (("cpu", 2), (torch.device("cuda", 1), 5), ("cuda", 5)):
        assert rows_at_once(device, cpu=2, gpu=5) == expected
    for module in (completions, gold, sampler):
        monkeypatch.setattr(module, "in_batches", asked)
    there, here = (SimpleNamespace(device=torch.device(name)) for name in ("cuda", "cpu"))
    model = GoldRewardModel.from_folder()
    for elsewhere, sizes in ((there, (512, 512, 4096)), (here, (128, 64, 512))):
        model.language_model = elsewhere
        reads = (
            lambda elsewhere=elsewhere: sequence_kl(elsewhere, elsewhere, [[1]], [[1]], pad=0),
            lambda: model.score(["good"]),
            lambda elsewhere=elsewhere: sampler.sample_completions(
                np.random.default_rng(0), elsewhere, [[1]], max_new_tokens=1, eos=0, pad=0
            ),
        )
        for read, size in zip(reads, sizes, strict=True):
            with pytest.raises(AskedFor, match=f"^{size}$"):
                read()

    class Classifier(SimpleNamespace):
        def eval(self):
            return self

    for name, size in (("cuda", 1024), ("cpu", 64)):
        classifier = Classifier(config=SimpleNamespace(num_labels=1), device=torch.device(name))
        assert RewardModel(classifier).batch_size == size
