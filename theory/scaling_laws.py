"""Laws of gold against `d = sqrt(KL)`: the two forms of Gao, Schulman & Hilton (2022), their rivals, and their fit.

Every law passes through the base policy, `R(0) = 0`, and is linear in alpha and beta except for at most one shape
parameter, which is found by minimising the residual over a grid and then by golden section (variable projection).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError
from overopt.theory.numerics import GOLD_BISECTIONS, GOLD_TOLERANCE, MAX_DOUBLINGS, SHAPE_GRID, SHAPE_STEPS

__all__ = [
    "LAWS",
    "LawFit",
    "Linear",
    "Log1p",
    "LogLaw",
    "Peak",
    "Power",
    "Quadratic",
    "Saturating",
    "ScalingLaw",
    "d_at_gold",
    "fit_law",
    "law_named",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Peak:
    """Where a law is largest: `d` and the gold there; `inf` and the limit of gold where it never turns."""

    d: Array
    gold: Array


class ScalingLaw(ABC):
    """`R(d)`; coefficients are arrays that broadcast against `d`.

    Attributes
    ----------
    name : key in `LAWS`.
    formula : the law as printed.
    parameters : names of the coefficients, in the order in which every method takes them.
    shape_bounds : range in which a fit looks for the last parameter, None if the law is linear in all of them.
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]]
    shape_bounds: ClassVar[tuple[float, float] | None] = None

    @abstractmethod
    def design(self, d: ArrayLike, shape: ArrayLike = 0.0) -> Array:
        """Columns of the linear model at a fixed shape parameter, shape `d.shape + (linear parameters,)`."""

    @abstractmethod
    def peak(self, *coefficients: ArrayLike) -> Peak:
        """Location and height of the maximum over `d > 0`."""

    def gold(self, d: ArrayLike, *coefficients: ArrayLike) -> Array:
        """`R(d)` at the given coefficients."""
        if len(coefficients) != len(self.parameters):
            raise InputError(f"`{self.name}` takes {', '.join(self.parameters)}, got {len(coefficients)} coefficients.")
        values = [np.asarray(c, dtype=float) for c in coefficients]
        linear = values if self.shape_bounds is None else values[:-1]
        columns = self.design(d, values[-1])
        result: Array = sum((columns[..., i] * c for i, c in enumerate(linear)), start=np.zeros(()))
        return result


def _d(d: ArrayLike) -> Array:
    values = np.asarray(d, dtype=float)
    if np.any(values < 0):
        raise InputError(f"`d` must be >= 0, got {np.min(values):g}.")
    return values


def _peak_where(turns: NDArray[np.bool_], d: Array, gold: Array, limit: Array) -> Peak:
    return Peak(d=np.where(turns, d, np.inf), gold=np.where(turns, gold, limit))


def _turning(alpha: ArrayLike, beta: ArrayLike) -> tuple[Array, Array, NDArray[np.bool_], Array]:
    """alpha, beta, whether a law with a loss term turns, and beta made safe for division."""
    a, b = np.broadcast_arrays(np.asarray(alpha, dtype=float), np.asarray(beta, dtype=float))
    turns = b > 0
    return a, b, turns, np.where(turns, b, 1.0)


class Quadratic(ScalingLaw):
    """`d (alpha - beta d)`: best-of-n in the paper. Peak `d* = alpha/(2 beta)`, `R* = alpha^2/(4 beta)`."""

    name = "bon"
    formula = "d (alpha - beta d)"
    parameters = ("alpha", "beta")

    def design(self, d: ArrayLike, shape: ArrayLike = 0.0) -> Array:
        x = _d(d)
        return np.stack([x, -(x**2)], axis=-1)

    def peak(self, *coefficients: ArrayLike) -> Peak:
        a, _, turns, b = _turning(*coefficients)
        d = np.maximum(a, 0) / (2 * b)
        return _peak_where(turns, d, b * d**2, np.full_like(a, np.inf))


class LogLaw(ScalingLaw):
    """`d (alpha - beta log d)`: RL in the paper. Peak `d* = exp(alpha/beta - 1)`, `R* = beta d*`."""

    name = "rl"
    formula = "d (alpha - beta log d)"
    parameters = ("alpha", "beta")

    def design(self, d: ArrayLike, shape: ArrayLike = 0.0) -> Array:
        x = _d(d)
        return np.stack([x, -x * np.log(np.where(x > 0, x, 1.0))], axis=-1)

    def peak(self, *coefficients: ArrayLike) -> Peak:
        a, _, turns, b = _turning(*coefficients)
        with np.errstate(over="ignore"):
            d = np.exp(a / b - 1)
        return _peak_where(turns, d, b * d, np.full_like(a, np.inf))


