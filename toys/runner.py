"""An optimizer bound to a world: what ``overopt toy WORLD --optimizer NAME`` runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from overopt.toys.curve import ToyPoint

__all__ = ["Runner", "World"]


@dataclass(frozen=True, eq=False)
class Runner:
    """``points(rng, pressures, replicates)`` of one optimizer in one world.

    Attributes
    ----------
    pressure
        What the pressure is, in a few words.
    default_pressures
        Used where the caller names none.
    points
        Exact and simulated points, one per pressure; ``replicates`` simulated samples each where the simulation draws
        samples.
    """

    pressure: str
    default_pressures: tuple[float, ...]
    points: Callable[[np.random.Generator, tuple[float, ...], int], tuple[ToyPoint, ...]]


class World(Protocol):
    """A toy world: a frozen dataclass of parameters that knows its optimizers."""

    def runners(self) -> dict[str, Runner]:
        """Optimizer name -> how to run it here."""
        ...
