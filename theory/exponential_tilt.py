"""Exponential tilt: `pi(y) ~ pi_0(y) exp(lambda u(y))`, the policy that maximises `E[u] - KL / lambda`.

It reaches the largest proxy for its KL. With `psi` the cumulant function of the proxy, `E[u] = psi'` and
`KL = lambda psi' - psi`; it exists only where the moment generating function does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError
from overopt.theory.numerics import LARGEST_PRESSURE, TILT_BISECTIONS, WIDTH_LOGITS
from overopt.theory.world import ExactCurve, World

__all__ = ["cumulant", "exponential_tilt", "tilt_at_kl", "tilt_at_proxy"]

Array = NDArray[np.float64]


def cumulant(world: World, pressure: ArrayLike) -> Array:
    """`psi(lambda) = log E_base exp(lambda u)`; `inf` where the moment generating function does not exist."""
    values = np.asarray(pressure, dtype=float)
    exponent = values[..., None] * world.grid.proxy
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        shift = np.max(exponent + np.log(world.grid.mass), axis=-1, keepdims=True)
        total = world.expectation(exponent - shift, np.ones_like(world.grid.proxy))
        psi: Array = np.log(total) + shift[..., 0]
    return np.where(np.isnan(psi), np.inf, psi)


def exponential_tilt(world: World, pressure: ArrayLike) -> ExactCurve:
    """Exact curve of the tilt at every pressure `lambda >= 0`, the inverse of the KL coefficient.

    Raises
    ------
    InputError : where the proxy has no moment generating function at `lambda`.
    """
    values = np.asarray(pressure, dtype=float)
    if not np.all(values >= 0):
        raise InputError(f"`pressure` must be >= 0, got {np.min(values):g}.")
    psi = cumulant(world, values)
    if not np.all(np.isfinite(psi)):
        worst = values[~np.isfinite(psi)].flat[0]
        raise InputError(f"`pressure` must lie where the proxy has a moment generating function, got {worst:g}.")
    h = values[..., None] * world.grid.proxy - psi[..., None]
    proxy, gold = world.mean(h)
    # E[ratio h - ratio + 1] is a sum of nonnegative terms: no cancellation at small pressure. At a large one the other
    # form also counts what lies beyond the grid.
    kl = (np.exp(h) * h - np.expm1(h)) @ world.grid.mass
    kl = np.where(kl > 1, values * proxy - psi, kl)
    with np.errstate(over="ignore"):
        chi2 = np.expm1(cumulant(world, 2 * values) - 2 * psi)
    return ExactCurve(
        method="exponential tilt",
        pressure=values,
        kl=kl,
        chi2=chi2,
        win_rate=world.expectation(h, np.exp(world.grid.log_cdf)),
        proxy=proxy,
        gold=gold,
    )


def _solve(world: World, target: Array, quantity: Callable[[ExactCurve], Array], name: str) -> ExactCurve:
    """Tilt at which an increasing quantity takes the values `target`."""
    flat = np.ravel(target)
    low, high = np.zeros_like(flat), np.full_like(flat, np.nan)
    trial = np.full_like(flat, 1 / np.ptp(world.law.quantile(WIDTH_LOGITS)))
    for _ in range(TILT_BISECTIONS):
        value = np.full_like(flat, np.inf)
        exists = np.isfinite(cumulant(world, trial))
        if exists.any():
            value[exists] = quantity(exponential_tilt(world, trial[exists]))
        above = ~(value < flat)
        high, low = np.where(above, trial, high), np.where(above, low, trial)
        unbracketed = np.isnan(high)
        if np.any(unbracketed & (trial > LARGEST_PRESSURE)):
            raise InputError(f"`{name}` must be reachable by the tilt, got {flat[unbracketed].flat[0]:g}.")
        trial = np.where(unbracketed, 2 * trial, (low + np.where(unbracketed, low, high)) / 2)
    return exponential_tilt(world, low.reshape(np.shape(target)))


def tilt_at_kl(world: World, kl: ArrayLike) -> ExactCurve:
    """The tilt that spends `kl` nats."""
    target = np.asarray(kl, dtype=float)
    if not np.all(target >= 0):
        raise InputError(f"`kl` must be >= 0, got {np.min(target):g}.")
    return _solve(world, target, lambda curve: curve.kl, "kl")


def tilt_at_proxy(world: World, proxy: ArrayLike) -> ExactCurve:
    """The tilt whose expected proxy is `proxy`: the least KL that any policy needs for it."""
    return _solve(world, np.asarray(proxy, dtype=float), lambda curve: curve.proxy, "proxy")
