"""What a diagnosis says in plain sentences: every number computed, nothing said that its interval does not allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from overopt.bridges.curve import Curve
from overopt.bridges.decomposition import (
    BestOfNDecomposition,
    BestOfNPoint,
    CheckpointDecomposition,
    CheckpointPoint,
    MeasurementScale,
    Term,
)
from overopt.bridges.fits import Fit
from overopt.bridges.paper_split import paper_split
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.stopping import Stopping
from overopt.bridges.turn import Turn

__all__ = ["best_of_n_verdicts", "checkpoint_verdicts", "proxy_verdicts"]

SIGNIFICANT = 0.05
MAX_OUTSIDE = 0.10
"""Above this share of samples outside the bank's support, the split against the bank is not narrated."""

_LOSSES = {
    "regressional": "selection on noise that is independent of gold (regressional)",
    "extremal": "error that depends on gold, already among the base samples (extremal)",
    "causal": "the policy breaking the base relation of proxy and gold (causal)",
    "unattributed": "scores beyond anything the base policy produced (unattributed)",
}
_REMEDIES = {
    "regressional": "less noise in the proxy would win most back: more label data, a larger proxy or an average of "
    "several; a KL limit would not",
    "extremal": "labels where the proxy scores highest would win most back (best-of-n winners, judged and trained on); "
    "more of the same labels would do less",
    "causal": "a KL limit or an earlier stop, and fresh labels on the policy's own samples, would win most back; more "
    "labels on base samples would not",
    "unattributed": "fresh labels on the policy's own samples are needed: the base bank holds nothing comparable",
}


class OptimizerEvidence(Protocol):
    """What a sentence may use about one optimizer."""

    @property
    def curve(self) -> Curve: ...
    @property
    def fit(self) -> Fit | None: ...
    @property
    def proxy_fit(self) -> Fit | None: ...
    @property
    def turn(self) -> Turn | None: ...
    @property
    def decomposition(self) -> BestOfNDecomposition | CheckpointDecomposition | None: ...
    @property
    def stopping(self) -> Stopping | None: ...


def proxy_verdicts(
    bank: ScoreBank, proxy: str, best_of_n: OptimizerEvidence | None, run: OptimizerEvidence | None
) -> tuple[str, ...]:
    """How much gold signal the proxy carries among base samples."""
    values = bank.proxy(proxy)
    if np.array_equal(values, np.repeat(values[bank.offsets[:-1]], bank.counts)) and bank.samples_per_prompt > 1:
        return (f"Cannot tell: {proxy} is constant within every prompt, so it selects nothing.",)
    for evidence in (best_of_n, run):
        if evidence is not None and evidence.decomposition is not None:
            return (_signal(evidence.decomposition.scale),)
    return ()


def _signal(scale: MeasurementScale) -> str:
    if scale.slope_interval is None:
        return f"The proxy's slope on gold is {scale.slope:.3g} within the pool; one prompt gives it no interval."
    low, high = scale.slope_interval
    interval = f"[{low:.3g}, {high:.3g}]"
    if low <= 0 <= high:
        return (
            f"The proxy carries no gold signal here: slope on gold within a prompt {scale.slope:.3g} {interval}; "
            "use another proxy."
        )
    if high < 0:
        return (
            f"The proxy runs against gold: its slope on gold within a prompt is {scale.slope:.3g} {interval}. "
            "Optimizing it costs gold."
        )
    delivered = "" if scale.kind != "slope" else f" A linear promise of 1 gold SD delivers {scale.reliability:.2f} SD."
    return f"The proxy carries gold signal: slope on gold within a prompt {scale.slope:.3g} {interval}.{delivered}"


def _has_signal(scale: MeasurementScale) -> bool:
    return scale.slope_interval is None or scale.slope_interval[0] > 0


def best_of_n_verdicts(evidence: OptimizerEvidence) -> tuple[str, ...]:
    """Turn, split, dependence, remedy, the paper's reading and where to stop, for best-of-n."""
    if not evidence.curve.kl.any():
        return ()
    sentences = [_turn(evidence.turn, evidence.curve)]
    decomposition = evidence.decomposition
    if isinstance(decomposition, BestOfNDecomposition):
        point = _narrated(decomposition)
        if point is not None:
            sentences += _split(f"At n = {point.n}", point, _has_signal(decomposition.scale))
        sentences.append(_dependence(decomposition, point))
        sentences.append(_paper_reading(evidence, decomposition, point))
    sentences.append(_stop(evidence.stopping))
    return tuple(sentence for sentence in sentences if sentence)


