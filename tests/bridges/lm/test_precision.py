"""`--dtype bfloat16`: the matrix products of the policy and of nothing else, whoever calls it; gone once dropped."""

import gc
import json
import weakref

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from tiny_hub import chatml, inst, write_gpt2, write_policy

from overopt.bridges.lm import key_value_cache
from overopt.bridges.lm.ppo import PPOConfig
from overopt.bridges.lm.reward_conditioned import ConditionedPolicy
from overopt.bridges.lm.sampler import sample_completions
from overopt.bridges.lm.trl_online import train_with_grpo, train_with_rloo
from overopt.bridges.lm.world import WorldSource, load_base, load_policy

pytestmark = pytest.mark.lm


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    plain, other = chatml(), inst()
    plain.chat_template = other.chat_template = None
    return {"llama": write_policy(folder / "llama", plain), "gpt2": write_gpt2(folder / "gpt2", other)}


def in_bfloat16(folder):
    return load_policy(WorldSource(policy=folder, dtype="bfloat16"))


IDS = torch.tensor([[3, 5, 9, 11], [4, 4, 8, 2]])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_logits_are_those_of_the_same_weights_under_autocast(folders, family):
    plain = load_policy(WorldSource(policy=folders[family])).model
    with torch.inference_mode():
        given = in_bfloat16(folders[family]).model(IDS).logits
        with torch.autocast("cpu", torch.bfloat16):
            expected = plain(IDS).logits
        assert given.dtype == torch.bfloat16
        assert torch.equal(given, expected)
        assert not torch.equal(given.float(), plain(IDS).logits), "the control: rounding shows"
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_dropped_policy_is_gone_at_once(folders, family, dtype):
    """On a GPU what waits for the collector of cycles is memory that the next stage does not get."""
    gc.collect()
    gc.disable()
    try:
        policy = load_policy(WorldSource(policy=folders[family], dtype=dtype))
        policy.model(IDS)
        model = weakref.ref(policy.model)
        del policy
        assert model() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("family", "name"), [("llama", "LlamaForCausalLM"), ("gpt2", "GPT2LMHeadModel")])
def test_it_is_saved_as_the_model_that_it_is(folders, family, name, tmp_path):
    policy = in_bfloat16(folders[family])
    logits = policy.model(IDS).logits
    policy.model.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [name]
    assert torch.equal(in_bfloat16(str(tmp_path)).model(IDS).logits, logits)


@pytest.mark.parametrize(("family", "conditioned"), [("llama", False), ("llama", True), ("gpt2", False)])
def test_keys_and_values_are_kept_as_attention_reads_them(folders, family, conditioned, monkeypatch):
    """The cache of a Llama is in float32, which attention rounds: rounded once or for every token is the same."""
    policy, kept = in_bfloat16(folders[family]), []
    model = ConditionedPolicy(policy.model, 2) if conditioned else policy.model
    start = key_value_cache.PreallocatedLayer.__init__

    def noted(self, *arguments):
        start(self, *arguments)
        kept.extend(buffer.dtype for buffer in self.buffers)

    monkeypatch.setattr(key_value_cache.PreallocatedLayer, "__init__", noted)

    def drawn():
        kept.clear()
        return sample_completions(
            np.random.default_rng(0), model, IDS.tolist() * 40, max_new_tokens=24, eos=policy.eos, pad=policy.pad
        )

    found = drawn()
    assert set(kept) == {torch.bfloat16}
    monkeypatch.setattr(type(policy.model), "autocast_dtype", torch.float32)
    expected = drawn()
    assert set(kept) == {torch.float32}
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.logprob, expected.logprob)
    assert len({tuple(row) for row in found.rows()}) > 40


def test_a_policy_in_float32_keeps_them_in_float32(folders):
    cache = load_policy(WorldSource(policy=folders["llama"])).model(IDS, use_cache=True).past_key_values
    key_value_cache.preallocated(cache, torch.tensor([0, 1, 1]), 8)
    assert {layer.keys.dtype for layer in cache.layers} == {torch.float32}


@pytest.mark.parametrize("train", [train_with_rloo, train_with_grpo])
def test_trl_trains_in_it_too(folders, train):
    """TRL's fused head calls the policy's body, not the policy."""
    source = WorldSource(policy=folders["llama"], dtype="bfloat16")
    policy, seen = load_policy(source), set()

    def note(module, inputs, output):
        if torch.is_grad_enabled():
            seen.add(output.dtype)

    policy.model.model.layers[0].mlp.up_proj.register_forward_hook(note)
    config = PPOConfig(steps=1, prompts_per_step=2, samples_per_prompt=4, max_new_tokens=3, epochs=1, minibatches=1)
    prompts = policy.tokenizer(["a fine", "rain"])["input_ids"]
    before = policy.model.lm_head.weight.detach().clone()
    train(0, policy, load_base(source), prompts, lambda _, rows: np.arange(len(rows)) % 3.0, config, lambda *_: None)
    assert seen == {torch.bfloat16}
    assert {parameter.dtype for parameter in policy.model.parameters()} == {torch.float32}
    assert not torch.equal(policy.model.lm_head.weight, before)
