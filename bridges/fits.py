"""Scaling laws fitted to a measured curve: coefficients, intervals, peak, rival forms, held-out extrapolation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from overopt.bridges.curve import Curve
from overopt.bridges.fit_peak import FittedPeak, find_peak, ratio_interval
from overopt.theory.errors import InputError
from overopt.theory.scaling_laws import LAWS, LawFit, ScalingLaw, fit_law, law_named

__all__ = ["Fit", "RivalLaw", "fit_curve"]

Array = NDArray[np.float64]
Interval = tuple[float | None, float | None]
TRAINING_SHARE = 2 / 3
"""Share of a curve's points, lowest d first, that the held-out comparison fits; the rest is scored."""
_DRAWS_AT_ONCE = 8_000_000
"""Numbers of the bootstrap that are in memory at once."""


@dataclass(frozen=True)
class RivalLaw:
    """One law fitted to one curve.

    Attributes
    ----------
    law, formula
        Its name and form.
    parameters
        Name -> ordinary-least-squares value.
    weighted
        The same with weights 1/variance, as a check of sensitivity; None where points carry no standard error.
    r2
        ``1 - SS_residual / SS_total`` about the mean of the fitted points.
    heldout_rmse
        Root mean squared error at the points above ``Fit.heldout_d`` of the same law fitted below it; gold's units.
        None where too few points remain.
    """

    law: str
    formula: str
    parameters: Mapping[str, float]
    weighted: Mapping[str, float] | None
    r2: float | None
    heldout_rmse: float | None


@dataclass(frozen=True)
class Fit:
    """A law fitted to the gold (or proxy) gain of a curve, with its rivals.

    Attributes
    ----------
    quantity
        ``"gold"`` or ``"proxy"``.
    best
        The fit of the law that was asked for.
    intervals
        Parameter -> 95% interval clustered by prompt, or None where nothing carries it.
    peak
        Location and height of the fitted maximum, or why there is none inside the data.
    laws
        Every law, best held-out extrapolation first.
    heldout_d
        The held-out comparison fits points with d up to here and scores those above; None without a comparison.
    points, d_max
        Number of fitted points, and their largest d.
    note
        What the reader must know about how the fit was made, or None.
    """

    quantity: Literal["gold", "proxy"]
    best: RivalLaw
    intervals: Mapping[str, Interval | None]
    peak: FittedPeak
    laws: tuple[RivalLaw, ...]
    heldout_d: float | None
    points: int
    d_max: float
    note: str | None = None

    @property
    def law(self) -> str:
        """Name of the law that was asked for (or chosen, with ``best``)."""
        return self.best.law

    @property
    def alpha(self) -> float:
        """Initial coefficient, gold units per sqrt(nat)."""
        return self.best.parameters["alpha"]

    @property
    def beta(self) -> float | None:
        """Overoptimization coefficient; None for a law without one."""
        return self.best.parameters.get("beta")

    def gain(self, d: Array) -> Array:
        """The fitted law at d."""
        return LAWS[self.law].gold(d, *self.best.parameters.values())

    def __str__(self) -> str:
        parts = [f"{name} {value:.4g}{_bracket(self.intervals[name])}" for name, value in self.best.parameters.items()]
        return f"{self.quantity} = {self.best.formula}: {', '.join(parts)}; {self.peak}"


def _bracket(interval: Interval | None) -> str:
    if interval is None:
        return ""
    low = "-inf" if interval[0] is None else f"{interval[0]:.4g}"
    high = "inf" if interval[1] is None else f"{interval[1]:.4g}"
    return f" [{low}, {high}]"


