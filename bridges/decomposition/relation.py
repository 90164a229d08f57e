"""The relation between gold and proxy at one policy: a slope per prompt and one pooled shape of the residual."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.decomposition.blocks import Block
from overopt.bridges.decomposition.flat import FlatSamples, sum_by
from overopt.bridges.decomposition.local_linear import LocalLinear, Support
from overopt.bridges.decomposition.residual_permutation import (
    has_no_error,
    normal_scores,
    rank_linear_part,
    restore_levels,
    split_on_gold,
)
from overopt.bridges.decomposition.shrunken_slopes import shrunken_slopes

__all__ = ["Relation", "fit_null_relation", "fit_relation"]

Array = NDArray[np.float64]

MAX_NULL_RECORDS = 2_000_000
"""Bounds the memory, about 150 bytes a record; smaller banks are permuted 16 times."""


class Relation:
    """``m(p) = a_k p + r(p)`` for prompt k: ``E[gold | proxy = p]`` of the samples it was fitted on.

    One pooled m makes a false causal term of +.62 SD where gold's scale varies by prompt; the slope per prompt removes
    it.

    Attributes
    ----------
    slopes
        (K,) shrunken slopes a_k.
    shape
        (G,) r on the support's grid.
    """

    def __init__(self, slopes: Array, smoother: LocalLinear, gold: Array, prompt: NDArray[np.intp]) -> None:
        self.slopes = slopes
        self._smoother = smoother
        self._prompt = prompt
        residual = gold - slopes[prompt] * smoother.x
        self.shape = smoother.fit(residual)
        self._remainder = residual - smoother.support.interpolate(self.shape, smoother.x)

    def at(self, samples: FlatSamples) -> Array:
        """(R,) m at each record of ``samples``; beyond the support the prompt's slope goes on and r stays."""
        support = self._smoother.support
        return self.slopes[samples.prompt] * samples.proxy + support.interpolate(self.shape, samples.proxy)

    def expectation(self, samples: FlatSamples, weight: Array) -> Array:
        """(K,) contributions whose mean is ``sum(weight * m)``; the sampling error of m is laid on its prompts."""
        n_prompts = self.slopes.size
        own = sum_by(samples.prompt, weight * self.at(samples), n_prompts) * n_prompts
        mass = self._smoother.support.mass(samples.proxy, weight)
        fitted = self._smoother.sample_weights(mass) * self._remainder
        influence = sum_by(self._prompt, fitted, n_prompts) * n_prompts
        return np.asarray(own + influence - influence.mean())


def fit_relation(samples: FlatSamples, support: Support) -> Relation:
    """m of the policy that ``samples`` come from."""
    x, y = samples.proxy, samples.gold
    xx, xy, yy = (sum_by(samples.prompt, values, samples.n_prompts) for values in (x * x, x * y, y * y))
    slopes = shrunken_slopes(xx, xy, yy, samples.samples_per_prompt)
    return Relation(slopes, LocalLinear(support, samples.proxy), samples.gold, samples.prompt)


def fit_null_relation(
    blocks: list[Block],
    slopes: Array,
    support: Support,
    rng: np.random.Generator,
    *,
    by_rank: bool,
    permutations: int = 16,
) -> Relation:
    """m0: the same regression in the world where the proxy's error is independent of gold.

    The residuals of each prompt are permuted, the proxy is rebuilt (``by_rank``: from normal scores, each rank with its
    observed value; see :func:`choose_null_scale`) and
    all permutations are regressed together, with the slopes and bandwidths of m, so that smoothing biases both alike.
    """
    records = sum(block.gold.size for block in blocks)
    count = max(2, min(permutations, MAX_NULL_RECORDS // records))
    proxies, golds, prompts = [], [], []
    for block in blocks:
        levels = np.sort(block.proxy, axis=1)
        scaled = normal_scores(block.proxy) if by_rank else block.proxy
        linear, error = split_on_gold(block.gold, scaled, has_no_error(block.gold, block.proxy))
        if by_rank:
            linear = rank_linear_part(block.gold, linear, error, rng)
        for _ in range(count):
            rebuilt = linear + rng.permuted(error, axis=1)
            if by_rank:
                restore_levels(rebuilt, levels)
            proxies.append(rebuilt.ravel())
            golds.append(block.gold.ravel())
            prompts.append(np.repeat(block.prompts, block.gold.shape[1]))
    x, y, prompt = np.concatenate(proxies), np.concatenate(golds), np.concatenate(prompts)
    return Relation(slopes, LocalLinear(support, x), y, prompt)
