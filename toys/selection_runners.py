"""The five proxy-only optimizers bound to a world with one joint law of gold and proxy."""

from __future__ import annotations

import numpy as np

from overopt.toys.curve import ToyPoint
from overopt.toys.optimizers.best_of_n import BestOfN
from overopt.toys.optimizers.best_of_poisson import BestOfPoisson
from overopt.toys.optimizers.exponential_tilt import ExponentialTilt
from overopt.toys.optimizers.quantilizer import Quantilizer
from overopt.toys.optimizers.selection import SelectionOptimizer
from overopt.toys.optimizers.threshold import Threshold
from overopt.toys.runner import Runner
from overopt.toys.selection_curve import selection_points
from overopt.toys.worlds.joint import Joint

__all__ = ["selection_runners"]

_PRESSURE = {
    "best-of-n": "n",
    "best-of-poisson": "mu, the mean number of extra samples",
    "quantilizer": "1/q",
    "threshold": "threshold on the scaled proxy, gold SD",
    "exponential-tilt": "lambda per gold SD of proxy",
}


def selection_runners(joint: Joint) -> dict[str, Runner]:
    """Best-of-n, best-of-Poisson, quantilizer, threshold and exponential tilt in a world with law ``joint``."""

    def bind(optimizer: SelectionOptimizer) -> Runner:
        def points(rng: np.random.Generator, pressures: tuple[float, ...], replicates: int) -> tuple[ToyPoint, ...]:
            return selection_points(rng, joint, optimizer, pressures, replicates)

        return Runner(_PRESSURE[optimizer.name], optimizer.default_pressures, points)

    optimizers: tuple[SelectionOptimizer, ...] = (
        BestOfN(), BestOfPoisson(), Quantilizer(), Threshold(), ExponentialTilt(),
    )  # fmt: skip
    return {optimizer.name: bind(optimizer) for optimizer in optimizers}