def fit_curve(
    curve: Curve,
    law: str = "bon",
    *,
    quantity: Literal["gold", "proxy"] = "gold",
    rng: np.random.Generator | None = None,
    resamples: int = 500,
    rivals: bool = True,
) -> Fit:
    """Fit one law by ordinary least squares, rank its rivals by held-out extrapolation.

    Ordinary least squares, because weighting by the near-singular covariance of best-of-n points misses every large-n
    point of a misspecified law; best-of-n curves of a bank are fitted on powers of two, as in Gao, Schulman and Hilton
    2022, curves from elsewhere on all their points with KL > 0.
    alpha and beta are linear in the prompts' gains, so their intervals are ``+- t_(C-1)`` clustered standard errors of
    that linear map. Nonlinear parameters and the peak's height get percentile intervals of a bootstrap over prompts,
    the peak of ``bon`` and ``rl`` Fieller's interval, which is unbounded where there may be no peak.

    Parameters
    ----------
    law
        ``bon``, ``rl``, ``log1p``, ``power``, ``saturating``, ``linear``, or ``best`` for the best held-out error.
    quantity
        Fit gold or proxy gains.
    rng, resamples
        Of the bootstrap; default seed 0.
    rivals
        Fit the other laws too.

    Raises
    ------
    InputError
        If the law is unknown or the curve has fewer than 3 points with a KL above 0.
    """
    if law != "best":
        law_named(law)
    gains = curve.gold_gain if quantity == "gold" else curve.proxy_gain
    covariance = curve.gain_covariance if quantity == "gold" else _proxy_gain_covariance(curve)
    order, left_out = _fitted_points(curve, gains)
    d, y, cov = curve.d[order], gains[order], covariance[np.ix_(order, order)]

    train = _training_points(d)
    forms = LAWS.values() if rivals or law == "best" else [LAWS[law]]
    laws = [_rival(form, d, y, cov, train) for form in forms if d.size >= len(form.parameters)]
    laws.sort(key=lambda fit: math.inf if fit.heldout_rmse is None else fit.heldout_rmse)
    chosen = laws[0] if law == "best" else next((fit for fit in laws if fit.law == law), None)
    if chosen is None:
        raise InputError(f"law '{law}' needs at least {len(LAWS[law].parameters)} points with KL > 0, got {d.size}.")
    fit = fit_law(LAWS[chosen.law], d, y)
    draws = _resampled_gains(curve, quantity, order, rng or np.random.default_rng(0), resamples)
    replicates = None if draws is None else fit_law(fit.law, d, draws)
    degrees = math.inf if curve.clusters is None else curve.clusters.count - 1
    of_parameters = _linear_covariance(fit.law, d, cov)
    ratio = None
    if of_parameters is not None and chosen.law in ("bon", "rl"):
        ratio = ratio_interval(fit.coefficients, of_parameters, float(stats.t.ppf(0.975, degrees)))
    notes = [left_out] if left_out else []
    if law == "best" and train is None:
        notes.append(f"too few points to score the laws beyond the fitted ones: best is the first, {chosen.law}")
    if chosen.r2 is not None and chosen.r2 < 0:
        notes.append("the law fits worse than a constant does: do the gains count from the base policy (KL 0)?")
    if curve.clusters is None and draws is not None:
        notes.append("intervals treat the points as independent: the curve carries standard errors but no covariance")
    return Fit(
        quantity=quantity,
        best=chosen,
        intervals=_intervals(fit, of_parameters, degrees, replicates),
        peak=find_peak(fit, (float(d[0]), float(d[-1])), replicates, ratio),
        laws=tuple(laws),
        heldout_d=None if train is None else float(d[train - 1]),
        points=int(d.size),
        d_max=float(d[-1]),
        note="; ".join(notes) or None,
    )


def _fitted_points(curve: Curve, gains: Array) -> tuple[NDArray[np.intp], str | None]:
    """Positions of the points to fit, lowest d first, and which points with KL > 0 they leave out."""
    usable = keep = np.isfinite(gains) & np.isfinite(curve.d) & (curve.d > 0)
    # The estimator's own grid is powers of two and the bank size; a curve from elsewhere has the n its author chose.
    if curve.axis == "n" and curve.clusters is not None:
        powers = usable & (np.log2(curve.pressure) % 1 == 0)
        keep = powers if powers.sum() >= 3 else usable
    order = np.flatnonzero(keep)
    order = order[np.argsort(curve.d[order], kind="stable")]
    if np.unique(curve.d[order]).size < 3:
        raise InputError(f"a fit needs at least 3 points with different KL > 0, got {np.unique(curve.d[order]).size}.")
    dropped = curve.pressure[usable & ~keep]
    if not dropped.size:
        return order, None
    sizes = ", ".join(f"{n:g}" for n in dropped[:4]) + (", ..." if dropped.size > 4 else "")
    return order, f"the fit leaves out {dropped.size} of {int(usable.sum())} points, whose n is no power of 2: {sizes}"


