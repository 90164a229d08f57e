"""Where promise and delivery of optimized policies part: against the base bank, and along the path of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from overopt.bridges.decomposition.blocks import Block, centred_blocks
from overopt.bridges.decomposition.flat import FlatSamples, flat_samples, sum_by
from overopt.bridges.decomposition.independence import IndependenceTest, independence_test
from overopt.bridges.decomposition.kl_budget import KLBudget, kl_budget
from overopt.bridges.decomposition.local_linear import Support
from overopt.bridges.decomposition.null_scale import NullScale, choose_null_scale
from overopt.bridges.decomposition.path_decomposition import MIN_SAMPLES, on_policy_slope, path_steps
from overopt.bridges.decomposition.relation import Relation, fit_null_relation, fit_relation
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
from overopt.bridges.kl import KL
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.errors import InputError

__all__ = ["CheckpointDecomposition", "CheckpointPoint", "decompose_checkpoints"]

Array = NDArray[np.float64]

MIN_BANK = 400
MIN_OUTSIDE_FOR_INTERVAL = 0.01
MAX_OUTSIDE = 0.10


class _Checkpoints(Protocol):
    @property
    def values(self) -> Sequence[float]: ...
    @property
    def kl(self) -> Mapping[float, KL]: ...
    def at(self, value: float) -> ScoreBank: ...


@dataclass(frozen=True)
class CheckpointPoint:
    """The decomposition at one checkpoint; promise and delivered are gains, the four terms losses, all in gold SD.

    Attributes
    ----------
    checkpoint
        Step, or the value of the checkpoint column.
    promise, regressional, extremal, causal, unattributed, delivered
        ``promise - regressional - extremal - causal - unattributed = delivered``. The first three terms count samples
        whose proxy lies in the base bank's support, unattributed counts the others.
    gap
        Promise minus delivered. Where its interval includes 0 the terms are not worth a story.
    outside
        Share of the checkpoint's samples outside the base bank's support.
    path_selection, path_shift
        Cumulative gold *gains* from the base policy; they add up to delivered.
    path_outside
        Largest share, over the steps so far, of samples outside the support of the checkpoint before.
    on_policy_slope
        ``Cov(gold, proxy) / Var(proxy)`` within prompts at this checkpoint, in gold SD per unit of promise.
    kl_budget
        How the KL was spent.
    """

    checkpoint: float
    promise: Term
    regressional: Term
    extremal: Term
    causal: Term
    unattributed: Term
    delivered: Term
    gap: Term
    outside: float
    path_selection: Term
    path_shift: Term
    path_outside: float
    on_policy_slope: Term
    kl_budget: KLBudget


@dataclass(frozen=True)
class CheckpointDecomposition:
    """The decomposition of a run.

    Attributes
    ----------
    proxy
        Name of the proxy column.
    scale
        The measurement scale in force.
    points
        One per checkpoint, in order.
    support
        The bank's support: proxy gains over the prompt's base mean, in gold SD.
    fresh_winners_n, fresh_winners_causal
        Control: best-of-n winners from half of the bank's samples sent through the same estimator against the other
        half. They only reweight by the proxy, so their causal term is truly 0. None where the bank is too small for it.
    independence
        Permutation test of "the error is independent of gold" on the bank.
    warnings
        What the data cannot tell, with the reason.
    """

    proxy: str
    scale: MeasurementScale
    points: tuple[CheckpointPoint, ...]
    support: tuple[float, float]
    fresh_winners_n: int | None
    fresh_winners_causal: Term | None
    independence: IndependenceTest
    warnings: tuple[str, ...]

    def sentences(self) -> tuple[str, ...]:
        """What was lost to what, what would help and what the data cannot tell, in plain sentences with numbers."""
        from overopt.bridges.decomposition.sentences import checkpoint_sentences

        return checkpoint_sentences(self)

    def to_frame(self) -> pa.Table:
        """One row per checkpoint: every term with its interval (null where the data cannot tell)."""
        return terms_frame(("checkpoint", [point.checkpoint for point in self.points]), self.points)


@dataclass(frozen=True)
class _Bank:
    """The base bank with its two regressions."""

    blocks: list[Block]
    samples: FlatSamples
    units: MeasurementScale
    support: Support
    relation: Relation
    null_relation: Relation
    null_scale: NullScale


def _fit_bank(bank: ScoreBank, proxy: str, scale: ScaleKind, rng: np.random.Generator) -> _Bank:
    blocks = centred_blocks(bank, proxy)
    samples = flat_samples(bank, proxy, bank)
    support = Support(samples.proxy)
    relation = fit_relation(samples, support)
    units = fit_scale(blocks, scale)
    null_scale = choose_null_scale(blocks, units, rng.spawn(1)[0])
    null = fit_null_relation(blocks, relation.slopes, support, rng, by_rank=null_scale.normal_scores)
    return _Bank(blocks, samples, units, support, relation, null, null_scale)


@dataclass(frozen=True)
class _Split:
    """(K,) contributions of one policy, in gold SD."""

    promise: Array
    regressional: Array
    extremal: Array
    causal: Array
    unattributed: Array
    delivered: Array
    outside: float


def _split(bank: _Bank, policy: FlatSamples) -> _Split:
    inside = bank.support.holds(policy.proxy)
    weight_in, weight_out = policy.weight * inside, policy.weight * ~inside

    def total(values: Array, weight: Array) -> Array:
        return sum_by(policy.prompt, weight * values, policy.n_prompts) * policy.n_prompts

    gold_columns = np.column_stack(
        [
            total(policy.gold, weight_in), total(policy.gold, weight_out),
            bank.relation.expectation(policy, weight_in), bank.null_relation.expectation(policy, weight_in),
        ]
    )  # fmt: skip
    proxy_columns = np.column_stack([total(policy.proxy, weight_in), total(policy.proxy, weight_out)])
    gold_in, gold_out, m, m0 = bank.units.scale_gold(gold_columns).T
    proxy_in, proxy_out = bank.units.scale_proxy(proxy_columns).T
    return _Split(
        promise=proxy_in + proxy_out, regressional=proxy_in - m0, extremal=m0 - m, causal=m - gold_in,
        unattributed=proxy_out - gold_out, delivered=gold_in + gold_out, outside=float(weight_out.sum()),
    )  # fmt: skip


def decompose_checkpoints(
    bank: ScoreBank,
    checkpoints: _Checkpoints,
    proxy: str,
    *,
    rng: np.random.Generator,
    scale: ScaleKind = "slope",
    test_permutations: int = 199,
) -> CheckpointDecomposition:
    """Split promise minus delivery of every checkpoint against the base bank, and its gold gain along the path.

    Parameters
    ----------
    bank
        Samples of the base policy.
    checkpoints
        Samples of the optimized policies on the same prompts.
    proxy
        The proxy that was optimized.
    scale
        Measurement scale; see :func:`fit_scale`.
    test_permutations
        Permutations of the independence test.

    Raises
    ------
    InputError
        If the proxy does not exist or the prompts differ.
    """
    if proxy not in bank.proxies:
        raise InputError(f"`proxy` must be one of {', '.join(bank.proxies)}, got '{proxy}'.")
    fitted = _fit_bank(bank, proxy, scale, rng)
    values = list(checkpoints.values)
    policies = [flat_samples(checkpoints.at(value), proxy, bank) for value in values]
    splits = [_split(fitted, policy) for policy in policies]
    path = path_steps(fitted.samples, policies)

    multipliers = draw_multipliers(rng, bank.n_prompts)
    unit = max((float(np.abs(split.promise).max()) for split in splits), default=0.0)

    def terms(rows: Sequence[Array]) -> tuple[Term, ...]:
        return estimate_terms(without_rounding(np.column_stack(rows), unit), multipliers).terms()

    names = ("promise", "regressional", "extremal", "causal", "unattributed", "delivered")
    columns = {name: terms([getattr(split, name) for split in splits]) for name in names}
    columns["gap"] = terms([split.promise - split.delivered for split in splits])
    columns["unattributed"] = tuple(
        term
        if split.outside >= MIN_OUTSIDE_FOR_INTERVAL
        else term.without_interval(f"only {split.outside:.2%} of the samples lie outside the bank's support")
        for term, split in zip(columns["unattributed"], splits, strict=True)
    )
    warnings = [fitted.units.note] if fitted.units.note else []
    if path is None:
        few = f"cannot tell selection from shift along the path: it takes {MIN_SAMPLES} samples of every prompt"
        warnings.append(few)
        columns["path_selection"] = columns["path_shift"] = unknown_terms(len(values), few)
    else:
        columns["path_selection"] = terms(list(fitted.units.scale_gold(path.selection).T))
        columns["path_shift"] = terms(list(fitted.units.scale_gold(path.shift).T))
    reason = _cannot_regress(fitted)
    if reason is not None:
        warnings.append(reason)
        for name in ("regressional", "extremal", "causal", "unattributed"):
            columns[name] = unknown_terms(len(values), reason)
    if bank.n_prompts < 2:
        reason = "no intervals: one prompt only, and prompts are the independent units"
        warnings.append(reason)
        columns = {name: withhold(column, reason) for name, column in columns.items()}
    exchange = fitted.units.proxy_unit / fitted.units.gold_unit
    path_outside = np.zeros(len(values)) if path is None else np.maximum.accumulate(path.outside)
    points = tuple(
        CheckpointPoint(
            checkpoint=float(value), outside=splits[i].outside, path_outside=float(path_outside[i]),
            on_policy_slope=_slope_term(policies[i], exchange, multipliers),
            kl_budget=kl_budget(fitted.blocks, fitted.samples, policies[i], _kl_value(checkpoints, value)),
            **{name: column[i] for name, column in columns.items()},
        )
        for i, value in enumerate(values)
    )  # fmt: skip
    fresh_n, fresh = _fresh_winners(bank, proxy, scale, rng)
    return CheckpointDecomposition(
        proxy=proxy, scale=fitted.units, points=points,
        support=(fitted.support.low / fitted.units.proxy_unit, fitted.support.high / fitted.units.proxy_unit),
        fresh_winners_n=fresh_n, fresh_winners_causal=fresh,
        independence=independence_test(
            bank, proxy, rng, permutations=test_permutations, scores=fitted.null_scale.normal_scores
        ),
        warnings=tuple(warnings),
    )  # fmt: skip


def _kl_value(checkpoints: _Checkpoints, value: float) -> float | None:
    kl = checkpoints.kl.get(value)
    return None if kl is None else kl.value


def _slope_term(policy: FlatSamples, exchange: float, multipliers: Array) -> Term:
    if policy.samples_per_prompt.min() < 2:
        return Term.unknown("the on-policy slope needs two samples of every prompt")
    contributions = on_policy_slope(policy)
    if contributions is None:
        return Term.unknown("the proxy is constant within prompts at this checkpoint")
    return estimate_terms(exchange * contributions[:, None], multipliers).terms()[0]


def _cannot_regress(fitted: _Bank) -> str | None:
    """Why gold cannot be regressed on the proxy among the base samples, or None."""
    if all(not block.proxy.any() for block in fitted.blocks):
        return "cannot tell: the proxy is constant within every prompt"
    if all(not block.gold.any() for block in fitted.blocks):
        return "cannot tell: gold is constant within every prompt"
    records = fitted.samples.proxy.size
    if records < MIN_BANK:
        return f"cannot tell: the base bank has {records} records, fewer than {MIN_BANK}"
    return None


def _fresh_winners(
    bank: ScoreBank, proxy: str, scale: ScaleKind, rng: np.random.Generator
) -> tuple[int | None, Term | None]:
    """Causal term of best-of-n winners among one half of every prompt's samples, with the other half as the bank."""
    half = bank.samples_per_prompt // 2
    n = min(16, half // 4)
    if n < 2 or bank.n_prompts < 2 or half * bank.n_prompts < MIN_BANK:
        return None, None
    bank_rows, winner_rows = [], []
    for start, stop in zip(bank.offsets[:-1], bank.offsets[1:], strict=True):
        order = start + rng.permutation(stop - start)
        bank_rows.append(np.sort(order[:half]))
        groups = order[half : half + half // n * n].reshape(-1, n)
        best = np.argmax(bank.proxies[proxy][groups], axis=1)
        winner_rows.append(np.sort(groups[np.arange(groups.shape[0]), best]))
    base, winners = (_rows(bank, np.concatenate(rows)) for rows in (bank_rows, winner_rows))
    fitted = _fit_bank(base, proxy, scale, rng)
    causal = _split(fitted, flat_samples(winners, proxy, base)).causal
    return n, estimate_terms(causal[:, None], draw_multipliers(rng, bank.n_prompts)).terms()[0]


def _rows(bank: ScoreBank, rows: NDArray[np.intp]) -> ScoreBank:
    return ScoreBank(
        prompt=bank.prompt[rows], sample=bank.sample[rows], gold=bank.gold[rows],
        proxies={name: values[rows] for name, values in bank.proxies.items()}, prompts=bank.prompts,
    )  # fmt: skip