def checkpoint_verdicts(evidence: OptimizerEvidence) -> tuple[str, ...]:
    """Turn, split, path, spent proxy, KL and where to stop, for the checkpoints of a run."""
    sentences = [_turn(evidence.turn, evidence.curve)]
    decomposition = evidence.decomposition
    if isinstance(decomposition, CheckpointDecomposition) and evidence.curve.proxy_covariance.any():
        last = decomposition.points[-1]
        where = f"At checkpoint {last.checkpoint:g}"
        if last.outside <= MAX_OUTSIDE:
            sentences += _split(where, last, _has_signal(decomposition.scale))
        else:
            sentences.append(
                f"{where}, {last.outside:.0%} of the samples score beyond anything in the base bank: the split against "
                "the bank cannot tell noise from shift there; the path can."
            )
        sentences.append(_path(last))
        sentences.append(_spent(decomposition.points))
        sentences.append(_budget(last))
        sentences.append(_control(decomposition))
    sentences.append(_stop(evidence.stopping))
    return tuple(sentence for sentence in sentences if sentence)


def _number(value: float, interval: Sequence[float] | None = None) -> str:
    text = f"{value:+.3g}" if abs(value) >= 0.0005 else "0"
    return text if interval is None else f"{text} [{interval[0]:.3g}, {interval[1]:.3g}]"


def _loss(term: Term) -> str:
    """A loss as a positive number of gold SD."""
    assert term.estimate is not None
    text = f"{term.estimate:.2f}"
    return text if term.interval is None else f"{text} [{term.interval[0]:.2f}, {term.interval[1]:.2f}]"


def _turn(turn: Turn | None, curve: Curve) -> str:
    if turn is None:
        return ""
    axis = curve.axis
    name = "Best-of-n" if axis == "n" else "The run"
    at_last = f"{axis} = {turn.last:g}"
    last = int(np.flatnonzero(curve.pressure == turn.last)[0])
    levels = f"from {curve.base_gold:.3g} to {curve.gold[last]:.3g} at {at_last}"
    match turn.shape:
        case "rises":
            net = _number(turn.net, turn.net_interval)
            return f"{name} raises gold {levels} ({net}); no fall is shown up to there{_last_step(curve, last)}."
        case "turns":
            rise = _number(turn.rise, turn.rise_interval)
            lost = _number(turn.fall, turn.fall_interval).lstrip("+")
            return (
                f"Gold turns: {name[0].lower() + name[1:]} lifts it by {rise}, highest at {axis} = {turn.peak:g}, and "
                f"loses {lost} of it by {at_last}."
            )
        case "falls":
            return f"{name} lowers gold {levels} ({_number(turn.net, turn.net_interval)})."
        case "flat":
            net = _number(turn.net, turn.net_interval)
            return f"{name} does not change gold measurably: {levels} ({net}; the interval includes 0)."
        case _:
            return f"{name} takes gold {levels} ({_number(turn.net)}); too few prompts to say more."


def _last_step(curve: Curve, last: int) -> str:
    """What the last doubling of n added, if that is nothing measurable."""
    if curve.axis != "n" or curve.clusters is None or last < 1:
        return ""
    before = int(np.searchsorted(curve.pressure, curve.pressure[last] / 2, side="left"))
    added = curve.clusters.gold[:, last] - curve.clusters.gold[:, before]
    error = float(added.std(ddof=1) / np.sqrt(added.size))
    if abs(added.mean()) > 2 * error:
        return ""
    span = f"n = {curve.pressure[before]:g} to {curve.pressure[last]:g}"
    return f", and it has levelled off: {span} adds {_number(float(added.mean()))}"


def _narrated(decomposition: BestOfNDecomposition) -> BestOfNPoint | None:
    """The largest n up to half of the bank: closer to the bank size few samples decide."""
    points = [point for point in decomposition.points if point.n > 1]
    if not points:
        return None
    largest = decomposition.points[-1].n
    inside = [point for point in points if 2 * point.n <= largest]
    return inside[-1] if inside else points[0]


