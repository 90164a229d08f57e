"""The measurement scale of a decomposition: the declared units in which promise and delivery are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from overopt.bridges.decomposition.blocks import Block, levels, scatter
from overopt.theory.errors import InputError

__all__ = ["MeasurementScale", "ScaleKind", "fit_scale", "gini_sd", "within_prompt_moments"]

ScaleKind = Literal["slope", "pooled-sd", "raw", "calibrated"]
FEW_LEVELS = 5
"""Gold with fewer levels than this in every prompt counts in plain SD: rare successes have a Gini SD near 0."""


@dataclass(frozen=True)
class MeasurementScale:
    """Units of gold and proxy, with the influence of every prompt on them.

    Attributes
    ----------
    requested, kind
        The scale asked for and the one in force (``slope`` falls back to ``pooled-sd`` where the slope is not
        positive).
    gold_unit, proxy_unit
        Divide centred rewards by these; both then count in gold SD: the mean over prompts of Gini's, or the pooled
        within-prompt SD of a gold with few levels.
    slope, slope_interval
        Within-prompt slope of proxy on gold, in (proxy's own units) / (gold's own units), and its 95% interval over
        prompts.
    reliability
        Within-prompt slope of scaled gold on scaled proxy: the share of a linear promise that is delivered. On the
        scale ``slope`` it is ``Var g / Var p = Var X / (Var X + Var Z)`` (Gao, Schulman and Hilton 2022, section
        4.2.1).
    gold_influence, proxy_influence
        (K,) relative change of the unit per unit of weight on prompt k; means 0.
    note
        What was done instead of the scale asked for, and why; None if nothing was.
    """

    requested: ScaleKind
    kind: ScaleKind
    gold_unit: float
    proxy_unit: float
    slope: float
    slope_interval: tuple[float, float] | None
    reliability: float
    gold_influence: NDArray[np.float64]
    proxy_influence: NDArray[np.float64]
    note: str | None = None

    def scale_gold(self, contributions: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K, J) gold contributions in gold SD, linearised for the estimated unit."""
        scaled = contributions / self.gold_unit
        return np.asarray(scaled - np.outer(self.gold_influence, scaled.mean(axis=0)))

    def scale_proxy(self, contributions: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K, J) proxy contributions in gold SD, linearised for the estimated unit."""
        scaled = contributions / self.proxy_unit
        return np.asarray(scaled - np.outer(self.proxy_influence, scaled.mean(axis=0)))


def gini_sd(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gini's mean difference of each row times ``sqrt(pi)/2``: the SD for a Gaussian, unbiased at every N, robust.

    Under heavy-tailed noise the plain SD makes intervals that cover .70 to .82 instead of .95.
    """
    n = rows.shape[1]
    if n < 2:
        return np.zeros(rows.shape[0])
    coefficients = (2.0 * np.arange(1, n + 1) - n - 1) / (n * (n - 1) / 2)
    return np.asarray(np.sort(rows, axis=1) @ coefficients * (math.sqrt(math.pi) / 2))


