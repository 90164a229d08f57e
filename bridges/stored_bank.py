"""A bank that stays on disk: Parquet read by row group in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.parquet import proxy_column, read_metadata
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.table_files import numbers
from overopt.theory.errors import InputError

__all__ = ["StoredBank"]

_BATCH = 1 << 20


@dataclass(frozen=True)
class StoredBank:
    """A Parquet table of base samples whose prompts are contiguous; one chunk of whole prompts is in memory at a time.

    Attributes
    ----------
    path
        The file.
    columns
        Proxy name -> column.
    prompt_column, sample_column, gold_column, length_column
        Columns of the file; None for ``prompt_column`` makes all rows one pool, None for ``sample_column`` numbers the
        samples as they come.
    file_prompts, file_counts
        The prompts in the file's order and their numbers of samples.
    kept
        Which of them are in the bank, as a mask; None for all.
    """

    path: str
    columns: dict[str, str]
    gold_column: str
    prompt_column: str | None
    sample_column: str | None
    file_prompts: tuple[str, ...]
    file_counts: NDArray[np.int64]
    length_column: str | None = None
    kept: NDArray[np.bool_] | None = None

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        proxies: dict[str, str] | None = None,
        *,
        gold: str = "gold",
        prompt: str | None = "prompt",
        sample: str | None = "sample",
        length: str | None = None,
    ) -> StoredBank:
        """Open a file and read its prompt column once.

        Parameters
        ----------
        proxies
            Proxy name -> column; default: those that :meth:`ScoreBank.write` recorded.

        Raises
        ------
        InputError
            If the file or a column is missing, or a prompt's rows are not contiguous.
        """
        import pyarrow.parquet as pq

        metadata = read_metadata(path)
        if proxies is None:
            if metadata is None or metadata.get("kind") != "ScoreBank":
                raise InputError(f"{path}: `proxies` must name the proxy columns of a table from elsewhere, got none.")
            proxies = {name: proxy_column(name) for name in metadata["proxies"]}
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            for column in (gold, *proxies.values(), prompt, sample, length):
                if column is not None and column not in present:
                    raise InputError(f"{path}: column '{column}' must exist, got {', '.join(present)}.")
            if file.metadata.num_rows == 0:
                raise InputError(f"{path}: at least one row is needed, got none.")
            names, counts = _runs(file, prompt, str(path))
        return cls(str(path), dict(proxies), gold, prompt, sample, names, counts, length)

    def take(self, prompts: NDArray[np.intp]) -> StoredBank:
        """The bank of the prompts at these positions, in the file's order."""
        places = np.arange(len(self.file_prompts)) if self.kept is None else np.flatnonzero(self.kept)
        kept = np.zeros(len(self.file_prompts), dtype=np.bool_)
        kept[places[prompts]] = True
        return replace(self, kept=kept)

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """(K,) names of the prompts, in the file's order."""
        if self.kept is None:
            return self.file_prompts
        return tuple(self.file_prompts[place] for place in np.flatnonzero(self.kept))

    @property
    def counts(self) -> NDArray[np.int64]:
        """(K,) number of samples of each prompt."""
        return self.file_counts if self.kept is None else self.file_counts[self.kept]

    @property
    def proxies(self) -> tuple[str, ...]:
        """Names of the proxies."""
        return tuple(self.columns)

    @property
    def n_prompts(self) -> int:
        """Number of prompts, K."""
        return len(self.prompts)

    @property
    def n_rows(self) -> int:
        """Number of records, R."""
        return int(self.counts.sum())

    @property
    def samples_per_prompt(self) -> int:
        """The smallest number of samples of any prompt."""
        return int(self.counts.min())

    def gold_varies(self) -> bool:
        """Whether gold differs between two samples of any prompt of the file, read only up to the first that do."""
        import pyarrow.parquet as pq

        starts = np.cumsum(self.file_counts)
        row = 0
        last: NDArray[Any] | None = None
        with pq.ParquetFile(self.path) as file:
            for batch in _batches(file, [self.gold_column]):
                values = _numbers(batch[self.gold_column], self.gold_column, self.path, row)
                before = values[:1] if last is None else last
                changes = row + np.flatnonzero(np.diff(values, prepend=before))
                if not np.isin(changes, starts).all():
                    return True
                row += values.size
                last = values[-1:]
        return False

    def chunks(self) -> Iterator[ScoreBank]:
        """Yield the bank in pieces of whole prompts, about a million rows each (or one prompt, if that is larger)."""
        import pyarrow.parquet as pq

        optional = [column for column in (self.sample_column, self.length_column) if column is not None]
        wanted = [self.gold_column, *self.columns.values(), *optional]
        held: list[dict[str, NDArray[Any]]] = []
        first_prompt, held_rows, first_row = 0, 0, 0
        with pq.ParquetFile(self.path) as file:
            for batch in _batches(file, list(dict.fromkeys(wanted))):
                held.append({name: _numbers(batch[name], name, self.path, first_row + held_rows) for name in wanted})
                held_rows += batch.num_rows
                ends = np.cumsum(self.file_counts[first_prompt : first_prompt + held_rows])
                whole = int(np.searchsorted(ends, held_rows, side="right"))
                if whole == 0:
                    continue
                rows = int(ends[whole - 1])
                joined = {name: np.concatenate([part[name] for part in held]) for name in wanted}
                here = {name: values[:rows] for name, values in joined.items()}
                if self.kept is None:
                    yield self._bank(here, first_prompt, whole, first_row)
                elif self.kept[first_prompt : first_prompt + whole].any():
                    chosen = np.flatnonzero(self.kept[first_prompt : first_prompt + whole])
                    yield self._bank(here, first_prompt, whole, first_row).take(chosen)
                held = [{name: values[rows:] for name, values in joined.items()}]
                held_rows -= rows
                first_prompt += whole
                first_row += rows

    def _bank(self, columns: dict[str, NDArray[Any]], first_prompt: int, count: int, first_row: int) -> ScoreBank:
        return ScoreBank.from_codes(
            codes=np.repeat(np.arange(count), self.file_counts[first_prompt : first_prompt + count]),
            prompts=self.file_prompts[first_prompt : first_prompt + count],
            gold=columns[self.gold_column],
            proxies={name: columns[column] for name, column in self.columns.items()},
            sample=None if self.sample_column is None else columns[self.sample_column],
            length=None if self.length_column is None else columns[self.length_column],
            locate=lambda row: f"{self.path}, row {first_row + row + 1}",
        )


