"""The shipped gold against everything that disqualified earlier golds, and a planted bad gold that must not pass."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("transformers")

import itertools

import torch
from safetensors import safe_open
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsqr
from transformers import AutoModelForCausalLM

from overopt.bridges.lm.controls import control_texts, gold_controls
from overopt.bridges.lm.corrupt import HELD_OUT, TRAINED
from overopt.bridges.lm.gold import LOWEST, GoldRewardModel, repeats
from overopt.bridges.lm.measure_world import base_completions
from overopt.bridges.lm.pretrain import count_parameters, encode
from overopt.bridges.lm.text import RATED_TEXT, load_rated_text
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm

DATA = RATED_TEXT.parent


@pytest.fixture(scope="module")
def gold():
    return GoldRewardModel.from_folder()


@pytest.fixture(scope="module")
def policy():
    return AutoModelForCausalLM.from_pretrained(DATA / "policy", dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def base(gold, policy):
    prompts, completions = base_completions(np.random.default_rng(3), policy, gold.tokenizer, per_prompt=1)
    return [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]


def test_shipped_gold_passes_every_control(gold, base):
    rng, held_out = np.random.default_rng(4), load_rated_text("held-out")
    controls = gold_controls(rng, gold.score, gold.tokenizer, held_out, base, texts=100)
    assert controls.failures == ()
    assert controls.pearson_low > 0.5
    assert sum(not kind.seen for kind in controls.kinds) >= 2
    assert controls.human_mean > controls.base_mean


def test_a_bag_of_words_gold_agrees_with_people_and_fails_the_controls(gold, base):
    """Ridge regression of human ratings on token counts: what a gold trained on ratings alone amounts to."""
    train, held_out = load_rated_text("train").of("movie"), load_rated_text("held-out")
    size = len(gold.tokenizer)

    def counts(rows):
        lengths = [len(row) for row in rows]
        place = (np.repeat(np.arange(len(rows)), lengths), np.concatenate([np.asarray(row) for row in rows]))
        return csr_matrix((np.ones(sum(lengths)), place), shape=(len(rows), size))

    weights = lsqr(counts(encode(gold.tokenizer, train.text)), train.human_mean, damp=5.0, iter_lim=60)[0]
    controls = gold_controls(
        np.random.default_rng(4), lambda rows: counts(rows) @ weights, gold.tokenizer, held_out, base
    )
    assert controls.pearson > 0.5
    assert any("good good good" in failure for failure in controls.failures)
    assert any("words shuffled" in failure for failure in controls.failures)


def test_unseen_controls_are_not_among_the_kinds_that_gold_trains_on(gold):
    assert not set(HELD_OUT) & set(TRAINED)
    assert sum(TRAINED.values()) == pytest.approx(1)
    texts = control_texts(np.random.default_rng(0), gold.tokenizer, load_rated_text("held-out"), 20)
    assert {corruption.__name__.replace("_", " ") for corruption in HELD_OUT} < {
        name for name, seen in texts if not seen
    }


def test_gold_is_larger_than_the_largest_proxy_and_the_world_is_small(gold, policy):
    largest_proxy = count_parameters(policy)
    assert all(count_parameters(network) > largest_proxy for network in gold.networks().values())
    files = [DATA / "policy" / "model.safetensors", DATA / "gold" / "model.safetensors"]
    assert sum(file.stat().st_size for file in files) < 12e6
    for file in files:
        with safe_open(file, "pt") as weights:
            assert {weights.get_slice(key).get_dtype() for key in weights.keys()} == {"F16"}  # noqa: SIM118


def test_score_does_not_depend_on_batch_padding_or_begin_token(gold, base):
    rows = base[:64]
    expected = gold.score(rows)
    padding = gold.tokenizer.pad_token_id
    np.testing.assert_allclose(gold.score(rows, batch_size=7), expected, atol=1e-4)
    np.testing.assert_allclose(gold.score([row[1:] for row in rows]), expected, atol=1e-4)
    np.testing.assert_allclose(gold.score([[*row, padding, padding] for row in rows]), expected, atol=1e-4)
    np.testing.assert_allclose([gold.score([row])[0] for row in rows[:5]], expected[:5], atol=1e-4)


def test_score_of_a_string_is_the_score_of_its_whole_text(gold):
    text = "A touching, funny film."
    ids = [*gold.tokenizer(text)["input_ids"], gold.tokenizer.eos_token_id]
    np.testing.assert_allclose(gold.score([text]), gold.score([ids]), atol=1e-6)
    assert gold.score([text])[0] > gold.score([ids[:-1]])[0]


def test_score_is_the_stated_function_of_its_components(gold, base):
    parts = gold.components(base)
    assert (parts.score >= LOWEST).all()
    np.testing.assert_array_equal(parts.learned, np.minimum(parts.rating_or_low, parts.rating_if_natural))
    unpenalised = parts.fluency + parts.repetition + parts.repeated_bigrams == 0
    assert unpenalised.any()
    np.testing.assert_array_equal(parts.score[unpenalised], np.maximum(LOWEST, parts.learned[unpenalised]))
    assert np.all(parts.score <= np.maximum(LOWEST, parts.learned))


def test_nll_is_the_language_models_own_loss(gold, base):
    for row in base[:5]:
        ids = torch.tensor([row])
        with torch.inference_mode():
            loss = gold.language_model(input_ids=ids, labels=ids).loss.item()
        assert gold.components([row]).nll[0] == pytest.approx(loss, abs=1e-4)


def test_repeats_count_what_a_dictionary_counts():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, size=50)
    ids = rng.integers(0, 5, size=(50, 12))
    mask = np.arange(12) < lengths[:, None]
    for row, length, (share, bigrams) in zip(ids, lengths, repeats(ids, mask), strict=True):
        tokens = row[:length].tolist()
        pairs = Counter(itertools.pairwise(tokens))
        assert share == pytest.approx(1 - len(set(tokens)) / length)
        assert bigrams == sum(count - 1 for count in pairs.values())


def test_gold_survives_a_round_trip_through_its_folder(gold, base, tmp_path):
    gold.save(tmp_path)
    np.testing.assert_array_equal(GoldRewardModel.from_folder(tmp_path).score(base[:32]), gold.score(base[:32]))


def test_unreadable_folder_and_overlong_text_are_one_line_errors(gold, tmp_path):
    with pytest.raises(InputError, match=r"gold folder must hold gold\.json and model\.safetensors, got"):
        GoldRewardModel.from_folder(tmp_path)
    with pytest.raises(InputError, match=r"a text must have < 256 tokens, got 300\."):
        gold.score([[5] * 300])
