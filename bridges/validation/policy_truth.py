"""The true decomposition of a run, from millions of fresh samples and none of the estimator's code."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.validation.policy_worlds import PolicyStep, PolicyWorld

__all__ = ["PolicyTruth"]

Array = NDArray[np.float64]

STRATA = 32
BINS_PER_SD = 25
THINNING = 20
TERMS = ("promise", "regressional", "extremal", "causal", "unattributed", "delivered")


@dataclass(frozen=True)
class _Stratum:
    """Fresh base samples of one kind of prompt with their two regressions, tabulated."""

    gold: Array
    proxy: Array
    m: tuple[Array, Array]
    m0: tuple[Array, Array]


@dataclass(frozen=True)
class _Step:
    """One checkpoint's samples over all strata, sorted by proxy, with running sums of the terms (every 20th)."""

    proxy: Array
    sums: Array


class PolicyTruth:
    """Population values of every term at every checkpoint, in gold SD.

    The first three terms depend on the bank's support, which differs from bank to bank: :meth:`terms` takes it.

    Attributes
    ----------
    gold_sd, proxy_unit
        The units of the scale ``slope``.
    path_shift
        (T,) cumulative shift along the path.
    """

    def __init__(self, world: PolicyWorld, rng: np.random.Generator, records: int = 2_000_000) -> None:
        strata = [_stratum(world, rng, (k + 0.5) / STRATA, records // STRATA) for k in range(STRATA)]
        covariance = sum(float(np.mean(s.gold * s.proxy)) for s in strata)
        variance = sum(float(np.mean(s.gold**2)) for s in strata)
        self.gold_sd = sum(_gini(s.gold) for s in strata) / STRATA
        self.proxy_unit = covariance / variance * self.gold_sd
        self._steps = [self._tabulate(strata, step) for step in world.steps]
        shifts, before = [], PolicyStep(0.0)
        for step in world.steps:
            shifts.append(_path_shift(strata, before, step) / self.gold_sd)
            before = step
        self.path_shift = np.cumsum(shifts)

    def _tabulate(self, strata: list[_Stratum], step: PolicyStep) -> _Step:
        columns = []
        for stratum in strata:
            weight = _tilted(stratum, step.tilt) / len(strata)
            gold = (stratum.gold + step.gold_shift) / self.gold_sd
            proxy = stratum.proxy + step.proxy_shift
            m, m0 = (np.interp(proxy, *table) / self.gold_sd for table in (stratum.m, stratum.m0))
            columns.append(np.stack([proxy, *(weight * x for x in (proxy / self.proxy_unit, gold, m, m0))]))
        table = np.concatenate(columns, axis=1)
        table = table[:, np.argsort(table[0])]
        sums = np.concatenate([np.zeros((4, 1)), np.cumsum(table[1:], axis=1)], axis=1)
        kept = np.unique(np.append(np.arange(0, table.shape[1], THINNING), table.shape[1]))
        return _Step(table[0, kept[:-1]], sums[:, kept])

    def terms(self, step: int, support: tuple[float, float]) -> dict[str, float]:
        """The terms at one checkpoint for a bank with this support, in the proxy's own units over the base mean."""
        table = self._steps[step]
        start, stop = (
            np.searchsorted(table.proxy, support[0], "left"),
            np.searchsorted(table.proxy, support[1], "right"),
        )
        proxy, gold, m, m0 = table.sums[:, stop] - table.sums[:, start]
        all_proxy, all_gold = table.sums[0, -1], table.sums[1, -1]
        values = (all_proxy, proxy - m0, m0 - m, m - gold, (all_proxy - proxy) - (all_gold - gold), all_gold)
        return dict(zip(TERMS, map(float, values), strict=True))


def _stratum(world: PolicyWorld, rng: np.random.Generator, prompt: float, count: int) -> _Stratum:
    position = np.array([[prompt]])
    gold, proxy = (rows[0] for rows in world.bank.draw(rng, position, count))
    other_gold, other_proxy = (rows[0] for rows in world.bank.draw(rng, position, count))
    gold, proxy = gold - gold.mean(), proxy - proxy.mean()
    slope = float(np.mean(gold * proxy) / np.mean(gold**2))
    other = (other_proxy - other_proxy.mean()) - slope * (other_gold - other_gold.mean())
    return _Stratum(gold, proxy, _regression(proxy, gold), _regression(slope * gold + other, gold))


def _regression(x: Array, y: Array) -> tuple[Array, Array]:
    """Mean y against mean x in narrow bins."""
    cell = np.floor(x * BINS_PER_SD / x.std()).astype(np.int64)
    _, index, count = np.unique(cell, return_inverse=True, return_counts=True)
    return np.bincount(index, weights=x) / count, np.bincount(index, weights=y) / count


def _tilted(stratum: _Stratum, tilt: float) -> Array:
    weight = np.exp(tilt * (stratum.proxy - stratum.proxy.max()))
    return np.asarray(weight / weight.sum())


def _path_shift(strata: list[_Stratum], before: PolicyStep, after: PolicyStep) -> float:
    """``E_after[g - m_before]``: the checkpoint before has ``m_before(p) = m(p - proxy shift) + gold shift``."""
    total = 0.0
    for stratum in strata:
        weight = _tilted(stratum, after.tilt)
        moved = stratum.proxy + after.proxy_shift - before.proxy_shift
        expected = np.interp(moved, *stratum.m) + before.gold_shift
        total += float(weight @ (stratum.gold + after.gold_shift - expected))
    return total / len(strata)


def _gini(values: Array) -> float:
    n = values.size
    return float(np.sort(values) @ (2.0 * np.arange(1, n + 1) - n - 1) / (n * (n - 1) / 2) * math.sqrt(math.pi) / 2)
