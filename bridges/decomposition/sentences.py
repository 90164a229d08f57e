"""A decomposition in plain sentences: what was lost to what, what would help, what the data cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

from overopt.bridges.decomposition.best_of_n_decomposition import BestOfNDecomposition, BestOfNPoint
from overopt.bridges.decomposition.checkpoint_decomposition import (
    MAX_OUTSIDE,
    CheckpointDecomposition,
    CheckpointPoint,
)
from overopt.bridges.decomposition.independence import IndependenceTest
from overopt.bridges.decomposition.scale import MeasurementScale
from overopt.bridges.decomposition.terms import Term

__all__ = ["best_of_n_sentences", "checkpoint_sentences", "unit_name"]

MISMATCH = 0.1
IMPOSSIBLE, NOISE = 0.8, 0.05
"""Share of the KL that a gain needs at least, below which the KL given cannot be that of these samples; and the nats
by which it must fall short too, because a gain of 0 that is measured with error seems to need some."""


def _number(term: Term) -> str:
    if term.estimate is None:
        return "an unknown amount"
    if term.interval is None:
        return f"{term.estimate:+.2f}"
    return f"{term.estimate:+.2f} [{term.interval[0]:+.2f}, {term.interval[1]:+.2f}]"


def best_of_n_sentences(result: BestOfNDecomposition) -> tuple[str, ...]:
    """The sentences of a best-of-n decomposition."""
    if not result.points:
        return ()
    last = max(result.points, key=lambda point: point.n)
    unit = unit_name(result.scale)
    lines = [*_scale_lines(result.scale)]
    if last.promise.estimate is None:
        return (*lines, *result.warnings)
    lines.append(_headline(f"At n = {last.n}", last, result.scale))
    if last.gap.excludes_zero() == 0 and last.gap.interval is not None:
        lines.append(f"At n = {last.n} promise and delivery do not differ measurably: no gap to explain.")
    elif last.extremal.estimate is not None:
        lines.append(_dependence_line(result, unit))
        lines += _best_of_n_help(result, last, unit)
    below = _below_base(result.points)
    if below and result.scale.slope > 0:
        lines.append(
            f"Gold is below the base policy {below}. Noise that is independent of gold cannot do that while the proxy "
            "rises with gold: the error depends on gold."
        )
    lines.append(_independence_line(result.independence))
    bent = result.null_scale.normal_scores and not result.null_scale.coarse
    if bent and last.extremal.estimate is not None:
        lines.append(_bent_line(result, last, unit))
    if (
        not bent
        and last.promise_mismatch is not None
        and abs(last.promise_mismatch) > MISMATCH
        and last.extremal.estimate is not None
    ):
        lines.append(
            f"At n = {last.n} the world with independent error would promise {last.promise_mismatch:+.2f} {unit} less "
            "than the real one (minus: more); the split into regressional and extremal depends on that definition."
        )
    return (*lines, *(warning for warning in result.warnings if warning != result.scale.note))


def _below_base(points: Sequence[BestOfNPoint]) -> str:
    """Where gold lies below the base policy's for sure: "from n = 8 on", "at n = 2, 4", or "" for nowhere."""
    below = [point.delivered.band_excludes_zero() < 0 for point in points]
    if not any(below):
        return ""
    first = below.index(True)
    if all(below[first:]):
        return f"from n = {points[first].n} on"
    return f"at n = {', '.join(str(point.n) for point, lies in zip(points, below, strict=True) if lies)}"


def _runs_against_gold(scale: MeasurementScale) -> bool:
    return scale.slope_interval is not None and scale.slope_interval[1] < 0


def unit_name(scale: MeasurementScale) -> str:
    """What the numbers on a scale count: gold SD, or gold's own units."""
    return "of gold's own units" if scale.kind == "raw" else "SD"


def _headline(where: str, point: BestOfNPoint | CheckpointPoint, scale: MeasurementScale) -> str:
    unit = unit_name(scale)
    text = f"{where} the proxy promised {_number(point.promise)} {unit} and delivered {_number(point.delivered)}"
    if point.regressional.estimate is None:
        return text + "; the difference cannot be split."
    noise = "its reversed sign and independent noise" if _runs_against_gold(scale) else "selection on independent noise"
    text += (
        f": {_number(point.regressional)} was {noise} (regressional), {_number(point.extremal)} an error that depends "
        "on gold (extremal)"
    )
    if isinstance(point, CheckpointPoint):
        text += f", {_number(point.causal)} a broken relation (causal)"
        if point.unattributed.estimate:
            text += f", {_number(point.unattributed)} lies beyond the bank's support (unattributed)"
    return text + "."