class Log1p(ScalingLaw):
    """`d (alpha - beta log(1 + d))` (paper, App. B). Peak `1 + d* = 1/W(exp(1 - alpha/beta))`, W Lambert's function."""

    name = "log1p"
    formula = "d (alpha - beta log(1 + d))"
    parameters = ("alpha", "beta")

    def design(self, d: ArrayLike, shape: ArrayLike = 0.0) -> Array:
        x = _d(d)
        return np.stack([x, -x * np.log1p(x)], axis=-1)

    def peak(self, *coefficients: ArrayLike) -> Peak:
        from scipy.special import lambertw

        a, _, turns, b = _turning(*coefficients)
        slope = np.maximum(a, 0) / b
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            d = 1 / np.real(lambertw(np.exp(1 - slope))) - 1
            gold = b * d**2 / (1 + d)
        return _peak_where(turns, d, gold, np.full_like(a, np.inf))


class Power(ScalingLaw):
    """`d (alpha - beta d^gamma)` (paper, App. B). Peak `d* = (alpha/(beta (1 + gamma)))^(1/gamma)`."""

    name = "power"
    formula = "d (alpha - beta d^gamma)"
    parameters = ("alpha", "beta", "gamma")
    shape_bounds = (0.02, 3.0)

    def design(self, d: ArrayLike, shape: ArrayLike = 1.0) -> Array:
        x = _d(d)
        return np.stack(np.broadcast_arrays(x, -(x ** (1 + np.asarray(shape, dtype=float)))), axis=-1)

    def peak(self, *coefficients: ArrayLike) -> Peak:
        alpha, beta, gamma = coefficients
        a, _, turns, b = _turning(alpha, beta)
        g = np.asarray(gamma, dtype=float)
        d = (np.maximum(a, 0) / (b * (1 + g))) ** (1 / g)
        return _peak_where(turns, d, a * d * g / (1 + g), np.full_like(a, np.inf))


class Saturating(ScalingLaw):
    """`alpha (1 - exp(-beta d))/beta`: initial slope alpha, plateau `alpha/beta`; the linear law at beta = 0."""

    name = "saturating"
    formula = "alpha (1 - exp(-beta d)) / beta"
    parameters = ("alpha", "beta")
    shape_bounds = (1e-3, 10.0)

    def design(self, d: ArrayLike, shape: ArrayLike = 0.0) -> Array:
        x, b = np.broadcast_arrays(_d(d), np.asarray(shape, dtype=float))
        column = np.where(b == 0, x, -np.expm1(-b * x) / np.where(b == 0, 1.0, b))
        return column[..., None]

    def peak(self, *coefficients: ArrayLike) -> Peak:
        a, _, turns, b = _turning(*coefficients)
        return Peak(d=np.full_like(a, np.inf), gold=np.where(turns, a / b, np.inf))


class Linear(ScalingLaw):
    """`alpha d`: no overoptimization."""

    name = "linear"
    formula = "alpha d"
    parameters = ("alpha",)

    def design(self, d: ArrayLike, shape: ArrayLike = 0.0) -> Array:
        return _d(d)[..., None]

    def peak(self, *coefficients: ArrayLike) -> Peak:
        (a,) = (np.asarray(c, dtype=float) for c in coefficients)
        return Peak(d=np.full_like(a, np.inf), gold=np.where(a > 0, np.inf, 0.0))


LAWS: dict[str, ScalingLaw] = {
    law.name: law for law in (Quadratic(), LogLaw(), Log1p(), Power(), Saturating(), Linear())
}


def law_named(name: str) -> ScalingLaw:
    """The law called `name` in `LAWS`."""
    if name not in LAWS:
        raise InputError(f"`law` must be one of {', '.join(LAWS)}, got {name!r}.")
    return LAWS[name]


@dataclass(frozen=True, eq=False)
class LawFit:
    """Least-squares fit of one law.

    `coefficients` has shape (..., parameters), one row per fitted curve; `r2` (about the mean) and `rmse` shape (...).
    """

    law: ScalingLaw
    coefficients: Array
    r2: Array
    rmse: Array

    def gold(self, d: ArrayLike) -> Array:
        """Fitted gold at `d`, of shape (...) + d.shape."""
        x = np.asarray(d, dtype=float)
        columns = (
            self.coefficients[..., i].reshape(*self.r2.shape, *(1,) * x.ndim) for i in range(len(self.law.parameters))
        )
        return self.law.gold(x, *columns)

    @property
    def peak(self) -> Peak:
        return self.law.peak(*np.moveaxis(self.coefficients, -1, 0))


