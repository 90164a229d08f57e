"""Base policies with finitely many outputs per prompt: policies are tables of probabilities and every expectation is a
sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.curve import ToyPoint

__all__ = ["FiniteBase", "mean_kl"]

Array = NDArray[np.float64]


def mean_kl(policy: Array, base: Array) -> float:
    """Mean over prompts of ``SUM_a policy log(policy / base)``, in nats; both (K, A)."""
    live = policy > 0
    ratio = np.ones_like(policy)
    np.divide(policy, base, out=ratio, where=live)
    return max(float((policy * np.log(ratio)).sum() / policy.shape[0]), 0.0)


@dataclass(frozen=True, eq=False)
class FiniteBase:
    """K prompts with A outputs each; arrays of shape (K, A), rewards on the measurement scale.

    Attributes
    ----------
    probability
        Base policy, rows sum to 1.
    proxy
        Proxy of every output.
    gold
        Gold of every output, as drawn.
    mean_gold
        ``m(proxy)``: gold's expectation given the proxy, over the draw of the table.
    null_gold
        ``m0(proxy)``: the same where the error is independent of gold.
    """

    probability: Array
    proxy: Array
    gold: Array
    mean_gold: Array
    null_gold: Array

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        return np.argsort(self.proxy, axis=1)

    def select_by_rank(self, rank_sf: Array) -> Array:
        """Policy from its survival function of rank: ``rank_sf[k, i]`` beyond the (i+1)-th smallest level, ties shared.

        Parameters
        ----------
        rank_sf
            (K, A) values at :attr:`sorted_sf`.
        """
        above = np.concatenate([np.ones((rank_sf.shape[0], 1)), rank_sf[:, :-1]], axis=1) - rank_sf
        ordered_base = np.take_along_axis(self.probability, self._order, axis=1)
        ordered = np.take_along_axis(self.proxy, self._order, axis=1)
        if (np.diff(ordered, axis=1) == 0).any():
            above = _shared_over_ties(above, ordered_base, ordered)
        policy = np.empty_like(above)
        np.put_along_axis(policy, self._order, above, axis=1)
        return policy

    @cached_property
    def sorted_sf(self) -> Array:
        """(K, A) base probability of the outputs ranked above each one, worst first."""
        ordered = np.take_along_axis(self.probability, self._order, axis=1)
        above = np.cumsum(ordered[:, ::-1], axis=1)[:, ::-1] - ordered
        return np.clip(above, 0.0, 1.0)

    def reweight(self, log_ratio: Array) -> Array:
        """Policy proportional to ``probability exp(log_ratio)``."""
        with np.errstate(under="ignore"):
            weight = self.probability * np.exp(log_ratio - log_ratio.max(axis=1, keepdims=True))
        return np.asarray(weight / weight.sum(axis=1, keepdims=True))

    def point(self, pressure: float, policy: Array) -> ToyPoint:
        """Exact terms of a policy (K, A), gains over the base policy averaged over prompts.

        ``gold`` is the policy's gold in this table, ``gold_exact`` its expectation over tables with the same proxies;
        their difference has the standard error of the residuals ``gold - m(proxy)``.
        """
        if not np.isfinite(policy).all():
            raise InputError(f"`pressures` must leave the policy finite, got {pressure:g}.")
        change = policy - self.probability
        prompts = change.shape[0]

        def gain(values: Array) -> float:
            return float((change * values).sum() / prompts)

        promise, delivered, null = gain(self.proxy), gain(self.mean_gold), gain(self.null_gold)
        residual = ((change * (self.gold - self.mean_gold)) ** 2).sum()
        kl = mean_kl(policy, self.probability)
        return ToyPoint(
            pressure=pressure, kl=kl, d=math.sqrt(kl), proxy=promise, gold=gain(self.gold), gold_exact=delivered,
            gold_se=math.sqrt(residual) / prompts, promise=promise, regressional=promise - null, extremal=null -
            delivered, causal=0.0, unattributed=0.0, delivered=delivered, proxy_se=0.0,
        )  # fmt: skip


def _shared_over_ties(policy: Array, base: Array, proxy: Array) -> Array:
    """Within each level of the proxy the policy is proportional to the base policy; rows sorted by proxy."""
    starts = np.concatenate([np.ones((proxy.shape[0], 1), dtype=bool), np.diff(proxy, axis=1) > 0], axis=1)
    first = np.flatnonzero(starts.ravel())
    sizes = np.diff(np.append(first, proxy.size))
    ratio = np.add.reduceat(policy.ravel(), first) / np.add.reduceat(base.ravel(), first)
    return np.repeat(ratio, sizes).reshape(policy.shape) * base
