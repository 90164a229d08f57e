"""Where the gap between promised and delivered reward of best-of-n goes, with exact rank weights and no smoothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from overopt.bridges.best_of_n_weights import best_of_n_weights
from overopt.bridges.decomposition.blocks import MIN_LEVELS, Block, centred_blocks, levels, scatter
from overopt.bridges.decomposition.independence import IndependenceTest, independence_test
from overopt.bridges.decomposition.null_scale import NullScale, choose_null_scale
from overopt.bridges.decomposition.residual_permutation import null_gold, observed_gold
from overopt.bridges.decomposition.scale import MeasurementScale, ScaleKind, fit_scale
from overopt.bridges.decomposition.terms import (
    Term,
    draw_multipliers,
    estimate_terms,
    terms_frame,
    unknown_terms,
    withhold,
    without_rounding,
)
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.errors import InputError

__all__ = ["BestOfNDecomposition", "BestOfNPoint", "decompose_best_of_n"]

PRACTICAL_MARGIN = 0.02
MAX_PERMUTED_RECORDS = 16_000_000
MIN_LIVE_PROMPTS = 10
MAX_STEP = 2.0
POOL_GROUPS = 10
MIN_GROUP = 16


@dataclass(frozen=True)
class BestOfNPoint:
    """The decomposition at one n; promise and delivered are gains, the four terms between them losses, all in gold SD.

    Attributes
    ----------
    n
        Samples drawn per prompt, of which the best by proxy is kept.
    promise, regressional, extremal, causal, unattributed, delivered
        ``promise - regressional - extremal - causal - unattributed = delivered``. Causal and unattributed are 0 by
        construction: best-of-n only reweights base samples by their proxy.
    gap
        Promise minus delivered. Where its interval includes 0 the terms are not worth a story.
    linear_shrinkage, noise_tail
        The two parts of regressional: ``(1 - reliability) promise``, and what the noise's shape adds to it.
    extremal_own_scale, extremal_normal_scores
        Extremal with the null on the proxy's own scale and on its within-prompt normal scores. One of them is extremal,
        see :func:`choose_null_scale`; a coarse proxy has only the latter, which then stands in both places.
    promise_mismatch
        Promise minus the promise of the null world on the proxy's own scale. None if the proxy is coarse.
    perfect
        What gold itself would deliver as the proxy: the most that any proxy can. None beyond a pool's groups.
    """

    n: int
    promise: Term
    regressional: Term
    extremal: Term
    causal: Term
    unattributed: Term
    delivered: Term
    gap: Term
    linear_shrinkage: Term
    noise_tail: Term
    extremal_own_scale: Term
    extremal_normal_scores: Term
    promise_mismatch: float | None
    perfect: float | None = None

    @property
    def dependent_error(self) -> int:
        """+1 (gold lost) or -1 (gold won) where both scales' bands exclude 0 on the same side by .02 SD, else 0."""
        raw, scores = self.dependent_on_raw_scale, self.dependent_on_normal_scores
        return raw if raw == scores else 0

    @property
    def dependent_on_raw_scale(self) -> int:
        """The same on the proxy's own scale alone."""
        return _beyond_margin(self.extremal_own_scale)

    @property
    def dependent_on_normal_scores(self) -> int:
        """The same on the proxy's normal scores alone."""
        return _beyond_margin(self.extremal_normal_scores)


def _beyond_margin(term: Term) -> int:
    if term.estimate is None or abs(term.estimate) < PRACTICAL_MARGIN:
        return 0
    return term.band_excludes_zero()


@dataclass(frozen=True)
class BestOfNDecomposition:
    """The decomposition of a best-of-n curve.

    Attributes
    ----------
    proxy
        Name of the proxy column.
    scale
        The measurement scale in force.
    null_scale
        The scale of the proxy on which the null adds gold and error, and why.
    points
        One per n, in the order asked for.
    independence
        Permutation test of "the error is independent of gold".
    warnings
        What the data cannot tell, with the reason.
    """

    proxy: str
    scale: MeasurementScale
    null_scale: NullScale
    points: tuple[BestOfNPoint, ...]
    independence: IndependenceTest
    warnings: tuple[str, ...]

    def sentences(self) -> tuple[str, ...]:
        """What was lost to what, what would help and what the data cannot tell, in plain sentences with numbers."""
        from overopt.bridges.decomposition.sentences import best_of_n_sentences

        return best_of_n_sentences(self)

    def to_frame(self) -> pa.Table:
        """One row per n: every term with its interval (null where the data cannot tell)."""
        return terms_frame(("n", [point.n for point in self.points]), self.points)


