"""Permutation test of "the proxy's error is independent of gold" on the base policy's samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.decomposition.blocks import (
    MIN_LEVELS,
    Block,
    centred_blocks,
    first_of_each,
    is_coarse,
    levels,
)
from overopt.bridges.decomposition.residual_permutation import (
    has_no_error,
    normal_scores,
    rank_linear_part,
    restore_levels,
    slope_on_gold,
)
from overopt.bridges.score_bank import ScoreBank

__all__ = ["IndependenceTest", "independence_test"]

FUNCTIONS = ("<e, g^2>", "<e, g^3>", "<e^2, g>", "<|e|, g>", "<clip(e^2), g^2>")
CLIP = 6.0
MAX_RECORDS = 100_000


@dataclass(frozen=True)
class IndependenceTest:
    """Result of the test.

    Attributes
    ----------
    p_value
        Probability under independence of a statistic at least this large; None where the data cannot tell.
    statistic
        Sum of squared permutation z-values of the functions kept.
    z_values
        Function -> its permutation z-value. ``<e, g^2>`` far from 0 means a bend in the proxy, ``<e^2, g>`` an error
        whose size changes with gold.
    permutations
        Number of permutations drawn.
    scale
        ``"raw"`` or ``"normal scores"``: independence on one monotone scale is dependence on another.
    reason
        Why there is no p-value; None if there is one.
    """

    p_value: float | None
    statistic: float
    z_values: dict[str, float]
    permutations: int
    scale: str
    reason: str | None = None


def independence_test(
    bank: ScoreBank, proxy: str, rng: np.random.Generator, *, permutations: int = 199, scores: bool = False
) -> IndependenceTest:
    """Test whether ``e`` in ``proxy = c gold + e`` is independent of gold within prompts.

    The residuals are permuted within the prompt, residualised on gold again and rescaled to their old sum of squares (a
    permuted residual has lost its orthogonality to gold; without this step the test never rejects at small n). The
    statistic sums the squared permutation z-values of five products of a function of ``e`` and a function of ``g``,
    each with its linear part taken off. A function that permutations cannot change (``g^2`` of a binary gold) is
    dropped.

    Parameters
    ----------
    permutations
        The p-value is a multiple of ``1 / (permutations + 1)``.
    scores
        Test the proxy's within-prompt normal scores instead of the proxy itself.

    Notes
    -----
    Normal scores have fixed order statistics, so the permuted worlds get them back, ties included; without that the
    test rejects .28 of Gaussian worlds at N = 24. A coarse proxy (see :func:`is_coarse`) is always tested on normal
    scores: on the raw scale the rounding of a five-level judge alone would reject. Below
    five levels it does so on normal scores too (24 of 24 worlds with independent noise at two, 5 at three): no p-value.

    Records of one prompt that agree in gold and proxy are one text drawn again and count once (not where the proxy is
    coarse): a text and its copies share their error, and permuted copies would not. On a policy that repeats 4% of its
    texts the test otherwise rejects every independent noise.

    The test looks at base samples only and cannot see a policy that breaks the relation later (a causal hack). Banks of
    more than 100,000 records are thinned to that many; the power is ample there.
    """
    blocks = [_thin(block, bank, rng) for block in centred_blocks(bank, proxy)]
    coarse = is_coarse(blocks)
    scores = scores or coarse
    name = "normal scores" if scores else "raw"
    found = float(np.median(np.concatenate([levels(proxy) for _, proxy in blocks])))
    if coarse and 1 < found < MIN_LEVELS:
        reason = f"the proxy has {found:g} levels within a prompt (median), fewer than {MIN_LEVELS}"
        return IndependenceTest(None, 0.0, {}, 0, name, reason)
    if not coarse:
        blocks = [texts for gold, proxy in blocks for texts in _distinct(gold, proxy)]
    tables = [table for gold, rows in blocks if (table := _standardised(gold, rows, scores, rng))]
    if not tables:
        reason = "gold or proxy is constant within every prompt, or the proxy is a linear function of gold"
        return IndependenceTest(None, 0.0, {}, 0, name, reason)
    observed = _products(tables, [table.error() for table in tables])
    draws = np.empty((permutations, observed.size))
    for index in range(permutations):
        draws[index] = _products(tables, [table.permuted_error(rng) for table in tables])
    spread = draws.std(axis=0, ddof=1)
    kept = spread > 1e-9 * sum(table.gold.size for table in tables) ** 0.5
    if not kept.any():
        return IndependenceTest(None, 0.0, {}, permutations, name, "gold has too few levels to show a dependent error")
    # Each draw is standardised by all others, the observed one among them, as the observed one is by the draws. Scaled
    # by the draws alone, their own scale, it would look larger than any of them: .06 to .08 rejected instead of .05.
    together = np.vstack([observed, draws])[:, kept]
    z_values = _standardised_by_the_others(together)
    statistics = (z_values**2).sum(axis=1)
    p_value = float((statistics >= statistics[0] * (1 - 1e-12)).mean())
    names = [function for function, keep in zip(FUNCTIONS, kept, strict=True) if keep]
    return IndependenceTest(
        p_value, float(statistics[0]), dict(zip(names, map(float, z_values[0]), strict=True)), permutations, name
    )


@dataclass(frozen=True)
class _Table:
    """Prompts of one size: gold at unit variance, its square and cube beyond the linear part, the residual.

    ``linear`` and ``levels`` (the sorted proxies) serve to rebuild normal scores; otherwise they are 0 and None.
    """

    gold: NDArray[np.float64]
    square: NDArray[np.float64]
    cube: NDArray[np.float64]
    residual: NDArray[np.float64]
    linear: NDArray[np.float64]
    levels: NDArray[np.float64] | None

    def error(self) -> NDArray[np.float64]:
        return _unit_variance(self.residual)

    def permuted_error(self, rng: np.random.Generator) -> NDArray[np.float64]:
        shuffled = rng.permuted(self.residual, axis=1)
        if self.levels is not None:
            # Ranks and rounding alone make the error depend on gold; the permuted worlds are treated alike.
            shuffled += self.linear
            restore_levels(shuffled, self.levels)
        shuffled -= slope_on_gold(self.gold, shuffled) * self.gold
        return _unit_variance(shuffled)


def _thin(block: Block, bank: ScoreBank, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most ``MAX_RECORDS`` records of the bank: fewer samples per prompt first, then fewer prompts."""
    gold, proxy = block.gold, block.proxy
    excess = bank.gold.size / MAX_RECORDS
    if excess > 1.0:
        samples = max(int(gold.shape[1] / excess), min(gold.shape[1], 64))
        prompts = max(int(gold.size / excess / samples), 1)
        rows = rng.permutation(gold.shape[0])[:prompts]
        columns = rng.permutation(gold.shape[1])[:samples]
        gold, proxy = gold[np.ix_(rows, columns)], proxy[np.ix_(rows, columns)]
    return gold, proxy


