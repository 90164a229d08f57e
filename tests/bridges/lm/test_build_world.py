"""The one rebuild command, at a hundredth of its effort: every artefact is there, loads, and is described."""

import json

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from overopt.bridges.lm.build_world import build_world
from overopt.bridges.lm.gold import GoldRewardModel
from overopt.bridges.lm.measure_world import write_model_card
from overopt.bridges.lm.text import RATED_TEXT, load_rated_text

pytestmark = [pytest.mark.lm, pytest.mark.smoke]

DATA = RATED_TEXT.parent


def test_world_builds_completely_and_an_untrained_gold_fails_its_controls(tmp_path):
    seen = {}

    def progress(stage, done, total):
        seen[stage] = (done, total)

    build_world(tmp_path / "world", progress=progress, effort=0.01)
    assert {"policy", "gold language model", "rating_or_low", "rating_if_natural"} < set(seen)
    assert all(done == total for done, total in seen.values())
    assert {path.name for path in (tmp_path / "world").iterdir()} == {path.name for path in DATA.iterdir()} - {
        "NOTICE",
        "rated_text.parquet",
    }
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "world" / "policy")
    shipped = AutoTokenizer.from_pretrained(DATA / "policy")
    assert tokenizer.get_vocab() == shipped.get_vocab()
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "world" / "policy", dtype=torch.float32)
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert np.isfinite(GoldRewardModel.from_folder(tmp_path / "world" / "gold").score(["A good film."])).all()
    metrics = json.loads((tmp_path / "world" / "metrics.json").read_text())
    assert metrics["controls"]["gold"]["failures"]


def test_model_card_says_what_the_metrics_say(tmp_path):
    (tmp_path / "metrics.json").write_text((DATA / "metrics.json").read_text())
    write_model_card(tmp_path)
    assert (tmp_path / "MODEL_CARD.md").read_text() == (DATA / "MODEL_CARD.md").read_text()


def test_tokenizer_reads_held_out_text_without_loss_but_case():
    tokenizer = AutoTokenizer.from_pretrained(DATA / "policy")
    for text in load_rated_text("held-out").text[:100]:
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True).strip() == text.lower()