def decompose_best_of_n(
    bank: ScoreBank,
    proxy: str,
    n: Sequence[int],
    *,
    rng: np.random.Generator,
    scale: ScaleKind = "slope",
    permutations: int = 16,
    null_banks: int = 5,
    test_permutations: int = 199,
) -> BestOfNDecomposition:
    """Split promise minus delivery of best-of-n into regressional and extremal.

    ``promise(n)`` and ``delivered(n)`` are the unbiased best-of-n means of proxy and gold over the base policy's; the
    gold of the residual-permutation null lies between them. Each prompt has the same weight. The samples of a single
    pool are dealt at random into ten groups, which stand in for prompts; no term is given beyond a group's size.

    Parameters
    ----------
    bank
        Samples of the base policy.
    proxy
        Which of the bank's proxies selects.
    n
        Numbers of samples, each between 1 and the smallest number of samples of any prompt.
    scale
        Measurement scale; see :func:`fit_scale`.
    permutations, null_banks
        See :func:`null_gold`. Above a million records fewer permutations (at least 4) average as well.
    test_permutations
        Permutations of the independence test.

    Raises
    ------
    InputError
        If the proxy does not exist, ``n`` is out of range, or a prompt has one sample.
    """
    if proxy not in bank.proxies:
        raise InputError(f"`proxy` must be one of {', '.join(bank.proxies)}, got '{proxy}'.")
    sizes = [int(value) for value in n]
    if not sizes or min(sizes) < 1 or max(sizes) > bank.samples_per_prompt:
        raise InputError(f"`n` must hold values between 1 and {bank.samples_per_prompt}, got {sizes}.")
    if bank.samples_per_prompt < 2:
        raise InputError("`bank` must have at least 2 samples for every prompt, got 1.")
    whole, asked = bank, sizes
    bank = _deal_pool(bank, proxy, rng)
    sizes = [size for size in asked if size <= bank.samples_per_prompt]
    blocks = centred_blocks(bank, proxy)
    units = fit_scale(blocks, scale)
    warnings = [units.note] if units.note else []

    promise_rows, gold_rows, perfect_rows = [], [], []
    permutations = max(min(permutations, MAX_PERMUTED_RECORDS // bank.gold.size), 4)
    null_scale = choose_null_scale(blocks, units, rng.spawn(1)[0])
    coarse = null_scale.coarse
    null_rows: dict[bool, list[NDArray[np.float64]]] = {False: [], True: []}
    mismatch_rows = []
    for block in blocks:
        weights = np.column_stack([best_of_n_weights(block.gold.shape[1], size) for size in sizes])
        promise_rows.append(np.sort(block.proxy, axis=1) @ weights)
        gold_rows.append(observed_gold(block.gold, block.proxy, weights))
        perfect_rows.append(np.sort(block.gold, axis=1) @ weights)
        for scores in (True,) if coarse else (False, True):
            world = null_gold(
                block.gold, block.proxy, weights, rng,
                permutations=permutations, null_banks=null_banks, scores=scores, coarse=coarse,
            )  # fmt: skip
            null_rows[scores].append(world.gold)
            if not scores:
                mismatch_rows.append(promise_rows[-1] - world.proxy)
    promise = units.scale_proxy(scatter(blocks, promise_rows))
    delivered = units.scale_gold(scatter(blocks, gold_rows))
    null_scores = units.scale_gold(scatter(blocks, null_rows[True]))
    null_raw = null_scores if coarse else units.scale_gold(scatter(blocks, null_rows[False]))
    perfect: list[float | None] = list(units.scale_gold(scatter(blocks, perfect_rows)).mean(axis=0))
    mismatch = [None] * len(sizes) if coarse else list(units.scale_proxy(scatter(blocks, mismatch_rows)).mean(axis=0))
    null = null_scores if null_scale.normal_scores else null_raw
    for contributions in (promise, delivered, null_raw, null_scores):
        contributions[:, np.asarray(sizes) == 1] = 0.0  # exactly, where a sum of centred rewards is rounding noise
    shrinkage = (1.0 - units.reliability) * promise
    multipliers = draw_multipliers(rng, bank.n_prompts)
    unit = float(np.abs(promise).max(initial=0.0))

    def terms(contributions: NDArray[np.float64]) -> tuple[Term, ...]:
        return estimate_terms(without_rounding(contributions, unit), multipliers).terms()

    columns = {
        "promise": terms(promise),
        "regressional": terms(promise - null),
        "extremal": terms(null - delivered),
        "delivered": terms(delivered),
        "gap": terms(promise - delivered),
        "linear_shrinkage": terms(shrinkage),
        "noise_tail": terms(promise - null - shrinkage),
        "extremal_own_scale": terms(null_raw - delivered),
        "extremal_normal_scores": terms(null_scores - delivered),
    }
    reason = _cannot_split(blocks)
    if reason is not None:
        warnings.append(reason)
        for name in (
            "regressional",
            "extremal",
            "linear_shrinkage",
            "noise_tail",
            "extremal_own_scale",
            "extremal_normal_scores",
        ):
            columns[name] = unknown_terms(len(sizes), reason)
    reason = _cannot_trust_intervals(blocks)
    if reason is not None:
        warnings.append(reason)
        columns = {name: withhold(column, reason) for name, column in columns.items()}
    if bank.n_prompts < MIN_LIVE_PROMPTS and bank.samples_per_prompt in sizes:
        reason = f"no interval at n = {bank.samples_per_prompt}: one winner from each of {bank.n_prompts} prompts"
        warnings.append(reason)
        last = sizes.index(bank.samples_per_prompt)
        for name, column in columns.items():
            columns[name] = (*column[:last], column[last].without_interval(reason), *column[last + 1 :])
    if len(sizes) < len(asked):
        reason = (
            f"cannot tell beyond n = {bank.samples_per_prompt}: the pool's {whole.n_rows} samples are dealt into "
            f"{bank.n_prompts} groups for their intervals"
        )
        warnings.append(reason)
        beyond = len(asked) - len(sizes)
        columns = {name: (*column, *unknown_terms(beyond, reason)) for name, column in columns.items()}
        mismatch += [None] * beyond
        perfect += [None] * beyond
    note = _skewed_promise(promise, sizes)
    if note is not None:
        warnings.append(note)
    zero = Term(0.0, (0.0, 0.0), (0.0, 0.0))
    points = tuple(
        BestOfNPoint(
            n=size, causal=zero, unattributed=zero, promise_mismatch=mismatch[index], perfect=perfect[index],
            **{name: column[index] for name, column in columns.items()},
        )
        for index, size in enumerate(asked)
    )  # fmt: skip
    return BestOfNDecomposition(
        proxy=proxy, scale=units, null_scale=null_scale, points=points, warnings=tuple(warnings),
        independence=independence_test(
            whole, proxy, rng, permutations=test_permutations, scores=null_scale.normal_scores
        ),
    )  # fmt: skip


def _deal_pool(bank: ScoreBank, proxy: str, rng: np.random.Generator) -> ScoreBank:
    """A single pool dealt at random into groups that stand in for prompts; any other bank as it is.

    Its samples are independent draws from one policy, so that every group's best-of-n has the pool's expectation.
    """
    size = bank.n_rows // POOL_GROUPS
    if bank.n_prompts > 1 or size < MIN_GROUP:
        return bank
    rows = rng.permutation(bank.n_rows)[: POOL_GROUPS * size].reshape(POOL_GROUPS, size)
    return ScoreBank.from_rectangle(bank.gold[rows], {proxy: bank.proxies[proxy][rows]})


def _cannot_split(blocks: list[Block]) -> str | None:
    """Why regressional and extremal cannot be told apart on this bank, or None."""
    if all(not block.proxy.any() for block in blocks):
        return "cannot tell: the proxy is constant within every prompt"
    if all(not block.gold.any() for block in blocks):
        return "cannot tell: gold is constant within every prompt"
    steps = np.concatenate([levels(block.proxy) for block in blocks])
    if np.median(steps) < MIN_LEVELS:
        return (
            f"cannot tell regressional from extremal: the proxy has {np.median(steps):g} levels within a prompt "
            f"(median), fewer than {MIN_LEVELS}"
        )
    spread = np.concatenate([block.proxy.std(axis=1) for block in blocks])
    step = np.concatenate([np.ptp(block.proxy, axis=1) for block in blocks]) / np.maximum(steps - 1, 1)
    if np.median(step) >= MAX_STEP * np.median(spread):
        return (
            f"cannot tell regressional from extremal: the proxy's steps are {np.median(step) / np.median(spread):.1f} "
            f"within-prompt SD wide, {MAX_STEP:g} or more"
        )
    return None


def _cannot_trust_intervals(blocks: list[Block]) -> str | None:
    """Why the intervals over prompts cannot be trusted, or None."""
    n_prompts = sum(block.prompts.size for block in blocks)
    if n_prompts < 2:
        return "no intervals: one prompt only, and prompts are the independent units"
    live = sum(int((block.gold.any(axis=1) & block.proxy.any(axis=1)).sum()) for block in blocks)
    if live < min(MIN_LIVE_PROMPTS, n_prompts):
        return f"no intervals: gold and proxy both vary in {live} of {n_prompts} prompts only"
    return None


def _skewed_promise(promise: NDArray[np.float64], sizes: list[int]) -> str | None:
    """That the prompts' promises are too skewed for their number, by Cochran's rule ``K > 25 skewness^2``, or None.

    The rule (Cochran 1977, Sampling Techniques, 2.15) keeps a t interval's error below .06. Two standard errors of the
    sample skewness are allowed for, so that few prompts do not trip it by chance.
    """
    n_prompts = promise.shape[0]
    centred = promise - promise.mean(axis=0)
    spread = centred.std(axis=0)
    live = spread > 1e-9 * np.abs(promise).max(initial=0.0)
    skewness = np.divide((centred**3).mean(axis=0), spread**3, out=np.zeros(len(sizes)), where=live)
    beyond = np.abs(skewness) > math.sqrt(n_prompts / 25) + 2 * math.sqrt(6 / n_prompts)
    if not beyond.any():
        return None
    at = ", ".join(str(size) for size, odd in zip(sizes, beyond, strict=True) if odd)
    return (
        f"a few of the {n_prompts} prompts carry the promise at n = {at} (skewness {np.abs(skewness).max():.1f}: the "
        "proxy has heavy tails): the intervals of promise and regressional there may cover as little as .90, not .95"
    )
