"""Gold and proxy of one base policy, on the measurement scale: all that a proxy-only optimizer and its exact answer
need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from overopt.toys.worlds.base_law import BaseLaw, QuantileTable

__all__ = ["Joint", "NullWorld", "Scale"]

Array = NDArray[np.float64]


class NullWorld(Protocol):
    """The world with the same gold and the same error, made independent of each other."""

    def law(self, cuts: Array | None = None) -> BaseLaw:
        """The rebuilt proxy on quadrature nodes, with panel edges at ``cuts``."""
        ...

    def mean(self, proxy: Array) -> Array:
        """``m0(proxy) = E[gold | rebuilt proxy = proxy]``."""
        ...

    def quantile(self, logit: Array) -> Array:
        """Rebuilt proxy at log-odds of rank ``logit``."""
        ...


@dataclass(frozen=True)
class Scale:
    """Which units gold and proxy are in; both have mean 0 under the base policy and gold has SD 1.

    Attributes
    ----------
    kind
        ``slope``: the proxy is divided by its slope on gold, so that ``proxy = gold + error`` with error uncorrelated
        with gold. ``pooled-sd``: the proxy has SD 1; used where that slope is not positive.
    gold_mean, gold_sd, proxy_mean, proxy_unit
        ``(raw - mean) / unit`` is the value on this scale.
    correlation
        Of gold and proxy under the base policy.
    """

    kind: Literal["slope", "pooled-sd"]
    gold_mean: float
    gold_sd: float
    proxy_mean: float
    proxy_unit: float
    correlation: float

    @classmethod
    def of_moments(
        cls, gold_mean: float, gold_sd: float, proxy_mean: float, proxy_sd: float, correlation: float
    ) -> Scale:
        """The slope scale, or the pooled-SD scale where the correlation is not positive."""
        if correlation > 1e-12:
            return cls("slope", gold_mean, gold_sd, proxy_mean, correlation * proxy_sd, correlation)
        return cls("pooled-sd", gold_mean, gold_sd, proxy_mean, proxy_sd, correlation)

    @property
    def slope(self) -> float:
        """Slope of the scaled proxy on the scaled gold: 1 on the slope scale."""
        return 1.0 if self.kind == "slope" else self.correlation

    def gold(self, raw: Array) -> Array:
        """Raw gold on the scale."""
        return np.asarray((raw - self.gold_mean) / self.gold_sd)

    def proxy(self, raw: Array) -> Array:
        """Raw proxy on the scale."""
        return np.asarray((raw - self.proxy_mean) / self.proxy_unit)


@dataclass(frozen=True, eq=False)
class Joint:
    """The base policy's law of (gold, proxy), on ``scale``.

    Attributes
    ----------
    scale
        The measurement scale.
    law
        ``law(cuts)``: the proxy and ``m`` on quadrature nodes, with panel edges at ``cuts``.
    quantile, logit
        Proxy at given log-odds of rank, and back.
    draw_gold
        ``draw_gold(rng, proxy)``: one draw of gold given each proxy value.
    draw_base
        ``draw_base(rng, size)``: gold and proxy of base samples, drawn from the world's own mechanism.
    null
        The null world, or None where the error is independent of gold already.
    largest_tilt
        Supremum of the lambda with ``E exp(lambda proxy)`` finite.
    """

    scale: Scale
    law: Callable[[Array | None], BaseLaw]
    quantile: Callable[[Array], Array]
    logit: Callable[[Array], Array]
    draw_gold: Callable[[np.random.Generator, Array], Array]
    draw_base: Callable[[np.random.Generator, int], tuple[Array, Array]]
    null: NullWorld | None = field(default=None)
    largest_tilt: float = np.inf

    @cached_property
    def quantile_table(self) -> QuantileTable:
        """:attr:`quantile` as a table, for large simulations."""
        return QuantileTable(self.quantile)

    @cached_property
    def base(self) -> BaseLaw:
        """The base law without cuts."""
        return self.law(None)
