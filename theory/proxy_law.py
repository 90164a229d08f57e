"""The proxy's law under the base policy, as a quantile function of the log-odds of rank.

A policy that looks at the proxy only sees its rank, so everything is integrated over `z = log F - log(1 - F)`: the
quantile `u(z)` is evaluated from the smaller tail and keeps its relative accuracy to ranks of `1 - e^-350`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError
from overopt.theory.numerics import ROOT_TOLERANCES, SUM_DISTANCE

__all__ = [
    "ContinuousLaw",
    "FrozenLaw",
    "Mixture",
    "ProxyLaw",
    "density_law",
    "log_cdf_of_logit",
    "log_sf_of_logit",
    "proxy_law",
]

Array = NDArray[np.float64]


def log_cdf_of_logit(logit: ArrayLike) -> Array:
    """`log F` at `logit = log F - log(1 - F)`."""
    z = np.asarray(logit, dtype=float)
    result: Array = -np.logaddexp(0.0, -z)
    return result


def log_sf_of_logit(logit: ArrayLike) -> Array:
    """`log(1 - F)` at `logit = log F - log(1 - F)`."""
    return log_cdf_of_logit(-np.asarray(logit, dtype=float))


class ContinuousLaw(Protocol):
    """What is used of a frozen distribution of `scipy.stats`."""

    def ppf(self, q: Any) -> Any: ...
    def isf(self, q: Any) -> Any: ...
    def logpdf(self, x: Any) -> Any: ...
    def logcdf(self, x: Any) -> Any: ...
    def logsf(self, x: Any) -> Any: ...


class ProxyLaw(Protocol):
    """A continuous law without atoms."""

    def quantile(self, logit: Array) -> Array:
        """Proxy value at log-odds of rank `logit`; increasing."""
        ...

    def logit(self, value: Array) -> Array:
        """Log-odds of the rank of `value`."""
        ...


@dataclass(frozen=True)
class FrozenLaw:
    """A frozen continuous distribution of `scipy.stats`."""

    distribution: ContinuousLaw

    def quantile(self, logit: Array) -> Array:
        z = np.asarray(logit, dtype=float)
        upper = z > 0
        value = np.empty_like(z)
        with np.errstate(over="ignore", divide="ignore"):
            value[upper] = self.distribution.isf(np.exp(log_sf_of_logit(z[upper])))
            value[~upper] = self.distribution.ppf(np.exp(log_cdf_of_logit(z[~upper])))
        return value

    def logit(self, value: Array) -> Array:
        with np.errstate(invalid="ignore"):
            result: Array = np.asarray(self.distribution.logcdf(value)) - np.asarray(self.distribution.logsf(value))
        return result

    def log_density(self, value: Array) -> Array:
        if self._student_t is None:
            return np.asarray(self.distribution.logpdf(value), dtype=float)
        df, centre, scale, log_peak = self._student_t
        result: Array = log_peak - (df + 1) / 2 * np.log1p(((value - centre) / scale) ** 2 / df)
        return result

    @cached_property
    def _student_t(self) -> tuple[float, float, float, float] | None:
        """Degrees of freedom, centre, scale and log-density there of a Student t, None for other laws.

        scipy computes the norming constant anew at every point: half of the time of a sum's convolution.
        """
        from scipy.stats import t as student_t  # a scipy distribution is at hand: this costs nothing then

        kind = getattr(self.distribution, "dist", None)
        if not isinstance(kind, type(student_t)):
            return None
        frozen: Any = self.distribution
        given = {
            "loc": 0.0,
            "scale": 1.0,
            **dict(zip(("df", "loc", "scale"), frozen.args, strict=False)),
            **frozen.kwds,
        }
        if not all(np.ndim(part) == 0 and np.isfinite(part) for part in given.values()):
            return None
        return float(given["df"]), float(given["loc"]), float(given["scale"]), float(frozen.logpdf(given["loc"]))


@dataclass(frozen=True)
class Mixture:
    """`sum_i weight_i law_i`, a finite mixture of laws of `scipy.stats`.

    Parameters
    ----------
    weights : positive, shape (components,), sum 1.
    components : frozen continuous distributions.
    """

    weights: tuple[float, ...]
    components: tuple[ContinuousLaw, ...]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.components) or not self.components:
            raise InputError(
                f"`weights` must have one entry per component, got {len(self.weights)} for {len(self.components)}."
            )
        if min(self.weights) <= 0 or abs(sum(self.weights) - 1) > SUM_DISTANCE:
            raise InputError(f"`weights` must be > 0 and sum to 1, got {self.weights}.")

    def _mix(self, log_values: list[Array]) -> Array:
        stacked = np.stack([np.log(w) + v for w, v in zip(self.weights, log_values, strict=True)])
        result: Array = np.logaddexp.reduce(stacked, axis=0)
        return result

    def logpdf(self, value: ArrayLike) -> Array:
        return self._mix([np.asarray(law.logpdf(value), dtype=float) for law in self.components])

    def logcdf(self, value: ArrayLike) -> Array:
        return self._mix([np.asarray(law.logcdf(value), dtype=float) for law in self.components])

    def logsf(self, value: ArrayLike) -> Array:
        return self._mix([np.asarray(law.logsf(value), dtype=float) for law in self.components])

    def log_density(self, value: Array) -> Array:
        return self.logpdf(value)

    def logit(self, value: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return self.logcdf(value) - self.logsf(value)

    def quantile(self, logit: Array) -> Array:
        from scipy.optimize import elementwise

        z = np.asarray(logit, dtype=float)
        by_component = np.stack([FrozenLaw(law).quantile(z) for law in self.components])
        low, high = by_component.min(axis=0), by_component.max(axis=0)
        with np.errstate(invalid="ignore", over="ignore"):
            found = elementwise.find_root(
                lambda u, target: self.logit(u) - target,
                (low, high),
                args=(z,),
                tolerances=ROOT_TOLERANCES,
            )
        value: Array = np.where(low == high, low, found.x)
        return value

    def ppf(self, q: ArrayLike) -> Array:
        p = np.asarray(q, dtype=float)
        with np.errstate(divide="ignore"):
            return self.quantile(np.log(p) - np.log1p(-p))

    def isf(self, q: ArrayLike) -> Array:
        p = np.asarray(q, dtype=float)
        with np.errstate(divide="ignore"):
            return self.quantile(np.log1p(-p) - np.log(p))


def density_law(law: Any) -> FrozenLaw | Mixture:
    """`law` if it is a `Mixture` or `FrozenLaw`, else the `FrozenLaw` of a frozen distribution of `scipy.stats`."""
    if isinstance(law, FrozenLaw | Mixture):
        return law
    if not (hasattr(law, "isf") and hasattr(law, "logpdf")):
        raise InputError(f"`law` must be a frozen continuous distribution of scipy.stats or a Mixture, got {law!r}.")
    return FrozenLaw(law)


def proxy_law(law: Any) -> ProxyLaw:
    """`law` itself if it is a `ProxyLaw`, else the `FrozenLaw` of a frozen distribution of `scipy.stats`."""
    if hasattr(law, "quantile") and hasattr(law, "logit"):
        accepted: ProxyLaw = law
        return accepted
    return density_law(law)
