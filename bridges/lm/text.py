"""Real, human-rated text: the snippets of Hutto and Gilbert (ICWSM 2014), rated by 15 to 99 people each on -4..4."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from overopt.theory.errors import InputError

__all__ = ["HELD_OUT_SNIPPETS", "RATED_TEXT", "RatedText", "load_rated_text", "prompts_from"]

RATED_TEXT = Path(__file__).parent / "data" / "rated_text.parquet"
HELD_OUT_SNIPPETS = 600


@dataclass(frozen=True)
class RatedText:
    """Texts with their human ratings; entry i of every field belongs to text i.

    Attributes
    ----------
    dataset
        ``"movie"``, ``"product"``, ``"editorial"`` or ``"tweet"``.
    text
        The text, white space normalised.
    human_mean
        (R,) mean of its individual ratings on -4..4.
    rating_sd
        (R,) standard deviation of its individual ratings.
    n_raters
        (R,) number of people who rated it.
    """

    dataset: tuple[str, ...]
    text: tuple[str, ...]
    human_mean: NDArray[np.float64]
    rating_sd: NDArray[np.float64]
    n_raters: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.text)

    def take(self, index: NDArray[np.intp]) -> RatedText:
        """The texts numbered `index`, in that order."""
        return RatedText(
            dataset=tuple(self.dataset[i] for i in index),
            text=tuple(self.text[i] for i in index),
            human_mean=self.human_mean[index],
            rating_sd=self.rating_sd[index],
            n_raters=self.n_raters[index],
        )

    def of(self, dataset: str) -> RatedText:
        """Only the texts of one dataset."""
        return self.take(np.flatnonzero(np.array(self.dataset) == dataset))


def load_rated_text(split: str) -> RatedText:
    """The shipped texts of one split.

    ``"train"`` may train anything. ``"held-out"`` holds 600 movie snippets that train nothing: neither the tokenizer,
    the policy nor gold, and no training prompt is taken from them. Copies of held-out texts are in neither.
    """
    if split not in ("train", "held-out"):
        raise InputError(f"`split` must be 'train' or 'held-out', got {split!r}.")
    table = pq.read_table(RATED_TEXT)
    table = table.filter(np.array(table["split"].to_pylist()) == split)
    return RatedText(
        dataset=tuple(table["dataset"].to_pylist()),
        text=tuple(table["text"].to_pylist()),
        human_mean=table["human_mean"].to_numpy().astype(np.float64),
        rating_sd=table["rating_sd"].to_numpy().astype(np.float64),
        n_raters=table["n_raters"].to_numpy().astype(np.int64),
    )


def prompts_from(texts: tuple[str, ...], words: int = 3) -> tuple[str, ...]:
    """The distinct openings of `texts`: the first `words` words of every text that goes on after them."""
    openings = (text.split() for text in texts)
    return tuple(dict.fromkeys(" ".join(opening[:words]) for opening in openings if len(opening) > words))
