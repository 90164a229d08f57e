"""Scored samples of one policy: one row is one record (prompt, sample, gold, one or several proxies)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.bridges.parquet import proxy_column, read_metadata, write_rows
from overopt.theory.errors import InputError

__all__ = ["ScoreBank"]


@dataclass(frozen=True)
class ScoreBank:
    """Scored samples, grouped by prompt. Without a checkpoint they are samples of the *base* policy.

    Attributes
    ----------
    prompt
        (R,) integer code of each row's prompt, non-decreasing; ``prompts[prompt[i]]`` is its name.
    sample
        (R,) sample number within the prompt.
    gold
        (R,) gold reward, in gold's own units.
    proxies
        Name -> (R,) proxy reward, in the proxy's own units.
    prompts
        (K,) names of the prompts.
    length
        (R,) completion length in tokens or characters, or None.
    """

    prompt: NDArray[np.intp]
    sample: NDArray[np.int64]
    gold: NDArray[np.float64]
    proxies: Mapping[str, NDArray[np.float64]]
    prompts: tuple[str, ...]
    length: NDArray[np.float64] | None = None

    @classmethod
    def from_rectangle(
        cls,
        gold: ArrayLike,
        proxies: Mapping[str, ArrayLike],
        prompts: tuple[str, ...] | None = None,
        length: ArrayLike | None = None,
    ) -> ScoreBank:
        """The bank of (K, N) arrays: row k holds the N samples of prompt k, in the same order in every array.

        Raises
        ------
        InputError
            If an array is not (K, N), holds a value that is not finite, or the bank is empty.
        """
        gold_array = _rectangle("gold", gold, None)
        shape = gold_array.shape
        n_prompts, n_samples = shape
        if prompts is not None and len(prompts) != n_prompts:
            raise InputError(f"`prompts` must name gold's {n_prompts} rows, got {len(prompts)} names.")
        return cls(
            prompt=np.repeat(np.arange(n_prompts), n_samples),
            sample=np.tile(np.arange(n_samples, dtype=np.int64), n_prompts),
            gold=gold_array.ravel(),
            proxies={name: _rectangle(f"proxy '{name}'", values, shape).ravel() for name, values in proxies.items()},
            prompts=prompts if prompts is not None else tuple(str(k) for k in range(n_prompts)),
            length=None if length is None else _rectangle("length", length, shape).ravel(),
        )

    @classmethod
    def from_rows(
        cls,
        *,
        prompt: Sequence[object] | NDArray[np.object_] | None,
        gold: ArrayLike,
        proxies: Mapping[str, ArrayLike],
        sample: ArrayLike | None = None,
        length: ArrayLike | None = None,
    ) -> ScoreBank:
        """The bank of records in any order.

        Parameters
        ----------
        prompt
            (R,) the prompt's name; None puts all records into one pool, named ``"pool"``.
        sample
            (R,) the sample's number, unique within a prompt; None numbers the records as they come.

        Raises
        ------
        InputError
            If there is no record, lengths differ, a score is not finite or a (prompt, sample) occurs twice.
        """
        scores = np.asarray(gold, dtype=np.float64)
        if prompt is None:
            codes = np.zeros(scores.size, dtype=np.intp)
            names: tuple[str, ...] = ("pool",)
        else:
            unique, codes = np.unique(np.asarray([str(name) for name in prompt], dtype=np.str_), return_inverse=True)
            names = tuple(str(name) for name in unique)
        return cls.from_codes(codes=codes, prompts=names, gold=scores, proxies=proxies, sample=sample, length=length)

    @classmethod
    def from_codes(
        cls,
        *,
        codes: NDArray[np.intp],
        prompts: tuple[str, ...],
        gold: ArrayLike,
        proxies: Mapping[str, ArrayLike],
        sample: ArrayLike | None = None,
        length: ArrayLike | None = None,
        locate: Callable[[int], str] = "table, record {}".format,
    ) -> ScoreBank:
        """Like :meth:`from_rows`, with each record's prompt given as an index into ``prompts``.

        ``locate`` names a record, given its position, in error messages.
        """
        n_rows = codes.size
        if n_rows == 0:
            raise InputError("a bank needs at least one row, got none.")
        scores = np.asarray(gold, dtype=np.float64)
        proxy_scores = {name: np.asarray(values, dtype=np.float64) for name, values in proxies.items()}
        lengths = None if length is None else np.asarray(length, dtype=np.float64)
        columns = [("gold", scores), *proxy_scores.items(), *([] if lengths is None else [("length", lengths)])]
        for name, values in columns:
            if values.shape != (n_rows,):
                raise InputError(f"column '{name}' must have one value for each of {n_rows} rows, got {values.shape}.")
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                raise InputError(f"{locate(int(bad[0]))}, column '{name}': must be finite, got {values[bad[0]]}.")
        if sample is None:
            order = np.argsort(codes, kind="stable")
            starts = np.searchsorted(codes[order], np.arange(len(prompts)))
            numbers = np.empty(n_rows, dtype=np.int64)
            numbers[order] = np.arange(n_rows) - starts[codes[order]]
        else:
            numbers = np.asarray(sample, dtype=np.int64)
            order = np.lexsort((numbers, codes))
            same = (np.diff(codes[order]) == 0) & (np.diff(numbers[order]) == 0)
            if same.any():
                at = int(np.flatnonzero(same)[0])
                first, second = sorted((int(order[at]), int(order[at + 1])))
                name = " ".join(prompts[codes[second]].split())
                raise InputError(
                    f"{locate(second)}, column 'sample': every (prompt, sample) must occur once, got (prompt "
                    f"'{name}', sample {numbers[second]}) again, as in {locate(first)}."
                )
        used, dense = np.unique(codes[order], return_inverse=True)
        return cls(
            prompt=dense,
            sample=numbers[order],
            gold=scores[order],
            proxies={name: values[order] for name, values in proxy_scores.items()},
            prompts=tuple(prompts[code] for code in used),
            length=None if lengths is None else lengths[order],
        )

    @cached_property
    def offsets(self) -> NDArray[np.intp]:
        """(K + 1,) row at which each prompt starts; the last entry is R."""
        return np.searchsorted(self.prompt, np.arange(len(self.prompts) + 1))

    @property
    def n_prompts(self) -> int:
        """Number of prompts, K."""
        return len(self.prompts)

    @property
    def n_rows(self) -> int:
        """Number of records, R."""
        return int(self.gold.size)

    @cached_property
    def counts(self) -> NDArray[np.intp]:
        """(K,) number of samples of each prompt."""
        return np.diff(self.offsets)

    @cached_property
    def samples_per_prompt(self) -> int:
        """The smallest number of samples of any prompt: best-of-n is defined for every prompt up to this n."""
        return int(self.counts.min())

    def groups(self, proxy: str) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield each prompt's ``(gold, proxy)``, two (N_k,) arrays whose entries belong to the same records."""
        values = self.proxy(proxy)
        for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.gold[start:stop], values[start:stop]

    def proxy(self, name: str) -> NDArray[np.float64]:
        """(R,) values of one proxy.

        Raises
        ------
        InputError
            If the bank has no proxy of that name.
        """
        if name not in self.proxies:
            raise InputError(f"`proxy` must be one of {', '.join(self.proxies)}, got '{name}'.")
        return self.proxies[name]

    def prompt_means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K,) mean of a (R,) column within each prompt."""
        return np.add.reduceat(values, self.offsets[:-1]) / self.counts

    def chunks(self) -> Iterator[ScoreBank]:
        """Yield the whole bank: the one-chunk case of :meth:`StoredBank.chunks`."""
        yield self

    def take(self, prompts: NDArray[np.intp]) -> ScoreBank:
        """The bank of the prompts at these positions, each at most once, in ascending order."""
        chosen = np.unique(prompts)
        kept = self.rows(np.flatnonzero(np.isin(self.prompt, chosen)))
        return replace(
            kept, prompt=np.searchsorted(chosen, kept.prompt), prompts=tuple(self.prompts[k] for k in chosen)
        )

    def rows(self, positions: NDArray[np.intp]) -> ScoreBank:
        """The bank of the records at these ascending positions, at least one of every prompt."""
        return replace(
            self,
            prompt=self.prompt[positions],
            sample=self.sample[positions],
            gold=self.gold[positions],
            proxies={name: values[positions] for name, values in self.proxies.items()},
            length=None if self.length is None else self.length[positions],
        )

    @classmethod
    def concatenate(cls, banks: Sequence[ScoreBank]) -> ScoreBank:
        """The prompts of several banks, none of which share a prompt."""
        first, *more = banks
        if not more:
            return first
        starts = np.cumsum([0, *(bank.n_prompts for bank in banks)])
        lengths = [bank.length for bank in banks if bank.length is not None]
        return cls(
            prompt=np.concatenate([bank.prompt + start for bank, start in zip(banks, starts, strict=False)]),
            sample=np.concatenate([bank.sample for bank in banks]),
            gold=np.concatenate([bank.gold for bank in banks]),
            proxies={name: np.concatenate([bank.proxies[name] for bank in banks]) for name in first.proxies},
            prompts=tuple(name for bank in banks for name in bank.prompts),
            length=np.concatenate(lengths) if len(lengths) == len(banks) else None,
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the bank as Parquet (zstd, byte-stream-split floats, whole prompts per row group), atomically."""
        named = {proxy_column(name): values for name, values in self.proxies.items()}
        columns = {"sample": self.sample, "gold": self.gold, **named}
        if self.length is not None:
            columns["length"] = self.length
        metadata = {"kind": "ScoreBank", "proxies": list(self.proxies), "length": self.length is not None}
        write_rows(path, self.prompts, self.prompt, columns, self.offsets, metadata)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ScoreBank:
        """Read what :meth:`write` wrote; tables from elsewhere are read by :func:`read_tables`.

        Raises
        ------
        InputError
            If the file is missing, unreadable or not a ScoreBank.
        """
        import pyarrow.parquet as pq

        metadata = read_metadata(path)
        if metadata is None or metadata.get("kind") != "ScoreBank":
            raise InputError(f"{path}: must be a Parquet file written by ScoreBank.write; use read_tables for others.")
        table = pq.read_table(path, read_dictionary=["prompt"]).combine_chunks()
        prompt = table["prompt"].chunk(0)
        return cls.from_codes(
            codes=prompt.indices.to_numpy(zero_copy_only=False).astype(np.intp),
            prompts=tuple(prompt.dictionary.to_pylist()),
            sample=table["sample"].to_numpy(),
            gold=table["gold"].to_numpy(),
            proxies={name: table[proxy_column(name)].to_numpy() for name in metadata["proxies"]},
            length=table["length"].to_numpy() if metadata["length"] else None,
            locate=lambda row: f"{path}, row {row + 1}",
        )


def _rectangle(name: str, values: ArrayLike, shape: tuple[int, ...] | None) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"`{name}` must have shape (prompts, samples) with at least one of each, got {array.shape}.")
    if shape is not None and array.shape != shape:
        raise InputError(f"{name} must have gold's shape {shape}, got {array.shape}.")
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        row, column = map(int, bad[0])
        raise InputError(f"{name} must be finite, got {array[row, column]} at prompt {row}, sample {column}.")
    return array
