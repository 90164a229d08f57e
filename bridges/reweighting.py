"""Other optimizers from the same bank: best-of-Poisson, quantilizer and exponential tilt by self-normalised weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from overopt.bridges.best_of_n import rank_samples
from overopt.bridges.curve import Axis, ClusterValues, Curve
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.errors import InputError

__all__ = ["ReweightedCurve", "best_of_poisson_curve", "exponential_tilt_curve", "quantilizer_curve"]

Array = NDArray[np.float64]
MIN_EFFECTIVE_SAMPLES = 10.0


@dataclass(frozen=True)
class ReweightedCurve:
    """A curve from reweighted base samples, and how far it can be trusted.

    Attributes
    ----------
    curve
        KL is that of the weighted bank from the bank: what the optimizer does to these samples, at most ``log N``.
    effective_samples
        (P,) mean over prompts of ``1 / sum w^2``, w the normalised weights of a prompt's samples.
    support_kl
        KL, in nats, of the first point with fewer than 10 effective samples per prompt: from there on the bank's few
        largest proxies decide and the estimate is biased low. None where the curve never gets there.
    """

    curve: Curve
    effective_samples: Array
    support_kl: float | None

    @property
    def supported(self) -> Curve:
        """The points with at least 10 effective samples per prompt."""
        return self.curve.take(np.flatnonzero(self.effective_samples >= MIN_EFFECTIVE_SAMPLES))


def best_of_poisson_curve(bank: ScoreBank, proxy: str, mean_n: Sequence[float]) -> ReweightedCurve:
    """Best-of-n with ``n = 1 + Poisson(mu)``, mu = mean_n - 1: density ``(1 + mu u) exp(mu (u - 1))`` in the rank u.

    Khalaf et al. 2025, arXiv 2506.19248. Every rank gets the integral of the density over its step of width 1/N, so the
    weights need no normalisation; tied samples share theirs.
    """
    values = _ascending("mean_n", mean_n, 1.0)
    return _reweight(bank, proxy, "best-of-Poisson", "mean_n", values, lambda keys, mean: _rank_mass(
        keys, lambda u: u * np.exp((mean - 1) * (u - 1))
    ))  # fmt: skip


def quantilizer_curve(bank: ScoreBank, proxy: str, quantile: Sequence[float]) -> ReweightedCurve:
    """A random sample among the top share q of base samples by proxy (Taylor 2016); ``KL = -log q`` without ties."""
    values = np.asarray(quantile, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or ((values <= 0) | (values > 1)).any() or (np.diff(values) >= 0).any():
        raise InputError(f"`quantile` must be descending values in (0, 1], got {values.tolist()}.")
    return _reweight(bank, proxy, "quantilizer", "quantile", values, lambda keys, q: _rank_mass(
        keys, lambda u: np.clip((u - (1 - q)) / q, 0.0, 1.0)
    ))  # fmt: skip


def exponential_tilt_curve(bank: ScoreBank, proxy: str, tilt: Sequence[float]) -> ReweightedCurve:
    """``pi(y) ~ pi0(y) exp(tilt * proxy(y))`` within each prompt: the optimum of proxy minus KL / tilt.

    ``tilt`` is per unit of the proxy's own scale. Weights are self-normalised: biased near the end of the support.
    """

    def weights(keys: Array, strength: float) -> Array:
        exponent = strength * keys
        unnormalised = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        return np.asarray(unnormalised / unnormalised.sum(axis=1, keepdims=True))

    return _reweight(bank, proxy, "exponential tilt", "tilt", _ascending("tilt", tilt, 0.0), weights)


def _ascending(name: str, values: Sequence[float], lowest: float) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all() or (np.diff(array) <= 0).any():
        raise InputError(f"`{name}` must be finite ascending values, got {array.tolist()}.")
    if array[0] < lowest:
        raise InputError(f"`{name}` must be >= {lowest:g}, got {array[0]:g}.")
    return array


def _rank_mass(keys: Array, cumulative: Callable[[Array], Array]) -> Array:
    """(B, N) mass of each sample of sorted ``keys`` under a law of the rank, shared within groups of ties."""
    prompts, samples = keys.shape
    edges = cumulative(np.arange(samples + 1) / samples)
    mass = np.broadcast_to(np.diff(edges), keys.shape)
    first = np.concatenate([np.ones((prompts, 1), dtype=np.bool_), keys[:, 1:] != keys[:, :-1]], axis=1)
    start = np.flatnonzero(first.ravel())
    size = np.diff(np.append(start, keys.size))
    shared = np.add.reduceat(mass.ravel(), start) / size
    return np.repeat(shared, size).reshape(keys.shape)


def _reweight(
    bank: ScoreBank,
    proxy: str,
    method: str,
    axis: Axis,
    pressure: Array,
    weights: Callable[[Array, float], Array],
) -> ReweightedCurve:
    keys = bank.proxy(proxy)
    shape = (bank.n_prompts, pressure.size)
    gold, score, kl, effective = (np.empty(shape) for _ in range(4))
    for prompts, ranked in rank_samples(bank, proxy, {"gold": bank.gold, "proxy": keys}):
        ordered = ranked.columns["proxy"]
        for column, value in enumerate(pressure):
            w = weights(ordered, float(value))
            gold[prompts, column] = (w * ranked.columns["gold"]).sum(axis=1)
            score[prompts, column] = (w * ordered).sum(axis=1)
            kl[prompts, column] = xlogy(w, w * ranked.n_samples).sum(axis=1)
            effective[prompts, column] = 1 / (w**2).sum(axis=1)
    mean_kl = np.maximum(kl.mean(axis=0), 0.0)
    mean_effective = effective.mean(axis=0)
    count = bank.n_prompts
    curve = Curve.from_clusters(
        ClusterValues(gold, score, bank.prompt_means(bank.gold), bank.prompt_means(keys)),
        method=method,
        axis=axis,
        pressure=pressure,
        kl=mean_kl,
        kl_kind="ties-exact",
        kl_standard_error=kl.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(pressure.size),
    )
    short = np.flatnonzero(mean_effective < MIN_EFFECTIVE_SAMPLES)
    return ReweightedCurve(curve, mean_effective, float(mean_kl[short[0]]) if short.size else None)
