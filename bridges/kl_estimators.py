"""KL(policy || base policy) from per-token log-probabilities of completions sampled from the policy.

Every function takes the completion mask as a required argument: a sum over prompt or padding tokens is not a KL. With
``r_t = log pi(y_t|y_<t) - log pi0(y_t|y_<t)``, the estimators of Schulman (2020, "Approximating KL divergence") are
``k1 = r``, ``k2 = r^2 / 2`` and ``k3 = exp(-r) - 1 + r`` per token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.bridges.kl import KL, KLEstimator
from overopt.theory.errors import InputError

__all__ = ["full_vocabulary_kl", "k1", "k2", "k3", "log_ratio"]

Array = NDArray[np.float64]
Reduction = Literal["sequence sum", "per-token mean"]


def k1(
    log_prob: ArrayLike,
    base_log_prob: ArrayLike,
    *,
    completion_mask: ArrayLike,
    prompt: Sequence[object] | None = None,
    reduction: Reduction = "sequence sum",
    temperature: float = 1.0,
) -> KL:
    """Mean log-ratio: unbiased, may be negative, the largest variance of the three.

    Parameters
    ----------
    log_prob, base_log_prob
        (B, T) log-probability of the sampled token under the policy and under the base policy, in nats, at the sampling
        temperature. Entries outside the mask are ignored.
    completion_mask
        (B, T) true on the tokens that the policy sampled.
    prompt
        (B,) prompt of each completion: standard errors cluster by it. Default: every completion its own.
    reduction
        Nats per completion, or per token.
    temperature
        At which the policy sampled; recorded with the result.

    Raises
    ------
    InputError
        If shapes differ, a completion is empty, or a log-probability on the mask is not finite or positive.
    """
    return _estimate("k1", lambda r: r, log_prob, base_log_prob, completion_mask, prompt, reduction, temperature)


def k2(
    log_prob: ArrayLike,
    base_log_prob: ArrayLike,
    *,
    completion_mask: ArrayLike,
    prompt: Sequence[object] | None = None,
    reduction: Reduction = "sequence sum",
    temperature: float = 1.0,
) -> KL:
    """Half the squared log-ratio per token: low variance, biased (right to second order for close policies).

    Parameters and errors as for :func:`k1`.
    """
    return _estimate("k2", lambda r: r**2 / 2, log_prob, base_log_prob, completion_mask, prompt, reduction, temperature)


def k3(
    log_prob: ArrayLike,
    base_log_prob: ArrayLike,
    *,
    completion_mask: ArrayLike,
    prompt: Sequence[object] | None = None,
    reduction: Reduction = "sequence sum",
    temperature: float = 1.0,
) -> KL:
    """``exp(-r) - 1 + r`` per token: unbiased and never negative; the variance explodes once policies differ much.

    Parameters and errors as for :func:`k1`.
    """
    return _estimate(
        "k3", lambda r: np.expm1(-r) + r, log_prob, base_log_prob, completion_mask, prompt, reduction, temperature
    )


def full_vocabulary_kl(
    log_probs: ArrayLike,
    base_log_probs: ArrayLike,
    *,
    completion_mask: ArrayLike,
    prompt: Sequence[object] | None = None,
    reduction: Reduction = "sequence sum",
    temperature: float = 1.0,
) -> KL:
    """``sum_v pi(v) (log pi(v) - log pi0(v))`` at every sampled position: unbiased, the lowest variance.

    Only the context is sampled, the next token is summed out (Rao-Blackwell).

    Parameters
    ----------
    log_probs, base_log_probs
        (B, T, V) log-probabilities over the vocabulary, normalised; ``-inf`` where a probability is 0.
    completion_mask, prompt, reduction, temperature
        As for :func:`k1`.

    Raises
    ------
    InputError
        If shapes differ, a row is not normalised, or the policy gives mass to a token that the base policy excludes.
    """
    policy, base = np.asarray(log_probs, dtype=np.float64), np.asarray(base_log_probs, dtype=np.float64)
    if policy.ndim != 3 or policy.shape != base.shape:
        raise InputError(
            "`log_probs` and `base_log_probs` must have one shape (completions, tokens, vocabulary), got "
            f"{policy.shape} and {base.shape}."
        )
    mask = _mask(completion_mask, (policy.shape[0], policy.shape[1]))
    terms = np.zeros(mask.shape)
    rows = policy[mask]
    for name, values in (("log_probs", rows), ("base_log_probs", base[mask])):
        total = np.exp(values).sum(axis=-1)
        if not np.allclose(total, 1.0, atol=1e-3):
            worst = float(total[np.argmax(np.abs(total - 1))])
            raise InputError(f"`{name}` must be normalised over the vocabulary, got a probability sum of {worst:.4g}.")
    probability = np.exp(rows)
    with np.errstate(invalid="ignore"):
        inside = np.where(probability > 0, probability * (rows - base[mask]), 0.0)
    if not np.isfinite(inside).all():
        raise InputError("`base_log_probs` must be finite wherever the policy's probability is above 0, got -inf.")
    terms[mask] = inside.sum(axis=-1)
    return _reduce("full-vocabulary", terms, mask, prompt, reduction, temperature)


def log_ratio(log_prob: ArrayLike, base_log_prob: ArrayLike, *, completion_mask: ArrayLike) -> Array:
    """(B,) ``log pi(y|x) - log pi0(y|x)`` of each completion, nats: the ``logratio`` column of Checkpoints."""
    ratio, mask = _ratio(log_prob, base_log_prob, completion_mask)
    return np.asarray(np.where(mask, ratio, 0.0).sum(axis=1))


def _estimate(
    estimator: KLEstimator,
    term: Callable[[Array], Array],
    log_prob: ArrayLike,
    base_log_prob: ArrayLike,
    completion_mask: ArrayLike,
    prompt: Sequence[object] | None,
    reduction: Reduction,
    temperature: float,
) -> KL:
    ratio, mask = _ratio(log_prob, base_log_prob, completion_mask)
    return _reduce(estimator, np.where(mask, term(ratio), 0.0), mask, prompt, reduction, temperature)


def _ratio(
    log_prob: ArrayLike, base_log_prob: ArrayLike, completion_mask: ArrayLike
) -> tuple[Array, NDArray[np.bool_]]:
    """(B, T) log-ratio, 0 outside the mask, and the mask."""
    policy, base = np.asarray(log_prob, dtype=np.float64), np.asarray(base_log_prob, dtype=np.float64)
    if policy.ndim != 2 or policy.shape != base.shape:
        raise InputError(
            f"`log_prob` and `base_log_prob` must have one shape (completions, tokens), got {policy.shape} and "
            f"{base.shape}."
        )
    mask = _mask(completion_mask, policy.shape)
    for name, values in (("log_prob", policy), ("base_log_prob", base)):
        bad = np.argwhere(mask & ~(np.isfinite(values) & (values <= 1e-6)))
        if bad.size:
            row, token = map(int, bad[0])
            raise InputError(
                f"`{name}` must be finite and <= 0 on the completion, got {values[row, token]} at completion {row}, "
                f"token {token}."
            )
    return np.where(mask, np.where(mask, policy, 0.0) - np.where(mask, base, 0.0), 0.0), mask


def _mask(completion_mask: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.asarray(completion_mask)
    if mask.shape != shape:
        raise InputError(f"`completion_mask` must have shape {shape}, got {mask.shape}.")
    if mask.dtype != np.bool_ and not np.isin(mask, (0, 1)).all():
        raise InputError(f"`completion_mask` must be true or false (1 or 0), got {mask[~np.isin(mask, (0, 1))][0]}.")
    mask = mask.astype(np.bool_)
    empty = np.flatnonzero(~mask.any(axis=1))
    if mask.shape[0] == 0 or empty.size:
        got = "no completion" if mask.shape[0] == 0 else f"completion {int(empty[0])} without a token"
        raise InputError(f"`completion_mask` must mark at least one token of every completion, got {got}.")
    return mask


def _reduce(
    estimator: KLEstimator,
    terms: Array,
    mask: NDArray[np.bool_],
    prompt: Sequence[object] | None,
    reduction: Reduction,
    temperature: float,
) -> KL:
    """Mean over completions (or over tokens), with the standard error of a ratio of cluster totals."""
    sums = terms.sum(axis=1)
    weights = np.ones(sums.size) if reduction == "sequence sum" else mask.sum(axis=1).astype(np.float64)
    codes = np.arange(sums.size)
    if prompt is not None:
        if len(prompt) != sums.size:
            raise InputError(f"`prompt` must name every one of {sums.size} completions, got {len(prompt)}.")
        codes = np.unique([str(name) for name in prompt], return_inverse=True)[1]
    value = float(sums.sum() / weights.sum())
    clusters = int(codes.max()) + 1
    error: float | None = None
    if clusters > 1:
        residual = np.bincount(codes, weights=sums - value * weights)
        error = float(np.sqrt((residual**2).sum() * clusters / (clusters - 1)) / weights.sum())
    return KL(value, estimator, reduction=reduction, temperature=temperature, n=sums.size, standard_error=error)
