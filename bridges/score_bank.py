"""Scored samples of one policy: one row is one record (prompt, sample, gold, one or several proxies)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        cls, gold: ArrayLike, proxies: Mapping[str, ArrayLike], prompts: tuple[str, ...] | None = None
    ) -> ScoreBank:
        """The bank of (K, N) arrays: row k holds the N samples of prompt k, in the same order in every array."""
        gold_array = np.asarray(gold, dtype=np.float64)
        if gold_array.ndim != 2:
            raise InputError(f"`gold` must have shape (prompts, samples), got shape {gold_array.shape}.")
        n_prompts, n_samples = gold_array.shape
        columns: dict[str, NDArray[np.float64]] = {}
        for name, values in proxies.items():
            array = np.asarray(values, dtype=np.float64)
            if array.shape != gold_array.shape:
                raise InputError(f"proxy '{name}' must have gold's shape {gold_array.shape}, got {array.shape}.")
            columns[name] = array.ravel()
        return cls(
            prompt=np.repeat(np.arange(n_prompts), n_samples),
            sample=np.tile(np.arange(n_samples, dtype=np.int64), n_prompts),
            gold=gold_array.ravel(),
            proxies=columns,
            prompts=prompts if prompts is not None else tuple(str(k) for k in range(n_prompts)),
        )

    @cached_property
    def offsets(self) -> NDArray[np.intp]:
        """(K + 1,) row at which each prompt starts; the last entry is R."""
        return np.searchsorted(self.prompt, np.arange(len(self.prompts) + 1))

    @property
    def n_prompts(self) -> int:
        """Number of prompts, K."""
        return len(self.prompts)

    @cached_property
    def samples_per_prompt(self) -> int:
        """The smallest number of samples of any prompt: best-of-n is defined for every prompt up to this n."""
        return int(np.diff(self.offsets).min())

    def groups(self, proxy: str) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield each prompt's ``(gold, proxy)``, two (N_k,) arrays whose entries belong to the same records."""
        values = self.proxies[proxy]
        for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.gold[start:stop], values[start:stop]
