"""A world that a proxy-only policy can see: the proxy's base law and `m(u) = E[gold | proxy = u]`.

Any policy that reweights base samples by their proxy value has `E_pi[gold] = E_pi[m(proxy)]`: the pair (law, m) fixes
its proxy, its gold and its KL exactly, whatever else gold depends on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overopt.theory.numerics import BULK_LOGITS, LARGEST_VALUE, MAX_LOG_N, ORDER, RANK_EDGES, SLOWEST_DECAY, VALUE_FLOOR
from overopt.theory.panels import panel_nodes, refine
from overopt.theory.proxy_law import ProxyLaw, log_cdf_of_logit, log_sf_of_logit, proxy_law

__all__ = ["ExactCurve", "RankGrid", "World", "rank_importance"]

Array = NDArray[np.float64]


def rank_importance(logit: Array) -> Array:
    """Largest mass, up to a constant, that best-of-n with n <= e^40 gives to a unit interval at `logit`."""
    weight: Array = np.exp(np.minimum(0.0, np.minimum(logit, MAX_LOG_N - logit)))
    return weight


@dataclass(frozen=True, eq=False)
class ExactCurve:
    """Proxy and gold expectation of one optimizer against its exact divergence from the base policy.

    All arrays have the shape of `pressure`. `kl` is `KL(policy || base)` in nats, `chi2` is `E_base[(ratio)^2] - 1`,
    `win_rate` is the probability that a policy sample beats a base sample on the proxy.
    """

    method: str
    pressure: Array
    kl: Array
    chi2: Array
    win_rate: Array
    proxy: Array
    gold: Array

    @property
    def d(self) -> Array:
        """`sqrt(KL)`, the paper's axis."""
        root: Array = np.sqrt(self.kl)
        return root

    def columns(self) -> dict[str, Array]:
        """Named columns, for a table."""
        names = ("pressure", "kl", "d", "chi2", "win_rate", "proxy", "gold")
        return {name: np.atleast_1d(getattr(self, name)) for name in names}


@dataclass(frozen=True, eq=False)
class RankGrid:
    """Quadrature over the base policy's rank: flat arrays of shape (nodes,), in increasing rank.

    `mass` sums to 1; `proxy` and `gold` are the proxy value and `m` there.
    """

    edges: Array
    logit: Array
    log_cdf: Array
    log_sf: Array
    mass: Array
    proxy: Array
    gold: Array


@dataclass(frozen=True, eq=False)
class World:
    """Proxy law and conditional mean.

    Parameters
    ----------
    proxy : a frozen continuous distribution of `scipy.stats` or any `ProxyLaw`.
    gold : `m(u) = E[gold | proxy = u]`, vectorised over `u`.
    """

    proxy: Any
    gold: Callable[[Array], Any]

    @cached_property
    def law(self) -> ProxyLaw:
        return proxy_law(self.proxy)

    @cached_property
    def grid(self) -> RankGrid:
        """Panels over the log-odds of rank that resolve both the proxy value and gold."""

        def values(logit: Array) -> Array:
            u = self.law.quantile(logit)
            return np.stack([u, np.broadcast_to(np.asarray(self.gold(u), dtype=float), u.shape)])

        ends = np.abs(self.law.quantile(RANK_EDGES))
        usable = RANK_EDGES[(ends < LARGEST_VALUE) | (np.abs(RANK_EDGES) < MAX_LOG_N)]
        value_floor = VALUE_FLOOR * np.abs(values(BULK_LOGITS)).max(axis=1)
        edges, (u, m) = refine(values, usable, importance=rank_importance, floor=value_floor)
        logit, weight = panel_nodes(edges)
        log_cdf, log_sf = log_cdf_of_logit(logit), log_sf_of_logit(logit)
        return RankGrid(
            edges=edges,
            logit=logit.ravel(),
            log_cdf=log_cdf.ravel(),
            log_sf=log_sf.ravel(),
            mass=(weight * np.exp(log_cdf + log_sf)).ravel(),
            proxy=u.ravel(),
            gold=m.ravel(),
        )

    def expectation(self, log_ratio: Array, values: Array) -> Array:
        """`E_policy[values]` for policies with density `exp(log_ratio)` against the base policy.

        Parameters
        ----------
        log_ratio : shape (policies, nodes) on the nodes of `grid`.
        values : shape (nodes,).

        Returns
        -------
        shape (policies,); `inf` or `-inf` where the tail integral diverges, `nan` where both tails do.
        """
        grid = self.grid
        inside: Array = np.exp(log_ratio) @ (grid.mass * values)
        upper = self.beyond(log_ratio, values, upper=True)
        lower = self.beyond(log_ratio, values, upper=False)
        with np.errstate(invalid="ignore"):
            total: Array = inside + (upper + lower)
        return total

    def beyond(self, log_ratio: Array, values: Array, *, upper: bool) -> Array:
        """Integral beyond the last edge.

        The density is continued as an exponential, `values` as an exponential or a line, whichever meets the middle of
        the last panel more closely: power tails are the one in the log-odds of rank, exponential tails the other.
        """
        z, panel = self.grid.logit, slice(-ORDER, None) if upper else slice(ORDER - 1, None, -1)
        depth, (first, middle, last) = np.abs(z[panel]), values[panel][[0, ORDER // 2, -1]]
        reach, share = depth[-1] - depth[0], (depth[ORDER // 2] - depth[0]) / (depth[-1] - depth[0])
        rest = abs(self.grid.edges[-1 if upper else 0]) - depth[-1]
        growth = (log_ratio[..., panel][..., -1] - log_ratio[..., panel][..., 0]) / reach
        slope, log_slope = (last - first) / reach, 0.0
        if first * last > 0 and first != last:
            geometric = first * (last / first) ** share
            if abs(geometric - middle) < abs(first + (last - first) * share - middle):
                slope, log_slope = 0.0, np.log(last / first) / reach
        decay = 1 - growth - log_slope
        exists = decay > SLOWEST_DECAY
        log_size = log_ratio[..., panel][..., -1] - depth[-1] - decay * rest
        with np.errstate(over="ignore"):
            size = np.exp(log_size) / np.where(exists, decay, 1.0)
            total = size * (last + slope * (rest + 1 / np.where(exists, decay, 1.0)))
        result: Array = np.where(exists, total, np.copysign(np.inf, last) if last else 0.0)
        return result

    def mean(self, log_ratio: Array) -> tuple[Array, Array]:
        """Proxy and gold expectation, each of shape (policies,)."""
        return self.expectation(log_ratio, self.grid.proxy), self.expectation(log_ratio, self.grid.gold)
