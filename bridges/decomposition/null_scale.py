"""The scale of the proxy on which the null world adds gold and error: the proxy's own, or its normal scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from overopt.bridges.best_of_n_weights import best_of_n_weights
from overopt.bridges.decomposition.blocks import Block, is_coarse, scatter
from overopt.bridges.decomposition.residual_permutation import null_gold
from overopt.bridges.decomposition.scale import MeasurementScale

__all__ = ["NullScale", "choose_null_scale"]

PROBE_N = 16
MISMATCH = 0.1
STANDARD_ERRORS = 3.0
PERMUTATIONS = 4


@dataclass(frozen=True)
class NullScale:
    """Where ``proxy = c gold + e`` is taken to hold.

    Attributes
    ----------
    normal_scores
        On the within-prompt normal scores of the proxy instead of the proxy itself.
    coarse
        Because the proxy is coarse (:func:`is_coarse`); otherwise because its own scale is bent.
    probe_n, mismatch
        The promise at ``probe_n`` minus that of the null world on the proxy's own scale, gold SD; None where the proxy
        is coarse.
    """

    normal_scores: bool
    coarse: bool
    probe_n: int
    mismatch: float | None


def choose_null_scale(blocks: list[Block], units: MeasurementScale, rng: np.random.Generator) -> NullScale:
    """Normal scores where the proxy is coarse or where adding gold and error cannot make its own order statistics.

    Best-of-n does not see a monotone transform of the proxy, an additive null does: of ``exp(gold + noise)`` it calls
    .56 SD extremal at n = 16 where nothing is. Such a bend shows in the promise: the null world's best of 16, rebuilt
    from the proxy's own values, promises .6 SD too little (exp) or too much (sigmoid; trained reward models, which
    saturate: .6 to 1.8). Where it misses by more than .1 SD and three standard errors, the null is built on normal
    scores. Additive worlds stay well within (Student t3 noise .04, exponential noise .03), and for heavy or skewed
    noise their own scale is the right one: normal scores would call .14 to .17 SD extremal at n = 128.
    """
    if is_coarse([(block.gold, block.proxy) for block in blocks]):
        return NullScale(True, True, 0, None)
    n = min(PROBE_N, *(block.gold.shape[1] for block in blocks))
    parts = []
    for block in blocks:
        weights = best_of_n_weights(block.gold.shape[1], n)[:, None]
        null = null_gold(block.gold, block.proxy, weights, rng, permutations=PERMUTATIONS, null_banks=0)
        parts.append(np.sort(block.proxy, axis=1) @ weights - null.proxy)
    missed = units.scale_proxy(scatter(blocks, parts))[:, 0]
    mismatch = float(missed.mean())
    error = float(missed.std(ddof=1)) / math.sqrt(missed.size) if missed.size > 1 else 0.0
    return NullScale(abs(mismatch) > max(MISMATCH, STANDARD_ERRORS * error), False, n, mismatch)
