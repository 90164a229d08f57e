"""Three submodules: what is true, what is persuasive, and a policy that weighs them (Marks, Neyman, Thomas; ledger
K35, K36).

a, b, c are independent normals; the output has truth ``T = alpha a + beta b`` (gold) and persuasiveness ``P = alpha a
+ gamma c`` (proxy), weights >= 0 with sum 1. Conditioning on P raises T. A policy gradient over the weights drives
them to the vertex with the largest mean persuasiveness: (0, 0, 1), where truth is 0, whenever mu_C > mu_A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.curve import ToyPoint
from overopt.toys.linear_shift import sampled_point, shift_point
from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.gaussian_mixture import GaussianMixture
from overopt.toys.worlds.joint import Joint
from overopt.toys.worlds.regression import check_positive

__all__ = ["ThreeSubmodules"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ThreeSubmodules:
    """Weights (alpha, beta, gamma) of the base policy and laws of the submodules."""

    alpha: float = 0.4
    """Weight of the submodule that is true and persuasive, > 0."""
    beta: float = 0.35
    """Weight of the one that is true only, > 0."""
    gamma: float = 0.25
    """Weight of the one that is persuasive only, > 0."""
    mean_a: float = 1.0
    """Mean of a."""
    mean_b: float = 1.2
    """Mean of b."""
    mean_c: float = 1.5
    """Mean of c."""
    sd_a: float = 1.0
    """SD of a, > 0."""
    sd_b: float = 1.0
    """SD of b, > 0."""
    sd_c: float = 1.0
    """SD of c, > 0."""
    kl_penalty: float = 0.0
    """Coefficient of KL(policy || base) in the policy gradient's objective, >= 0."""
    learning_rate: float = 0.05
    """Step of the policy gradient on the logits of the weights, > 0."""

    def __post_init__(self) -> None:
        weights = self.weights
        if not (np.all(weights > 0) and abs(weights.sum() - 1) < 1e-9):
            raise InputError(
                f"`alpha`, `beta`, `gamma` must be > 0 and sum to 1, got {self.alpha:g}, {self.beta:g}, {self.gamma:g}."
            )
        for name in ("mean_a", "mean_b", "mean_c"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(f"`{name}` must be a finite number, got {getattr(self, name):g}.")
        for name in ("sd_a", "sd_b", "sd_c", "learning_rate"):
            check_positive(name, getattr(self, name))
        check_positive("kl_penalty", self.kl_penalty, zero=True)

    @property
    def weights(self) -> Array:
        """(3,) the base policy's weights."""
        return np.array([self.alpha, self.beta, self.gamma])

    @property
    def _means(self) -> Array:
        return np.array([self.mean_a, self.mean_b, self.mean_c])

    @property
    def _sds(self) -> Array:
        return np.array([self.sd_a, self.sd_b, self.sd_c])

    @cached_property
    def joint(self) -> Joint:
        """Truth and persuasiveness under the base policy: bivariate normal, correlated through a."""
        shared = (self.alpha * self.sd_a) ** 2
        truth_sd = math.sqrt(shared + (self.beta * self.sd_b) ** 2)
        persuasive_sd = math.sqrt(shared + (self.gamma * self.sd_c) ** 2)
        truth, persuasive = self.mean_truth(self.weights), self.mean_persuasiveness(self.weights)
        return GaussianMixture(
            np.ones(1), np.array([truth]), np.array([persuasive]), np.array([truth_sd]), np.array([persuasive_sd]),
            np.array([shared / (truth_sd * persuasive_sd)]),
        ).joint(independent_error=True)  # fmt: skip

    def mean_truth(self, weights: Array) -> float:
        """E[T] at any weights."""
        return float(weights[0] * self.mean_a + weights[1] * self.mean_b)

    def mean_persuasiveness(self, weights: Array) -> float:
        """E[P] at any weights."""
        return float(weights[0] * self.mean_a + weights[2] * self.mean_c)

    def truth_given_persuasiveness(self, persuasiveness: float) -> float:
        """``E[T | P = p] = E T + alpha^2 s_A^2 / (alpha^2 s_A^2 + gamma^2 s_C^2) (p - E P)`` under the base policy."""
        shared, other = (self.alpha * self.sd_a) ** 2, (self.gamma * self.sd_c) ** 2
        surprise = persuasiveness - self.mean_persuasiveness(self.weights)
        return self.mean_truth(self.weights) + shared / (shared + other) * surprise

    def kl(self, weights: Array) -> float:
        """KL of (alpha a, beta b, gamma c) from its law under the base policy, in nats; infinite at a vertex."""
        if np.any(weights <= 0):
            return math.inf
        ratio = weights / self.weights
        shift = (ratio - 1) * self._means / self._sds
        return float((-np.log(ratio) + 0.5 * (ratio**2 - 1 + shift**2)).sum())

    def kl_gradient(self, weights: Array) -> Array:
        """(3,) derivative of :meth:`kl` by the weights."""
        ratio = weights / self.weights
        by_ratio = -1 / ratio + ratio + (ratio - 1) * (self._means / self._sds) ** 2
        return np.asarray(by_ratio / self.weights)

    def gradient_step(self, weights: Array) -> Array:
        """One ascent step of ``E[P] - kl_penalty KL`` on the logits of the weights; returns the new weights."""
        by_weight = np.array([self.mean_a, 0.0, self.mean_c])
        if self.kl_penalty:
            by_weight = by_weight - self.kl_penalty * self.kl_gradient(weights)
        by_logit = weights * (by_weight - weights @ by_weight)
        logits = np.log(weights) + self.learning_rate * by_logit
        moved = np.exp(logits - logits.max())
        return np.asarray(moved / moved.sum())

    def trained_weights(self, steps: int) -> Array:
        """(3,) the weights after ``steps`` gradient steps from the base policy."""
        weights = self.weights
        for _ in range(steps):
            weights = self.gradient_step(weights)
        return weights

    def runners(self) -> dict[str, Runner]:
        """Proxy-only selection, and the policy gradient over the weights."""

        def points(rng: np.random.Generator, pressures: tuple[float, ...], replicates: int) -> tuple[ToyPoint, ...]:
            return tuple(self._trained_point(rng, pressure, replicates) for pressure in pressures)

        gradient = Runner("gradient steps on the weights", (0, 10, 50, 100, 200, 500, 1000, 2000), points)
        return selection_runners(self.joint) | {"weights-gradient": gradient}

    def _trained_point(self, rng: np.random.Generator, pressure: float, replicates: int) -> ToyPoint:
        if pressure < 0 or pressure != int(pressure):
            raise InputError(f"`pressures` of weights-gradient (steps) must be whole numbers >= 0, got {pressure:g}.")
        weights, scale = self.trained_weights(int(pressure)), self.joint.scale
        truth = (self.mean_truth(weights) - scale.gold_mean) / scale.gold_sd
        persuasive = (self.mean_persuasiveness(weights) - scale.proxy_mean) / scale.proxy_unit

        def draw(size: int) -> tuple[Array, Array]:
            parts = weights[:, None] * (self._means[:, None] + self._sds[:, None] * rng.standard_normal((3, size)))
            return scale.gold(parts[0] + parts[1]), scale.proxy(parts[0] + parts[2])

        return sampled_point(shift_point(pressure, self.kl(weights), persuasive, truth, scale), draw, replicates)
