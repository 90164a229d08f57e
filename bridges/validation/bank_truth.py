"""The true decomposition of best-of-n in a world, from millions of fresh samples and none of the estimator's code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from overopt.bridges.decomposition.scale import FEW_LEVELS
from overopt.bridges.validation.worlds import BankWorld

__all__ = ["BankTruth", "bank_truth"]

Array = NDArray[np.float64]

STRATA = 64
PROBE_N = 16
MISMATCH = 0.1


@dataclass(frozen=True)
class BankTruth:
    """Population values at each n, (J,) arrays in gold SD on the scale in force.

    Attributes
    ----------
    promise, regressional, extremal, delivered
        The terms.
    gold_sd
        Gold's unit as :func:`fit_scale` defines it, gold's own units.
    slope
        Within-prompt slope of proxy on gold.
    """

    promise: Array
    regressional: Array
    extremal: Array
    delivered: Array
    gold_sd: float
    slope: float


def bank_truth(world: BankWorld, n: Sequence[int], rng: np.random.Generator, records: int = 2_000_000) -> BankTruth:
    """Average over equally likely prompt strata; winners from the density ``n u^(n-1)`` of the best rank's quantile u.

    The null world pairs each sample's gold with the residual of *another, fresh* sample at the population's slope, on
    the proxy's own scale or, where that world's best of 16 misses the proxy's by more than .1 gold SD, on its normal
    scores; there, what the same construction makes of the null world itself is taken off. Where the error is
    independent of gold, or the proxy is cut or bent from such a one, the null is the truth: extremal is 0.
    """
    per_prompt = records // STRATA
    quantile = (np.arange(per_prompt) + 0.5) / per_prompt
    weights = np.column_stack([size * quantile ** (size - 1) / per_prompt for size in n])
    prompt = ((np.arange(STRATA) + 0.5) / STRATA)[:, None]
    probe = PROBE_N * quantile ** (PROBE_N - 1) / per_prompt
    totals = np.zeros((5, len(n)))
    missed = 0.0
    covariance = variance = gold_sd = proxy_sd = 0.0
    levels = 0
    for stratum in prompt:
        gold, proxy = (rows[0] for rows in world.draw(rng, stratum[None, :], per_prompt))
        other_gold, other_proxy = (rows[0] for rows in world.draw(rng, stratum[None, :], per_prompt))
        gold_mean, proxy_mean = gold.mean(), proxy.mean()
        slope = float(np.cov(gold, proxy)[0, 1] / gold.var())
        covariance += slope * gold.var()
        variance += gold.var()
        gold_sd += _gini(gold)
        levels = max(levels, np.unique(gold).size)
        proxy_sd += _gini(proxy)
        jitter = rng.random(per_prompt)
        order = np.lexsort((jitter, proxy))
        rebuilt = slope * (gold - gold_mean) + (other_proxy - slope * other_gold)
        missed += float((proxy[order] - proxy_mean) @ probe - (np.sort(rebuilt) - rebuilt.mean()) @ probe) / STRATA
        by_scores = _rebuilt_on_scores(gold, proxy, other_gold, other_proxy)
        third_gold, third_proxy = (rows[0] for rows in world.draw(rng, stratum[None, :], per_prompt))
        other_by_scores = _rebuilt_on_scores(other_gold, other_proxy, third_gold, third_proxy)
        again = _rebuilt_on_scores(gold, by_scores, other_gold, other_by_scores)
        totals[0] += (proxy[order] - proxy_mean) @ weights
        totals[1] += (gold[np.argsort(rebuilt)] - gold_mean) @ weights
        totals[2] += (gold[order] - gold_mean) @ weights
        totals[3] += (gold[np.argsort(by_scores)] - gold_mean) @ weights
        totals[4] += (gold[np.argsort(again)] - gold_mean) @ weights
    totals /= STRATA
    gold_sd, proxy_sd, pooled = gold_sd / STRATA, proxy_sd / STRATA, covariance / variance
    if levels < FEW_LEVELS:
        gold_sd = math.sqrt(variance / STRATA)
    proxy_unit = pooled * gold_sd if pooled > 0 else proxy_sd
    promise, null, delivered = totals[0] / proxy_unit, totals[1] / gold_sd, totals[2] / gold_sd
    if world.kind in ("independent", "coarse", "monotone"):
        null = delivered
    elif abs(missed) / proxy_unit > MISMATCH:
        null = (2 * totals[3] - totals[4]) / gold_sd
    return BankTruth(promise, promise - null, null - delivered, delivered, gold_sd, pooled)


def _rebuilt_on_scores(gold: Array, proxy: Array, other_gold: Array, other_proxy: Array) -> Array:
    """Normal scores of the proxy, their error exchanged for that of another sample of the same world."""
    scores, other_scores = (special.ndtri((stats.rankdata(p) - 0.5) / p.size) for p in (proxy, other_proxy))
    slope = float(np.cov(gold, scores)[0, 1] / gold.var())
    return np.asarray(slope * (gold - gold.mean()) + (other_scores - slope * (other_gold - other_gold.mean())))


def _gini(values: Array) -> float:
    n = values.size
    ranks = 2.0 * np.arange(1, n + 1) - n - 1
    return float(np.sort(values) @ ranks / (n * (n - 1) / 2) * math.sqrt(math.pi) / 2)
