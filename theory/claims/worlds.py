"""Worlds small enough to be exact: finite tables of outputs, finite gold with a noise law, a bent conditional mean.

They share no code with the formula files, so that a property over worlds is an independent test of a formula.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError

__all__ = ["BentMean", "FiniteTable", "HeavyTailed", "IndependentNoise", "Policy"]

Array = NDArray[np.float64]
PRESSURES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Policy:
    """What one policy does in a world: exact expectations under it.

    ``kl`` (nats) and ``chi2`` are divergences from the base policy; ``proxy`` and ``gold`` are in the world's units.
    """

    method: str
    pressure: float
    kl: float
    chi2: float
    proxy: float
    gold: float
    probability: tuple[float, ...] = ()
    """Of each output, where the world is a finite table."""

    @property
    def d(self) -> float:
        """The square root of the KL, the abscissa of the paper's laws."""
        return float(np.sqrt(self.kl))


@dataclass(frozen=True)
class FiniteTable:
    """A base policy over finitely many outputs, each with a probability, a proxy score and a gold score.

    Every policy on it is a vector of probabilities; ties in the proxy are shared in proportion to the base policy.
    """

    probability: tuple[float, ...]
    proxy: tuple[float, ...]
    gold: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that the columns fit together and that the probabilities are ones."""
        if not len(self.probability) == len(self.proxy) == len(self.gold) > 0:
            raise InputError(
                "the columns must have the same length >= 1, got "
                f"{len(self.probability)}, {len(self.proxy)}, {len(self.gold)}."
            )
        if min(self.probability) <= 0 or abs(sum(self.probability) - 1) > 1e-9:
            raise InputError(f"`probability` must be positive and sum to 1, got {self.probability}.")

    @cached_property
    def _columns(self) -> tuple[Array, Array, Array]:
        probability = np.asarray(self.probability, dtype=float)
        return probability / probability.sum(), np.asarray(self.proxy, float), np.asarray(self.gold, float)

    @cached_property
    def _levels(self) -> tuple[NDArray[np.intp], Array, Array]:
        """For each output its proxy level; for each level its probability and the probability of all up to it."""
        p, proxy, _ = self._columns
        _, level = np.unique(proxy, return_inverse=True)
        mass = np.bincount(level, weights=p).astype(float)
        upto: Array = np.cumsum(mass)
        return level, mass, upto / upto[-1]

    def with_output(self, probability: float, proxy: float, gold: float) -> FiniteTable:
        """The table with one more output, whose probability the others give up in proportion."""
        kept = tuple((1 - probability) * p for p in self.probability)
        return FiniteTable((*kept, probability), (*self.proxy, proxy), (*self.gold, gold))

    def policy(self, probability: ArrayLike, method: str = "policy", pressure: float = float("nan")) -> Policy:
        """The policy that emits output i with the given probability (normalised here)."""
        p, proxy, gold = self._columns
        q = np.asarray(probability, dtype=float)
        if q.shape != p.shape or q.min() < 0 or not 0 < q.sum() < np.inf:
            raise InputError(f"`probability` must be {len(p)} non-negative numbers with a positive sum, got {q}.")
        q = q / q.sum()
        ratio = q / p
        kl = float(np.sum(q * np.log(np.where(q > 0, ratio, 1.0))))
        chi2 = float(np.sum(q * ratio)) - 1.0
        return Policy(
            method, pressure, max(kl, 0.0), max(chi2, 0.0), float(q @ proxy), float(q @ gold), tuple(q.tolist())
        )

    def base(self) -> Policy:
        """The base policy itself."""
        return self.policy(self._columns[0], "base", 0.0)

    def best_of_n(self, n: float) -> Policy:
        """The best of ``n >= 1`` samples by proxy, ties broken at random; any real n."""
        if not n >= 1:
            raise InputError(f"`n` must be >= 1, got {n}.")
        return self._by_level(lambda upto: upto**n, "best_of_n", n)

    def best_of_poisson(self, mean: float) -> Policy:
        """The best of 1 + Poisson(mean) samples by proxy."""
        if not mean >= 0:
            raise InputError(f"`mean` must be >= 0, got {mean}.")
        return self._by_level(lambda upto: upto * np.exp(mean * (upto - 1.0)), "best_of_poisson", mean)

    def quantilizer(self, fraction: float) -> Policy:
        """A sample from the best ``fraction`` of the base policy by proxy."""
        if not 0 < fraction <= 1:
            raise InputError(f"`fraction` must be in (0, 1], got {fraction}.")
        return self._by_level(lambda upto: np.maximum(0.0, (upto - 1.0 + fraction) / fraction), "quantilizer", fraction)

    def exponential_tilt(self, strength: float) -> Policy:
        """Probabilities proportional to ``base * exp(strength * proxy)``: the optimum under KL penalty 1/strength."""
        p, proxy, _ = self._columns
        return self.policy(p * np.exp(strength * (proxy - proxy.max())), "exponential_tilt", strength)

    def condition(self, threshold: float) -> Policy:
        """The base policy given that the proxy is at least ``threshold``."""
        p, proxy, _ = self._columns
        return self.policy(p * (proxy >= threshold), "condition", threshold)

    def curve(self) -> Iterator[Policy]:
        """Best-of-n at powers of two."""
        return (self.best_of_n(n) for n in PRESSURES)

    def _by_level(self, cumulative: Any, method: str, pressure: float) -> Policy:
        """The policy under which the proxy's level has distribution function ``cumulative(base's)``."""
        level, mass, upto = self._levels
        chosen = np.diff(cumulative(np.concatenate(([0.0], upto))))
        return self.policy(self._columns[0] * (np.maximum(chosen, 0.0) / mass)[level], method, pressure)


@dataclass(frozen=True)
class IndependentNoise:
    """``proxy = slope * gold + noise`` with independent, finitely supported gold and noise."""

    gold: tuple[float, ...]
    gold_probability: tuple[float, ...]
    noise: tuple[float, ...]
    noise_probability: tuple[float, ...]
    slope: float = 1.0

    @cached_property
    def table(self) -> FiniteTable:
        """The world as a table with one row per pair (gold, noise)."""
        gold, noise = np.meshgrid(self.gold, self.noise, indexing="ij")
        mass = np.outer(self.gold_probability, self.noise_probability)
        # Rounding keeps the ties that the exact sums have.
        proxy = np.round(self.slope * gold + noise, 9)
        mass /= mass.sum()
        return FiniteTable(tuple(mass.ravel().tolist()), tuple(proxy.ravel().tolist()), tuple(gold.ravel().tolist()))

    def conditional_mean(self) -> tuple[Array, Array]:
        """The proxy's levels in increasing order, and ``E[gold | proxy]`` at each."""
        p, proxy, gold = (np.asarray(column) for column in (self.table.probability, self.table.proxy, self.table.gold))
        levels, level = np.unique(proxy, return_inverse=True)
        return levels, np.bincount(level, weights=p * gold) / np.bincount(level, weights=p)

    def base(self) -> Policy:
        """The base policy."""
        return self.table.base()

    def best_of_n(self, n: float) -> Policy:
        """The best of ``n`` by proxy."""
        return self.table.best_of_n(n)

    def exponential_tilt(self, strength: float) -> Policy:
        """The tilt by ``exp(strength * proxy)``."""
        return self.table.exponential_tilt(strength)

    def curve(self) -> Iterator[Policy]:
        """Best-of-n at powers of two."""
        return self.table.curve()


