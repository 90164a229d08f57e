"""Bounded noise, ``|noise| <= delta``, independent of N(0, 1) gold: regressional Goodhart at its mildest and at its
oddest (K13, K14).

Uniform noise becomes free under strong optimization (``E[gold | c] = c - delta + 1/c``); two-point noise makes gold
non-monotone in the proxy once delta exceeds gold's SD, because it is not log-concave.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from overopt.theory.errors import InputError
from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.additive import Additive
from overopt.toys.worlds.gaussian_mixture import GaussianMixture
from overopt.toys.worlds.joint import Joint
from overopt.toys.worlds.regression import check_positive

__all__ = ["Bounded"]

Shape = Literal["uniform", "two-point"]


@dataclass(frozen=True)
class Bounded:
    """``proxy = gold + noise`` with noise in [-delta, delta]."""

    delta: float = 1.0
    """Bound of the noise in gold SD, > 0."""
    shape: Shape = "uniform"
    """``uniform`` on the interval, or ``two-point``: plus or minus delta."""

    def __post_init__(self) -> None:
        check_positive("delta", self.delta)
        if self.shape not in get_args(Shape):
            raise InputError(f"`shape` must be one of {', '.join(get_args(Shape))}, got '{self.shape}'.")

    @cached_property
    def joint(self) -> Joint:
        """Two-point noise is a mixture of two bivariate normals with correlation 1."""
        if self.shape == "uniform":
            return Additive(noise="uniform", noise_sd=self.delta / math.sqrt(3)).joint
        one = np.ones(2)
        mixture = GaussianMixture(
            0.5 * one, 0 * one, np.array([-self.delta, self.delta]), one, one, one
        )  # fmt: skip
        return mixture.joint(independent_error=True)

    def runners(self) -> dict[str, Runner]:
        """The five proxy-only optimizers."""
        return selection_runners(self.joint)
