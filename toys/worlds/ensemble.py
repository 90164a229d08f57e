"""An ensemble of proxies: each sees gold plus a shared error plus one of its own, and a pessimist aggregates them.

Whatever the aggregate, its error is independent of gold, so the world is additive with an exact noise law: the shared
error plus an order statistic (min, median), a mean, or mean minus a multiple of the members' SD. Pessimism trims
private tails; the shared error survives every aggregate (ledger K44).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, log_ndtr, stdtr

from overopt.theory.errors import InputError
from overopt.theory.panels import panel_nodes
from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.conditional_draw import draw_gold_given_sum
from overopt.toys.worlds.density import Density, density_of_sum, gaussian_density
from overopt.toys.worlds.independent_sum import IndependentSum
from overopt.toys.worlds.joint import Joint, Scale
from overopt.toys.worlds.noise import Noise, noise_law
from overopt.toys.worlds.regression import check_positive

__all__ = ["Ensemble"]

Array = NDArray[np.float64]
Aggregate = Literal["mean", "min", "median", "uncertainty"]
Errors = Literal["gaussian", "student_t"]


@dataclass(frozen=True)
class Ensemble:
    """``members`` proxies with private errors of SD ``private_sd`` and a common Gaussian one of SD ``shared_sd``."""

    members: int = 5
    """Number of proxies, 1 to 50; odd for the median."""
    aggregate: Aggregate = "mean"
    """``min``, ``median`` or ``mean`` of the members, or ``uncertainty``: mean - pessimism x SD of the members."""
    errors: Errors = "gaussian"
    """Law of the private errors."""
    private_sd: float = 1.0
    """SD of each private error in gold SD, > 0."""
    shared_sd: float = 0.0
    """SD of the error that all members share, >= 0."""
    df: float = 3.0
    """Degrees of freedom of student_t, > 2."""
    pessimism: float = 1.0
    """Coefficient of the members' SD, >= 0; only used by ``uncertainty``."""

    def __post_init__(self) -> None:
        if not 1 <= self.members <= 50:
            raise InputError(f"`members` must lie in [1, 50], got {self.members}.")
        if self.aggregate not in get_args(Aggregate):
            raise InputError(f"`aggregate` must be one of {', '.join(get_args(Aggregate))}, got '{self.aggregate}'.")
        if self.errors not in get_args(Errors):
            raise InputError(f"`errors` must be one of {', '.join(get_args(Errors))}, got '{self.errors}'.")
        if self.aggregate == "median" and self.members % 2 == 0:
            raise InputError(f"`members` must be odd for the median, got {self.members}.")
        if self.aggregate == "uncertainty" and (self.members < 2 or self.errors != "gaussian"):
            raise InputError(
                "`aggregate` uncertainty needs >= 2 members and gaussian errors (its law is exact only there), "
                f"got {self.members} with {self.errors}."
            )
        check_positive("shared_sd", self.shared_sd, zero=True)
        check_positive("pessimism", self.pessimism, zero=True)
        self._private  # noqa: B018  raises InputError on bad parameters

    @cached_property
    def _private(self) -> Noise:
        return noise_law(self.errors, self.private_sd, self.df)

    def _log_tail(self, z: Array) -> Array:
        """``log P(private error > z)``."""
        if self.errors == "gaussian":
            return np.asarray(log_ndtr(-z / self.private_sd))
        s = self.private_sd * math.sqrt((self.df - 2) / self.df)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(stdtr(self.df, -z / s)))

    def _order_statistic(self, rank: int) -> Density:
        """The ``rank``-th smallest of the private errors: ``k! / ((r-1)! (k-r)!) F^(r-1) (1-F)^(k-r) f``."""
        k = self.members
        constant = float(gammaln(k + 1) - gammaln(rank) - gammaln(k - rank + 1))
        private = self._private.density

        def log_pdf(z: Array) -> Array:
            value = constant + private.log_pdf(z)
            if rank > 1:
                value = value + (rank - 1) * self._log_tail(-z)
            if rank < k:
                value = value + (k - rank) * self._log_tail(z)
            return np.asarray(value)

        return Density(log_pdf, private.edges)

    def _mean(self) -> Density:
        if self.errors == "gaussian":
            return gaussian_density(0.0, self.private_sd / math.sqrt(self.members))
        share = self._private.density
        k = self.members
        one = Density(lambda z: share.log_pdf(z * k) + math.log(k), share.edges / k)
        total = one
        for _ in range(k - 1):
            total = density_of_sum(total, one)
        return total

    def _uncertainty(self) -> Density:
        """Mean and SD of Gaussian errors are independent; the SD is ``sd chi_(k-1) / sqrt(k-1)``."""
        degrees = self.members - 1
        unit = self.pessimism * self.private_sd / math.sqrt(degrees)
        if unit == 0:
            return self._mean()
        constant = math.log(2) * (1 - degrees / 2) - float(gammaln(degrees / 2)) - math.log(unit)

        def log_pdf(z: Array) -> Array:
            x = np.maximum(-z / unit, 1e-200)
            value = constant + (degrees - 1) * np.log(x) - 0.5 * x**2
            return np.where(z < 0, value, -np.inf)

        towards_zero = 2.0 ** -np.arange(2.0, 20.0)
        reach = np.concatenate([np.linspace(0.0, 15.0 + math.sqrt(degrees), 40), towards_zero])
        return density_of_sum(self._mean(), Density(log_pdf, np.sort(-unit * reach)))

    @cached_property
    def noise(self) -> Density:
        """The aggregate's error, not centred."""
        build = {
            "mean": self._mean,
            "min": lambda: self._order_statistic(1),
            "median": lambda: self._order_statistic((self.members + 1) // 2),
            "uncertainty": self._uncertainty,
        }
        private = build[self.aggregate]()
        if self.shared_sd == 0:
            return private
        return density_of_sum(gaussian_density(0.0, self.shared_sd), private)

    def aggregated(self, rng: np.random.Generator, size: int) -> Array:
        """(size,) errors of the aggregate, from the members themselves."""
        private = self._private.draw(rng, size * self.members).reshape(size, self.members)
        if self.aggregate == "min":
            combined = private.min(axis=1)
        elif self.aggregate == "median":
            combined = np.median(private, axis=1)
        else:
            combined = private.mean(axis=1)
            if self.aggregate == "uncertainty":
                combined = combined - self.pessimism * private.std(axis=1, ddof=1)
        return np.asarray(combined + self.shared_sd * rng.standard_normal(size))

    @cached_property
    def joint(self) -> Joint:
        """Additive noise, centred."""
        raw = self.noise
        nodes, weights = panel_nodes(raw.edges)
        mass = weights * np.exp(raw.log_pdf(nodes))
        mean = float((mass * nodes).sum() / mass.sum())
        variance = float((mass * (nodes - mean) ** 2).sum() / mass.sum())
        density = Density(lambda z: raw.log_pdf(z + mean), raw.edges - mean)
        exact = IndependentSum(gaussian_density(), density)
        centre = np.linspace(-4, 4, 4001) * math.sqrt(variance)
        heights = density.log_pdf(centre)
        mode = float(centre[heights.argmax()])
        scale = float(np.ptp(centre[heights > heights.max() - 0.5]) / 2)
        # The envelope of the conditional draw takes the density at the mode as its maximum: its grid error is below
        # 1e-5.
        noise = Noise(density, lambda rng, size: self.aggregated(rng, size) - mean, mode, scale, 0.0)

        def draw_base(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
            gold = rng.standard_normal(size)
            return gold, gold + noise.draw(rng, size)

        return Joint(
            scale=Scale.of_moments(0.0, 1.0, mean, math.sqrt(1 + variance), 1 / math.sqrt(1 + variance)),
            law=exact.law, quantile=exact.quantile, logit=exact.logit,
            draw_gold=lambda rng, proxy: draw_gold_given_sum(rng, noise, proxy),
            draw_base=draw_base,
            largest_tilt=math.inf if self.errors == "gaussian" else 0.0,
        )  # fmt: skip

    def runners(self) -> dict[str, Runner]:
        """The five proxy-only optimizers."""
        return selection_runners(self.joint)
