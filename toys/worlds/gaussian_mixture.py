"""Base policies that are finite mixtures of bivariate normals of (gold, proxy): everything in closed form.

The null world of such a mixture is one again, with a component for every pair of a gold and an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp

from overopt.toys.worlds.closed_form_law import ClosedFormLaw
from overopt.toys.worlds.joint import Joint, Scale

__all__ = ["GaussianMixture"]

Array = NDArray[np.float64]

_REACH = np.linspace(-18.0, 18.0, 73)


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A mixture of C bivariate normal laws of (gold, proxy), in raw units.

    Attributes
    ----------
    weights
        (C,) component probabilities, sum 1.
    gold_mean, proxy_mean, gold_sd, proxy_sd, correlation
        (C,) parameters of the components.
    """

    weights: Array
    gold_mean: Array
    proxy_mean: Array
    gold_sd: Array
    proxy_sd: Array
    correlation: Array

    @cached_property
    def scale(self) -> Scale:
        """The measurement scale, from the mixture's exact moments."""
        w = self.weights
        gold_mean, proxy_mean = float(w @ self.gold_mean), float(w @ self.proxy_mean)
        gold, proxy = self.gold_mean - gold_mean, self.proxy_mean - proxy_mean
        gold_sd = float(np.sqrt(w @ (self.gold_sd**2 + gold**2)))
        proxy_sd = float(np.sqrt(w @ (self.proxy_sd**2 + proxy**2)))
        covariance = float(w @ (self.correlation * self.gold_sd * self.proxy_sd + gold * proxy))
        return Scale.of_moments(gold_mean, gold_sd, proxy_mean, proxy_sd, covariance / (gold_sd * proxy_sd))

    @cached_property
    def scaled(self) -> GaussianMixture:
        """The same mixture on its measurement scale."""
        unit = self.scale
        return GaussianMixture(
            self.weights, unit.gold(self.gold_mean), unit.proxy(self.proxy_mean),
            self.gold_sd / unit.gold_sd, self.proxy_sd / unit.proxy_unit, self.correlation,
        )  # fmt: skip

    def _log_parts(self, proxy: Array) -> Array:
        """(..., C) log of weight times component density at ``proxy``."""
        z = (proxy[..., None] - self.proxy_mean) / self.proxy_sd
        return np.asarray(np.log(self.weights / self.proxy_sd) - 0.5 * z**2 - 0.5 * np.log(2 * np.pi))

    def _log_rank(self, proxy: Array, sign: float) -> Array:
        z = sign * (np.asarray(proxy)[..., None] - self.proxy_mean) / self.proxy_sd
        return np.asarray(logsumexp(np.log(self.weights) + log_ndtr(z), axis=-1))

    def mean(self, proxy: Array) -> Array:
        """``E[gold | proxy]``: the components' regression lines, weighted by their posterior probability."""
        log_parts = self._log_parts(np.asarray(proxy))
        posterior = np.exp(log_parts - logsumexp(log_parts, axis=-1, keepdims=True))
        slope = self.correlation * self.gold_sd / self.proxy_sd
        lines = self.gold_mean + slope * (np.asarray(proxy)[..., None] - self.proxy_mean)
        return np.asarray((posterior * lines).sum(axis=-1))

    @cached_property
    def closed_form(self) -> ClosedFormLaw:
        """The proxy's law in this mixture's own units."""
        edges = np.unique((self.proxy_mean[:, None] + self.proxy_sd[:, None] * _REACH).ravel())
        return ClosedFormLaw(
            edges,
            lambda p: np.asarray(logsumexp(self._log_parts(p), axis=-1)),
            lambda p: self._log_rank(p, 1.0),
            lambda p: self._log_rank(p, -1.0),
            self.mean,
        )

    def null(self, slope: float) -> GaussianMixture:
        """Gold and ``error = proxy - slope * gold``, each with its law here, made independent and added again."""
        error_mean = self.proxy_mean - slope * self.gold_mean
        covariance = self.correlation * self.gold_sd * self.proxy_sd
        error_variance = self.proxy_sd**2 - 2 * slope * covariance + slope**2 * self.gold_sd**2
        gold, error = (index.ravel() for index in np.indices((self.weights.size,) * 2))
        proxy_sd = np.sqrt(slope**2 * self.gold_sd[gold] ** 2 + error_variance[error])
        return GaussianMixture(
            self.weights[gold] * self.weights[error],
            self.gold_mean[gold],
            slope * self.gold_mean[gold] + error_mean[error],
            self.gold_sd[gold],
            proxy_sd,
            slope * self.gold_sd[gold] / proxy_sd,
        )

    def draw_gold(self, rng: np.random.Generator, proxy: Array) -> Array:
        """One draw of gold given each proxy value."""
        log_parts = self._log_parts(proxy)
        chosen = (log_parts + rng.gumbel(size=log_parts.shape)).argmax(axis=-1)
        slope = self.correlation * self.gold_sd / self.proxy_sd
        line = self.gold_mean[chosen] + slope[chosen] * (proxy - self.proxy_mean[chosen])
        spread = self.gold_sd * np.sqrt(1 - self.correlation**2)
        return np.asarray(line + spread[chosen] * rng.standard_normal(proxy.size))

    def draw_base(self, rng: np.random.Generator, size: int) -> tuple[Array, Array]:
        """Gold and proxy of base samples: the component first, then a bivariate normal."""
        chosen = rng.choice(self.weights.size, size, p=self.weights)
        first, second = rng.standard_normal((2, size))
        rho = self.correlation[chosen]
        gold = self.gold_mean[chosen] + self.gold_sd[chosen] * first
        mixed = rho * first + np.sqrt(1 - rho**2) * second
        return gold, self.proxy_mean[chosen] + self.proxy_sd[chosen] * mixed

    def joint(self, *, independent_error: bool) -> Joint:
        """The joint law on the measurement scale; ``independent_error`` where the null world is this world."""
        scaled = self.scaled
        exact = scaled.closed_form
        return Joint(
            scale=self.scale,
            law=exact.law,
            quantile=exact.quantile,
            logit=exact.logit,
            draw_gold=scaled.draw_gold,
            draw_base=scaled.draw_base,
            null=None if independent_error else scaled.null(self.scale.slope).closed_form,
        )
