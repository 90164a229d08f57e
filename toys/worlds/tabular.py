"""Many prompts x many actions: gold N(0, 1) and ``proxy = gold + noise`` drawn for every pair, and softmax policies
trained on the proxy.

``gold`` of a policy is its gold in the table as drawn; ``gold_exact`` is ``E_pi[m(proxy)]``, its expectation over
tables with these proxies. The policy has seen proxies only, so the two agree within the standard error, whatever the
optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.curve import ToyPoint
from overopt.toys.finite_base import FiniteBase
from overopt.toys.finite_selection import finite_selection_runners
from overopt.toys.optimizers import policy_gradient
from overopt.toys.optimizers.policy_gradient import Gradient, PolicyGradient
from overopt.toys.runner import Runner
from overopt.toys.worlds.density import gaussian_density
from overopt.toys.worlds.independent_sum import IndependentSum
from overopt.toys.worlds.noise import Noise, NoiseName, noise_law
from overopt.toys.worlds.regression import check_positive

__all__ = ["Tabular"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tabular:
    """K prompts with A actions each."""

    prompts: int = 64
    """K >= 1."""
    actions: int = 1000
    """A >= 2."""
    noise: NoiseName = "gaussian"
    """Law of the proxy's noise."""
    noise_sd: float = 1.0
    """Its standard deviation in gold SD, > 0."""
    df: float = 3.0
    """Degrees of freedom of student_t, tail index of pareto; > 2."""
    sigma: float = 1.0
    """Standard deviation of the logarithm of lognormal noise, in (0, 2]."""
    base_sd: float = 0.0
    """SD of the base policy's logits, >= 0; 0: uniform over the actions."""
    gradient: PolicyGradient = field(default_factory=PolicyGradient)
    """How the policy gradients step."""

    def __post_init__(self) -> None:
        if self.prompts < 1:
            raise InputError(f"`prompts` must be >= 1, got {self.prompts}.")
        if self.actions < 2:
            raise InputError(f"`actions` must be >= 2, got {self.actions}.")
        check_positive("base_sd", self.base_sd, zero=True)
        self.noise_law  # noqa: B018  raises InputError on bad parameters

    @cached_property
    def noise_law(self) -> Noise:
        """The centred noise."""
        return noise_law(self.noise, self.noise_sd, self.df, self.sigma)

    @cached_property
    def _sum(self) -> IndependentSum:
        return IndependentSum(gaussian_density(), self.noise_law.density)

    def draw(self, rng: np.random.Generator) -> FiniteBase:
        """One table, on the slope scale (gold has unit variance, the noise is independent of it)."""
        shape = self.prompts, self.actions
        gold = rng.standard_normal(shape)
        proxy = gold + self.noise_law.draw(rng, gold.size).reshape(shape)
        logits = self.base_sd * rng.standard_normal(shape)
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = weight / weight.sum(axis=1, keepdims=True)
        if self.noise == "gaussian":
            mean_gold = proxy / (1 + self.noise_sd**2)
        else:
            mean_gold = self._sum.mean(proxy)
        return FiniteBase(probability, proxy, gold, mean_gold, mean_gold)

    def train(self, base: FiniteBase, gradient: Gradient, steps: tuple[int, ...]) -> list[Array]:
        """Policies (K, A) after each of the numbers of ``steps``, which must not decrease."""
        problem = policy_gradient.problem(base.probability, base.proxy, gradient, self.gradient)
        state = policy_gradient.init(problem)
        policies = []
        for target in steps:
            while state.steps < target:
                state = policy_gradient.step(problem, state)
            policies.append(np.asarray(policy_gradient.to_numpy(policy_gradient.policy(problem, state))))
        return policies

    def runners(self) -> dict[str, Runner]:
        """The proxy-only optimizers on the table's actions, and three policy gradients."""
        gradients: dict[str, Gradient] = {
            "vanilla-gradient": "vanilla", "natural-gradient": "natural", "ppo-clip": "ppo",
        }  # fmt: skip

        def bind(gradient: Gradient) -> Runner:
            def points(rng: np.random.Generator, pressures: tuple[float, ...], replicates: int) -> tuple[ToyPoint, ...]:
                del replicates
                for pressure in pressures:
                    if pressure < 0 or pressure != int(pressure):
                        raise InputError(
                            f"`pressures` of a gradient (steps) must be whole numbers >= 0, got {pressure:g}."
                        )
                base = self.draw(rng)
                steps = tuple(sorted({int(pressure) for pressure in pressures}))
                trained = dict(zip(steps, self.train(base, gradient, steps), strict=True))
                return tuple(base.point(pressure, trained[int(pressure)]) for pressure in pressures)

            return Runner("gradient steps", (0, 10, 30, 60, 100, 200, 300, 500, 1000), points)

        return finite_selection_runners(self.draw, sampled=False) | {
            name: bind(kind) for name, kind in gradients.items()
        }
