"""Anybody's policy, gold and proxy base: what each of them reads, against the tokenizer's own template."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from tiny_hub import chatml, inst, word_pieces, write_encoder, write_gold, write_gpt2, write_model, write_policy
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Gemma3Config

from overopt.bridges.lm.own_models import with_own_models
from overopt.bridges.lm.pipeline import Pipeline
from overopt.bridges.lm.pretrained import first_layers, text_shape
from overopt.bridges.lm.proxy_base import load_proxy, save_proxy, start_proxy
from overopt.bridges.lm.recipe import Optimizer, ProxySize
from overopt.bridges.lm.recipes import recipe_named
from overopt.bridges.lm.reward_model import LabelledPairs, RewardModel
from overopt.bridges.lm.sampler import sample_completions
from overopt.bridges.lm.stages import optimizer_config
from overopt.bridges.lm.world import (
    WorldSource,
    check_prompt_lengths,
    how_it_reads,
    load_base,
    load_gold,
    load_policy,
    prompt_rows,
    source_fingerprint,
)
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm

PROMPTS = ["say one word about rain", "What is the best film?", "a picture", "rain?", "the year 2023"]
WRITTEN = ["a fine film", "terrible", "one word, moving", "0123", "the best of the year"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    plain = chatml()
    plain.chat_template = None
    return {
        "prompts": str(folder / "prompts.txt"),
        "policy": write_policy(folder / "policy", chatml()),
        "plain": write_policy(folder / "plain", plain),
        "gpt2": write_gpt2(folder / "gpt2", inst()),
        "qwen3": write_model(folder / "qwen3", chatml(), "qwen3", head_dim=8),
        "gold": write_gold(folder / "gold", inst()),
        "same": write_gold(folder / "same", chatml()),
        "encoder": write_encoder(folder / "encoder", word_pieces()),
        "two-labels": write_gold(folder / "two-labels", inst(), labels=2),
    }


def written(policy, ended):
    """Prompts and completions as token ids, the end token where ``ended``."""
    rows = policy.chat.prompts(PROMPTS) if policy.chat else policy.tokenizer(PROMPTS)["input_ids"]
    words = policy.tokenizer(WRITTEN, add_special_tokens=False)["input_ids"]
    return rows, [[*row, policy.eos] if end else row for row, end in zip(words, ended, strict=True)]


def test_prompts_are_one_user_turn_by_the_tokenizers_own_template(hub):
    source = WorldSource(policy=hub["policy"], prompts=hub["prompts"])
    policy = load_base(source)
    training, measured = prompt_rows(source, policy.tokenizer, 2)
    judge = AutoTokenizer.from_pretrained(hub["policy"])
    for row, text in zip([*training, *measured], PROMPTS, strict=True):
        expected = judge.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        assert row == expected
        assert row.count(judge.bos_token_id) == 1
    assert policy.prompt_text([*training, *measured]) == PROMPTS


def test_a_turn_ends_with_the_templates_token_not_with_the_texts(hub):
    policy = load_base(WorldSource(policy=hub["policy"]))
    assert policy.tokenizer.convert_ids_to_tokens(policy.eos) == "<|im_end|>"
    assert policy.tokenizer.eos_token == "<|endoftext|>"
    assert policy.pad not in (policy.eos, policy.tokenizer.eos_token_id)
    assert load_base(WorldSource(policy=hub["plain"])).eos == policy.tokenizer.eos_token_id


def test_gold_reads_both_turns_by_its_own_template_whatever_the_batch(hub):
    source = WorldSource(policy=hub["policy"], gold=hub["gold"])
    policy, gold = load_base(source), load_gold(source)
    ended = [True, False, True, False, True]
    rows, completions = written(policy, ended)
    scores = gold(rows, completions)
    judge = AutoTokenizer.from_pretrained(hub["gold"])
    model = AutoModelForSequenceClassification.from_pretrained(hub["gold"]).eval()
    for i, (prompt, answer, whole) in enumerate(zip(PROMPTS, WRITTEN, ended, strict=True)):
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        text = judge.apply_chat_template(turns, tokenize=False)
        if not whole:
            text = text.removesuffix("</s>")
        ids = judge(text, add_special_tokens=False)["input_ids"]
        assert ids.count(judge.bos_token_id) == 1
        assert (ids[-1] == judge.eos_token_id) == whole
        with torch.inference_mode():
            # One unpadded row; its own pad token moved away so that the end token counts.
            model.config.pad_token_id = judge.unk_token_id
            alone = float(model(torch.tensor([ids])).logits)
        assert scores[i] == pytest.approx(alone, abs=1e-5)
    order = [3, 0, 4]
    again = gold([rows[i] for i in order], [completions[i] for i in order])
    np.testing.assert_allclose(again, scores[order], atol=1e-5)
    assert len(np.unique(scores.round(4))) == 5


def test_a_base_model_is_continued_as_plain_text(hub):
    source = WorldSource(policy=hub["plain"], gold=hub["encoder"])
    policy, gold = load_base(source), load_gold(source)
    assert policy.chat is None
    rows, completions = written(policy, [True] * 5)
    judge = AutoTokenizer.from_pretrained(hub["encoder"])
    model = AutoModelForSequenceClassification.from_pretrained(hub["encoder"]).eval()
    for prompt, answer, score in zip(PROMPTS, WRITTEN, gold(rows, completions), strict=True):
        with torch.inference_mode():
            alone = float(model(**judge(prompt + answer, return_tensors="pt")).logits)
        assert score == pytest.approx(alone, abs=1e-5)
    assert "as plain text (chat template: it has none)" in how_it_reads(source)
    off = replace(source, policy=hub["policy"], chat="off")
    assert load_base(off).chat is None
    assert "ignored, as asked" in how_it_reads(off)


def test_the_embedded_gold_reads_a_foreign_policys_words(hub):
    source = WorldSource(policy=hub["policy"])
    policy, gold = load_base(source), load_gold(source)
    rows, completions = written(policy, [True, False, True, True, True])
    own = load_gold(WorldSource()).gold
    scores = gold(rows, completions)
    np.testing.assert_allclose(scores[0], own.score([f"{PROMPTS[0]} {WRITTEN[0]}"])[0], atol=1e-5)
    unfinished = own.tokenizer([f"{PROMPTS[1]} {WRITTEN[1]}"])["input_ids"]
    np.testing.assert_allclose(scores[1], own.score(unfinished)[0], atol=1e-5)


@pytest.mark.parametrize("base", ["gpt2", "policy", "encoder", "qwen3"])
def test_a_proxy_starts_from_any_model_and_comes_back_the_same(hub, base, tmp_path):
    source = WorldSource(policy=hub["policy"], gold=hub["gold"], proxy_bases=(("own", hub[base]),))
    torch.manual_seed(5)
    model, tokenizer, how = start_proxy(source, ProxySize("own", layers=1))
    assert model.config.num_hidden_layers == 1
    policy = load_base(source)
    rows, completions = written(policy, [True, False, True, False, True])
    assert (how is None) == (base in ("policy", "qwen3"))
    pairs = LabelledPairs(rows, completions, completions[::-1], np.ones(5))
    if how is not None:
        whole = how.pairs(pairs)
        assert whole.chosen == how.rows(rows, completions)
        assert whole.prompts == [[]] * 5
    save_proxy(model, tokenizer, how, tmp_path)
    scores = load_proxy(source, tmp_path)(rows, completions)
    direct = RewardModel(model)
    expected = direct(rows, completions) if how is None else direct.score(how.rows(rows, completions))
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert len(np.unique(scores.round(5))) == 5


def test_one_base_is_cut_to_the_recipes_sizes_and_rates_fall_with_the_width(hub, tmp_path):
    recipe = recipe_named("tiny")
    deep = write_policy(tmp_path / "deep", chatml(), layers=8)
    changed, source = with_own_models(recipe, WorldSource(policy=deep), ())
    assert [size.layers for size in changed.sizes] == [2, 4, 8]
    assert {p.size for p in (*changed.trained, *changed.optimized)} <= {size.name for size in changed.sizes}
    assert len(changed.trained) == len(recipe.trained)
    assert dict(source.proxy_bases) == dict.fromkeys((size.name for size in changed.sizes), deep)
    wide, _ = with_own_models(recipe, WorldSource(policy=widened(tmp_path / "deep", 1280)), ())
    assert wide.ppo.learning_rate == pytest.approx(recipe.ppo.learning_rate / 10)
    assert wide.ppo.value_learning_rate == pytest.approx(recipe.ppo.value_learning_rate / 10)
    # 41k, 252k and 1.4m are 10, 48 and 128 wide.
    rates = [size.training.learning_rate for size in wide.sizes]
    assert rates == pytest.approx([3e-3 * 10 / 1280, 1e-3 * 48 / 1280, 3e-4 * 128 / 1280])
    assert with_own_models(recipe, WorldSource(), ()) == (recipe, WorldSource())
    with pytest.raises(InputError, match=r"must name 1 model or 3, one per proxy size, got 2\."):
        with_own_models(recipe, WorldSource(), ["a", "b"])
    with pytest.raises(InputError, match=r"`--proxy-base` '.*' has too few layers to be cut to 3 sizes, got 2\."):
        with_own_models(recipe, WorldSource(), [hub["policy"]])
    alike = write_policy(tmp_path / "elsewhere" / "deep", chatml(), layers=8)
    with pytest.raises(InputError, match="must name models that differ in folder name or layers, got several called"):
        with_own_models(recipe, WorldSource(), [deep, alike, hub["policy"]])
    with pytest.raises(InputError, match=r"`--policy`, where proxies start without `--proxy-base`, '.*' has too few"):
        with_own_models(recipe, WorldSource(policy=hub["policy"]), ())


def test_a_policy_that_reads_ahead_or_reads_padding_is_refused(hub, tmp_path):
    """Transformers loads both without a word, and every log probability of a padded batch would be another model's."""
    for right in ("policy", "gpt2", "qwen3"):
        load_policy(WorldSource(policy=hub[right]))
    with pytest.raises(InputError, match=r"\(bert\) is no causal language model: its log probabilities change by"):
        load_policy(WorldSource(policy=hub["encoder"]))
    rwkv = write_model(tmp_path, chatml(), "rwkv", attention_hidden_size=16, context_length=64)
    with pytest.raises(InputError, match=r"\(rwkv\) must skip padding, but its log probabilities change by"):
        load_policy(WorldSource(policy=rwkv))


