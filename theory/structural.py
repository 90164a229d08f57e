"""Causal Goodhart in linear structural models: moving a correlate of gold against conditioning on it.

`x = B x + e` with independent normal e of variances D has covariance `S = (I - B)^-1 D (I - B)^-T`. Conditioning on the
proxy keeps every base relation; a policy that shifts one equation's disturbance keeps only what that equation causes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError

__all__ = ["MeanShift", "StructuralModel", "common_cause", "intermediary", "shift_kl"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MeanShift:
    """A policy that moves the mean of a Gaussian world and keeps its covariance.

    `expected_gold` is what the base relation `E[gold | proxy]` promises for `proxy_gain`, `delivered` the gain in gold,
    `causal` their difference. KL in nats: `kl = kl_proxy + kl_off`.
    """

    proxy_gain: float
    expected_gold: float
    delivered: float
    causal: float
    kl: float
    kl_proxy: float
    kl_off: float
    causal_bound: float


@dataclass(frozen=True, eq=False)
class StructuralModel:
    """Linear acyclic model with a proxy and a gold that are linear in the variables.

    Parameters
    ----------
    coefficients : B, strictly lower triangular, shape (variables, variables); row i holds the causes of variable i.
    variances : D > 0, shape (variables,).
    proxy, gold : weights on the variables, shape (variables,).
    """

    coefficients: Array
    variances: Array
    proxy: Array
    gold: Array

    def __post_init__(self) -> None:
        b, size = np.asarray(self.coefficients, dtype=float), np.asarray(self.variances).size
        if b.shape != (size, size) or np.any(np.triu(b) != 0):
            raise InputError(f"`coefficients` must be strictly lower triangular, {(size, size)}, got {b.shape}.")
        if np.any(np.asarray(self.variances, dtype=float) <= 0):
            raise InputError("`variances` must be > 0.")
        if np.shape(self.proxy) != (size,) or np.shape(self.gold) != (size,):
            raise InputError(f"`proxy` and `gold` must have shape {(size,)}.")

    @property
    def total_effects(self) -> Array:
        """`(I - B)^-1`: column j is what a unit disturbance of variable j causes."""
        effects: Array = np.linalg.inv(np.eye(len(self.variances)) - self.coefficients).astype(float)
        return effects

    @property
    def covariance(self) -> Array:
        effects = self.total_effects
        covariance: Array = (effects * self.variances) @ effects.T
        return covariance

    @property
    def regression_slope(self) -> float:
        """`Cov(gold, proxy)/Var(proxy)`, the slope of `m`."""
        s = self.covariance
        return float(self.gold @ s @ self.proxy / (self.proxy @ s @ self.proxy))

    @property
    def residual_variance(self) -> float:
        """`Var(gold | proxy)`."""
        s = self.covariance
        return float(self.gold @ s @ self.gold - self.regression_slope**2 * (self.proxy @ s @ self.proxy))

    def mean_shift(self, displacement: ArrayLike) -> MeanShift:
        """The policy whose mean is displaced by `displacement` (shape (variables,)) at the base covariance.

        `KL = v' S^-1 v / 2`, of which `(Dproxy)^2 / (2 Var proxy)` is spent on the proxy's law and the rest off it
        (chain rule). By Cauchy-Schwarz `|causal| <= sqrt(2 Var(gold | proxy) kl_off)`.
        """
        v, s = np.asarray(displacement, dtype=float), self.covariance
        proxy_gain, delivered = float(self.proxy @ v), float(self.gold @ v)
        kl = float(v @ np.linalg.solve(s, v)) / 2
        kl_proxy = proxy_gain**2 / float(2 * self.proxy @ s @ self.proxy)
        kl_off = max(kl - kl_proxy, 0.0)
        expected = self.regression_slope * proxy_gain
        return MeanShift(
            proxy_gain=proxy_gain,
            expected_gold=expected,
            delivered=delivered,
            causal=expected - delivered,
            kl=kl,
            kl_proxy=kl_proxy,
            kl_off=kl_off,
            causal_bound=float(np.sqrt(2 * self.residual_variance * kl_off)),
        )

    def condition(self, proxy_gain: float) -> MeanShift:
        """The exponential tilt by the proxy: displacement along `S proxy`, no causal term, all KL on the proxy."""
        direction = self.covariance @ self.proxy
        return self.mean_shift(direction * (proxy_gain / float(self.proxy @ direction)))

    def intervene(self, variable: int, proxy_gain: float) -> MeanShift:
        """Shift the disturbance of `variable` until the proxy has gained `proxy_gain`; only its effects follow."""
        if not 0 <= variable < len(self.variances):
            raise InputError(f"`variable` must lie in 0..{len(self.variances) - 1}, got {variable}.")
        effect = self.total_effects[:, variable]
        reach = float(self.proxy @ effect)
        if reach == 0:
            raise InputError(f"`variable` must have an effect on the proxy, got {variable} with none.")
        return self.mean_shift(effect * (proxy_gain / reach))


def common_cause(*, on_gold: float = 1.0, on_correlate: float = 1.0, correlate_sd: float = 1.0) -> StructuralModel:
    """Effort causes both gold and length; the proxy is length: variables effort, gold, length (gold noise SD 1).

    Conditioning on length raises gold by `on_gold on_correlate/(on_correlate^2 + correlate_sd^2)` per unit; a policy
    that writes longer answers raises it by 0.
    """
    b = np.zeros((3, 3))
    b[1, 0], b[2, 0] = on_gold, on_correlate
    return StructuralModel(
        b, np.array([1.0, 1.0, correlate_sd**2]), np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
    )


def intermediary(*, on_mediator: float = 1.0, on_proxy: float = 1.0, mediator_sd: float = 1.0) -> StructuralModel:
    """Gold causes a mediator which causes the proxy: variables gold, mediator, proxy (gold and proxy noise SD 1).

    Conditioning on the proxy raises gold; a policy that acts on the mediator (or on the proxy itself: metric
    manipulation) raises the proxy and no gold; one that acts on gold delivers more than the base relation promises.
    """
    b = np.zeros((3, 3))
    b[1, 0], b[2, 1] = on_mediator, on_proxy
    variables = np.eye(3)
    return StructuralModel(b, np.array([1.0, mediator_sd**2, 1.0]), proxy=variables[2], gold=variables[0])


def shift_kl(m: ArrayLike, v: ArrayLike, correlation: float) -> Array:
    """`m^2/2 + (v - rho m)^2 / (2 (1 - rho^2))` nats: cost of moving a standard bivariate normal's mean to (m, v).

    Moving the first mean alone (v = 0) costs `1/(1 - rho^2)` times moving both as conditioning would (v = rho m), and
    gains none of the second (Jenner; ledger K38).
    """
    if not -1 < correlation < 1:
        raise InputError(f"`correlation` must lie in (-1, 1), got {correlation:g}.")
    first, second = np.asarray(m, dtype=float), np.asarray(v, dtype=float)
    result: Array = first**2 / 2 + (second - correlation * first) ** 2 / (2 * (1 - correlation**2))
    return result