def _batches(file: Any, columns: list[str]) -> Iterator[Any]:
    """Record batches, one row group after the other: one iterator over all of them keeps what it has read."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(batch_size=_BATCH, row_groups=[group], columns=columns, use_threads=False)


def _numbers(column: Any, name: str, path: str, first_row: int) -> NDArray[np.float64]:
    """A batch's column under the rules of every other table."""
    import pyarrow as pa

    return numbers(pa.chunked_array([column]), path, name, before=first_row)


def _runs(file: Any, prompt: str | None, path: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names and lengths of the runs of equal prompts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if prompt is None:
        return ("pool",), np.array([file.metadata.num_rows], dtype=np.int64)
    names: list[str] = []
    counts: list[int] = []
    for batch in _batches(file, [prompt]):
        runs = pc.run_end_encode(batch[prompt].cast(pa.string()))
        sizes = np.diff(np.asarray(runs.run_ends), prepend=0)
        for name, size in zip(runs.values.to_pylist(), sizes.tolist(), strict=True):
            if not name:
                raise InputError(
                    f"{path}, row {sum(counts) + 1}, column '{prompt}': must not be empty, got an empty cell."
                )
            if names and names[-1] == name:
                counts[-1] += size
            else:
                names.append(name)
                counts.append(size)
    if len(set(names)) < len(names):
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name in seen:
                row = sum(counts[:index]) + 1
                raise InputError(
                    f"{path}, row {row}, column '{prompt}': a prompt's rows must be contiguous to be streamed, got "
                    f"prompt '{name}' again; sort the table by prompt."
                )
            seen.add(name)
    return tuple(names), np.array(counts, dtype=np.int64)
