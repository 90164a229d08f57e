"""Mechanisms of overoptimization as conditional means `m(u) = E[gold | proxy = u]`, and the law each one looks like.

Every mechanism is stated for a standard normal proxy, where the exponential tilt moves the mean proxy to `sqrt2 d`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.best_of_n import best_of_n
from overopt.theory.errors import InputError
from overopt.theory.exponential_tilt import tilt_at_kl
from overopt.theory.numerics import LARGEST_EXPONENT
from overopt.theory.scaling_laws import LawFit, fit_law, law_named
from overopt.theory.world import World

__all__ = [
    "PAPER_N",
    "Affine",
    "BreakPoints",
    "Kink",
    "LawReading",
    "LogUniformBreakPoints",
    "Mechanism",
    "PowerBreakPoints",
    "QuadraticGold",
    "Saturation",
    "UniformBreakPoints",
    "adversarial_mode",
    "gumbel_penalty",
    "read_law",
    "surprisal",
]

Array = NDArray[np.float64]

_SQRT2 = float(np.sqrt(2.0))


class Mechanism(ABC):
    """`m(u)`, called with an array of proxy values."""

    @abstractmethod
    def __call__(self, u: ArrayLike) -> Array: ...

    def implied_law(self) -> tuple[str, tuple[float, ...]] | None:
        """Name and coefficients of the law that the tilt of a standard normal proxy follows, None if it has none."""
        return None


@dataclass(frozen=True)
class Affine(Mechanism):
    """`intercept + slope u`: no proxy-only policy overoptimizes (ledger K24); tilt `sqrt2 slope d`."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, u: ArrayLike) -> Array:
        result: Array = self.intercept + self.slope * np.asarray(u, dtype=float)
        return result

    def implied_law(self) -> tuple[str, tuple[float, ...]]:
        return "linear", (_SQRT2 * self.slope,)


@dataclass(frozen=True)
class QuadraticGold(Mechanism):
    """`slope u - curvature (u^2 - 1)`; tilt `d (alpha - beta d)`, alpha = sqrt2 slope, beta = 2 curvature.

    The conditional mean of gold `v.phi - phi' Q phi` given the proxy `w.phi`, |w| = 1, phi standard normal: then
    `slope = v.w` and `curvature = w' Q w` (ledger K29).
    """

    slope: float = 1.0
    curvature: float = 0.1

    @classmethod
    def from_features(cls, w: ArrayLike, v: ArrayLike, q: ArrayLike) -> QuadraticGold:
        """From the proxy's weights w (normalised here), gold's linear weights v and gold's penalty matrix Q."""
        direction = np.asarray(w, dtype=float) / np.linalg.norm(w)
        return cls(
            slope=float(np.dot(v, direction)), curvature=float(direction @ np.asarray(q, dtype=float) @ direction)
        )

    def __call__(self, u: ArrayLike) -> Array:
        x = np.asarray(u, dtype=float)
        result: Array = self.slope * x - self.curvature * (x**2 - 1)
        return result

    def implied_law(self) -> tuple[str, tuple[float, ...]]:
        return "bon", (_SQRT2 * self.slope, 2 * self.curvature)


@dataclass(frozen=True)
class BreakPoints(Mechanism):
    """`slope u - loss INT (u - tau)_+ rho(tau) dtau`: features that stop paying at tau, density rho on [low, high].

    The slope of m falls from `slope` to `slope - loss` as u passes the break-points (ledger K31).
    """

    slope: float = 1.0
    loss: float = 1.5
    low: float = 0.1
    high: float = 6.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high:
            raise InputError(f"`low` and `high` must satisfy 0 <= low < high, got {self.low:g} and {self.high:g}.")

    @abstractmethod
    def overshoot(self, u: Array) -> Array:
        """`INT_low^u (u - tau) rho(tau) dtau` for u in [low, high]."""

    @abstractmethod
    def mean_break_point(self) -> float:
        """`INT tau rho(tau) dtau`."""

    def __call__(self, u: ArrayLike) -> Array:
        x = np.asarray(u, dtype=float)
        inside = self.overshoot(np.clip(x, self.low, self.high))
        result: Array = self.slope * x - self.loss * np.where(x > self.high, x - self.mean_break_point(), inside)
        return result


@dataclass(frozen=True)
class UniformBreakPoints(BreakPoints):
    """Uniform rho: about `d (a - b d)` inside the range, with `b = loss/(high - low)`."""

    def overshoot(self, u: Array) -> Array:
        result: Array = (u - self.low) ** 2 / (2 * (self.high - self.low))
        return result

    def mean_break_point(self) -> float:
        return (self.low + self.high) / 2


