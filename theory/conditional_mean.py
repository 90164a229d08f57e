"""`m(s) = E[X | X + Z = s]` for normal gold X and independent noise Z, in closed form, and Tweedie's two identities.

With `additive.Convolution` these are three routes to the same function. Gold is N(`gold_mean`, `gold_sd`^2) everywhere;
the noise is centred as its own parameters say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError
from overopt.theory.numerics import CHEBYSHEV_POINTS

__all__ = [
    "given_cauchy_noise",
    "given_exponential_noise",
    "given_laplace_noise",
    "given_normal_mixture_noise",
    "given_normal_noise",
    "given_two_point_noise",
    "given_uniform_noise",
    "tweedie",
    "tweedie_dual",
]

Array = NDArray[np.float64]


def _positive(**parameters: float) -> None:
    for name, value in parameters.items():
        if not value > 0:
            raise InputError(f"`{name}` must be > 0, got {value:g}.")


def given_normal_noise(
    s: ArrayLike, *, noise_sd: float, gold_mean: float = 0.0, gold_sd: float = 1.0, noise_mean: float = 0.0
) -> Array:
    """`E X + (s - E X - E Z) Var X / (Var X + Var Z)`: Gao et al. (2022), App. A case (a); ledger K11."""
    _positive(noise_sd=noise_sd, gold_sd=gold_sd)
    reliability = gold_sd**2 / (gold_sd**2 + noise_sd**2)
    result: Array = gold_mean + (np.asarray(s, dtype=float) - gold_mean - noise_mean) * reliability
    return result


def given_two_point_noise(s: ArrayLike, *, delta: float, gold_mean: float = 0.0, gold_sd: float = 1.0) -> Array:
    """`s - delta tanh(delta (s - E X) / Var X)` for noise +-delta with equal probability (ledger K13, K14).

    Slope `1 - delta^2/Var X` at the mean: decreasing there as soon as delta exceeds the SD of gold.
    """
    _positive(delta=delta, gold_sd=gold_sd)
    values = np.asarray(s, dtype=float)
    result: Array = values - delta * np.tanh(delta * (values - gold_mean) / gold_sd**2)
    return result


def given_uniform_noise(s: ArrayLike, *, half_width: float, gold_mean: float = 0.0, gold_sd: float = 1.0) -> Array:
    """Mean of the normal truncated to `[s - w, s + w]`, for noise uniform on `[-w, w]`."""
    from scipy.special import log_ndtr

    _positive(half_width=half_width, gold_sd=gold_sd)
    values = (np.asarray(s, dtype=float) - gold_mean) / gold_sd
    sign, distance = np.where(values < 0, -1.0, 1.0), np.abs(values)
    low, high = distance - half_width / gold_sd, distance + half_width / gold_sd
    log_tail, log_rest = log_ndtr(-low), log_ndtr(-high)
    log_mass = log_tail + np.log(-np.expm1(log_rest - log_tail))
    mean = np.exp(-(low**2) / 2 - log_mass) - np.exp(-(high**2) / 2 - log_mass)
    result: Array = gold_mean + gold_sd * sign * mean / np.sqrt(2 * np.pi)
    return result


def given_laplace_noise(s: ArrayLike, *, scale: float, gold_mean: float = 0.0, gold_sd: float = 1.0) -> Array:
    """`E X + (Var X / b) tanh((log A - log B)/2)` for noise of Laplace scale b; limit `E X + Var X / b`.

    A and B are the weights of a noise that is positive and negative,
    `A = exp(-t/b) Phi((t - v/b)/sigma)`, `B = exp(t/b) Phi(-(t + v/b)/sigma)`, `t = s - E X`, `v = sigma^2 = Var X`.
    """
    from scipy.special import log_ndtr

    _positive(scale=scale, gold_sd=gold_sd)
    t, pull = np.asarray(s, dtype=float) - gold_mean, gold_sd**2 / scale
    log_odds = log_ndtr((t - pull) / gold_sd) - log_ndtr(-(t + pull) / gold_sd) - 2 * t / scale
    result: Array = gold_mean + pull * np.tanh(log_odds / 2)
    return result


def given_exponential_noise(s: ArrayLike, *, rate: float, gold_mean: float = 0.0, gold_sd: float = 1.0) -> Array:
    """Mean of `N(E X + rate Var X, Var X)` truncated to x < s, for noise exponential on [0, inf)."""
    from scipy.special import log_ndtr

    _positive(rate=rate, gold_sd=gold_sd)
    centre = gold_mean + rate * gold_sd**2
    t = (np.asarray(s, dtype=float) - centre) / gold_sd
    result: Array = centre - gold_sd * np.exp(-(t**2) / 2 - log_ndtr(t)) / np.sqrt(2 * np.pi)
    return result


def given_cauchy_noise(s: ArrayLike, *, scale: float, gold_mean: float = 0.0, gold_sd: float = 1.0) -> Array:
    """`E X - (sigma/sqrt 2) Re w'(z) / Re w(z)`, `z = (s - E X + i scale)/(sigma sqrt 2)`, w the Faddeeva function.

    The sum has a Voigt density; this is `tweedie_dual` applied to it, with `w' = 2i/sqrt(pi) - 2 z w`.
    """
    from scipy.special import wofz

    _positive(scale=scale, gold_sd=gold_sd)
    z = (np.asarray(s, dtype=float) - gold_mean + 1j * scale) / (gold_sd * np.sqrt(2))
    w = wofz(z)
    slope = np.real(2j / np.sqrt(np.pi) - 2 * z * w)
    result: Array = gold_mean - gold_sd / np.sqrt(2) * slope / np.real(w)
    return result


def given_normal_mixture_noise(
    s: ArrayLike,
    *,
    weights: Sequence[float],
    noise_means: Sequence[float],
    noise_sds: Sequence[float],
    gold_mean: float = 0.0,
    gold_sd: float = 1.0,
) -> Array:
    """Posterior-weighted mean of `given_normal_noise` over the components of a normal-mixture noise."""
    values = np.asarray(s, dtype=float)[..., None]
    means, variances = np.asarray(noise_means, dtype=float), np.asarray(noise_sds, dtype=float) ** 2
    probability = np.asarray(weights, dtype=float)
    if not means.shape == variances.shape == probability.shape or np.any(probability <= 0):
        raise InputError("`weights`, `noise_means` and `noise_sds` must have one entry per component, weights > 0.")
    total = gold_sd**2 + variances
    gap = values - gold_mean - means
    log_posterior = np.log(probability) - np.log(total) / 2 - gap**2 / (2 * total)
    posterior = np.exp(log_posterior - log_posterior.max(axis=-1, keepdims=True))
    component = gold_mean + gap * gold_sd**2 / total
    result: Array = (posterior * component).sum(axis=-1) / posterior.sum(axis=-1)
    return result


_CHEBYSHEV = np.cos(np.pi * (np.arange(CHEBYSHEV_POINTS) + 0.5) / CHEBYSHEV_POINTS)
_SLOPE_AT_CENTRE = (
    chebyshev.chebval(0.0, chebyshev.chebder(np.eye(CHEBYSHEV_POINTS)))
    @ (chebyshev.chebvander(_CHEBYSHEV, CHEBYSHEV_POINTS - 1).T * (2 - np.eye(CHEBYSHEV_POINTS)[0])[:, None])
    / CHEBYSHEV_POINTS
)


def _score(log_density: Callable[[Array], Array], s: Array, radius: float) -> Array:
    """`(log f)'(s)` from the Chebyshev interpolant of `log f` on `[s - radius, s + radius]`."""
    result: Array = log_density(s[..., None] + radius * _CHEBYSHEV) @ _SLOPE_AT_CENTRE / radius
    return result


def tweedie(
    log_density: Callable[[Array], Array],
    s: ArrayLike,
    *,
    noise_sd: float,
    noise_mean: float = 0.0,
    radius: float = 0.0,
) -> Array:
    """`E[X | s] = s - E Z + Var Z (log f_S)'(s)` for normal noise and any gold (Robbins 1956; Efron 2011).

    Parameters
    ----------
    log_density : log-density of the sum, vectorised.
    radius : half-width over which it is differentiated; default half the noise's SD.
    """
    _positive(noise_sd=noise_sd)
    values = np.asarray(s, dtype=float)
    result: Array = values - noise_mean + noise_sd**2 * _score(log_density, values, radius or noise_sd / 2)
    return result


def tweedie_dual(
    log_density: Callable[[Array], Array], s: ArrayLike, *, gold_sd: float, gold_mean: float = 0.0, radius: float = 0.0
) -> Array:
    """`E[X | s] = E X - Var X (log f_S)'(s)` for normal gold and any independent noise (ledger K16).

    Parameters
    ----------
    log_density : log-density of the sum, vectorised.
    radius : half-width over which it is differentiated; default half the gold's SD.
    """
    _positive(gold_sd=gold_sd)
    values = np.asarray(s, dtype=float)
    result: Array = gold_mean - gold_sd**2 * _score(log_density, values, radius or gold_sd / 2)
    return result