def _split(where: str, point: BestOfNPoint | CheckpointPoint, signal: bool) -> list[str]:
    """Promise, delivery, what was lost to what, and what would help (a proxy without signal: nothing)."""
    promise, delivered = point.promise, point.delivered
    if promise.estimate is None or delivered.estimate is None:
        return []
    head = (
        f"{where} the proxy promises {_number(promise.estimate, promise.interval)} gold SD and "
        f"{_number(delivered.estimate, delivered.interval)} arrive"
    )
    gap = promise.estimate - delivered.estimate
    if promise.interval is not None and delivered.interval is not None:
        half = np.hypot(np.ptp(promise.interval) / 2, np.ptp(delivered.interval) / 2)
        if abs(gap) < half:
            return [f"{head}: no gap between promise and delivery is shown, so there is nothing to attribute."]
    terms = {name: getattr(point, name) for name in _LOSSES}
    unknown = [name for name, term in terms.items() if term.estimate is None]
    known = {name: term for name, term in terms.items() if term.estimate is not None}
    if unknown:
        return [f"{head}; the data cannot tell where the difference of {gap:.2f} went: {terms[unknown[0]].reason}."]
    shown = {name: term for name, term in known.items() if abs(term.estimate) >= 0.005}
    parts = [f"{_loss(term)} to {_LOSSES[name]}" for name, term in shown.items() if term.estimate > 0]
    gains = [f"{-term.estimate:.2f} won by {_LOSSES[name]}" for name, term in shown.items() if term.estimate < 0]
    sentences = [f"{head}; lost: {', '.join(parts) or 'nothing'}{'; ' + ', '.join(gains) if gains else ''}."]
    noise, shift = known["regressional"], known["causal"]
    if shift.excludes_zero() < 0 and noise.excludes_zero() > 0 and -shift.estimate > noise.estimate / 2:
        sentences.append(
            f"The regressional loss ({noise.estimate:.2f}) and the causal gain ({-shift.estimate:.2f}) cancel in part: "
            "this optimizer did not learn the proxy's noise."
        )
    worst = max(known, key=lambda name: known[name].estimate)
    if signal and known[worst].estimate > 0.02 and known[worst].excludes_zero() > 0:
        share = known[worst].estimate / sum(max(term.estimate, 0.0) for term in known.values())
        sentences.append(f"What would help: {share:.0%} of the loss is {worst}; {_REMEDIES[worst]}.")
    return sentences


def _dependence(decomposition: BestOfNDecomposition, point: BestOfNPoint | None) -> str:
    test = decomposition.independence
    if test.p_value is None:
        return f"Cannot tell whether the proxy's error depends on gold: {test.reason}."
    p = f"p = {test.p_value:.2g}" if test.p_value > 1 / (test.permutations + 1) else f"p <= {test.p_value:.2g}"
    signs = {other.dependent_error for other in decomposition.points} - {0}
    if signs == {1}:
        worst = max(
            (other for other in decomposition.points if other.dependent_error > 0),
            key=lambda other: other.extremal.estimate or 0.0,
        )
        return (
            f"The proxy's error depends on gold ({p}) and the dependence costs gold on either scale: "
            f"{_loss(worst.extremal)} SD at n = {worst.n}."
        )
    if signs == {-1}:
        return (
            f"The proxy's error depends on gold ({p}), in gold's favour: selection does better than independent noise "
            "of this size would."
        )
    if test.p_value >= SIGNIFICANT:
        return f"The error looks independent of gold ({p}): the loss is what regression to the mean predicts."
    if point is not None and point.extremal.estimate is not None:
        raw, scores = point.extremal, point.extremal_normal_scores
        if scores.estimate is not None and raw.excludes_zero() != scores.excludes_zero():
            return (
                f"The error is not independent of gold on the proxy's own scale ({p}), but whether that costs gold "
                f"depends on the scale: extremal {raw.estimate:.2f} SD at n = {point.n} as it is, "
                f"{scores.estimate:.2f} after a monotone change of the proxy, which best-of-n cannot see."
            )
        return (
            f"The error is not independent of gold ({p}), but that moves gold by little: extremal {_loss(raw)} SD at "
            f"n = {point.n}."
        )
    return f"The error is not independent of gold ({p})."