def test_a_model_that_proxies_cannot_start_from_is_refused_before_the_run(hub, tmp_path):
    mixed = write_model(tmp_path / "mixed", chatml(), "lfm2", layer_types=["conv", "full_attention"])
    (tmp_path / "prompts.txt").write_text("\n".join(f"{p} {i}" for i, p in enumerate(PROMPTS * 6)) + "\n")
    recipe = replace(recipe_named("tiny").smoke(), prompts=4)
    own = {"policy": mixed, "gold": hub["gold"], "prompts": str(tmp_path / "prompts.txt")}
    bases = {size.name: hub["gpt2"] for size in recipe.sizes}
    Pipeline(recipe, WorldSource(**own, proxy_bases=tuple(bases.items()))).check()
    last = tuple({**bases, recipe.sizes[-1].name: mixed}.items())
    with pytest.raises(InputError, match=r"no sequence classifier of the kind of the proxy base '.*mixed' \(lfm2\)"):
        Pipeline(recipe, WorldSource(**own, proxy_bases=last)).check()


def test_a_model_that_reads_more_than_text_is_not_cut(tmp_path):
    Gemma3Config(text_config={"num_hidden_layers": 6, "hidden_size": 16}).save_pretrained(tmp_path)
    assert text_shape("policy", str(tmp_path)) == (6, 16)
    assert first_layers("policy", str(tmp_path), 6) == {}
    with pytest.raises(InputError, match=r"\(gemma3\) reads more than text and cannot be cut to 2 of its 6 layers"):
        first_layers("policy", str(tmp_path), 2)


