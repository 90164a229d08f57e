"""Noise laws of mean 0 and given standard deviation: what the additive world adds to gold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.worlds.density import Density

__all__ = ["Noise", "NoiseName", "noise_law"]

Array = NDArray[np.float64]
NoiseName = Literal["gaussian", "uniform", "laplace", "logistic", "exponential", "student_t", "pareto", "lognormal"]

_LOG_TAIL = 95.0


@dataclass(frozen=True, eq=False)
class Noise:
    """A centred noise law.

    Attributes
    ----------
    density
        Its density, mean 0.
    draw
        ``draw(rng, size)``.
    mode
        Where the density, which is unimodal, is largest (an edge for the one-sided laws).
    scale
        A length over which it changes by a factor of about e.
    largest_tilt
        Supremum of the t with ``E exp(t noise)`` finite: ``inf`` for light tails, 0 for heavy ones.
    """

    density: Density
    draw: Callable[[np.random.Generator, int], Array]
    mode: float
    scale: float
    largest_tilt: float


def _edges(mode: float, scale: float, low: float, high: float) -> Array:
    """Panel edges that grow geometrically from the mode to both ends of the effective support."""
    reach = scale * np.concatenate([[0.25, 0.5, 0.75], 2.0 ** (np.arange(0, 16) / 2), 2.0 ** np.arange(8.5, 64)])
    both = np.concatenate([[low, mode, high], mode + reach, mode - reach])
    # Panels beyond 60 gold standard deviations are never mirrored into gold's support one by one.
    return np.unique(both[(both >= low) & (both <= high) & ((np.abs(both) < 400) | (both == low) | (both == high))])


def noise_law(name: NoiseName, sd: float, df: float = 3.0, sigma: float = 1.0) -> Noise:
    """The noise law ``name`` with mean 0 and standard deviation ``sd``.

    Parameters
    ----------
    name
        ``student_t`` has ``df`` degrees of freedom, ``pareto`` the tail index ``df``, ``lognormal`` the shape
        ``sigma``.
    sd
        > 0, in gold SD.
    df
        > 2: a variance is needed.
    sigma
        Standard deviation of the logarithm, > 0; only used by ``lognormal``.

    Raises
    ------
    InputError
        On an unknown name or a parameter outside its range.
    """
    if name not in get_args(NoiseName):
        raise InputError(f"`noise` must be one of {', '.join(get_args(NoiseName))}, got '{name}'.")
    if not (math.isfinite(sd) and sd > 0):
        raise InputError(f"`noise_sd` must be a finite number > 0, got {sd:g}.")
    if name in ("student_t", "pareto") and not (math.isfinite(df) and df > 2):
        raise InputError(f"`df` must be > 2, or the {name} noise has no variance, got {df:g}.")
    if name == "lognormal" and not 0 < sigma <= 2:
        raise InputError(f"`sigma` must lie in (0, 2], got {sigma:g}.")
    return _LAWS[name](sd, df, sigma)


def _gaussian(sd: float, df: float, sigma: float) -> Noise:
    del df, sigma

    def log_pdf(x: Array) -> Array:
        return np.asarray(-0.5 * (x / sd) ** 2 - math.log(sd * math.sqrt(2 * math.pi)))

    reach = sd * math.sqrt(2 * _LOG_TAIL + 20)
    return Noise(
        Density(log_pdf, sd * np.linspace(-reach / sd, reach / sd, 40)),
        lambda rng, size: sd * rng.standard_normal(size),
        0.0, sd, math.inf,
    )  # fmt: skip


def _uniform(sd: float, df: float, sigma: float) -> Noise:
    del df, sigma
    half = sd * math.sqrt(3)

    def log_pdf(x: Array) -> Array:
        return np.where(np.abs(x) <= half, -math.log(2 * half), -np.inf)

    return Noise(
        Density(log_pdf, np.array([-half, 0.0, half])),
        lambda rng, size: rng.uniform(-half, half, size),
        0.0, half, math.inf,
    )  # fmt: skip


def _laplace(sd: float, df: float, sigma: float) -> Noise:
    del df, sigma
    b = sd / math.sqrt(2)

    def log_pdf(x: Array) -> Array:
        return np.asarray(-np.abs(x) / b - math.log(2 * b))

    edges = _edges(0.0, b, -b * _LOG_TAIL, b * _LOG_TAIL)
    return Noise(Density(log_pdf, edges), lambda rng, size: rng.laplace(0.0, b, size), 0.0, b, 1 / b)


def _logistic(sd: float, df: float, sigma: float) -> Noise:
    del df, sigma
    s = sd * math.sqrt(3) / math.pi

    def log_pdf(x: Array) -> Array:
        a = np.abs(x) / s
        return np.asarray(-a - 2 * np.log1p(np.exp(-a)) - math.log(s))

    edges = _edges(0.0, s, -s * _LOG_TAIL, s * _LOG_TAIL)
    return Noise(Density(log_pdf, edges), lambda rng, size: rng.logistic(0.0, s, size), 0.0, s, 1 / s)


def _exponential(sd: float, df: float, sigma: float) -> Noise:
    del df, sigma

    def log_pdf(x: Array) -> Array:
        return np.where(x >= -sd, -(x + sd) / sd - math.log(sd), -np.inf)

    edges = _edges(-sd, sd, -sd, sd * _LOG_TAIL)
    return Noise(Density(log_pdf, edges), lambda rng, size: sd * (rng.standard_exponential(size) - 1), -sd, sd, 1 / sd)


def _student_t(sd: float, df: float, sigma: float) -> Noise:
    del sigma
    s = sd * math.sqrt((df - 2) / df)
    constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi) - math.log(s)

    def log_pdf(x: Array) -> Array:
        return np.asarray(constant - 0.5 * (df + 1) * np.log1p((x / s) ** 2 / df))

    reach = s * math.sqrt(df) * math.exp(min(_LOG_TAIL / df, 300.0)) * 2
    return Noise(
        Density(log_pdf, _edges(0.0, s, -reach, reach)), lambda rng, size: s * rng.standard_t(df, size), 0.0, s, 0.0
    )


def _pareto(sd: float, df: float, sigma: float) -> Noise:
    """Density ``df m^df / y^(df+1)`` on ``y >= m``, shifted by its mean ``df m / (df - 1)``."""
    del sigma
    minimum = sd * (df - 1) * math.sqrt((df - 2) / df)
    shift = df * minimum / (df - 1)

    def log_pdf(x: Array) -> Array:
        y = np.maximum(x + shift, minimum)
        value = math.log(df) + df * math.log(minimum) - (df + 1) * np.log(y)
        return np.where(x + shift >= minimum, value, -np.inf)

    low, reach = minimum - shift, minimum * math.exp(min(_LOG_TAIL / df, 300.0))
    return Noise(
        Density(log_pdf, _edges(low, minimum / (df + 1), low, reach)),
        lambda rng, size: minimum * (1 + rng.pareto(df, size)) - shift,
        low, minimum / (df + 1), 0.0,
    )  # fmt: skip


def _lognormal(sd: float, df: float, sigma: float) -> Noise:
    del df
    median = sd / math.sqrt(math.expm1(sigma**2) * math.exp(sigma**2))
    shift = median * math.exp(sigma**2 / 2)

    def log_pdf(x: Array) -> Array:
        y = np.maximum(x + shift, 1e-300)
        z = np.log(y / median) / sigma
        value = -0.5 * z**2 - np.log(y) - math.log(sigma * math.sqrt(2 * math.pi))
        return np.where(x + shift > 0, value, -np.inf)

    low, reach = -shift, median * math.exp(sigma * math.sqrt(2 * _LOG_TAIL))
    mode = median * math.exp(-(sigma**2)) - shift
    # The density is smooth in log y: geometric edges towards 0 as well as away from it.
    towards_zero = low + median * np.exp(sigma * np.arange(-14.0, 15.0, 0.5))
    edges = np.unique(np.concatenate([_edges(mode, median * sigma, low, reach), towards_zero]))
    edges = edges[(edges < 400) | (edges == edges[-1])]
    return Noise(
        Density(log_pdf, np.unique(np.append(edges, reach))),
        lambda rng, size: median * np.exp(sigma * rng.standard_normal(size)) - shift,
        mode, median * sigma * math.exp(-(sigma**2)), 0.0,
    )  # fmt: skip


_LAWS: dict[NoiseName, Callable[[float, float, float], Noise]] = {
    "gaussian": _gaussian,
    "uniform": _uniform,
    "laplace": _laplace,
    "logistic": _logistic,
    "exponential": _exponential,
    "student_t": _student_t,
    "pareto": _pareto,
    "lognormal": _lognormal,
}