def _training_points(d: Array) -> int | None:
    """Number of points, lowest d first, to fit in the held-out comparison; None with too few different d."""
    different = np.unique(d)
    count = max(3, round(TRAINING_SHARE * different.size))
    if count >= different.size:
        return None
    return int(np.searchsorted(d, different[count - 1], side="right"))


def _rival(form: ScalingLaw, d: Array, y: Array, covariance: Array, train: int | None) -> RivalLaw:
    fit = fit_law(form, d, y)
    weighted = None
    variance = np.diagonal(covariance)
    if np.isfinite(variance).all() and (variance > 0).all():
        weighted = _named(form, fit_law(form, d, y, weights=variance.min() / variance).coefficients)
    heldout = None
    if train is not None:
        early = fit_law(form, d[:train], y[:train])
        heldout = float(np.sqrt(np.mean((early.gold(d[train:]) - y[train:]) ** 2)))
    return RivalLaw(
        law=form.name,
        formula=form.formula,
        parameters=_named(form, fit.coefficients),
        weighted=weighted,
        r2=float(fit.r2) if np.isfinite(fit.r2) else None,
        heldout_rmse=heldout,
    )


def _named(form: ScalingLaw, coefficients: Array) -> dict[str, float]:
    return dict(zip(form.parameters, map(float, coefficients), strict=True))


def _linear_covariance(form: ScalingLaw, d: Array, covariance: Array) -> Array | None:
    """Covariance of the coefficients of a law without a shape parameter, from that of the points."""
    if form.shape_bounds is not None or not np.isfinite(covariance).all():
        return None
    inverse = np.linalg.pinv(form.design(d))
    return np.asarray(inverse @ covariance @ inverse.T)


def _intervals(
    fit: LawFit, covariance: Array | None, degrees: float, replicates: LawFit | None
) -> dict[str, Interval | None]:
    names = fit.law.parameters
    if covariance is not None:
        half = stats.t.ppf(0.975, degrees) * np.sqrt(np.diagonal(covariance))
        return {k: (float(v - h), float(v + h)) for k, v, h in zip(names, fit.coefficients, half, strict=True)}
    if replicates is not None:
        low, high = np.quantile(replicates.coefficients, [0.025, 0.975], axis=0)
        return {k: (float(a), float(b)) for k, a, b in zip(names, low, high, strict=True)}
    return dict.fromkeys(names)


def _resampled_gains(
    curve: Curve, quantity: Literal["gold", "proxy"], order: NDArray[np.intp], rng: np.random.Generator, count: int
) -> Array | None:
    """(B, P) mean gains of prompts drawn with replacement; normal draws where only standard errors are known."""
    clusters = curve.clusters
    if clusters is not None:
        values = (clusters.gold_gain if quantity == "gold" else clusters.proxy_gain)[:, order]
        if clusters.count < 2 or not np.isfinite(values).all():
            return None
        equal = np.full(clusters.count, 1 / clusters.count)
        at_once = max(1, _DRAWS_AT_ONCE // clusters.count)
        return np.concatenate(
            [
                rng.multinomial(clusters.count, equal, size=min(at_once, count - first)) @ values / clusters.count
                for first in range(0, count, at_once)
            ]
        )
    covariance = curve.gain_covariance if quantity == "gold" else curve.proxy_covariance
    error = np.sqrt(np.diagonal(covariance))[order]
    if not np.isfinite(error).all():
        return None
    gains = (curve.gold_gain if quantity == "gold" else curve.proxy_gain)[order]
    return np.asarray(gains + error * rng.standard_normal((count, order.size)))


def _proxy_gain_covariance(curve: Curve) -> Array:
    if curve.clusters is None:
        return curve.proxy_covariance
    gains = curve.clusters.proxy_gain
    count = gains.shape[0]
    if count < 2:
        return np.full((gains.shape[1],) * 2, np.nan)
    covariance: Array = np.cov(gains, rowvar=False) / count
    return covariance
