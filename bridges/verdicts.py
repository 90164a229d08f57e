"""What a diagnosis says in plain sentences: every number computed, nothing said that its interval does not allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from overopt.bridges.curve import Curve
from overopt.bridges.decomposition import BestOfNDecomposition, CheckpointDecomposition, MeasurementScale
from overopt.bridges.fits import Fit
from overopt.bridges.paper_split import paper_split
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.stopping import Stopping
from overopt.bridges.turn import Turn

__all__ = ["optimizer_verdicts", "proxy_verdicts"]

_NULLS = ("first", "last", "random")


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


def proxy_verdicts(bank: ScoreBank, proxy: str, optimizers: Sequence[OptimizerEvidence]) -> tuple[str, ...]:
    """Everything about one proxy: its signal, then each optimizer."""
    values = bank.proxy(proxy)
    constant = np.array_equal(values, np.repeat(values[bank.offsets[:-1]], bank.counts))
    if constant and bank.samples_per_prompt > 1:
        moved = [optimizer for optimizer in optimizers if optimizer.curve.axis == "checkpoint"]
        return (
            f"Cannot tell: {proxy} is constant within every prompt of the base bank, so it selects nothing.",
            *(_turn(optimizer.turn, optimizer.curve) for optimizer in moved),
        )
    scales = [optimizer.decomposition.scale for optimizer in optimizers if optimizer.decomposition is not None]
    signal = [_signal(scale) for scale in scales[:1]]
    sentences = (*signal, *(text for optimizer in optimizers for text in optimizer_verdicts(optimizer)))
    return tuple(dict.fromkeys(text for text in sentences if text))


def optimizer_verdicts(evidence: OptimizerEvidence) -> tuple[str, ...]:
    """Turn, decomposition, the paper's reading and where to stop, for one optimizer."""
    decomposition = evidence.decomposition
    split = () if decomposition is None else decomposition.sentences()
    turn, stop = _turn(evidence.turn, evidence.curve), _stop(evidence.stopping, evidence.curve)
    return tuple(sentence for sentence in (turn, *split, _paper_reading(evidence), stop) if sentence)


def _signal(scale: MeasurementScale) -> str:
    if scale.slope_interval is None:
        return f"The proxy's slope on gold is {scale.slope:.3g} within the pool; one prompt gives it no interval."
    low, high = scale.slope_interval
    if low <= 0:
        return ""  # the decomposition's own first sentence says what the slope is not
    delivered = "" if scale.kind != "slope" else f" A linear promise of 1 gold SD delivers {scale.reliability:.2f} SD."
    return (
        f"The proxy carries gold signal: slope on gold within a prompt {scale.slope:.3g} [{low:.3g}, {high:.3g}]."
        f"{delivered}"
    )


def _loss(value: float) -> str:
    return _number(value).lstrip("+")


def _number(value: float, interval: Sequence[float] | None = None) -> str:
    text = f"{value:+.3g}" if abs(value) > 1e-12 else "0"
    return text if interval is None else f"{text} [{interval[0]:.3g}, {interval[1]:.3g}]"


def _turn(turn: Turn | None, curve: Curve) -> str:
    if turn is None:
        return ""
    axis = curve.axis
    name = "Best-of-n" if axis == "n" else "The run"
    at_last = f"{axis} = {turn.last:g}"
    last = int(np.flatnonzero(curve.pressure == turn.last)[0])
    levels = f"from {curve.base_gold:.3g} to {curve.gold[last]:.3g} at {at_last}"
    net = _number(turn.net, turn.net_interval)
    match turn.shape:
        case "rises" if turn.lift is not None and turn.net_interval is not None and turn.net_interval[0] <= 0:
            return (
                f"{name} lifts gold by {_number(turn.lift.gain, turn.lift.interval)} at {axis} = "
                f"{turn.lift.pressure:g}{_last_is_open(turn, net, at_last)}."
            )
        case "rises":
            return f"{name} raises gold {levels} ({net}); no fall is shown up to there{_last_step(curve, last)}."
        case "turns":
            lost = _number(turn.fall, turn.fall_interval).lstrip("+")
            return f"Gold turns: {name[0].lower() + name[1:]} {_rise(turn, axis)}, and loses {lost} of it by {at_last}."
        case "falls":
            return f"{name} lowers gold {levels} ({net})."
        case "falls back":
            lost = _number(turn.fall, turn.fall_interval).lstrip("+")
            top = f"{axis} = {turn.peak:g}" if turn.peak is not None else "the base policy"
            return (
                f"Gold falls by {lost} from its highest point ({top}) to {at_last}; whether it ends above or below the "
                f"base policy's cannot be told ({net} over base)."
            )
        case "flat":
            return f"{name} does not change gold measurably: {levels} ({net}; the interval includes 0)."
        case _:
            return f"{name} takes gold {levels} ({net}); too few prompts to say more."