@dataclass(frozen=True)
class HeavyTailed:
    """``proxy = slope * gold + noise + jump``: a finite world, and an independent jump J that is mostly 0.

    With the given probability ``P(J > y) = (1 + y)^-index`` for ``y >= 0``; ``index > 1`` leaves J a mean.
    """

    light: IndependentNoise
    index: float
    probability: float

    def survival(self, y: Array) -> Array:
        """``P(J > y)`` of a jump that happens, for y >= 0."""
        result: Array = (1.0 + y) ** -self.index
        return result

    def base(self) -> tuple[float, float]:
        """Means of proxy and gold under the base policy."""
        light = self.light.base()
        return light.proxy + self.probability / (self.index - 1), light.gold

    def beyond(self, t: float) -> tuple[float, float, float]:
        """``P(proxy > t)`` and the means of proxy and gold there, for t above every proxy without a jump."""
        table = self.light.table
        p, proxy, gold = (np.asarray(column) for column in (table.probability, table.proxy, table.gold))
        y = t - proxy
        weight = p * self.survival(y)
        mass = float(weight.sum())
        excess = float(weight @ (1.0 + y)) / mass / (self.index - 1)
        return self.probability * mass, t + excess, float(weight @ gold) / mass


@dataclass(frozen=True)
class BentMean:
    """Proxy ``u ~ N(0, 1)`` and ``E[gold | u]`` piecewise linear: ``slope u + SUM bend_j (u - knot_j)_+``."""

    slope: float
    knots: tuple[float, ...]
    bends: tuple[float, ...]

    def mean(self, u: ArrayLike) -> Array:
        """``m(u)`` without its constant, which no gain sees."""
        x = np.asarray(u, dtype=float)
        bent: Array = np.maximum(0.0, x[..., None] - np.asarray(self.knots)) @ np.asarray(self.bends)
        return self.slope * x + bent

    def directions(self) -> Array:
        """1 where m rises and -1 where it falls, piece by piece from the left; level pieces are left out."""
        slopes = np.cumsum((self.slope, *(bend for _, bend in sorted(zip(self.knots, self.bends, strict=True)))))
        signs: Array = np.sign(slopes[np.abs(slopes) > 1e-12])
        return signs

    def turning_points(self) -> int:
        """How often m changes between rising and falling."""
        return int(np.count_nonzero(np.diff(self.directions())))

    def tilted_slope(self, strength: ArrayLike) -> Array:
        """Derivative in the strength of gold under the tilt: ``slope + SUM bend_j Phi(strength - knot_j)``, exactly.

        Taken as the slope of m at ``strength`` plus the smaller tail at each knot: where m ends level, nothing cancels.
        """
        from scipy.special import ndtr

        above = np.asarray(strength, dtype=float)[..., None] - np.asarray(self.knots)
        passed, tail = above > 0, ndtr(-np.abs(above))
        slope: Array = self.slope + passed @ np.asarray(self.bends)
        slope = slope + np.where(passed, -tail, tail) @ np.asarray(self.bends)
        return slope

    def exponential_tilt(self, strength: float) -> tuple[float, float]:
        """The tilt's KL ``strength^2 / 2`` and the gold gain, from ``E (Z - t)_+ = phi(t) - t Phi(-t)``."""
        from scipy.stats import norm

        def gold(shift: float) -> float:
            t = np.asarray(self.knots) - shift
            return float(self.slope * shift + (norm.pdf(t) - t * norm.sf(t)) @ np.asarray(self.bends))

        return strength**2 / 2, gold(strength) - gold(0.0)

    def curve(self) -> Iterator[Policy]:
        """The exponential tilt by 0, 1/2, ..., 5."""
        for strength in np.arange(0.0, 5.5, 0.5):
            kl, gold = self.exponential_tilt(float(strength))
            yield Policy("exponential_tilt", float(strength), kl, float(np.expm1(strength**2)), float(strength), gold)