def _dependence_line(result: BestOfNDecomposition, unit: str) -> str:
    if all(point.extremal.band is None for point in result.points):
        return "Whether the error depends on gold cannot be told: extremal has no interval here."
    claimed = [point for point in result.points if point.dependent_error]
    if claimed:
        worst = max(claimed, key=lambda point: abs(point.extremal.estimate or 0.0))
        effect = "costs gold beyond" if worst.dependent_error > 0 else "costs less gold than"
        return (
            f"The proxy's error depends on gold (at n = {', '.join(str(point.n) for point in claimed)}): it {effect} "
            f"what independent noise would cost, {_number(worst.extremal)} {unit} at n = {worst.n}. "
            "Noise in gold itself can look like this where gold is not Gaussian and its reliability is .8 or less (by "
            ".3 SD at .8); a second reading of gold would tell."
        )
    raw = any(point.dependent_on_raw_scale for point in result.points)
    scores = any(point.dependent_on_normal_scores for point in result.points)
    if raw and not scores:
        return "Whether the error depends on gold depends on the proxy's scale: regressional on normal scores."
    if scores and not raw:
        return "Whether the error depends on gold depends on the proxy's scale: regressional on the proxy's own scale."
    return "No dependent error shows: extremal is within .02 SD of 0, or its band includes 0, at every n."


def _bent_line(result: BestOfNDecomposition, last: BestOfNPoint, unit: str) -> str:
    missed = result.null_scale.mismatch or 0.0
    return (
        f"The proxy's own scale is bent: gold plus noise on it would promise {abs(missed):.2f} {unit} "
        f"{'less' if missed > 0 else 'more'} at n = {result.null_scale.probe_n} than the proxy does. The split is made "
        "on its normal scores, which best-of-n cannot tell from it; on its own scale extremal would be "
        f"{_number(last.extremal_own_scale)} at n = {last.n}."
    )


def _best_of_n_help(result: BestOfNDecomposition, last: BestOfNPoint, unit: str) -> list[str]:
    """What would help, bounded by what gold itself would deliver: promise that noise inflated was never to be had."""
    if result.scale.slope <= 0:
        against = _runs_against_gold(result.scale)
        return ["Where a low proxy means good, give it with its sign turned."] if against else []
    if last.perfect is None or last.delivered.estimate is None:
        return []
    left = max(last.perfect - last.delivered.estimate, 0.0)
    text = (
        f"At n = {last.n} gold itself as the proxy would deliver {last.perfect:+.2f} {unit}, so that a less noisy "
        f"proxy (more label data, an ensemble) can win back at most {left:.2f}"
    )
    if last.dependent_error > 0:
        fresh = min(last.extremal.estimate or 0.0, left)
        text += f", {fresh:.2f} of it by fresh labels on the samples that the proxy likes best"
    highest = max(point.delivered.estimate or 0.0 for point in result.points)
    return [f"{text}; a smaller n would only give up gold." if highest == last.delivered.estimate else f"{text}."]


def _independence_line(test: IndependenceTest) -> str:
    if test.p_value is None:
        return f"Whether the error is independent of gold cannot be tested: {test.reason}."
    verdict = "rejected" if test.p_value < 0.05 else "not rejected"
    return (
        f"Independence of error and gold among base samples is {verdict} "
        f"(permutation p = {test.p_value:.3g}, {test.scale})."
    )


def _scale_lines(scale: MeasurementScale) -> list[str]:
    if scale.note is None:
        return []
    low, high = scale.slope_interval or (0.0, 0.0)
    if low < high and low <= 0.0 <= high:
        return ["The proxy carries no gold signal here: the interval of its slope on gold includes 0."]
    return [f"{scale.note[0].upper()}{scale.note[1:]}."]


