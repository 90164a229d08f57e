"""What a run starts from: prompts that share nothing, models that belong together, gold that reads the prompt."""

import hashlib
import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

from overopt.bridges.lm.recipes import RECIPES, TINY
from overopt.bridges.lm.world import (
    EMBEDDED,
    WorldSource,
    backbone,
    load_base,
    load_gold,
    load_policy,
    prompt_rows,
    source_fingerprint,
)
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm

EMBEDDED_SOURCE = WorldSource()


def test_training_and_held_out_prompts_are_disjoint_and_do_not_end():
    policy = load_base(EMBEDDED_SOURCE)
    training, measured = prompt_rows(EMBEDDED_SOURCE, policy.tokenizer, 64)
    assert len(measured) == 64
    assert not {tuple(row) for row in training} & {tuple(row) for row in measured}
    assert all(policy.eos not in row and row[0] == policy.tokenizer.bos_token_id for row in [*training, *measured])


def test_gold_reads_the_prompt_and_the_completion():
    policy, gold = load_base(EMBEDDED_SOURCE), load_gold(EMBEDDED_SOURCE)
    good, bad = (policy.tokenizer(text)["input_ids"] for text in ("A wonderful, moving", "A dull, stupid"))
    end = [*policy.tokenizer(" film.", add_special_tokens=False)["input_ids"], policy.eos]
    scores = gold([good, bad], [end, end])
    assert scores[0] > scores[1], "equal completions, different prompts: gold must see the prompt"


def test_the_policy_is_a_fresh_copy_every_time():
    first, second = load_policy(EMBEDDED_SOURCE), load_policy(EMBEDDED_SOURCE)
    first.model.get_input_embeddings().weight.data.zero_()
    assert second.model.get_input_embeddings().weight.abs().sum() > 0


def test_shipped_models_fit_their_budget_and_every_proxy_size_has_its_backbone():
    size = sum(path.stat().st_size for name in ("policy", "gold") for path in (EMBEDDED / name).glob("*.safetensors"))
    assert size < 12e6
    for recipe in RECIPES.values():
        for proxy_size in recipe.sizes:
            assert (EMBEDDED / backbone(EMBEDDED_SOURCE, proxy_size).rsplit("/", 1)[1] / "config.json").exists()


def test_chunks_cover_every_sample_once():
    for recipe in RECIPES.values():
        drawn = np.zeros((recipe.prompts, recipe.samples), dtype=int)
        for part in range(recipe.bank_parts):
            for prompt, start, size in recipe.part(part):
                drawn[prompt, start : start + size] += 1
        assert (drawn == 1).all(), recipe.name


def test_tiny_is_what_the_documentation_promises():
    assert {proxy.size for proxy in TINY.trained} == {"41k", "252k", "1.4m"}
    assert {proxy.labels for proxy in TINY.trained} == {250, 1000, 4000}
    assert (TINY.prompts, TINY.samples) == (64, 1024)
    assert TINY.ppo.kl_coefficient == 0.0


def test_the_fingerprint_follows_the_files(tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one two three\n")
    before = source_fingerprint(WorldSource(prompts=str(prompts)))
    assert before == source_fingerprint(WorldSource(prompts=str(prompts)))
    prompts.write_text("one two four\n")
    assert before != source_fingerprint(WorldSource(prompts=str(prompts)))


@pytest.fixture
def copied_policy(tmp_path):
    return shutil.copytree(EMBEDDED / "policy", tmp_path / "policy")


def test_an_unreadable_policy_is_one_line(copied_policy):
    (copied_policy / "model.safetensors").write_bytes(b"not a model")
    with pytest.raises(InputError, match="cannot be read") as error:
        load_policy(WorldSource(policy=str(copied_policy)))
    assert "\n" not in str(error.value)


def test_a_tokenizer_larger_than_the_model_is_refused(copied_policy):
    path = copied_policy / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"].append(
        {"id": len(tokenizer["model"]["vocab"]), "content": "<extra>", "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False, "special": True}
    )  # fmt: skip
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(InputError, match="they do not belong together"):
        load_policy(WorldSource(policy=str(copied_policy)))


def test_too_few_prompts_are_named(tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("only this\nand that\n")
    with pytest.raises(InputError, match="64 held-out prompts and at least 1 training prompt are needed"):
        prompt_rows(WorldSource(prompts=str(prompts)), load_base(EMBEDDED_SOURCE).tokenizer, 64)
    with pytest.raises(InputError, match="cannot be read"):
        prompt_rows(WorldSource(prompts=str(tmp_path / "absent")), load_base(EMBEDDED_SOURCE).tokenizer, 64)


def test_lines_that_the_tokenizer_reads_alike_are_one_prompt(tmp_path):
    """The embedded tokenizer lower-cases: the tables name prompts by their decoded text, each once."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a film\nHello there friend\nthe plot is\nhello there friend\nA film\nthis one\n")
    source, policy = WorldSource(prompts=str(prompts)), load_base(EMBEDDED_SOURCE)
    training, measured = prompt_rows(source, policy.tokenizer, 2)
    assert policy.prompt_text(training) == [" a film", " hello there friend"]
    assert policy.prompt_text(measured) == [" the plot is", " this one"]
    with pytest.raises(InputError, match="got 4 different ones"):
        prompt_rows(source, policy.tokenizer, 4)


def test_embedded_prompts_are_those_of_the_kept_runs():
    """Their digest, taken before prompts of one name became one: stored results rest on these rows."""
    policy = load_base(EMBEDDED_SOURCE)
    digests = [
        hashlib.sha256(json.dumps(prompt_rows(EMBEDDED_SOURCE, policy.tokenizer, held_out)).encode()).hexdigest()[:16]
        for held_out in (16, 64)
    ]
    assert digests == ["59af10375b296df1", "d1a79aa1e5c2be99"]
