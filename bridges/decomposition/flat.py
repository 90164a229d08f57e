"""Samples of one policy as flat records, measured from the base policy's mean reward at the same prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.score_bank import ScoreBank
from overopt.theory.errors import InputError

__all__ = ["FlatSamples", "flat_samples", "sum_by"]

Array = NDArray[np.float64]


def sum_by(code: NDArray[np.intp], values: Array, size: int) -> Array:
    """(size,) sums of ``values`` over the records of each code."""
    return np.asarray(np.bincount(code, weights=values, minlength=size), dtype=np.float64)


@dataclass(frozen=True)
class FlatSamples:
    """Records of one policy.

    Attributes
    ----------
    prompt
        (R,) index of the base bank's prompt.
    gold, proxy
        (R,) gains over the base policy's mean at that prompt, in their own units.
    weight
        (R,) ``1 / (K M_k)``: every prompt counts the same; sums to 1.
    n_prompts
        K.
    """

    prompt: NDArray[np.intp]
    gold: Array
    proxy: Array
    weight: Array
    n_prompts: int

    @property
    def samples_per_prompt(self) -> NDArray[np.intp]:
        """(K,) number of records of each prompt."""
        return np.bincount(self.prompt, minlength=self.n_prompts)

    def per_prompt(self, values: Array) -> Array:
        """(K,) contributions whose mean over prompts is the weighted mean of ``values``."""
        return sum_by(self.prompt, self.weight * values, self.n_prompts) * self.n_prompts

    def recentred(self, on: FlatSamples) -> FlatSamples:
        """The same records measured from the prompt means of ``on``."""
        gold, proxy = on.per_prompt(on.gold), on.per_prompt(on.proxy)
        return FlatSamples(
            self.prompt, self.gold - gold[self.prompt], self.proxy - proxy[self.prompt], self.weight, self.n_prompts
        )


def flat_samples(bank: ScoreBank, proxy: str, base: ScoreBank) -> FlatSamples:
    """The records of ``bank`` measured from the prompt means of ``base``.

    Raises
    ------
    InputError
        If the two do not have the same prompts, or ``bank`` lacks the proxy.
    """
    if proxy not in bank.proxies:
        raise InputError(f"`proxy` must be one of {', '.join(bank.proxies)}, got '{proxy}'.")
    if set(bank.prompts) != set(base.prompts):
        odd = sorted(set(bank.prompts) ^ set(base.prompts))[0]
        raise InputError(f"checkpoints must have the base bank's prompts; '{odd}' is in only one of the two.")
    index = {name: code for code, name in enumerate(base.prompts)}
    code = np.array([index[name] for name in bank.prompts], dtype=np.intp)[bank.prompt]
    n_prompts = base.n_prompts

    def prompt_means(values: Array) -> Array:
        return np.asarray(sum_by(base.prompt, values, n_prompts) / np.bincount(base.prompt, minlength=n_prompts))

    count = np.bincount(code, minlength=n_prompts)
    return FlatSamples(
        prompt=code,
        gold=bank.gold - prompt_means(base.gold)[code],
        proxy=bank.proxies[proxy] - prompt_means(base.proxies[proxy])[code],
        weight=1.0 / (n_prompts * count[code]),
        n_prompts=n_prompts,
    )
