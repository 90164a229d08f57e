"""Ways to spoil a text: gold learns that these are bad, and is tested on others that it never saw.

Every corruption takes ``(rng, words, pool)`` and returns words. A *word* is a tuple of token ids (a byte-level BPE
token that opens with a space opens a word); a text is a list of words without begin and end tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["HELD_OUT", "TRAINED", "Pool", "corrupted"]

Word = tuple[int, ...]
Words = list[Word]


@dataclass(frozen=True)
class Pool:
    """What corruptions draw from.

    Attributes
    ----------
    texts
        Human texts as words.
    words
        Every word of the texts, as often as it occurs.
    praise
        Every word of the texts that people rated above 1.5.
    vocabulary
        Number of token ids; ids below `special` are never drawn.
    bos, eos
        Ids that open and close a text.
    """

    texts: Sequence[Words]
    words: Words
    praise: Words
    vocabulary: int
    special: int
    bos: int
    eos: int

    @classmethod
    def of(
        cls,
        rows: Sequence[Sequence[int]],
        ratings: NDArray[np.float64],
        opens_word: NDArray[np.bool_],
        bos: int,
        eos: int,
    ) -> Pool:
        """The pool of human texts given as token ids; ``opens_word[id]`` says which ids open a word."""
        texts = [_words(row, opens_word, {bos, eos}) for row in rows]
        return cls(
            texts=texts,
            words=[word for text in texts for word in text],
            praise=[word for text, rating in zip(texts, ratings, strict=True) if rating > 1.5 for word in text],
            vocabulary=opens_word.size,
            special=max(bos, eos) + 1,
            bos=bos,
            eos=eos,
        )


def _words(row: Sequence[int], opens_word: NDArray[np.bool_], skip: set[int]) -> Words:
    words: list[list[int]] = []
    for token in row:
        if token in skip:
            continue
        if opens_word[token] or not words:
            words.append([token])
        else:
            words[-1].append(token)
    return [tuple(word) for word in words]


Corruption = Callable[[np.random.Generator, Words, Pool], Words]


def _shuffled(rng: np.random.Generator, items: Words) -> Words:
    return [items[i] for i in rng.permutation(len(items))]


def _drawn(rng: np.random.Generator, items: Words, size: int) -> Words:
    return [items[i] for i in rng.integers(len(items), size=size)]


def _tokens(words: Words) -> Words:
    return [(token,) for word in words for token in word]


def word_shuffle(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """All words in random order."""
    return _shuffled(rng, words)


def half_shuffle(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """The second half of the words in random order."""
    half = len(words) // 2
    return words[:half] + _shuffled(rng, words[half:])


def loop(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """A real opening of 0 to 8 words, then a span of 1 to 5 tokens again and again."""
    tokens = _tokens(words)
    width = int(rng.integers(1, 6))
    start = int(rng.integers(max(1, len(tokens) - width)))
    span = tokens[start : start + width]
    opening = words[: int(rng.integers(9))]
    return opening + span * (1 + int(rng.integers(6, 28)) // max(1, len(span)))


def few_tokens(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """A real opening of 0 to 4 words, then random order over 2 to 6 tokens of the text."""
    few = _shuffled(rng, _tokens(words))[: int(rng.integers(2, 7))]
    return words[: int(rng.integers(5))] + _drawn(rng, few, int(rng.integers(8, 28)))


def span_repeated(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """A span of 2 to 5 words said 2 to 4 times inside a text that goes on."""
    width = int(rng.integers(2, 6))
    start = int(rng.integers(max(1, len(words) - width)))
    span = words[start : start + width]
    return words[:start] + span * int(rng.integers(2, 5)) + words[start + width :]


def unigram_salad(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """Words drawn by frequency, half of the time from praise only."""
    source = pool.praise if rng.random() < 0.5 else pool.words
    return _drawn(rng, source, int(rng.integers(3, 25)))


def uniform_tokens(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """Tokens drawn uniformly from the vocabulary."""
    return [(int(token),) for token in rng.integers(pool.special, pool.vocabulary, size=int(rng.integers(3, 28)))]


def tokens_replaced(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """A share of 25% to 70% of the words replaced by others."""
    replace = rng.random(len(words)) < rng.uniform(0.25, 0.7)
    others = _drawn(rng, pool.words, len(words))
    return [other if hit else word for word, other, hit in zip(words, others, replace, strict=True)]


def texts_mixed(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """The words of two texts, each word from either at random."""
    other = pool.texts[int(rng.integers(len(pool.texts)))]
    width = min(len(words), len(other))
    pick = rng.random(width) < 0.5
    return [a if hit else b for a, b, hit in zip(words[:width], other[:width], pick, strict=True)]


def stub(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """The first 0 to 5 words, ended there."""
    return words[: min(int(rng.integers(6)), len(words) - 1)]


def unfinished(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """A real opening that does not end (the caller adds no end token)."""
    return words[: max(1, int(len(words) * rng.uniform(0.3, 0.9)))]


def texts_interleaved(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """Two texts, one word of each in turn."""
    other = pool.texts[int(rng.integers(len(pool.texts)))]
    return [word for pair in zip(words, other, strict=False) for word in pair]


def neighbours_swapped(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """Every word changes places with its neighbour."""
    return [word for i in range(0, len(words), 2) for word in words[i : i + 2][::-1]]


TRAINED: Mapping[Corruption, float] = MappingProxyType(
    {
        loop: 0.15,
        word_shuffle: 0.14,
        few_tokens: 0.10,
        neighbours_swapped: 0.08,
        span_repeated: 0.08,
        unigram_salad: 0.06,
        tokens_replaced: 0.06,
        unfinished: 0.08,
        texts_interleaved: 0.06,
        uniform_tokens: 0.06,
        half_shuffle: 0.05,
        texts_mixed: 0.04,
        stub: 0.04,
    }
)
"""Corruptions that gold trains on, with their shares of the negatives."""

_ENDED: Mapping[Corruption, float] = {
    span_repeated: 1.0,
    texts_mixed: 1.0,
    tokens_replaced: 1.0,
    half_shuffle: 1.0,
    stub: 1.0,
    unfinished: 0.0,
}


def reversed_words(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """The words from last to first."""
    return words[::-1]


def sorted_words(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """The words in the order of their token ids."""
    return sorted(words)


def doubled_words(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """Every word twice."""
    return [word for word in words for _ in range(2)]


def text_twice(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """The whole text, then the whole text again."""
    return (words * 2)[:46]


def subwords_shuffled(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """All tokens in random order, so that words break apart too."""
    return _shuffled(rng, _tokens(words))


def filler_between_words(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """One and the same frequent word after every word."""
    filler = _drawn(rng, pool.words, 1)[0]
    return [word for original in words for word in (original, filler)]


def words_spelled_backwards(rng: np.random.Generator, words: Words, pool: Pool) -> Words:
    """The tokens of the whole text from last to first."""
    return _tokens(words)[::-1]


HELD_OUT: tuple[Corruption, ...] = (
    reversed_words,
    sorted_words,
    doubled_words,
    text_twice,
    subwords_shuffled,
    filler_between_words,
    words_spelled_backwards,
)
"""Corruptions that no gold trains on."""


def corrupted(rng: np.random.Generator, corruption: Corruption, words: Words, pool: Pool, longest: int) -> list[int]:
    """Token ids of the corrupted text, begin token first, ended as that corruption ends, cut at `longest`."""
    end = [pool.eos] if rng.random() < _ENDED.get(corruption, 0.5 if corruption in TRAINED else 1.0) else []
    spoiled = [token for word in corruption(rng, words, pool) for token in word]
    return [pool.bos, *spoiled, *end][:longest]
