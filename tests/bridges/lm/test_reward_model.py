"""Proxy reward models: TRL trains them on exactly the ids that are scored; batching and padding change no score."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lm extra is not installed")

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

from overopt.bridges.lm.preferences import label_pairs, read_pairs, write_pairs
from overopt.bridges.lm.proxies import fit_proxy
from overopt.bridges.lm.proxy_base import start_proxy
from overopt.bridges.lm.recipe import ProxySize
from overopt.bridges.lm.recipes import recipe_named
from overopt.bridges.lm.reward_model import LabelledPairs, RewardModel, RewardTraining, train_reward_model
from overopt.bridges.lm.world import EMBEDDED, WorldSource
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm


def classifier(labels: int = 1) -> LlamaForSequenceClassification:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32, pad_token_id=0, num_labels=labels, initializer_range=0.3,
    )  # fmt: skip
    return LlamaForSequenceClassification(config)


def completions(rng: np.random.Generator, count: int) -> list[list[int]]:
    return [rng.integers(3, 50, size=rng.integers(2, 9)).tolist() for _ in range(count)]


def score(row: list[int]) -> float:
    """A planted gold: the share of even tokens."""
    return float(np.mean([token % 2 == 0 for token in row]))


def labelled(count: int) -> LabelledPairs:
    rng = np.random.default_rng(0)
    pairs = [sorted(pair, key=score) for pair in zip(completions(rng, count), completions(rng, count), strict=True)]
    pairs = [pair for pair in pairs if score(pair[0]) != score(pair[1])]
    margins = np.array([score(good) - score(bad) for bad, good in pairs])
    return LabelledPairs([[1, 7]] * len(pairs), [good for _, good in pairs], [bad for bad, _ in pairs], margins)


@pytest.fixture(scope="module")
def tokenizer():
    return PreTrainedTokenizerFast.from_pretrained(EMBEDDED / "policy")


def test_training_learns_a_planted_preference_and_the_untrained_model_has_none(tokenizer):
    pairs = labelled(2400)
    training, held_out = pairs.take(slice(0, 1600)), pairs.take(slice(1600, None))
    before = RewardModel(classifier()).held_out(held_out)
    model = train_reward_model(0, classifier(), tokenizer, training, RewardTraining(learning_rate=2e-2, epochs=4))
    after = RewardModel(model).held_out(held_out)
    assert abs(before.accuracy - 0.5) < 5 * before.accuracy_se
    assert after.accuracy > 0.5 + 5 * after.accuracy_se
    assert after.loss < before.loss
    swapped = LabelledPairs(held_out.prompts, held_out.rejected, held_out.chosen, held_out.gold_margin)
    assert RewardModel(model).held_out(swapped).accuracy == pytest.approx(1 - after.accuracy)


def test_same_seed_same_weights(tokenizer):
    def weights(seed: int) -> torch.Tensor:
        model = train_reward_model(seed, classifier(), tokenizer, labelled(80), RewardTraining(batch_size=16))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_a_score_is_its_rows_alone():
    rng = np.random.default_rng(1)
    rows, prompts = completions(rng, 40), completions(rng, 40)
    model = classifier()
    together = RewardModel(model)(prompts, rows)
    alone = np.concatenate([RewardModel(model)([p], [r]) for p, r in zip(prompts, rows, strict=True)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    order = rng.permutation(40)
    shuffled = RewardModel(model, batch_size=7)([prompts[i] for i in order], [rows[i] for i in order])
    np.testing.assert_allclose(shuffled, together[order], atol=1e-5)


def test_the_head_reads_the_last_real_token():
    model = classifier()
    with torch.inference_mode():
        hidden = model.model(torch.tensor([[1, 7, 9, 11]])).last_hidden_state[0, -1]
        expected = float(model.score(hidden))
    assert RewardModel(model)([[1, 7], [1]], [[9, 11], [2, 3, 4, 5, 6]])[0] == pytest.approx(expected, abs=1e-5)


def test_two_labels_are_refused():
    with pytest.raises(InputError, match="must have 1 label, got 2"):
        RewardModel(classifier(labels=2))


def test_labels_are_golds_choice_and_survive_the_file(tmp_path):
    from tabular_policy import EOS, LONGEST, PAD, PROMPT, TabularPolicy, reward_table

    def gold(prompts, rows):
        return np.array([reward_table(row) for row in rows])

    pairs = label_pairs(
        np.random.default_rng(0), TabularPolicy(0), gold, [[PROMPT], [3, PROMPT]], 60,
        max_new_tokens=LONGEST, eos=EOS, pad=PAD,
    )  # fmt: skip
    assert len(pairs) == 60
    for chosen, rejected, margin in zip(pairs.chosen, pairs.rejected, pairs.gold_margin, strict=True):
        assert reward_table(chosen) - reward_table(rejected) == pytest.approx(margin)
        assert margin > 0
    write_pairs(tmp_path / "pairs.parquet", pairs)
    again = read_pairs(tmp_path / "pairs.parquet")
    assert [list(row) for row in again.chosen] == [list(row) for row in pairs.chosen]
    np.testing.assert_array_equal(again.gold_margin, pairs.gold_margin)


def test_a_gold_that_never_differs_is_refused():
    from tabular_policy import EOS, LONGEST, PAD, PROMPT, TabularPolicy

    with pytest.raises(InputError, match="equal scores"):
        label_pairs(
            np.random.default_rng(0), TabularPolicy(0), lambda p, c: np.zeros(len(c)), [[PROMPT]], 5,
            max_new_tokens=LONGEST, eos=EOS, pad=PAD,
        )  # fmt: skip


def test_private_members_share_no_weight_and_the_others_all_but_their_heads():
    size = ProxySize("41k", width=10, layers=1)

    def weights(seed, private):
        torch.manual_seed(seed)
        return start_proxy(WorldSource(), size, private=private)[0].state_dict()

    shared, own = ([weights(seed, private) for seed in (0, 1)] for private in (False, True))
    for name, first in shared[0].items():
        assert first.dtype == torch.float32
        assert torch.equal(first, shared[1][name]) == (name != "score.weight"), name
        if not name.endswith("norm.weight"):
            assert not torch.equal(own[0][name], own[1][name]), name
            assert not torch.equal(own[0][name], first), name
    again = weights(0, private=True)
    assert all(torch.equal(again[name], value) for name, value in own[0].items())


def test_a_proxy_is_made_as_its_kind_says(tmp_path, monkeypatch):
    asked = []

    def start(source, size, *, private):
        asked.append(private)
        raise InterruptedError

    monkeypatch.setattr("overopt.bridges.lm.proxies.start_proxy", start)
    ensembles = recipe_named("ensembles")
    for proxy in ensembles.trained:
        with pytest.raises(InterruptedError):
            fit_proxy((0, 1), WorldSource(), ensembles, proxy, labelled(4), tmp_path)
    assert asked == [proxy.variant == "private" for proxy in ensembles.trained]
    assert any(asked)