def _rise(turn: Turn, axis: str) -> str:
    rise = turn.shown_rise
    text = f"lifts it by {_number(rise.gain, rise.interval)}"
    if rise.pressure is None:
        return text
    return f"{text}{', highest' if rise.pressure == turn.peak else ''} at {axis} = {rise.pressure:g}"


def _last_is_open(turn: Turn, net: str, at_last: str) -> str:
    if turn.lift is not None and turn.lift.pressure == turn.last:
        return ""
    return f"; whether any of it is left at {at_last} cannot be told ({net} over base)"


def _last_step(curve: Curve, last: int) -> str:
    """What the last stretch of n (a factor of 1.5 or more) added, where that may be nothing."""
    if curve.axis != "n" or curve.clusters is None or last < 1:
        return ""
    before = int(np.searchsorted(curve.pressure, curve.pressure[last] / 1.5, side="right")) - 1
    if before < 1 or curve.clusters.gold.shape[0] < 2:
        return ""
    added = curve.clusters.gold[:, last] - curve.clusters.gold[:, before]
    error = float(added.std(ddof=1) / np.sqrt(added.size))
    mean = float(added.mean())
    rounding = 1e-9 * max(1.0, float(np.abs(curve.clusters.gold).max()))
    if abs(mean) > 2 * error or max(abs(mean), error) < rounding:
        return ""
    span = f"n = {curve.pressure[before]:g} to {curve.pressure[last]:g}"
    return f", and {span} adds {_number(mean, (mean - 2 * error, mean + 2 * error))}, which may be nothing"


def _paper_reading(evidence: OptimizerEvidence) -> str:
    """The paper's parametric reading beside the structural one, and where they disagree."""
    decomposition = evidence.decomposition
    if not isinstance(decomposition, BestOfNDecomposition) or evidence.fit is None:
        return ""
    scale = decomposition.scale
    reading = paper_split(evidence.fit, evidence.proxy_fit, gold_unit=scale.gold_unit, proxy_unit=scale.proxy_unit)
    if reading is None:
        return ""
    text = (
        "The parametric reading (Gao et al. 2022, 4.2) says regressional = proxy slope - alpha = "
        f"{reading.regressional:.2f} SD per sqrt nat and extremal = beta = {reading.extremal:.2f}"
    )
    interval = evidence.fit.intervals.get("beta")
    bends = interval is not None and interval[0] is not None and interval[0] > 0
    split = [point for point in decomposition.points if point.extremal.estimate is not None]
    dependent = any(point.dependent_error > 0 for point in split)
    if bends and split and not dependent:
        return f"{text}; the split shows no dependent error, so the bend (beta > 0) is not evidence of one."
    if dependent and not bends:
        return f"{text}; it misses the dependent error that the split shows."
    return f"{text}."


def _stop(stopping: Stopping | None, curve: Curve) -> str:
    if stopping is None or not curve.proxy_gain.any():
        return ""
    axis = stopping.axis
    sighted, last = stopping.rule("gold on other prompts"), stopping.rule("last")
    if last.regret <= sighted.regret:
        return (
            f"Where to stop: no reason to stop before the last point ({axis} = {last.choice:g}) is shown; it gives up "
            f"{_loss(last.regret)} of gold against the best point of held-out prompts."
        )
    blind = [rule for rule in stopping.rules if not rule.sees_gold and rule.name not in _NULLS]
    unseen = ""
    if blind:
        best = blind[0]
        where = "the base policy" if best.choice is None else f"{axis} = {best.choice:g}"
        unseen = f", the best rule that sees no gold ({best.name}: {where}) {_loss(best.regret)}"
    if stopping.recommended is None:
        highest = "the base policy itself has the highest measured gold"
    else:
        over = _number(stopping.gold_gain)
        highest = f"{axis} = {stopping.recommended:g} has the highest measured gold ({over} over base)"
    return (
        f"Where to stop: {highest}. Chosen on half of the prompts and judged on the others that rule gives up "
        f"{_loss(sighted.regret)} of gold, going to the end {_loss(last.regret)}{unseen}."
    )
