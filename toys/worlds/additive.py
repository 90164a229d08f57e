"""Additive noise: ``proxy = gold + noise``, gold N(0, 1), noise of any law and independent of gold.

Regressional Goodhart and nothing else. The shape of the noise alone decides whether gold rises for ever (Gaussian,
uniform), saturates at the noise's tail rate (Laplace, logistic, exponential) or returns to the base value (Student t,
Pareto, lognormal): ledger rows K13 to K21.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.conditional_draw import draw_gold_given_sum
from overopt.toys.worlds.density import gaussian_density
from overopt.toys.worlds.independent_sum import IndependentSum
from overopt.toys.worlds.joint import Joint, Scale
from overopt.toys.worlds.noise import Noise, NoiseName, noise_law

__all__ = ["Additive"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Additive:
    """``proxy = gold + noise`` with gold N(0, 1)."""

    noise: NoiseName = "gaussian"
    """Law of the noise."""
    noise_sd: float = 1.0
    """Its standard deviation in gold SD, > 0."""
    df: float = 3.0
    """Degrees of freedom of student_t, tail index of pareto; > 2."""
    sigma: float = 1.0
    """Standard deviation of the logarithm of lognormal noise, in (0, 2]."""

    def __post_init__(self) -> None:
        self.noise_law  # noqa: B018  raises InputError on bad parameters

    @cached_property
    def noise_law(self) -> Noise:
        """The centred noise."""
        return noise_law(self.noise, self.noise_sd, self.df, self.sigma)

    @cached_property
    def joint(self) -> Joint:
        """Gold has unit variance and the noise is uncorrelated with it: raw units are the slope scale."""
        noise = self.noise_law
        exact = IndependentSum(gaussian_density(), noise.density)
        reliability = 1 / (1 + self.noise_sd**2)
        spread = self.noise_sd * np.sqrt(reliability)

        def draw_gold(rng: np.random.Generator, proxy: Array) -> Array:
            if self.noise == "gaussian":
                gold = rng.standard_normal(proxy.size)
                gold *= spread
                gold += reliability * proxy
                return gold
            return draw_gold_given_sum(rng, noise, proxy)

        def draw_base(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
            gold = rng.standard_normal(size)
            return gold, gold + noise.draw(rng, size)

        return Joint(
            scale=Scale.of_moments(0.0, 1.0, 0.0, float(np.sqrt(1 / reliability)), float(np.sqrt(reliability))),
            law=exact.law,
            quantile=exact.quantile,
            logit=exact.logit,
            draw_gold=draw_gold,
            draw_base=draw_base,
            largest_tilt=noise.largest_tilt,
        )

    def runners(self) -> dict[str, Runner]:
        """The five proxy-only optimizers."""
        return selection_runners(self.joint)
