"""The laws that are fitted to a gold curve, as features that are linear in all coefficients but one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from overopt.theory.errors import InputError

__all__ = ["LAWS", "FitLaw", "LawName", "fit_law"]

Array = NDArray[np.float64]
LawName = Literal["bon", "rl", "log1p", "power", "saturating", "linear"]


@dataclass(frozen=True)
class FitLaw:
    """One form of the gold gain R(d), d = sqrt(KL), R(0) = 0.

    Attributes
    ----------
    name, formula
        As on the command line and as printed.
    coefficients
        Names of the linear coefficients.
    shape
        Name of the one nonlinear parameter, or None.
    features
        ``features(d, shape) -> (..., L)``: ``R(d) = features @ coefficients``.
    shapes
        The values of the nonlinear parameter that the fit searches, as multiples of ``1 / d_max`` for a rate.
    """

    name: LawName
    formula: str
    coefficients: tuple[str, ...]
    features: Callable[[Array, float], Array]
    shape: str | None = None
    shapes: Array | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return self.coefficients if self.shape is None else (*self.coefficients, self.shape)

    def __call__(self, d: ArrayLike, parameters: ArrayLike) -> Array:
        """(..., P) gold gain at (P,) values of d for (..., Q) parameters in the order of ``parameters``."""
        at = np.asarray(d, dtype=np.float64)
        values = np.atleast_2d(np.asarray(parameters, dtype=np.float64))
        count = len(self.coefficients)
        if self.shape is None:
            gains = values @ self.features(at, 0.0).T
        else:
            gains = np.stack([self.features(at, row[count]) @ row[:count] for row in values])
        return gains.reshape(*np.shape(parameters)[:-1], at.size)


def _stack(*columns: Array) -> Array:
    return np.stack(columns, axis=-1)


LAWS: dict[str, FitLaw] = {
    law.name: law
    for law in (
        FitLaw("bon", "d (alpha - beta d)", ("alpha", "beta"), lambda d, _: _stack(d, -(d**2))),
        FitLaw("rl", "d (alpha - beta log d)", ("alpha", "beta"), lambda d, _: _stack(d, -xlogy(d, d))),
        FitLaw("log1p", "d (alpha - beta log(1 + d))", ("alpha", "beta"), lambda d, _: _stack(d, -d * np.log1p(d))),
        FitLaw(
            "power",
            "d (alpha - beta d^gamma)",
            ("alpha", "beta"),
            lambda d, gamma: _stack(d, -(d ** (1 + gamma))),
            "gamma",
            np.geomspace(0.02, 4.0, 80),
        ),
        FitLaw(
            "saturating",
            "alpha (1 - exp(-rate d)) / rate",
            ("alpha",),
            lambda d, rate: _stack(-np.expm1(-rate * d) / rate),
            "rate",
            np.geomspace(1e-3, 30.0, 120),
        ),
        FitLaw("linear", "alpha d", ("alpha",), lambda d, _: _stack(d)),
    )
}


def fit_law(name: str) -> FitLaw:
    """The law of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in LAWS:
        raise InputError(f"`law` must be one of {', '.join(get_args(LawName))}, best, got '{name}'.")
    return LAWS[name]
