"""Corruptions: each does what its name says, and keeps or breaks what it claims."""

import numpy as np
import pytest

pytest.importorskip("transformers")

from overopt.bridges.lm import corrupt
from overopt.bridges.lm.corrupt import HELD_OUT, TRAINED, Pool, corrupted

pytestmark = pytest.mark.lm

BOS, EOS, VOCABULARY = 1, 2, 60
OPENS_WORD = np.arange(VOCABULARY) % 2 == 0


@pytest.fixture
def pool():
    rng = np.random.default_rng(1)
    rows = [[BOS, *rng.integers(4, VOCABULARY, size=rng.integers(8, 30)).tolist(), EOS] for _ in range(40)]
    return Pool.of(rows, np.linspace(-4, 4, 40), OPENS_WORD, BOS, EOS)


def test_words_open_at_word_tokens_and_lose_nothing():
    pool = Pool.of([[BOS, 4, 5, 6, 8, 9, 11, EOS]], np.array([2.0]), OPENS_WORD, BOS, EOS)
    assert pool.texts == [[(4, 5), (6,), (8, 9, 11)]]
    assert pool.praise == pool.words


@pytest.mark.parametrize("corruption", [*TRAINED, *HELD_OUT], ids=lambda corruption: corruption.__name__)
def test_corrupted_text_opens_once_ends_at_most_once_and_fits(pool, corruption):
    rng = np.random.default_rng(2)
    for words in pool.texts:
        row = corrupted(rng, corruption, words, pool, longest=48)
        assert len(row) <= 48
        assert row[0] == BOS
        assert BOS not in row[1:]
        assert EOS not in row[:-1]
        assert max(row) < VOCABULARY


@pytest.mark.parametrize(
    "name", ["word_shuffle", "half_shuffle", "reversed_words", "sorted_words", "neighbours_swapped"]
)
def test_reorderings_keep_the_words_and_change_the_order(pool, name):
    rng = np.random.default_rng(3)
    changed = 0
    for words in pool.texts:
        spoiled = getattr(corrupt, name)(rng, words, pool)
        assert sorted(spoiled) == sorted(words)
        changed += spoiled != words
    assert changed >= 0.9 * len(pool.texts)


def test_loops_repeat_and_stubs_stop_short(pool):
    rng = np.random.default_rng(4)
    for words in pool.texts:
        looped = [token for word in corrupt.loop(rng, words, pool) for token in word]
        assert len(set(looped)) < len(looped)
        for shortened in (corrupt.stub(rng, words, pool), corrupt.unfinished(rng, words, pool)):
            assert shortened == words[: len(shortened)]
            assert len(shortened) < len(words)
        assert corrupt.doubled_words(rng, words, pool)[::2] == words


def test_unfinished_texts_never_carry_the_end_token_and_stubs_always_do(pool):
    rng = np.random.default_rng(5)
    for words in pool.texts:
        assert corrupted(rng, corrupt.unfinished, words, pool, 48)[-1] != EOS
        assert corrupted(rng, corrupt.stub, words, pool, 48)[-1] == EOS
