"""Regressional Goodhart: gold selected through `proxy = gold + noise` with independent noise (Gao et al. 2022, App. A).

How gold behaves far out is decided by the noise's tail alone: gold keeps rising where the noise is lighter than any
exponential, saturates at `kappa_X'(rate)` where it is exponential, and returns to the base value where it is heavier.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.polynomial import hermite_e
from numpy.typing import ArrayLike, NDArray

from overopt.theory.additive import Convolution
from overopt.theory.errors import InputError
from overopt.theory.exponential_tilt import exponential_tilt
from overopt.theory.numerics import (
    BOUNDED_TOLERANCE,
    CONCAVITY_LOGITS,
    CONCAVITY_TOLERANCE,
    FLAT_TAIL,
    MAX_LOGIT,
    TAIL_LOGITS,
)
from overopt.theory.panels import panel_nodes
from overopt.theory.proxy_law import density_law
from overopt.theory.world import World

__all__ = [
    "best_of_n_gold_from_density",
    "case_b_remainder",
    "cumulant_expansion",
    "far_limit",
    "is_log_concave",
    "reliability",
    "tail_rate",
]

Array = NDArray[np.float64]


def reliability(gold_variance: ArrayLike, noise_variance: ArrayLike) -> Array:
    """`Var X / (Var X + Var Z)`: slope of gold on proxy, and alpha over the proxy's slope in d (ledger K26)."""
    gold, noise = np.asarray(gold_variance, dtype=float), np.asarray(noise_variance, dtype=float)
    if np.any(gold < 0) or np.any(noise < 0) or np.any(gold + noise == 0):
        raise InputError("`gold_variance` and `noise_variance` must be >= 0 and not both 0.")
    result: Array = gold / (gold + noise)
    return result


def cumulant_expansion(c: ArrayLike, *, gold_sd: float, noise_cumulants: ArrayLike) -> Array:
    """`E[X | X + Z = c]` to first order in each cumulant of Z, for X ~ N(0, gold_sd^2).

    `c - sum_k kappa_k / (k-1)! * He_(k-1)(c / s) / s^(k-1)`, by Tweedie's dual from
    `log f_S = log phi + sum_k kappa_k / k! (-D)^k phi / phi`; k = 1, 2 are the paper's linear rule to first order.

    Parameters
    ----------
    noise_cumulants : kappa_1, kappa_2, ... of Z.
    """
    x = np.asarray(c, dtype=float)
    kappa = np.asarray(noise_cumulants, dtype=float)
    order = np.arange(kappa.size)
    factorial = np.cumprod(np.append(1.0, order[1:]))
    result: Array = x - hermite_e.hermeval(x / gold_sd, kappa / factorial / gold_sd**order)
    return result


def case_b_remainder(c: ArrayLike, *, gold_sd: float, third_cumulant: float, fourth_cumulant: float = 0.0) -> Array:
    """Leading error of the linear rule under small bounded noise, App. A case (b) (ledger K12).

    `-(kappa_3/2)(c^2/s^4 - 1/s^2) - (kappa_4/6)(c^3/s^6 - 3c/s^4)`: third order in the noise's scale if it is skewed,
    fourth order (Var Z squared) if it is symmetric; both are o(Var Z), as the paper states.
    """
    x, s = np.asarray(c, dtype=float), gold_sd
    skewed = -third_cumulant / 2 * (x**2 / s**4 - 1 / s**2)
    result: Array = skewed - fourth_cumulant / 6 * (x**3 / s**6 - 3 * x / s**4)
    return result


def best_of_n_gold_from_density(convolution: Convolution, n: ArrayLike, *, gold_sd: float) -> Array:
    """`s_X^2 n (n-1) INT F^(n-2) f^2 ds`: best-of-n gold for normal gold of mean 0 (ledger K16).

    Integration by parts of `n INT F^(n-1) f m ds` with Tweedie's dual `m f = -s_X^2 f'`.
    """
    values = np.asarray(n, dtype=float)
    if not np.all(values >= 1):
        raise InputError(f"`n` must be >= 1, got {np.min(values):g}.")
    world = World(proxy=convolution, gold=lambda s: np.exp(convolution.log_density(s)))
    grid = world.grid
    log_ratio = np.log(values)[..., None] + (values[..., None] - 2) * grid.log_cdf
    result: Array = gold_sd**2 * (values - 1) * (np.exp(log_ratio) @ (grid.mass * grid.gold))
    return result


def tail_rate(law: Any) -> float:
    """Exponential rate of the upper tail, `lim -log P(Z > z) / z`: 0 if heavier, `inf` if lighter than exponential.

    Read off the quantile function between tail probabilities e^-87 and e^-350, where `du/dz` is constant for an
    exponential tail; its correction, of order 1/z as for a gamma law, is extrapolated away.
    """
    u = density_law(law).quantile(TAIL_LOGITS)
    if not np.all(np.isfinite(u)):
        return 0.0
    early, late = np.diff(u) / np.diff(TAIL_LOGITS)
    if late <= 0:
        return float("inf")
    growth = np.log2(early / late)
    if abs(growth) < FLAT_TAIL:
        return float(1 / (2 * late - early))
    return float("inf") if growth > 0 else 0.0


def far_limit(gold: Any, noise: Any) -> float:
    """Limit of gold as the proxy grows without bound, `kappa_X'(rate)` with `rate = tail_rate(noise)` (ledger K19).

    `kappa_X` is the cumulant function of gold. Needs gold lighter-tailed than the noise, or noise lighter than any
    exponential. Kwa & Thomas (2407.14503) are the cases 0 (the base value) and inf (the supremum of gold).
    """
    rate = tail_rate(noise)
    law = density_law(gold)
    if np.isinf(rate):
        top = float(law.quantile(np.array([MAX_LOGIT]))[0])
        return top if np.isinf(tail_rate(gold)) and _is_bounded(gold) else float("inf")
    return float(exponential_tilt(World(law, lambda u: u), rate).proxy)


def _is_bounded(law: Any) -> bool:
    u = density_law(law).quantile(TAIL_LOGITS)
    return bool(u[2] - u[1] <= BOUNDED_TOLERANCE * max(1.0, abs(u[2])))


def is_log_concave(law: Any) -> bool:
    """Whether the log-density is concave over the bulk of the law (ranks 1e-9 to 1 - 1e-9), where it is positive.

    Exactly the noise laws under which `E[X | X + Z = s]` increases in s for every X (Efron 1965; ledger K15).
    """
    continuous = density_law(law)
    edges = continuous.quantile(CONCAVITY_LOGITS)
    points = panel_nodes(edges)[0].ravel()
    log_density = continuous.log_density(points)
    slopes = np.diff(log_density) / np.diff(points)
    return bool(np.all(np.diff(slopes) <= CONCAVITY_TOLERANCE * (1 + np.abs(slopes[1:]))))
