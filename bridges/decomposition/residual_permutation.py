"""The residual-permutation null: the gold that best-of-n would find if the proxy's error were independent of gold.

Write ``proxy = c gold + e`` within each prompt. Goodhart's regressional model says that ``e`` is independent of gold.
Impose it: permute ``e`` among the samples of the prompt, rebuild the proxy, run the same selection, read off gold and
average. No noise law is assumed. What the selection loses against the proxy in that world is regressional; what the
real one loses beyond it is due to an error that depends on gold.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from overopt.bridges.decomposition.blocks import first_of_each
from overopt.bridges.decomposition.shrunken_slopes import own_weights, shrunken_slopes

__all__ = [
    "NullGold",
    "has_no_error",
    "normal_scores",
    "null_gold",
    "observed_gold",
    "rank_linear_part",
    "restore_levels",
    "split_on_gold",
]

Rows = NDArray[np.float64]

MANY_SAMPLES = 1024
FACTOR_ROUNDS = 4
FACTOR_WORLDS = 4
BIAS_PERMUTATIONS = 4
SLOPE_STEP = 0.1
SLOPE_WORLDS = 4
ROUNDING = 1e-9


@dataclass(frozen=True)
class NullGold:
    """Best-of-n under the null, per prompt.

    Attributes
    ----------
    gold
        (B, J) gold of the null world at each n, corrected for small N.
    proxy
        (B, J) rebuilt proxy of the null world: the promise that world would make.
    """

    gold: Rows
    proxy: Rows


def normal_scores(proxy: Rows) -> Rows:
    """Each row's ranks as Gaussian quantiles, ``Phi^-1((rank - 1/2) / N)``, tied values at their mean rank; centred."""
    ranks = stats.rankdata(proxy, axis=1)
    scores = special.ndtri((ranks - 0.5) / proxy.shape[1])
    return np.asarray(scores - scores.mean(axis=1, keepdims=True))


def slope_on_gold(gold: Rows, proxy: Rows) -> NDArray[np.float64]:
    """(B, 1) least-squares slope of proxy on gold in each row (both centred); 0 where gold is constant."""
    variance = np.einsum("kn,kn->k", gold, gold)
    covariance = np.einsum("kn,kn->k", gold, proxy)
    slope = np.divide(covariance, variance, out=np.zeros_like(variance), where=variance > 0)
    return np.asarray(slope[:, None])


def has_no_error(gold: Rows, proxy: Rows) -> NDArray[np.bool_]:
    """(B,) rows whose proxy is a linear function of gold, up to rounding (both centred)."""
    error = np.abs(proxy - slope_on_gold(gold, proxy) * gold).max(axis=1)
    return np.asarray(error <= ROUNDING * np.abs(proxy).max(axis=1))


