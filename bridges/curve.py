"""A measured curve: proxy and gold against optimization pressure, with the covariance across its points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Axis", "ClusterValues", "Curve"]

Axis = Literal["n", "checkpoint", "mean_n", "quantile", "tilt"]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class ClusterValues:
    """What each of C independent clusters contributes to a curve's P points.

    A cluster is a prompt; in a bank of one pool it is a sample or a block of samples (jackknife pseudo-values), so that
    every standard error and every interval is computed in the same way.

    Attributes
    ----------
    gold, proxy
        (C, P) contributions; the curve's value is their mean over clusters.
    base_gold, base_proxy
        (C,) the same under the base policy.
    """

    gold: Array
    proxy: Array
    base_gold: Array
    base_proxy: Array

    @property
    def count(self) -> int:
        """Number of clusters, C."""
        return int(self.gold.shape[0])

    @property
    def gold_gain(self) -> Array:
        """(C, P) gold over the base policy."""
        return self.gold - self.base_gold[:, None]

    @property
    def proxy_gain(self) -> Array:
        """(C, P) proxy over the base policy."""
        return self.proxy - self.base_proxy[:, None]


@dataclass(frozen=True)
class Curve:
    """Proxy and gold at P pressures, measured, never generated from a law. Own units of gold and proxy throughout.

    Attributes
    ----------
    method
        ``"best-of-n"``, ``"checkpoints"``, ...
    axis, pressure
        Name and (P,) values of the optimization parameter, the least optimized point first (a KL coefficient falls).
    kl, kl_kind, kl_standard_error
        (P,) nats, NaN where it is unknown; what kind of KL it is; (P,) standard errors, 0 for an exact value.
    gold, proxy
        (P,) mean rewards; ``proxy`` is NaN where a curve from elsewhere has none.
    base_gold, base_proxy
        The same under the base policy.
    gold_covariance, proxy_covariance, gain_covariance
        (P, P) covariance across points of ``gold``, ``proxy`` and ``gold_gain``, clustered; NaN where unknown.
    clusters
        What the covariances come from, or None for a curve from elsewhere.
    kl_analytic
        (P,) KL without ties, for best-of-n only; an upper bound on ``kl`` (Beirami et al. 2024, Theorem 1).
    """

    method: str
    axis: Axis
    pressure: Array
    kl: Array
    kl_kind: str
    kl_standard_error: Array
    gold: Array
    proxy: Array
    base_gold: float
    base_proxy: float
    gold_covariance: Array
    proxy_covariance: Array
    gain_covariance: Array
    clusters: ClusterValues | None = None
    kl_analytic: Array | None = None

    @classmethod
    def from_clusters(
        cls,
        clusters: ClusterValues,
        *,
        method: str,
        axis: Axis,
        pressure: Array,
        kl: Array,
        kl_kind: str,
        kl_standard_error: Array,
        kl_analytic: Array | None = None,
    ) -> Curve:
        """The curve whose values and covariances are those of its clusters' contributions."""
        return cls(
            method=method,
            axis=axis,
            pressure=pressure,
            kl=kl,
            kl_kind=kl_kind,
            kl_standard_error=kl_standard_error,
            gold=clusters.gold.mean(axis=0),
            proxy=clusters.proxy.mean(axis=0),
            base_gold=float(clusters.base_gold.mean()),
            base_proxy=float(clusters.base_proxy.mean()),
            gold_covariance=_covariance(clusters.gold),
            proxy_covariance=_covariance(clusters.proxy),
            gain_covariance=_covariance(clusters.gold_gain),
            clusters=clusters,
            kl_analytic=kl_analytic,
        )

    @property
    def d(self) -> Array:
        """(P,) ``sqrt(KL)``, the x axis of Gao, Schulman and Hilton 2022; 0 where an estimate of KL is negative."""
        return np.sqrt(np.maximum(self.kl, 0.0))

    @property
    def gold_gain(self) -> Array:
        """(P,) gold over the base policy: the R(d) of the scaling laws, with R(0) = 0."""
        return self.gold - self.base_gold

    @property
    def proxy_gain(self) -> Array:
        """(P,) proxy over the base policy."""
        return self.proxy - self.base_proxy

    @property
    def gold_se(self) -> Array:
        """(P,) standard error of ``gold``."""
        return np.sqrt(np.diagonal(self.gold_covariance))

    @property
    def proxy_se(self) -> Array:
        """(P,) standard error of ``proxy``."""
        return np.sqrt(np.diagonal(self.proxy_covariance))

    @property
    def gain_se(self) -> Array:
        """(P,) standard error of ``gold_gain``: smaller than ``gold_se``, prompts differ less in gain than in level."""
        return np.sqrt(np.diagonal(self.gain_covariance))

    @property
    def proxy_gain_covariance(self) -> Array:
        """(P, P) covariance across points of ``proxy_gain``, clustered; NaN without clusters."""
        if self.clusters is None:
            return np.full_like(self.proxy_covariance, np.nan)
        return _covariance(self.clusters.proxy_gain)

    def in_units(self, gold: float, proxy: float) -> Curve:
        """The same curve with gold and proxy divided by these units."""
        clusters = self.clusters
        if clusters is not None:
            clusters = ClusterValues(
                clusters.gold / gold, clusters.proxy / proxy, clusters.base_gold / gold, clusters.base_proxy / proxy
            )
        return replace(
            self,
            gold=self.gold / gold,
            proxy=self.proxy / proxy,
            base_gold=self.base_gold / gold,
            base_proxy=self.base_proxy / proxy,
            gold_covariance=self.gold_covariance / gold**2,
            proxy_covariance=self.proxy_covariance / proxy**2,
            gain_covariance=self.gain_covariance / gold**2,
            clusters=clusters,
        )

    def take(self, points: NDArray[np.intp]) -> Curve:
        """The curve at some of its points, in ascending order."""
        square = np.ix_(points, points)
        clusters = self.clusters
        if clusters is not None:
            clusters = replace(clusters, gold=clusters.gold[:, points], proxy=clusters.proxy[:, points])
        return replace(
            self,
            pressure=self.pressure[points],
            kl=self.kl[points],
            kl_standard_error=self.kl_standard_error[points],
            gold=self.gold[points],
            proxy=self.proxy[points],
            gold_covariance=self.gold_covariance[square],
            proxy_covariance=self.proxy_covariance[square],
            gain_covariance=self.gain_covariance[square],
            clusters=clusters,
            kl_analytic=None if self.kl_analytic is None else self.kl_analytic[points],
        )

    def to_frame(self) -> pa.Table:
        """One row per point: pressure, kl, kl_kind, d, proxy, proxy_se, gold, gold_se, gold_gain, gain_se."""
        import pyarrow as pa

        columns: dict[str, object] = {
            "method": [self.method] * self.pressure.size,
            self.axis: self.pressure,
            "kl": self.kl,
            "kl_kind": [self.kl_kind] * self.pressure.size,
            "kl_se": self.kl_standard_error,
            "d": self.d,
            "proxy": self.proxy,
            "proxy_se": self.proxy_se,
            "gold": self.gold,
            "gold_se": self.gold_se,
            "gold_gain": self.gold_gain,
            "gain_se": self.gain_se,
        }
        if self.kl_analytic is not None:
            columns["kl_analytic"] = self.kl_analytic
        return pa.table(columns)

    def __str__(self) -> str:
        best = int(np.nanargmax(self.gold))
        reach = f"to KL {np.nanmax(self.kl):.3g} nats ({self.kl_kind})" if np.isfinite(self.kl).any() else "without KL"
        return (
            f"{self.method} curve, {self.pressure.size} points {reach}; gold {self.base_gold:.4g} at base, highest "
            f"measured {self.gold[best]:.4g} at {self.axis} = {self.pressure[best]:g}, {self.gold[-1]:.4g} at the last"
        )


def _covariance(values: Array) -> Array:
    """Covariance of the mean over clusters."""
    count, points = values.shape
    if count < 2:
        return np.full((points, points), np.nan)
    centred = values - values.mean(axis=0)
    covariance: Array = centred.T @ centred / (count * (count - 1))
    return covariance
