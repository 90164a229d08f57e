"""The sampler draws from the policy's own distribution, whatever the batch."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from tabular_policy import EOS, LONGEST, PAD, PROMPT, TabularPolicy, all_completions, sequence_logprob
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from overopt.bridges.lm import key_value_cache, sampler
from overopt.bridges.lm.sampler import DROP_SHARE, _invert_cumulative, sample_completions
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm


def small_llama(vocabulary: int = 101) -> LlamaForCausalLM:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32, initializer_range=0.5,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def test_frequencies_are_the_policys_probabilities():
    policy, n = TabularPolicy(0), 20_000
    drawn = sample_completions(
        np.random.default_rng(1), policy, [[PROMPT]] * n, max_new_tokens=LONGEST, eos=EOS, pad=PAD
    )
    counts: dict[tuple[int, ...], int] = {}
    for row in drawn.rows():
        counts[tuple(row)] = counts.get(tuple(row), 0) + 1
    total = 0.0
    for completion in all_completions():
        with torch.no_grad():
            p = float(sequence_logprob(policy, [PROMPT], completion).exp())
        total += p
        z = (counts.get(tuple(completion), 0) / n - p) / np.sqrt(p * (1 - p) / n)
        assert abs(z) < 5, f"{completion}: z = {z:.2f}"
    assert total == pytest.approx(1.0, abs=1e-6)


def test_logprob_is_the_policys_at_the_sampling_temperature():
    policy = TabularPolicy(0)
    drawn = sample_completions(
        np.random.default_rng(1), policy, [[PROMPT]] * 50, max_new_tokens=LONGEST, eos=EOS, pad=PAD, temperature=0.5
    )
    hot = TabularPolicy(0)
    hot.table.data *= 2  # temperature 1/2
    for row, logprob in zip(drawn.rows(), drawn.logprob, strict=True):
        with torch.no_grad():
            expected = float(sequence_logprob(hot, [PROMPT], row))
        assert logprob.sum() == pytest.approx(expected, abs=1e-4)


def test_batching_padding_and_dropping_ended_rows_change_nothing():
    model = small_llama(vocabulary=11)  # one token in eleven ends a completion
    prompts = [[1, 5, 9], [1, 7], [1, 3, 4, 5, 6], [1, 10]] * 16
    options = {"max_new_tokens": 12, "eos": 2, "pad": 0}
    together = sample_completions(np.random.default_rng(0), model, prompts, batch_size=64, **options)
    apart = sample_completions(np.random.default_rng(0), model, prompts, batch_size=1, **options)
    np.testing.assert_array_equal(together.tokens, apart.tokens)
    np.testing.assert_allclose(together.logprob, apart.logprob, atol=1e-4)
    length = together.mask.sum(1)
    early = (length <= 6).sum()
    assert early > len(prompts) // DROP_SHARE, "too few rows ended early to be dropped"
    assert (length[-early:] > 6).any(), "no row had to move into the place of one that ended"


def test_rows_that_move_are_found_once_for_all_layers(monkeypatch):
    """On a GPU finding them waits for everything before it."""
    found, dropped = [], []
    moves, kept = key_value_cache._moves, sampler._kept
    monkeypatch.setattr(key_value_cache, "_moves", lambda indices: (found.append(1), moves(indices))[1])
    monkeypatch.setattr(sampler, "_kept", lambda ended: (dropped.append(1), kept(ended))[1])
    model = small_llama(vocabulary=11)
    sample_completions(np.random.default_rng(0), model, [[1, 5, 9]] * 64, max_new_tokens=12, eos=2, pad=0)
    assert model.config.num_hidden_layers > 1
    assert len(found) == len(dropped) > 1


def test_cached_logprob_equals_one_full_pass():
    model = small_llama()
    prompt = [1, 5, 9]
    drawn = sample_completions(np.random.default_rng(4), model, [prompt] * 8, max_new_tokens=9, eos=2, pad=0)
    for row, logprob in zip(drawn.rows(), drawn.logprob, strict=True):
        with torch.inference_mode():
            full = model(torch.tensor([[*prompt, *row]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        expected = full[torch.arange(len(row)), row].numpy()
        np.testing.assert_allclose(logprob[: len(row)], expected, atol=1e-4)


STATES = {"num_heads": 4, "head_dim": 8, "n_groups": 1, "state_size": 4, "chunk_size": 8}
ARCHITECTURES = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},  # learned positions
    "opt": {"word_embed_proj_dim": 16, "ffn_dim": 32},  # positions counted from the mask
    "bloom": {"n_layer": 2, "n_head": 2},  # distances, no positions
    "gemma3_text": {"head_dim": 8, "sliding_window": 4, "num_hidden_layers": 6},  # two kinds of cache
    "mamba2": STATES,  # states, no keys
    "lfm2": {"layer_types": ["conv", "full_attention"]},  # states and keys
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logprob_is_the_policys_whatever_its_architecture(name):
    """Padding, positions and the cache of rows that moved, against one pass over each text by itself."""
    torch.manual_seed(0)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    shape = {"vocab_size": 11, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32, **heads}
    config = AutoConfig.for_model(name, **{**shape, **ARCHITECTURES[name]})
    config.pad_token_id, config.bos_token_id, config.eos_token_id = 0, 1, 2
    model = AutoModelForCausalLM.from_config(config).eval()
    for weights in model.parameters():
        if weights.dim() > 1:
            weights.data *= 6
    prompts = [[1, 5, 9], [1, 7], [1, 3, 4, 5, 6], [1, 10]] * 16
    drawn = sample_completions(np.random.default_rng(0), model, prompts, max_new_tokens=12, eos=2, pad=0)
    length = drawn.mask.sum(1)
    assert (length <= 6).sum() > len(prompts) // DROP_SHARE, "too few rows ended early to be dropped"
    assert drawn.logprob[drawn.mask].std() > 0.1, "the policy is uniform: a wrong position would not show"
    for prompt, row, logprob in zip(prompts, drawn.rows(), drawn.logprob, strict=True):
        with torch.inference_mode():
            full = model(torch.tensor([[*prompt, *row]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        np.testing.assert_allclose(logprob[: len(row)], full[torch.arange(len(row)), row].numpy(), atol=1e-3)


def test_tokens_after_the_end_are_padding():
    drawn = sample_completions(
        np.random.default_rng(1), TabularPolicy(0), [[PROMPT]] * 200, max_new_tokens=LONGEST, eos=EOS, pad=PAD
    )
    assert (drawn.tokens[~drawn.mask] == PAD).all()
    for row in drawn.rows():
        assert EOS not in row[:-1]


@pytest.mark.parametrize("vocabulary", [64, 130, 4000])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_give_no_token_outside_the_vocabulary(vocabulary, broken):
    """On a GPU such an id would make the next look-up of an embedding fail for the rest of the process."""
    weight = torch.ones(3, vocabulary)
    weight[1], weight[2, -1] = broken, broken
    token, probability = _invert_cumulative(weight, torch.tensor([[0.5], [0.5], [1.0]]))
    assert ((token >= 0) & (token < vocabulary)).all()
    assert probability[0, 0] == pytest.approx(1 / vocabulary)
    assert probability[1:].isnan().all()


def test_a_draw_that_rounds_up_to_one_takes_a_token_that_has_weight():
    """A uniform number above 1 - 2^-25 is 1 in float32; the last blocks of a vocabulary may have no weight at all."""
    weight = torch.zeros(1, 300)
    weight[0, :70] = 1.0
    token, probability = _invert_cumulative(weight, torch.ones(1, 1))
    assert token.tolist() == [[69]]
    assert probability.tolist() == [[pytest.approx(1 / 70)]]


def test_logits_that_are_not_finite_are_one_line():
    model = small_llama()
    model.lm_head.weight.data[7, 3] = float("nan")
    with pytest.raises(InputError, match="the policy's logits are not finite"):
        sample_completions(np.random.default_rng(0), model, [[1, 5, 9]] * 4, max_new_tokens=4, eos=2, pad=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "`max_new_tokens` must be >= 1, got 0."),
        ({"temperature": 0.0}, "`temperature` must be > 0, got 0.0."),
        ({"max_new_tokens": 30}, "3 prompt tokens and 30 new ones exceed the model's context of 32 tokens."),
    ],
)
def test_bad_options_are_named(options, message):
    arguments = {"max_new_tokens": 4, "eos": 2, "pad": 0, **options}
    with pytest.raises(InputError) as error:
        sample_completions(np.random.default_rng(0), small_llama(), [[1, 5, 9]], **arguments)
    assert str(error.value) == message