@dataclass(frozen=True)
class LogUniformBreakPoints(BreakPoints):
    """`rho = 1/(tau log(high/low))`: about `d (a - b log d)` inside the range, `b = sqrt2 loss/log(high/low)`.

    Extending `high` leaves a as it is up to `b log low` and lets b fall like `1/log(high/low)` (ledger K33).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise InputError(f"`low` must be > 0, got {self.low:g}.")

    def overshoot(self, u: Array) -> Array:
        result: Array = (u * np.log(u / self.low) - (u - self.low)) / np.log(self.high / self.low)
        return result

    def mean_break_point(self) -> float:
        return float((self.high - self.low) / np.log(self.high / self.low))


@dataclass(frozen=True)
class PowerBreakPoints(BreakPoints):
    """`rho ~ tau^(gamma - 1)`: about `d (a - b d^gamma)` inside the range."""

    gamma: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.gamma > 0:
            raise InputError(f"`gamma` must be > 0, got {self.gamma:g}.")

    def _moment(self, power: float, upper: ArrayLike) -> Array:
        top = np.asarray(upper, dtype=float)
        result: Array = (top**power - self.low**power) / power
        return result

    def overshoot(self, u: Array) -> Array:
        g = self.gamma
        result: Array = (u * self._moment(g, u) - self._moment(g + 1, u)) / self._moment(g, self.high)
        return result

    def mean_break_point(self) -> float:
        return float(self._moment(self.gamma + 1, self.high) / self._moment(self.gamma, self.high))


@dataclass(frozen=True)
class Kink(Mechanism):
    """`slope u` up to tau, then `slope tau - fall (u - tau)`."""

    tau: float = 1.2
    slope: float = 1.0
    fall: float = 1.0

    def __call__(self, u: ArrayLike) -> Array:
        x = np.asarray(u, dtype=float)
        result: Array = self.slope * np.minimum(x, self.tau) - self.fall * np.maximum(x - self.tau, 0)
        return result


@dataclass(frozen=True)
class Saturation(Mechanism):
    """`slope min(u, tau)`: a feature that pays up to tau and is free beyond; gold rises, then stays flat."""

    tau: float = 1.5
    slope: float = 1.0

    def __call__(self, u: ArrayLike) -> Array:
        result: Array = self.slope * np.minimum(np.asarray(u, dtype=float), self.tau)
        return result


def adversarial_mode(
    mass: float, *, proxy_at_mode: float = 8.0, spread: float = 0.1, gold_at_mode: float = -5.0, slope: float = 1.0
) -> World:
    """World with a rare mode of base mass `mass` at a high proxy and low gold (ledger K34).

    Elsewhere the proxy is standard normal with `m(u) = slope u`. Best-of-n lands in the mode with probability
    `1 - (1 - mass)^n`, up to the normal part above it.
    """
    from scipy import stats

    from overopt.theory.proxy_law import Mixture

    if not 0 < mass < 1:
        raise InputError(f"`mass` must lie in (0, 1), got {mass:g}.")
    ordinary, mode = stats.norm(), stats.norm(proxy_at_mode, spread)

    def gold(u: Array) -> Array:
        log_odds = np.log(mass) - np.log1p(-mass) + mode.logpdf(u) - ordinary.logpdf(u)
        in_mode = 1 / (1 + np.exp(-np.clip(log_odds, -LARGEST_EXPONENT, LARGEST_EXPONENT)))
        result: Array = (1 - in_mode) * slope * u + in_mode * gold_at_mode
        return result

    return World(Mixture((1 - mass, mass), (ordinary, mode)), gold)


def gumbel_penalty(log_cdf: ArrayLike) -> Array:
    """`h(F) = -log(-log F) - log F - 1 - gamma`: its best-of-n mean is the KL, for every real n (ledger K30).

    `-log(-log F)` of the winner is Gumbel with mean `log n + gamma` and `-log F` has mean `1/n`: a gold penalty of
    `beta h(F(u))` therefore costs best-of-n exactly `beta d^2`.
    """
    values = np.asarray(log_cdf, dtype=float)
    result: Array = -np.log(-values) - values - 1 - np.euler_gamma
    return result


def surprisal(log_sf: ArrayLike) -> Array:
    """`-log(1 - F) - 1`, the tail surprisal above its base mean, close to `gumbel_penalty` far out."""
    result: Array = -np.asarray(log_sf, dtype=float) - 1
    return result


@dataclass(frozen=True, eq=False)
class LawReading:
    """Fits that the paper's protocol makes of one exact curve: of `best_of_n` and of `tilt`, each by law name.

    `tilt` is empty where it was not asked for.
    """

    best_of_n: dict[str, LawFit]
    tilt: dict[str, LawFit]

    def preferred(self, optimizer: str) -> str:
        """Name of the two-parameter paper form (`bon` or `rl`) with the smaller residual."""
        fits: dict[str, LawFit] = getattr(self, optimizer)
        return min(("bon", "rl"), key=lambda name: float(fits[name].rmse))


PAPER_N: Array = np.exp2(np.arange(1.0, 11.0))


def read_law(
    world: World,
    *,
    n: Sequence[float] | Array = PAPER_N,
    tilt_kl: Sequence[float] | Array | None = None,
    laws: Sequence[str] = ("bon", "rl", "linear"),
    base_gold: float | None = None,
) -> LawReading:
    """What least-squares fits of exact curves report for a world: best-of-n at `n`, the tilt at `tilt_kl` nats.

    Parameters
    ----------
    tilt_kl : default the KL of best-of-n at `n`; empty for no tilt.
    base_gold : gold of the base policy, subtracted so that R(0) = 0; default the exact one.
    """
    curve = best_of_n(world, np.append(1.0, n))
    base = float(curve.gold[0]) if base_gold is None else base_gold
    best_fits = {name: fit_law(law_named(name), curve.d[1:], curve.gold[1:] - base) for name in laws}
    spent = curve.kl[1:] if tilt_kl is None else np.asarray(tilt_kl, dtype=float)
    if spent.size == 0:
        return LawReading(best_of_n=best_fits, tilt={})
    tilted = tilt_at_kl(world, spent)
    tilt_fits = {name: fit_law(law_named(name), tilted.d, tilted.gold - base) for name in laws}
    return LawReading(best_of_n=best_fits, tilt=tilt_fits)