def widened(folder, width):
    """A folder that says that its model is ``width`` wide."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": width}))
    return str(folder)


def test_what_is_compared_trains_at_one_rate_whatever_the_width(hub, tmp_path):
    """A recipe's treatments differ by what it says, with own models as with the embedded ones: in no rate."""
    write_policy(tmp_path / "wide", chatml(), layers=8)
    source = WorldSource(policy=widened(tmp_path / "wide", 576))
    for name in ("data-size", "regularised-rm"):
        recipe, _ = with_own_models(recipe_named(name), source, ())
        sizes = {size.name: size.training for size in recipe.sizes}
        own = [p for p in (*recipe.trained, *recipe.optimized) if p.training is not None]
        assert own
        for proxy in own:
            assert proxy.training.learning_rate == pytest.approx(sizes[proxy.size].learning_rate)
            assert proxy.training != sizes[proxy.size], "what sets it apart stays"
        assert {proxy.name for proxy in recipe.optimized} <= {proxy.name for proxy in recipe.trained}


def test_every_optimizer_trains_the_wide_policy_at_a_lower_rate(hub, tmp_path):
    write_policy(tmp_path / "wide", chatml(), layers=8)
    source = WorldSource(policy=widened(tmp_path / "wide", 576))
    before = recipe_named("methods")
    after, _ = with_own_models(before, source, ())
    trained = 0
    for old, new in zip(before.optimizers, after.optimizers, strict=True):
        first, second = optimizer_config(before, old), optimizer_config(after, new)
        for name in ("learning_rate", "value_learning_rate"):
            if hasattr(first, name):
                assert getattr(second, name) == pytest.approx(getattr(first, name) * 128 / 576)
                trained += name == "learning_rate"
    assert trained == 6
    given = replace(before, optimizers=(Optimizer("fast", "ppo", (("learning_rate", 1e-3),)),))
    config = optimizer_config(after, with_own_models(given, source, ())[0].optimizers[0])
    assert config.learning_rate == pytest.approx(1e-3 * 128 / 576), "the recipe's own change, once"
    planted, _ = with_own_models(recipe_named("planted"), source, ())
    assert planted.ppo.learning_rate == pytest.approx(3e-4 * 128 / 576)