def _paper_reading(evidence: OptimizerEvidence, decomposition: BestOfNDecomposition, point: BestOfNPoint | None) -> str:
    scale = decomposition.scale
    reading = paper_split(evidence.fit, evidence.proxy_fit, gold_unit=scale.gold_unit, proxy_unit=scale.proxy_unit)
    if reading is None or evidence.fit is None:
        return ""
    text = (
        "The parametric reading (Gao et al. 2022, 4.2) says regressional = proxy slope - alpha = "
        f"{reading.regressional:.2f} SD per sqrt nat and extremal = beta = {reading.extremal:.2f}"
    )
    interval = evidence.fit.intervals.get("beta")
    positive = interval is not None and interval[0] is not None and interval[0] > 0
    dependent = point is not None and point.dependent_error > 0
    if positive and not dependent:
        return f"{text}; the split above shows no dependent error: the bend (beta > 0) is not evidence of one."
    if dependent and not positive:
        return f"{text}; it misses the dependent error that the split above shows."
    return f"{text}; the split above does not contradict it."


def _path(last: CheckpointPoint) -> str:
    selection, shift = last.path_selection, last.path_shift
    if selection.estimate is None or shift.estimate is None:
        return ""
    text = (
        f"Along the path to checkpoint {last.checkpoint:g}, selection on the proxy brought "
        f"{_number(selection.estimate, selection.interval)} gold SD and the shift of the relation between proxy and "
        f"gold {_number(shift.estimate, shift.interval)}"
    )
    if shift.excludes_zero() < 0:
        return (
            f"{text}: the policy found score without gold, which fresh labels on its own samples or a KL limit address."
        )
    if shift.excludes_zero() > 0:
        return f"{text}: the policy also improved in ways the proxy does not score."
    return f"{text}: no shift is shown."


def _spent(points: Sequence[CheckpointPoint]) -> str:
    """From which checkpoint on more proxy no longer means more gold."""
    measured = [point for point in points if point.on_policy_slope.interval is not None]
    alive = [index for index, point in enumerate(measured) if point.on_policy_slope.excludes_zero() > 0]
    first = alive[-1] + 1 if alive else 0
    if first >= len(measured):
        return ""
    slope = measured[first].on_policy_slope
    assert slope.estimate is not None
    text = f"no longer above 0 ({_number(slope.estimate, slope.interval)})" if first else "never above 0"
    return (
        f"From checkpoint {measured[first].checkpoint:g} on the proxy is spent: among the policy's own samples its "
        f"slope on gold is {text}."
    )


def _budget(last: CheckpointPoint) -> str:
    budget = last.kl_budget
    if budget.spent is None:
        return ""
    if budget.tilt_is_bound:
        return (
            f"KL: {budget.spent:.3g} nats spent; the cheapest policy with the same proxy gain needs more than "
            f"{budget.tilt:.2g} nats, and the bank is too small to say how much more."
        )
    if budget.spent <= 0:
        return ""
    return (
        f"KL: {budget.spent:.3g} nats spent where the cheapest policy with the same proxy gain (the exponential tilt) "
        f"needs {budget.tilt:.3g}: {budget.tilt / budget.spent:.0%} efficient."
    )


def _control(decomposition: CheckpointDecomposition) -> str:
    control = decomposition.fresh_winners_causal
    if control is None or control.estimate is None or control.interval is None:
        return ""
    low, high = control.interval
    verdict = "as it must be" if low <= 0 <= high else "NOT 0 as it must be: distrust the causal terms by this much"
    return (
        f"Control: fresh best-of-{decomposition.fresh_winners_n} winners through the same estimator have causal "
        f"{_number(control.estimate, control.interval)} SD, {verdict}."
    )


def _stop(stopping: Stopping | None) -> str:
    if stopping is None:
        return ""
    axis = stopping.axis
    sighted, last = stopping.rule("gold on other prompts"), stopping.rule("last")
    if last.regret <= sighted.regret:
        return (
            f"Where to stop: no reason to stop before the last point ({axis} = {last.choice:g}) is shown; it gives up "
            f"{last.regret:.3g} of gold against the best point of held-out prompts."
        )
    blind = [rule for rule in stopping.rules if not rule.sees_gold and rule.name not in ("first", "last", "random")]
    unseen = ""
    if blind:
        best = blind[0]
        unseen = f", the best rule that sees no gold ({best.name}: {axis} = {best.choice:g}) {best.regret:.3g}"
    return (
        f"Where to stop: {axis} = {stopping.recommended:g} has the highest measured gold "
        f"({_number(stopping.gold_gain)} over base). Chosen on half of the prompts and judged on the others that rule "
        f"gives up {sighted.regret:.3g} of gold, going to the end {last.regret:.3g}{unseen}."
    )