def _distinct(
    gold: NDArray[np.float64], proxy: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The block with every text once, prompts with equally many texts together."""
    first = first_of_each(gold, proxy)
    texts = first.sum(axis=1)
    if (texts == gold.shape[1]).all():
        return [(gold, proxy)]
    parts = []
    for count in np.unique(texts):
        rows = texts == count
        parts.append((gold[rows][first[rows]].reshape(-1, count), proxy[rows][first[rows]].reshape(-1, count)))
    return parts


def _standardised_by_the_others(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D, F) every entry less the mean of its column's other entries, over their SD."""
    count = rows.shape[0] - 1
    centred = rows - rows.mean(axis=0)
    mean = -centred / count
    squares = (centred**2).sum(axis=0)
    variance = (squares - centred**2 - count * mean**2) / (count - 1)
    # Where all others agree their SD is rounding of either sign.
    return np.asarray((centred - mean) / np.sqrt(np.maximum(variance, 1e-12 * squares / count)))


def _unit_variance(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = np.sqrt(np.einsum("kn,kn->k", rows, rows) / rows.shape[1])[:, None]
    return np.asarray(np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0))


def _standardised(
    gold: NDArray[np.float64], proxy: NDArray[np.float64], scores: bool, rng: np.random.Generator
) -> _Table | None:
    if gold.shape[1] < 4:
        return None
    gold, proxy = (rows - rows.mean(axis=1, keepdims=True) for rows in (gold, proxy))
    live = (np.ptp(gold, axis=1) > 0) & (np.ptp(proxy, axis=1) > 0) & ~has_no_error(gold, proxy)
    if not live.any():
        return None
    gold = _unit_variance(gold[live])
    proxy = normal_scores(proxy[live]) if scores else proxy[live]

    def beyond_linear(values: NDArray[np.float64]) -> NDArray[np.float64]:
        centred = values - values.mean(axis=1, keepdims=True)
        return np.asarray(centred - slope_on_gold(gold, centred) * gold)

    error = beyond_linear(proxy)
    linear = rank_linear_part(gold, proxy - error, error, rng) if scores else np.zeros_like(gold)
    levels = np.sort(proxy, axis=1) if scores else None
    return _Table(gold, beyond_linear(gold**2), beyond_linear(gold**3), error, linear, levels)


def _products(tables: list[_Table], errors: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(5,) sums over all records of the products named in ``FUNCTIONS``."""
    total = np.zeros(len(FUNCTIONS))
    for table, error in zip(tables, errors, strict=True):
        squared = error**2
        total += (
            np.vdot(error, table.square),
            np.vdot(error, table.cube),
            np.vdot(squared, table.gold),
            np.vdot(np.abs(error), table.gold),
            np.vdot(np.minimum(squared, CLIP), table.square),
        )
    return total