def test_a_recipe_made_for_its_own_policy_keeps_its_rates(hub, tmp_path):
    write_policy(tmp_path / "wide", chatml(), layers=8)
    wide = widened(tmp_path / "wide", 576)
    recipe = recipe_named("gpu-10min")
    assert with_own_models(recipe, WorldSource(policy=wide), ()) == (recipe, WorldSource(policy=wide))
    changed, _ = with_own_models(recipe, WorldSource(policy=wide), [wide])
    assert changed.ppo == recipe.ppo
    assert {size.training for size in changed.sizes} == {size.training for size in recipe.sizes}


def test_bfloat16_computes_in_bfloat16_and_keeps_weights_and_probabilities_in_float32(hub):
    source = WorldSource(policy=hub["policy"], dtype="bfloat16")
    policy = load_policy(source)
    ids = torch.tensor([policy.chat.prompts(["rain?"])[0]])
    with torch.inference_mode():
        assert policy.model(ids).logits.dtype == torch.bfloat16
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}
    drawn = sample_completions(
        np.random.default_rng(0), policy.model, ids.tolist() * 4, max_new_tokens=4, eos=policy.eos, pad=policy.pad
    )
    assert drawn.logprob.dtype == np.float32
    # bfloat16 logits carry 8 bits: log probabilities agree with float32's to their rounding, 2^-8 of logits below 20.
    exact = sample_completions(
        np.random.default_rng(0), load_base(WorldSource(policy=hub["policy"])).model, ids.tolist() * 4,
        max_new_tokens=1, eos=policy.eos, pad=policy.pad,
    )  # fmt: skip
    same = drawn.tokens[:, 0] == exact.tokens[:, 0]
    assert same.any()
    np.testing.assert_allclose(drawn.logprob[same, 0], exact.logprob[same, 0], atol=0.3)


