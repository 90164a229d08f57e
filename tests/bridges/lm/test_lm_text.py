"""The rated texts that every model of the embedded world is trained on."""

import numpy as np
import pytest

from overopt.bridges.lm.build_text import build_text
from overopt.bridges.lm.text import HELD_OUT_SNIPPETS, load_rated_text, prompts_from
from overopt.theory.errors import InputError


def test_every_text_of_the_source_is_there_with_ratings_on_the_scale():
    train, held_out = load_rated_text("train"), load_rated_text("held-out")
    counts = {name: len(train.of(name)) for name in ("movie", "product", "editorial", "tweet")}
    assert counts == {"movie": 10605 - HELD_OUT_SNIPPETS, "product": 3708, "editorial": 5190, "tweet": 4200}
    assert set(held_out.dataset) == {"movie"}
    for texts in (train, held_out):
        assert np.abs(texts.human_mean).max() <= 4
        assert texts.n_raters.min() >= 15
        assert texts.n_raters.max() <= 99
        # A mean of -4..4 ratings with this spread: the variance cannot exceed that of a two-point law on the ends.
        assert np.all(texts.rating_sd**2 <= (4 - texts.human_mean) * (4 + texts.human_mean) + 1e-4)


def test_no_held_out_text_is_also_trained_on():
    train = {text.lower().strip(" .!'\"") for text in load_rated_text("train").text}
    assert not train & {text.lower().strip(" .!'\"") for text in load_rated_text("held-out").text}


def test_prompts_are_distinct_openings_that_the_text_continues():
    texts = ("One two three four", "One two three five", "Only two")
    assert prompts_from(texts) == ("One two three",)
    assert prompts_from(texts, words=2) == ("One two",)


def test_unknown_split_and_unreadable_source_are_one_line_errors(tmp_path):
    with pytest.raises(InputError, match=r"`split` must be 'train' or 'held-out', got 'test'\."):
        load_rated_text("test")
    wrong = tmp_path / "other.tar.gz"
    wrong.write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"`sdist` must be the vaderSentiment 3\.3\.2 source distribution"):
        build_text(wrong, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
