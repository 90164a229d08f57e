"""A term of the decomposition: an estimate with its interval, or the reason why the data cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

__all__ = [
    "Estimates",
    "Term",
    "draw_multipliers",
    "estimate_terms",
    "terms_frame",
    "unknown_terms",
    "withhold",
    "without_rounding",
]

MULTIPLIER_DRAWS = 1000
MAX_MULTIPLIERS = 4096
ROUNDING = 1e-10


@dataclass(frozen=True)
class Term:
    """One number of the decomposition, in gold SD on the declared scale.

    Attributes
    ----------
    estimate
        None where the data cannot tell; ``reason`` then says why.
    interval
        95% interval over prompts for this point alone, or None (with its ``reason``).
    band
        95% band that holds at all points of the curve together (sup-t), or None.
    reason
        Why the estimate or its interval is missing; None where both are given.
    """

    estimate: float | None
    interval: tuple[float, float] | None = None
    band: tuple[float, float] | None = None
    reason: str | None = None

    def excludes_zero(self) -> int:
        """+1 or -1 if the interval lies wholly on that side of 0, else 0 (also where there is no interval)."""
        return _side(self.interval)

    def band_excludes_zero(self) -> int:
        """The same for the band: a claim that may be made at whichever point of the curve shows it."""
        return _side(self.band)

    def without_interval(self, reason: str) -> Term:
        """The estimate alone: its interval cannot be trusted for ``reason``."""
        return self if self.estimate is None else Term(self.estimate, reason=reason)

    @classmethod
    def unknown(cls, reason: str) -> Term:
        """No answer at all."""
        return cls(None, reason=reason)


def _side(bounds: tuple[float, float] | None) -> int:
    return 0 if bounds is None else int(bounds[0] > 0.0) - int(bounds[1] < 0.0)


@dataclass(frozen=True)
class Estimates:
    """Means over prompts with t intervals and a sup-t band, (J,) arrays over the points of a curve."""

    mean: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    band_low: NDArray[np.float64]
    band_high: NDArray[np.float64]

    def terms(self) -> tuple[Term, ...]:
        """One :class:`Term` per point; without at least two prompts there is no interval."""
        if not np.isfinite(self.standard_error).all():
            reason = "an interval needs at least two prompts"
            return tuple(Term(float(value), reason=reason) for value in self.mean)
        rows = zip(self.mean, self.low, self.high, self.band_low, self.band_high, strict=True)
        return tuple(Term(float(m), (float(a), float(b)), (float(c), float(d))) for m, a, b, c, d in rows)


def draw_multipliers(rng: np.random.Generator, n_prompts: int) -> NDArray[np.float64]:
    """(1000, K) weights of the multiplier bootstrap, K at most 4096; the terms of one decomposition share them."""
    return rng.standard_normal((MULTIPLIER_DRAWS, min(n_prompts, MAX_MULTIPLIERS)))


def estimate_terms(
    contributions: NDArray[np.float64], multipliers: NDArray[np.float64], level: float = 0.95
) -> Estimates:
    """Mean over prompts with the interval ``mean +- t_(K-1) sd / sqrt(K)`` and the multiplier sup-t band.

    Parameters
    ----------
    contributions
        (K, J): prompt k's linearised contribution at point j. Prompts are the independent units, so their spread holds
        every source of noise: samples, permutations, and the estimated scale.
    multipliers
        Of :func:`draw_multipliers`.

    Notes
    -----
    The band multiplies the centred contributions by N(0, 1) weights, one per prompt, and takes the quantile
    of the largest |t| over the points (Montiel Olea and Plagborg-Moller 2019, algorithm 2). Percentile and BCa
    bootstrap intervals cover less with heavy-tailed noise.
    """
    n_prompts = contributions.shape[0]
    mean = contributions.mean(axis=0)
    if n_prompts < 2:
        nan = np.full_like(mean, np.nan)
        return Estimates(mean, nan, nan, nan, nan, nan)
    centred = contributions - mean
    error = np.sqrt((centred**2).sum(axis=0) / (n_prompts - 1) / n_prompts)
    half = stats.t.ppf(0.5 + level / 2, n_prompts - 1) * error
    live = error > 1e-12 * max(1.0, float(np.abs(mean).max()))
    critical = 0.0
    if live.any():
        rows = centred[:, live] / error[live]
        if n_prompts > multipliers.shape[1]:
            # N(0, 1) weights see the rows only through their products, which the triangular factor keeps.
            rows = np.linalg.qr(rows, mode="r")
        t_values = np.abs(multipliers[:, : rows.shape[0]] @ rows) / n_prompts
        gaussian = float(np.quantile(t_values.max(axis=1), level))
        # The multiplier quantile is Gaussian; the same tail probability of a t distribution serves few prompts.
        critical = float(stats.t.isf(stats.norm.sf(gaussian), n_prompts - 1))
    return Estimates(mean, error, mean - half, mean + half, mean - critical * error, mean + critical * error)


def terms_frame(index: tuple[str, list[Any]], points: Sequence[Any]) -> pa.Table:
    """One row per point: the index column, then ``NAME``, ``NAME_low`` and ``NAME_high`` for every term."""
    columns: dict[str, list[Any]] = {index[0]: index[1]}
    for field in fields(points[0]):
        terms = [getattr(point, field.name) for point in points]
        if isinstance(terms[0], Term):
            columns[field.name] = [term.estimate for term in terms]
            columns[f"{field.name}_low"] = [term.interval[0] if term.interval else None for term in terms]
            columns[f"{field.name}_high"] = [term.interval[1] if term.interval else None for term in terms]
    return pa.table(columns)


def unknown_terms(count: int, reason: str) -> tuple[Term, ...]:
    """``count`` times the same missing answer."""
    return (Term.unknown(reason),) * count


def withhold(terms: Sequence[Term], reason: str) -> tuple[Term, ...]:
    """The same estimates without their intervals."""
    return tuple(term.without_interval(reason) for term in terms)


def without_rounding(contributions: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Differences of equal sums as 0 instead of their last bits: gold as its own proxy loses exactly nothing."""
    return np.where(np.abs(contributions) <= ROUNDING * unit, 0.0, contributions)