def test_the_fingerprint_follows_the_template(hub, tmp_path):
    folder = write_policy(tmp_path / "p", chatml())
    before = source_fingerprint(WorldSource(policy=folder))
    (tmp_path / "p" / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert source_fingerprint(WorldSource(policy=folder)) != before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policy": "plain", "chat": "on"}, "`--chat on` needs chat templates, and the policy"),
        ({"policy": "policy", "gold": "encoder", "chat": "on"}, "`--chat on` needs chat templates, and the gold"),
        ({"policy": "policy", "gold": "two-labels"}, "must have 1 label, got 2."),
        ({"policy": "policy", "gold": "policy"}, "must have 1 label, got 2."),
        ({"policy": "policy", "gold": "/nowhere/to/be/found"}, "cannot be read"),
    ],
)
def test_wrong_models_are_one_line(hub, fields, message):
    source = WorldSource(**{name: hub.get(value, value) for name, value in fields.items()})
    with pytest.raises(InputError) as error:
        load_gold(source)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_language_model_with_one_label_is_no_gold(hub, tmp_path):
    folder = write_policy(tmp_path / "p", inst())
    config = json.loads((tmp_path / "p" / "config.json").read_text())
    config |= {"id2label": {"0": "reward"}, "label2id": {"reward": 0}}
    (tmp_path / "p" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"is no reward model: it has no weights for score\.weight\."):
        load_gold(WorldSource(policy=hub["policy"], gold=folder))


def test_a_template_that_drops_the_prompt_is_refused(tmp_path):
    tokenizer = chatml()
    tokenizer.chat_template = "{{ bos_token }}hello"
    folder = write_policy(tmp_path / "p", tokenizer)
    with pytest.raises(InputError, match="chat template"):
        load_policy(WorldSource(policy=folder))


def test_a_prompt_that_leaves_no_room_is_named_by_its_line(hub, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("rain?\n\n" + "word " * 200 + "\na picture\nthe year\n")
    source = WorldSource(policy=hub["policy"], prompts=str(prompts))
    with pytest.raises(InputError) as error:
        check_prompt_lengths(source, 2, 28)
    assert f"line 3 of '{prompts}' must have <= 100 tokens, the policy's context of 128 less 28 new ones" in str(
        error.value
    )
    check_prompt_lengths(WorldSource(policy=hub["policy"], prompts=hub["prompts"]), 2, 28)


def test_a_text_longer_than_gold_reads_is_named(hub):
    source = WorldSource(policy=hub["plain"], gold=hub["encoder"])
    policy = load_base(source)
    row = policy.tokenizer("rain " * 60)["input_ids"]
    with pytest.raises(InputError, match="tokens for a reward model that reads 96"):
        load_gold(source)([row], [row])


def test_a_gguf_file_needs_its_package(tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("overopt.bridges.lm.pretrained.find_spec", lambda name: None)
    with pytest.raises(InputError, match="is a GGUF file, which needs gguf: pip install gguf"):
        load_policy(WorldSource(policy=str(tmp_path / "model.gguf")))
    with pytest.raises(InputError, match="is a GGUF file"):
        load_policy(WorldSource(policy=str(tmp_path)))
