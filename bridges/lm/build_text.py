"""Build ``data/rated_text.parquet`` from the vaderSentiment source distribution: the only step that needs the sdist.

pip download --no-binary :all: --no-deps vaderSentiment==3.3.2
python -m overopt.bridges.lm.build_text vaderSentiment-3.3.2.tar.gz
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from overopt.bridges.lm.text import HELD_OUT_SNIPPETS, RATED_TEXT
from overopt.theory.errors import InputError

__all__ = ["build_text"]

_INNER_ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
_FILES = {
    "movie": "movieReviewSnippets",
    "product": "amazonReviewSnippets",
    "editorial": "nytEditorialSnippets",
    "tweet": "tweets",
}
_SHORTEST_HELD_OUT = 6


def build_text(sdist: Path, destination: Path = RATED_TEXT) -> pa.Table:
    """Join texts with their individual ratings, mark the held-out movie snippets, write one Parquet table.

    ``human_mean`` and ``rating_sd`` are computed from the individual ratings: 199 tweets of the sdist's own
    ``GroundTruth`` file carry a mean that is not the mean of their ratings.

    Parameters
    ----------
    sdist
        ``vaderSentiment-3.3.2.tar.gz`` from PyPI.
    destination
        The Parquet file to write.

    Raises
    ------
    InputError
        When `sdist` cannot be read or lacks the rated texts.
    """
    files = _inner_archive(sdist)
    rows = [row for name, stem in _FILES.items() for row in _rated(files, name, stem)]
    held_out = _held_out(rows)
    taken = {_normal(text) for dataset, identity, text, _ in rows if (dataset, identity) in held_out}
    split = [
        "held-out" if (dataset, identity) in held_out else "excluded" if _normal(text) in taken else "train"
        for dataset, identity, text, _ in rows
    ]
    table = pa.table(
        {
            "dataset": pa.array([row[0] for row in rows]).dictionary_encode(),
            "id": [row[1] for row in rows],
            "text": [row[2] for row in rows],
            "human_mean": np.array([row[3].mean() for row in rows], dtype=np.float32),
            "rating_sd": np.array([row[3].std() for row in rows], dtype=np.float32),
            "n_raters": np.array([len(row[3]) for row in rows], dtype=np.uint8),
            "split": pa.array(split).dictionary_encode(),
        }
    )
    pq.write_table(table, destination, compression="zstd", compression_level=19)
    return table


def _inner_archive(sdist: Path) -> dict[str, str]:
    """Name without folder -> text of every rated-text file in the sdist's archive of the ICWSM 2014 data."""
    wanted = {f"{stem}_{kind}.txt" for stem in _FILES.values() for kind in ("GroundTruth", "anonDataRatings")}
    try:
        with tarfile.open(sdist) as outer:
            name = next(member for member in outer.getnames() if member.endswith(_INNER_ARCHIVE))
            inner = outer.extractfile(name)
            data = inner.read() if inner else b""
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = [member for member in archive if Path(member.name).name in wanted]
            files = {Path(member.name).name: archive.extractfile(member) for member in members}
            return {name: file.read().decode("utf-8-sig") for name, file in files.items() if file}
    except (OSError, tarfile.TarError, StopIteration) as error:
        raise InputError(
            f"`sdist` must be the vaderSentiment 3.3.2 source distribution, got {sdist} ({error})."
        ) from None


def _rated(files: dict[str, str], dataset: str, stem: str) -> Iterator[tuple[str, str, str, np.ndarray]]:
    texts = [line.split("\t") for line in files[f"{stem}_GroundTruth.txt"].split("\n") if line.strip()]
    lines = [line.split("\t") for line in files[f"{stem}_anonDataRatings.txt"].split("\n") if line.strip()]
    ratings = {line[0]: np.array(json.loads(line[3]), dtype=np.float64) for line in lines}
    for identity, _, text in texts:
        yield dataset, identity, " ".join(text.split()), ratings[identity]


def _held_out(rows: list[tuple[str, str, str, np.ndarray]]) -> set[tuple[str, str]]:
    """The movie snippets with the smallest SHA-256: a draw that no version of a random generator can change."""
    distinct = {
        _normal(row[2]): row[:2] for row in rows if row[0] == "movie" and len(row[2].split()) >= _SHORTEST_HELD_OUT
    }
    ranked = sorted(distinct, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    return {distinct[text] for text in ranked[:HELD_OUT_SNIPPETS]}


def _normal(text: str) -> str:
    return text.lower().strip(" .!'\"")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m overopt.bridges.lm.build_text vaderSentiment-3.3.2.tar.gz")
    built = build_text(Path(sys.argv[1]))
    print(f"{RATED_TEXT}: {built.num_rows} rated texts")