def checkpoint_sentences(result: CheckpointDecomposition) -> tuple[str, ...]:
    """The sentences of a checkpoint decomposition."""
    last = result.points[-1]
    lines = [*_scale_lines(result.scale)]
    if last.promise.estimate is None:
        return (*lines, *result.warnings)
    where, unit = f"At checkpoint {last.checkpoint:g}", unit_name(result.scale)
    lines.append(_headline(where, last, result.scale))
    cancels = last.regressional.excludes_zero() > 0 and last.causal.excludes_zero() < 0
    if last.gap.interval is not None and last.gap.excludes_zero() == 0:
        lines.append(f"{where} promise and delivery do not differ measurably: no gap to explain.")
        if cancels:
            lines.append("Regressional and causal cancel: this optimizer did not learn the proxy's noise.")
    else:
        lines += _causal_lines(last, where, unit)
    if last.outside > MAX_OUTSIDE:
        lines.append(
            f"{last.outside:.0%} of the samples lie outside the bank's support: regressional, extremal and causal "
            "speak of the others only; rely on the path."
        )
    lines += _path_lines(last, unit)
    spent = _spent_from(result.points, result.scale)
    if spent is not None:
        lines.append(
            f"From checkpoint {spent:g} on gold no longer rises with the proxy on the policy's own samples: the proxy "
            "is spent there, and fresh on-policy labels are what would help."
        )
    lines += _budget_lines(last, where)
    lines.append(_independence_line(result.independence))
    check = result.fresh_winners_causal
    if check is not None:
        if check.excludes_zero() == 0:
            verdict = "which includes 0, as it must"
        else:
            verdict = "though the truth is 0: do not trust causal terms of that size"
        lines.append(
            f"Control: fresh best-of-{result.fresh_winners_n} winners sent through the same estimator get a causal "
            f"term of {_number(check)}, {verdict}."
        )
    return (*lines, *(warning for warning in result.warnings if warning != result.scale.note))


def _spent_from(points: Sequence[CheckpointPoint], scale: MeasurementScale) -> float | None:
    """The checkpoint from which on the on-policy slope may be 0 and is shown to be less than half of the base one.

    An interval that includes 0 because it is wide shows nothing. All later ones must include 0, or lie below it, too.
    A proxy that did not rise with gold to begin with cannot be spent.
    """
    if scale.slope_interval is None or scale.slope_interval[0] <= 0:
        return None
    base = scale.reliability
    known = [(p.checkpoint, *p.on_policy_slope.interval) for p in points if p.on_policy_slope.interval]
    for index, (checkpoint, _, high) in enumerate(known):
        if high < base / 2 and all(low <= 0 for _, low, _ in known[index:]):
            return checkpoint
    return None


def _causal_lines(last: CheckpointPoint, where: str, unit: str) -> list[str]:
    causal, regressional = last.causal, last.regressional
    if causal.estimate is None or regressional.estimate is None:
        return []
    if causal.excludes_zero() > 0:
        return [
            f"{where} the policy has broken the relation between proxy and gold: samples of equal proxy are worth "
            f"{_number(causal)} {unit} less gold than the base policy's. A KL limit or fresh on-policy labels would "
            "help; more labels of base samples would not."
        ]
    if causal.excludes_zero() < 0 and regressional.estimate > 0:
        share = min(-causal.estimate / regressional.estimate, 1.0)
        return [
            f"{where} {share:.0%} of the regressional loss expected from noise did not happen: so far this optimizer "
            "did not learn the proxy's noise (a policy cannot learn noise that differs from sample to sample)."
        ]
    return []


def _path_lines(last: CheckpointPoint, unit: str) -> list[str]:
    if last.path_selection.estimate is None:
        return []
    text = (
        f"Along the path, gold moved by {_number(last.path_selection)} {unit} through selection by the proxy and by "
        f"{_number(last.path_shift)} through shifts of the relation."
    )
    if last.path_outside > MAX_OUTSIDE:
        text += (
            f" Up to {last.path_outside:.0%} of a checkpoint's samples lie outside the one before: closer checkpoints "
            "would sharpen this."
        )
    return [text]


def _budget_lines(last: CheckpointPoint, where: str) -> list[str]:
    budget = last.kl_budget
    needed = f"{'more than ' if budget.tilt_is_bound else ''}{budget.tilt:.2f} nats"
    if budget.spent is None:
        return [f"{where} the proxy's gain needs {needed} of KL at least; the KL spent is not known."]
    share = "" if budget.efficiency is None else f" ({budget.efficiency:.0%} efficient)"
    text = f"{where} {budget.spent:.2f} nats of KL were spent; the proxy's gain needs {needed}{share}."
    if budget.spent < min(IMPOSSIBLE * budget.tilt, budget.tilt - NOISE):
        text += " No policy can do that: is the KL a mean per token, or of another policy?"
    return [text]
