"""A linear reward model learned from labels, three levels deep: gold, an annotator who is a proxy himself, and the
model.

Outputs are features ``phi ~ N(0, I_D)``. Gold is ``v . phi``; the annotator prefers by ``a . phi`` with cosine
``annotator`` to v and flips a share of his labels; the model is the Hebbian ``w = mean(label x phi)`` of N hard
labels. Given w, gold and proxy are jointly normal with correlation cos(w, v). Without label noise and with a perfect
annotator ``E cos^2 = (2N/pi) / (2N/pi + D)``, which is the near-chance data threshold as an effective dimension
(ledger K49).

Retraining: in every round a model is learned from fresh labels around the current policy, and the policy's mean moves
along it. Independent errors average out, a shared one does not (ledger K43).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.curve import ToyPoint
from overopt.toys.linear_shift import sampled_point, shift_point
from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.gaussian_mixture import GaussianMixture
from overopt.toys.worlds.joint import Joint, Scale
from overopt.toys.worlds.regression import check_positive

__all__ = ["LinearRewardModel", "RetrainingState"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RetrainingState:
    """What the next round needs: the policy's mean (D,), and the model in use (D,), of length 1."""

    mean: Array
    model: Array
    rounds: int = 0


@dataclass(frozen=True)
class LinearRewardModel:
    """A reward model learned from ``labels`` hard labels on ``dimensions`` features; a new one for every seed."""

    labels: int = 200
    """N >= 1 labels."""
    dimensions: int = 20
    """D >= 2 features."""
    flip: float = 0.0
    """Share of labels flipped at random, in [0, 0.5)."""
    annotator: float = 1.0
    """Cosine between what the annotator wants and gold, in (0, 1]."""
    round_kl: float = 0.5
    """Nats that one round of retraining would spend from the base policy, > 0."""
    fresh: bool = True
    """Retraining learns from fresh labels in every round; otherwise it keeps the first model."""

    scale_kind: ClassVar[str] = "pooled-sd"

    def __post_init__(self) -> None:
        if self.labels < 1:
            raise InputError(f"`labels` must be >= 1, got {self.labels}.")
        if self.dimensions < 2:
            raise InputError(f"`dimensions` must be >= 2, got {self.dimensions}.")
        if not 0 <= self.flip < 0.5:
            raise InputError(f"`flip` must lie in [0, 0.5), got {self.flip:g}.")
        if not 0 < self.annotator <= 1:
            raise InputError(f"`annotator` must lie in (0, 1], got {self.annotator:g}.")
        check_positive("round_kl", self.round_kl)

    @property
    def annotator_direction(self) -> Array:
        """(D,) unit vector a; gold's is the first axis, and the annotator's own taste the second."""
        direction = np.zeros(self.dimensions)
        direction[:2] = self.annotator, math.sqrt(1 - self.annotator**2)
        return direction

    def learn(self, rng: np.random.Generator) -> Array:
        """(D,) the learned reward direction, of length 1.

        Labels compare an output with the policy's mean, so a shift of the policy leaves their law as it is.
        """
        features = rng.standard_normal((self.labels, self.dimensions))
        label = np.sign(features @ self.annotator_direction)
        label = np.where(rng.random(self.labels) < self.flip, -label, label)
        weights = label @ features / self.labels
        return np.asarray(weights / np.linalg.norm(weights))

    def expected_signal_share(self) -> float:
        """``E (w . a)^2 / E |w|^2``, the cosine^2 with the annotator: ``(N k^2 + 1 - k^2) / (N k^2 + D - k^2)``.

        ``k = (1 - 2 flip) sqrt(2/pi)`` is the mean of a label times the annotator's own feature; cosine^2 with gold is
        this times ``annotator^2``, plus what chance gives along gold.
        """
        k2 = (1 - 2 * self.flip) ** 2 * 2 / math.pi
        return (self.labels * k2 + 1 - k2) / (self.labels * k2 + self.dimensions - k2)

    def joint_of(self, model: Array) -> Joint:
        """Base law of gold and the model's reward, both in SD: a model near chance has no slope to divide by."""
        rho = float(np.clip(model[0], -1 + 1e-12, 1 - 1e-12))
        one, zero = np.ones(1), np.zeros(1)
        mixture = GaussianMixture(one, zero, zero, one, one, np.array([rho]))
        exact = mixture.closed_form

        def draw_base(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
            features = rng.standard_normal((size, self.dimensions))
            return features[:, 0], np.asarray(features @ model)

        return Joint(
            scale=Scale("pooled-sd", 0.0, 1.0, 0.0, 1.0, rho), law=exact.law, quantile=exact.quantile,
            logit=exact.logit, draw_gold=mixture.draw_gold, draw_base=draw_base,
        )  # fmt: skip

    def init(self, rng: np.random.Generator) -> RetrainingState:
        """The base policy and the first model."""
        return RetrainingState(np.zeros(self.dimensions), self.learn(rng))

    def step(self, rng: np.random.Generator, state: RetrainingState) -> RetrainingState:
        """One round: move along the model in use, then learn the next one."""
        mean = state.mean + math.sqrt(2 * self.round_kl) * state.model
        model = self.learn(rng) if self.fresh else state.model
        return replace(state, mean=mean, model=model, rounds=state.rounds + 1)

    def runners(self) -> dict[str, Runner]:
        """Proxy-only selection by a newly learned model, and iterated retraining."""
        template = selection_runners(self.joint_of(self.annotator_direction))

        def bind(name: str) -> Runner:
            def points(rng: np.random.Generator, pressures: tuple[float, ...], replicates: int) -> tuple[ToyPoint, ...]:
                return selection_runners(self.joint_of(self.learn(rng)))[name].points(rng, pressures, replicates)

            return replace(template[name], points=points)

        retraining = Runner("rounds of retraining", (0, 1, 2, 4, 8, 16), self._retrain)
        return {name: bind(name) for name in template} | {"iterated-retraining": retraining}

    def _retrain(self, rng: np.random.Generator, pressures: tuple[float, ...], replicates: int) -> tuple[ToyPoint, ...]:
        for pressure in pressures:
            if pressure < 0 or pressure != int(pressure):
                raise InputError(
                    f"`pressures` of iterated-retraining (rounds) must be whole numbers >= 0, got {pressure:g}."
                )
        found: dict[int, ToyPoint] = {}
        state = self.init(rng)
        used = state.model
        for rounds in range(int(max(pressures)) + 1):
            if rounds in pressures:
                found[rounds] = self._point(rng, state, used, replicates)
            used, state = state.model, self.step(rng, state)
        return tuple(found[int(pressure)] for pressure in pressures)

    def _point(self, rng: np.random.Generator, state: RetrainingState, used: Array, replicates: int) -> ToyPoint:
        """Terms against the model that made the last move, ``used``."""
        scale = self.joint_of(used).scale
        kl = 0.5 * float(state.mean @ state.mean)
        exact = shift_point(float(state.rounds), kl, float(used @ state.mean), float(state.mean[0]), scale)

        def draw(size: int) -> tuple[Array, Array]:
            features = state.mean + rng.standard_normal((size, self.dimensions))
            return features[:, 0], np.asarray(features @ used)

        return sampled_point(exact, draw, replicates)
