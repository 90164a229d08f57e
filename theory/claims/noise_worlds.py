"""Continuous worlds: normal gold under a named, a bounded or a partial noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from overopt.theory.additive import additive_world
from overopt.theory.best_of_n import best_of_n
from overopt.theory.claims.oracles import panels
from overopt.theory.claims.worlds import PRESSURES, Policy
from overopt.theory.errors import InputError
from overopt.theory.proxy_law import ContinuousLaw, Mixture
from overopt.theory.scaling_laws import Quadratic, fit_law
from overopt.theory.world import World

__all__ = ["FAMILIES", "BoundedNoise", "InnerNoise", "NoiseLaw", "NoisyGold"]

FAMILIES: dict[str, Callable[[float, float], ContinuousLaw]] = {
    "laplace": lambda centre, scale: stats.laplace(centre, scale),
    "normal": lambda centre, scale: stats.norm(centre, scale),
    "uniform": lambda centre, scale: stats.uniform(centre - scale, 2 * scale),
    "logistic": lambda centre, scale: stats.logistic(centre, scale),
    "exponential": lambda centre, scale: stats.expon(centre - scale, scale),
    "gamma2": lambda centre, scale: stats.gamma(2, centre - 2 * scale, scale),
    "gumbel": lambda centre, scale: stats.gumbel_r(centre, scale),
    "student_t3": lambda centre, scale: stats.t(3, centre, scale),
}


@dataclass(frozen=True)
class NoiseLaw:
    """A law of `scipy.stats` or a mixture: each component is (family of `FAMILIES`, weight, centre, scale)."""

    components: tuple[tuple[str, float, float, float], ...]

    def __post_init__(self) -> None:
        """Check the families' names."""
        for name, *_ in self.components:
            if name not in FAMILIES:
                raise InputError(f"`components` must name families out of {', '.join(FAMILIES)}, got {name!r}.")

    @cached_property
    def law(self) -> ContinuousLaw:
        """The frozen distribution, or the mixture with weights scaled to sum 1."""
        laws = tuple(FAMILIES[name](centre, scale) for name, _, centre, scale in self.components)
        if len(laws) == 1:
            return laws[0]
        total = sum(weight for _, weight, _, _ in self.components)
        return Mixture(tuple(weight / total for _, weight, _, _ in self.components), laws)


@dataclass(frozen=True)
class NoisyGold:
    """``proxy = gold + noise`` with standard normal gold and independent noise, by exact curves."""

    noise: NoiseLaw

    @cached_property
    def world(self) -> World:
        """The proxy's law and the conditional mean of gold."""
        return additive_world(stats.norm(), self.noise.law)

    def best_of_n(self, n: float) -> Policy:
        """The best of ``n`` by proxy."""
        return self._policies((n,))[0]

    def fitted(self, largest_n: int = 1000) -> tuple[float, float]:
        """The paper's fit of ``d (alpha - beta d)`` to best-of-n at powers of two up to ``largest_n``: alpha, beta."""
        curve = best_of_n(self.world, 2.0 ** np.arange(1, int(np.log2(largest_n)) + 1))
        alpha, beta = fit_law(Quadratic(), curve.d, curve.gold).coefficients
        return float(alpha), float(beta)

    def curve(self) -> Iterator[Policy]:
        """Best-of-n at powers of two."""
        return iter(self._policies(PRESSURES))

    def _policies(self, n: Sequence[float]) -> list[Policy]:
        curve = best_of_n(self.world, np.asarray(n, dtype=float))
        columns = (curve.pressure, curve.kl, curve.chi2, curve.proxy, curve.gold)
        return [
            Policy("best_of_n", float(pressure), float(kl), float(chi2), float(proxy), float(gold))
            for pressure, kl, chi2, proxy, gold in zip(*columns, strict=True)
        ]


@dataclass(frozen=True)
class BoundedNoise:
    """``proxy = gold + noise``: standard normal gold, and an independent symmetric noise on ``[-edge, edge]``.

    The noise's density is constant on cells of equal width; ``odds`` are their masses from 0 to the edge.
    """

    edge: float
    odds: tuple[int, ...]

    @cached_property
    def _nodes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values of the noise and their weights, 16 panels to a cell."""
        mirrored = np.array(self.odds[::-1] + self.odds, dtype=float)
        z, weight = panels(np.linspace(-self.edge, self.edge, 16 * len(mirrored) + 1))
        weight = weight * np.repeat(mirrored, len(z) // len(mirrored))
        return z, weight / weight.sum()

    @cached_property
    def variance(self) -> float:
        """``Var Z``."""
        z, weight = self._nodes
        return float(weight @ z**2)

    def conditional_mean(self, c: float) -> float:
        """``E[X | X + Z = c]``."""
        z, weight = self._nodes
        exponent = c * z - z**2 / 2
        mass = weight * np.exp(exponent - exponent.max())
        return c - float(mass @ z / mass.sum())


@dataclass(frozen=True)
class InnerNoise:
    """Standard normal gold X, and noise Z: normal with SD ``noise_sd`` where ``|X| <= edge``, 0 elsewhere."""

    edge: float
    noise_sd: float

    def conditional_mean(self, c: float) -> float:
        """``E[X | X + Z = c]`` for c above the edge."""
        x, weight = panels(self.edge * (1.0 - np.concatenate([[2.0], np.geomspace(1.0, 1e-6, 40), [0.0]])))
        log_inside = -(x**2) / 2 - ((c - x) / self.noise_sd) ** 2 / 2 - np.log(self.noise_sd * np.sqrt(2 * np.pi))
        log_outside = -(c**2) / 2
        top = max(log_inside.max(), log_outside)
        inside, outside = weight * np.exp(log_inside - top), np.exp(log_outside - top)
        return float((inside @ x + outside * c) / (inside.sum() + outside))