def within_prompt_moments(
    blocks: list[Block],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(K,) unbiased within-prompt variance of gold, variance of proxy, and covariance."""

    def per_prompt(a: str, b: str) -> NDArray[np.float64]:
        products = [np.einsum("kn,kn->k", getattr(block, a), getattr(block, b)) for block in blocks]
        freedom = [max(block.gold.shape[1] - 1, 1) for block in blocks]
        return scatter(blocks, [np.asarray(p / f) for p, f in zip(products, freedom, strict=True)])

    return per_prompt("gold", "gold"), per_prompt("proxy", "proxy"), per_prompt("gold", "proxy")


def _relative(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Mean over prompts and each prompt's relative influence on it."""
    mean = float(values.mean())
    return mean, (values / mean - 1.0 if mean > 0 else np.zeros_like(values))


def fit_scale(blocks: list[Block], kind: ScaleKind) -> MeasurementScale:
    """The units of ``kind``, estimated on the base bank.

    ``slope`` divides the proxy by its within-prompt slope on gold, so that ``proxy = gold + error`` holds literally;
    ``pooled-sd`` divides each reward by its own pooled within-prompt SD; ``raw`` leaves both in their own units;
    ``calibrated`` rescales the proxy by the one factor that minimises the cross-entropy of its pairwise logits on
    gold's soft labels (gold at unit variance), as Gao, Schulman and Hilton 2022 do after their experiments.

    Raises
    ------
    InputError
        If ``kind`` is none of these.
    """
    if kind not in get_args(ScaleKind):
        raise InputError(f"`scale` must be one of {', '.join(get_args(ScaleKind))}, got '{kind}'.")
    gold_variance, proxy_variance, covariance = within_prompt_moments(blocks)
    gold_unit, gold_influence = _relative(scatter(blocks, [gini_sd(block.gold) for block in blocks]))
    if all(levels(rows).max() < FEW_LEVELS for block in blocks for rows in (block.gold[:1], block.gold)):
        gold_unit, gold_influence = _relative(gold_variance)
        gold_unit, gold_influence = math.sqrt(gold_unit), gold_influence / 2
    proxy_sd, proxy_influence = _relative(scatter(blocks, [gini_sd(block.proxy) for block in blocks]))
    mean_variance = float(gold_variance.mean())
    slope = float(covariance.mean()) / mean_variance if mean_variance > 0 else 0.0
    slope_influence = (covariance - slope * gold_variance) / mean_variance if mean_variance > 0 else 0.0 * covariance
    interval = _slope_interval(slope, slope_influence)

    in_force: ScaleKind = kind
    note = None
    if kind == "slope" and (interval is None or interval[0] <= 0.0):
        in_force = "pooled-sd"
        if interval is None:
            note = (
                "the slope of proxy on gold has no interval (fewer than two prompts): scale pooled-sd instead of slope"
            )
        elif all(not block.proxy.any() for block in blocks):
            note = "the base bank's proxy does not vary within prompts: scale pooled-sd instead of slope"
        elif interval[1] < 0.0:
            note = "the proxy runs against gold (negative slope): scale pooled-sd instead of slope"
        else:
            note = (
                "the proxy carries no gold signal here (its slope on gold may be 0): scale pooled-sd instead of slope"
            )
    elif kind == "calibrated":
        factor, factor_influence = _calibration(blocks, gold_unit)
        if factor is None:
            in_force = "pooled-sd"
            note = "no positive factor calibrates the proxy's logits to gold: scale pooled-sd instead of calibrated"
    match in_force:
        case "slope":
            proxy_unit = slope * gold_unit
            proxy_influence = slope_influence / slope + gold_influence
        case "pooled-sd":
            proxy_unit = proxy_sd
        case "raw":
            gold_unit = proxy_unit = 1.0
            gold_influence = proxy_influence = np.zeros_like(gold_influence)
        case "calibrated":
            assert factor is not None
            proxy_unit, proxy_influence = 1.0 / factor, -factor_influence
    mean_proxy_variance = float(proxy_variance.mean())
    reliability = (
        float(covariance.mean()) / mean_proxy_variance * proxy_unit / gold_unit
        if mean_proxy_variance > 0 and gold_unit > 0
        else 0.0
    )
    return MeasurementScale(
        requested=kind, kind=in_force, gold_unit=gold_unit or 1.0, proxy_unit=proxy_unit or 1.0, slope=slope,
        slope_interval=interval, reliability=reliability, gold_influence=gold_influence,
        proxy_influence=proxy_influence, note=note,
    )  # fmt: skip


def _slope_interval(slope: float, influence: NDArray[np.float64]) -> tuple[float, float] | None:
    n_prompts = influence.size
    if n_prompts < 2:
        return None
    half = float(stats.t.ppf(0.975, n_prompts - 1) * influence.std(ddof=1) / math.sqrt(n_prompts))
    return slope - half, slope + half


def _calibration(blocks: list[Block], gold_unit: float) -> tuple[float | None, NDArray[np.float64]]:
    """The f with ``E[dp (sigmoid(f dp) - sigmoid(dg / SD))] = 0`` over within-prompt pairs, and its influence."""
    if gold_unit <= 0:
        return None, np.zeros(0)
    pairs = [
        (block.gold - np.roll(block.gold, 1, axis=1), block.proxy - np.roll(block.proxy, 1, axis=1)) for block in blocks
    ]

    def score(factor: float) -> NDArray[np.float64]:
        parts = [(dp * (special.expit(factor * dp) - special.expit(dg / gold_unit))).mean(axis=1) for dg, dp in pairs]
        return scatter(blocks, parts)

    unit = max(float(np.abs(np.concatenate([dp.ravel() for _, dp in pairs])).mean()), 1e-300)
    low, high = 1e-6 / unit, 1e6 / unit
    if score(low).mean() >= 0 or score(high).mean() <= 0:
        return None, np.zeros(0)
    factor = float(optimize.brentq(lambda x: float(score(x).mean()), low, high, xtol=1e-12 / unit))
    step = 1e-4 * factor
    derivative = float((score(factor + step) - score(factor - step)).mean()) / (2 * step)
    return factor, np.asarray(-score(factor) / (derivative * factor))