def split_on_gold(gold: Rows, scaled: Rows, exact: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """``c gold`` and ``e`` of ``scaled = c gold + e`` with a shrunken slope per row; ``e`` is 0 in the ``exact`` rows.

    ``scaled`` is the proxy or its normal scores. Where the proxy itself is a linear function of gold there is no error
    to permute on any scale, although gold's normal scores are not linear in gold. Slopes by least squares alone follow
    a prompt's outliers: with two cheating samples in a thousand the null then gives up .002 SD at n = 2.
    """
    xx, xy, yy = (np.einsum("kn,kn->k", a, b) for a, b in ((gold, gold), (gold, scaled), (scaled, scaled)))
    slope = shrunken_slopes(xx, xy, yy, np.full(gold.shape[0], gold.shape[1]))
    linear = np.where(exact[:, None], scaled, slope[:, None] * gold)
    return linear, scaled - linear


def _with_pooled_slope_error(
    null: NullGold, gold: Rows, linear: Rows, error: Rows, groups: TieGroups, texts: Texts | None, weights: Rows,
    rng: np.random.Generator,
) -> NullGold:  # fmt: skip
    """``null`` with the sampling error of the pooled slope laid on the prompts that it comes from; the mean stays.

    Where the slopes agree, all rows use the pooled one, and the scatter of their null golds does not know that it is
    estimated: intervals of regressional would cover .91 at n = 2 to 8 and those of extremal .99, since the delivered
    gold moves with the same slope. The derivative is a central difference on common permutations.
    """
    scaled = linear + error
    xx, xy, yy = (np.einsum("kn,kn->k", a, b) for a, b in ((gold, gold), (gold, scaled), (scaled, scaled)))
    total = float(xx.sum())
    pooled = float(xy.sum()) / total if total > 0 else 0.0
    live = (xx > 0) & (np.abs(error).max(axis=1) > 0)
    if pooled == 0.0 or not live.any():
        return null
    own = own_weights(xx, xy, yy, np.full(gold.shape[0], gold.shape[1]))
    step = SLOPE_STEP * pooled
    moved = (live * (1 - own) * step)[:, None] * gold
    streams = copy.deepcopy(rng), rng
    up, down = (
        _permuted_world(gold, linear + sign * moved, error - sign * moved, groups, texts, weights, stream, SLOPE_WORLDS)
        for sign, stream in zip((1, -1), streams, strict=True)
    )
    derivative = (up.gold - down.gold).mean(axis=0) / (2 * step)
    influence = (xy - pooled * xx) / xx.mean()
    return NullGold(null.gold + np.outer(influence, derivative), null.proxy)


def restore_levels(rebuilt: Rows, levels: Rows) -> None:
    """Give, in place, each row's k-th smallest entry the k-th of the sorted ``levels``."""
    np.put_along_axis(rebuilt, np.argsort(rebuilt, axis=1), levels, axis=1)


def rank_linear_part(gold: Rows, linear: Rows, error: Rows, rng: np.random.Generator) -> Rows:
    """``c gold`` of a ranked proxy, with c raised until worlds rebuilt by rank have the observed covariance with gold.

    Rounding weakens the correlation of proxy and gold; rebuilding and rounding again would weaken it twice.
    """
    proxy = linear + error
    levels = np.sort(proxy, axis=1)
    observed = float(np.vdot(gold, proxy))
    factor = 1.0
    for _ in range(FACTOR_ROUNDS):
        rebuilt_covariance = 0.0
        for _ in range(FACTOR_WORLDS):
            rebuilt = factor * linear + rng.permuted(error, axis=1)
            restore_levels(rebuilt, levels)
            rebuilt_covariance += float(np.vdot(gold, rebuilt)) / FACTOR_WORLDS
        if observed * rebuilt_covariance <= 0.0:
            return linear
        factor *= observed / rebuilt_covariance
    return np.asarray(factor * linear)


class TieGroups:
    """Where the sorted rows hold equal values, so that rewards can be averaged over them."""

    def __init__(self, sorted_proxy: Rows) -> None:
        self.levels = sorted_proxy
        starts = np.ones(sorted_proxy.shape, dtype=bool)
        starts[:, 1:] = sorted_proxy[:, 1:] != sorted_proxy[:, :-1]
        self.any = not starts.all()
        self.first = np.flatnonzero(starts.ravel())
        self.sizes = np.diff(np.append(self.first, starts.size))

    def average(self, by_rank: Rows) -> Rows:
        """``by_rank`` with each entry replaced by the mean over its tie group."""
        if not self.any:
            return by_rank
        means = np.add.reduceat(by_rank.ravel(), self.first) / self.sizes
        return np.repeat(means, self.sizes).reshape(by_rank.shape)


class Texts:
    """Which records of a row are copies of one text, equal in gold and proxy: they share their error.

    ``effective`` is (B, 1), ``N^2`` over the sum of squared copies: N where every text is drawn once.
    """

    def __init__(self, gold: Rows, proxy: Rows) -> None:
        order = np.lexsort((gold, proxy), axis=1)
        first = np.take_along_axis(first_of_each(gold, proxy), order, axis=1)
        self.text = np.empty(gold.shape, dtype=np.intp)
        np.put_along_axis(self.text, order, np.cumsum(first, axis=1) - 1, axis=1)
        self.count = first.sum(axis=1)
        self.repeat = bool((self.count < gold.shape[1]).any())
        copies = np.zeros(gold.shape)
        np.add.at(copies, (np.arange(gold.shape[0])[:, None], self.text), 1.0)
        self.effective = gold.shape[1] ** 2 / (copies**2).sum(axis=1, keepdims=True)

    def permuted(self, error: Rows, rng: np.random.Generator) -> Rows:
        """The errors dealt anew among the texts of each row, every copy with its text's."""
        by_text = np.zeros_like(error)
        np.put_along_axis(by_text, self.text, error, axis=1)
        keys = rng.random(error.shape)
        keys[np.arange(error.shape[1]) >= self.count[:, None]] = np.inf
        dealt = np.take_along_axis(by_text, np.argsort(keys, axis=1), axis=1)
        return np.asarray(np.take_along_axis(dealt, self.text, axis=1))


def observed_gold(gold: Rows, proxy: Rows, weights: Rows) -> Rows:
    """(B, J) unbiased best-of-n gold of each row at each n, ties averaged; ``weights`` is (N, J), worst rank first."""
    order = np.argsort(proxy, axis=1)
    groups = TieGroups(np.take_along_axis(proxy, order, axis=1))
    return np.asarray(groups.average(np.take_along_axis(gold, order, axis=1)) @ weights)


def _permuted_world(
    gold: Rows,
    linear: Rows,
    error: Rows,
    groups: TieGroups,
    texts: Texts | None,
    weights: Rows,
    rng: np.random.Generator,
    count: int,
) -> NullGold:
    """Average best-of-n gold and rebuilt proxy over ``count`` permutations of the residuals, uncorrected.

    Each row gets a permutation of its own, followed by ``count`` permutations that all rows share. The products are
    uniform, pairwise independent, and independent between rows given the shared ones: averages have the variance of
    fresh permutations at a third of their price. Repeated texts are permuted afresh, row by row, and their ties need no
    average: copies have equal gold.
    """
    if texts is None:
        error = rng.permuted(error, axis=1)
    gold_by_rank = np.zeros_like(gold)
    proxy_by_rank = np.zeros_like(gold)
    row_start = np.arange(gold.shape[0])[:, None] * gold.shape[1]
    for _ in range(count):
        if texts is None:
            rebuilt = linear + error.take(rng.permutation(gold.shape[1]), axis=1)
        else:
            rebuilt = linear + texts.permuted(error, rng)
        order = np.argsort(rebuilt, axis=1) + row_start
        gold_by_rank += gold.take(order)
        proxy_by_rank += rebuilt.take(order)
    # The rebuilt scores have no ties and would break the observed ones in gold's favour: rank k gets the observed k-th
    # level, which makes the same ranks tie as in the data.
    averaged = groups.average(gold_by_rank) if texts is None else gold_by_rank
    return NullGold(averaged @ weights / count, proxy_by_rank @ weights / count)


def null_gold(
    gold: Rows,
    proxy: Rows,
    weights: Rows,
    rng: np.random.Generator,
    *,
    permutations: int = 16,
    null_banks: int = 5,
    scores: bool = False,
    coarse: bool = False,
) -> NullGold:
    """Best-of-n gold in the world where the proxy's error is independent of gold.

    Parameters
    ----------
    gold, proxy
        (B, N) centred rewards of B prompts.
    weights
        (N, J) rank weights of best-of-n, worst rank first.
    permutations
        Permutations of the residuals averaged over.
    null_banks
        Banks drawn *from* the null (residuals permuted and inflated by ``sqrt((N-1)/(N-2))``) that go through the same
        pipeline; their mean extremal term is the bias, subtracted per prompt. On the proxy's own scale it falls like
        1/N (at N = 24 and n = 2 up to .008 SD where slopes differ) and is left out from 1,024 samples on. On normal
        scores it does not: gold that is not Gaussian plus error is not Gaussian, scoring the sum bends it again (.11 SD
        at n = 16 for gold skewed by a length hack, at any N). From 1,024 samples on two banks are enough there.
        Their own spread outweighs that of their permutations, so that few of those suffice.
    scores
        Use the proxy's within-prompt normal scores: the null then does not see monotone transforms of the proxy.
    coarse
        The proxy is a coarse one (:func:`is_coarse`): records that agree in gold and proxy are two texts with one
        grade. Otherwise they are copies of one text, share their error, and lower the number of samples above to an
        effective one.
    """
    groups = TieGroups(np.sort(proxy, axis=1))
    texts = Texts(gold, proxy) if groups.any and not coarse else None
    if texts is not None and not texts.repeat:
        texts = None
    n_samples = np.full((gold.shape[0], 1), float(gold.shape[1])) if texts is None else texts.effective

    def on_scale(values: Rows) -> Rows:
        return normal_scores(values) if scores else values

    scaled = on_scale(proxy)
    exact = has_no_error(gold, proxy)
    linear, error = split_on_gold(gold, scaled, exact)
    null = _permuted_world(gold, linear, error, groups, texts, weights, rng, permutations)
    null = _with_pooled_slope_error(null, gold, linear, error, groups, texts, weights, rng.spawn(1)[0])
    rounded = scores and groups.any and texts is None
    many = n_samples.min() >= MANY_SAMPLES
    if null_banks == 0 or gold.shape[1] < 3 or (many and not scores):
        return null
    null_banks = min(null_banks, 2) if many else null_banks
    error = error * np.sqrt((n_samples - 1) / np.maximum(n_samples - 2, 1))
    bias = np.zeros_like(null.gold)
    for _ in range(null_banks):
        rebuilt = linear + (rng.permuted(error, axis=1) if texts is None else texts.permuted(error, rng))
        if rounded:
            restore_levels(rebuilt, np.sort(scaled, axis=1))
        else:
            rebuilt = on_scale(rebuilt)
        split = split_on_gold(gold, rebuilt, exact)
        again = _permuted_world(gold, *split, groups, texts, weights, rng, BIAS_PERMUTATIONS)
        bias += again.gold - observed_gold(gold, rebuilt, weights)
    return NullGold(null.gold - bias / null_banks, null.proxy)