_GOLDEN = (np.sqrt(5) - 1) / 2


def fit_law(law: ScalingLaw, d: ArrayLike, gold: ArrayLike, weights: ArrayLike | None = None) -> LawFit:
    """Least-squares fit of `law` to the points (d, gold), through the base policy at (0, 0).

    Parameters
    ----------
    d : shape (points,), or the shape of `gold`.
    gold : shape (..., points): many curves are fitted at once, as in a bootstrap.
    weights : positive weights of the squared residuals, shape (points,); default 1 (the paper's reading).
    """
    y = np.asarray(gold, dtype=float)
    x = np.asarray(d, dtype=float)
    points = y.shape[-1] if y.ndim else 0
    if x.shape not in ((points,), y.shape):
        raise InputError(f"`d` must have shape {(points,)} or {y.shape}, got {x.shape}.")
    if points < len(law.parameters):
        raise InputError(f"`{law.name}` needs at least {len(law.parameters)} points, got {points}.")
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        raise InputError("`d` and `gold` must be finite.")
    w = np.ones(points) if weights is None else np.asarray(weights, dtype=float)
    if w.shape != (points,) or not np.all(w > 0):
        raise InputError(f"`weights` must be > 0 with shape {(points,)}.")
    root = np.sqrt(w)

    def solve(shape: Array) -> tuple[Array, Array]:
        columns = law.design(x, shape[..., None]) * root[:, None]
        linear = np.einsum("...ij,...j->...i", np.linalg.pinv(columns), y * root)
        residual = np.einsum("...ij,...j->...i", columns, linear) - y * root
        return linear, (residual**2).sum(axis=-1)

    if law.shape_bounds is None:
        coefficients, rss = solve(np.zeros(()))
    else:
        shape = _best_shape(solve, law.shape_bounds, y.shape[:-1])
        linear, rss = solve(shape)
        coefficients = np.concatenate([linear, shape[..., None]], axis=-1)
    mean = (w * y).sum(axis=-1, keepdims=True) / w.sum()
    total = (w * (y - mean) ** 2).sum(axis=-1)
    r2 = 1 - np.divide(rss, total, out=np.full_like(total, np.nan), where=total > 0)
    return LawFit(law=law, coefficients=coefficients, r2=r2, rmse=np.sqrt(rss / w.sum()))


def _best_shape(
    solve: Callable[[Array], tuple[Array, Array]], bounds: tuple[float, float], batch: tuple[int, ...]
) -> Array:
    """Shape parameter of least residual, per curve: best point of a geometric grid, then golden section around it."""
    grid = np.geomspace(*bounds, SHAPE_GRID)
    residuals = np.stack([solve(np.full(batch, shape))[1] for shape in grid])
    best = residuals.argmin(axis=0)
    low, high = np.log(grid[np.maximum(best - 1, 0)]), np.log(grid[np.minimum(best + 1, SHAPE_GRID - 1)])
    for _ in range(SHAPE_STEPS):
        inner_low, inner_high = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        left = solve(np.exp(inner_low))[1] < solve(np.exp(inner_high))[1]
        low, high = np.where(left, low, inner_low), np.where(left, inner_high, high)
    shape: Array = np.exp((low + high) / 2)
    return shape


def d_at_gold(law: ScalingLaw, level: ArrayLike, *coefficients: ArrayLike) -> Array:
    """Smallest `d` at which the law reaches the gold `level`, on its rising branch; `nan` where it never does."""
    target, *values = np.broadcast_arrays(np.asarray(level, dtype=float), *coefficients)
    peak = law.peak(*values)
    reachable = (target >= 0) & (target <= peak.gold)
    high = np.where(np.isfinite(peak.d), peak.d, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(MAX_DOUBLINGS):
            short = reachable & ~np.isfinite(peak.d) & (law.gold(high, *values) < target)
            if not short.any():
                break
            high = np.where(short, 2 * high, high)
    low = np.zeros_like(high)
    for _ in range(GOLD_BISECTIONS):
        middle = (low + high) / 2
        below = law.gold(middle, *values) < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    reached = reachable & (law.gold(high, *values) >= target * (1 - GOLD_TOLERANCE))
    return np.where(reached, np.where(target == 0, 0.0, high), np.nan)
