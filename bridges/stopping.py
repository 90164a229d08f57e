"""Where to stop: n or checkpoint, chosen by rules that see gold or do not, judged by regret on other prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.best_of_n import best_of_n_curve, best_of_n_means
from overopt.bridges.checkpoints import Checkpoints, checkpoint_curve
from overopt.bridges.curve import Axis, Curve
from overopt.bridges.score_bank import ScoreBank

__all__ = ["Stopping", "StoppingRule", "stop_best_of_n", "stop_checkpoints"]

Array = NDArray[np.float64]
KL_BUDGET = 4.0
"""Nats of the rule "KL budget"."""
LENGTH_DRIFT = 0.10
"""Relative change of the mean length at which the rule "length drift" stops."""
PLATEAU = 0.05
"""The rule "proxy plateau" stops where the next point adds less than this share of the gain so far."""
SPLITS = 50


@dataclass(frozen=True)
class StoppingRule:
    """One rule.

    Attributes
    ----------
    name
        What it does.
    sees_gold
        Whether it needs gold labels for half of the prompts.
    choice
        The pressure it picks with all prompts; None for the base policy, and for ``random``.
    regret, regret_se
        Mean over splits of the judging half's highest gold, the base policy's included, less its gold at the choice
        made on the other half, and the standard deviation over splits; gold's units. Above 0 even for a perfect rule,
        because the judging half's own maximum is the bar.
    """

    name: str
    sees_gold: bool
    choice: float | None
    regret: float
    regret_se: float


@dataclass(frozen=True)
class Stopping:
    """The advice for one optimizer.

    Attributes
    ----------
    axis
        ``"n"`` or ``"checkpoint"``.
    recommended
        The pressure with the highest measured gold among all prompts; None where the base policy's is higher.
    gold_gain
        Its measured gold over the base policy; flattered by having been chosen on the same prompts.
    rules
        Every rule that the data allow, lowest regret first, the three nulls (``first``, ``last``, ``random``) included.
    skipped
        Rule -> what it would need, for rules without their data or without a point that they allow.
    """

    axis: Axis
    recommended: float | None
    gold_gain: float
    rules: tuple[StoppingRule, ...]
    skipped: Mapping[str, str]

    def rule(self, name: str) -> StoppingRule:
        """The rule of that name."""
        return next(rule for rule in self.rules if rule.name == name)


_Rule = tuple[bool, Callable[[NDArray[np.intp]], int | None]]
"""Whether the rule sees gold, and the point it chooses on some clusters; None is the base policy."""


@dataclass(frozen=True)
class _Monitor:
    """(C, P) what a rule may look at: gains per cluster, and lengths relative to the base policy."""

    gold: Array
    proxy: Array
    others: Array | None
    length: Array | None
    kl: Array


def stop_best_of_n(bank: ScoreBank, proxy: str, *, rng: np.random.Generator) -> Stopping | None:
    """Advice on n, on a grid of n fine enough for the calibrated rule; None with fewer than 4 prompts."""
    if bank.n_prompts < 4:
        return None
    sizes = np.unique(np.geomspace(1, bank.samples_per_prompt, 40).round().astype(int)).tolist()
    curve = best_of_n_curve(bank, proxy, sizes)
    length = None
    if bank.length is not None:
        length = best_of_n_means(bank, proxy, bank.length, sizes)
    others = [
        _standardised(best_of_n_means(bank, proxy, values, sizes), bank, values)
        for name, values in bank.proxies.items()
        if name != proxy
    ]
    return _stopping(curve, others, length, None if length is None else length[:, 0], rng)


def stop_checkpoints(
    checkpoints: Checkpoints, proxy: str, base: ScoreBank, *, rng: np.random.Generator
) -> Stopping | None:
    """Advice on the checkpoint; None with fewer than 4 prompts."""
    if base.n_prompts < 4:
        return None
    curve = checkpoint_curve(checkpoints, proxy, base)
    banks = [checkpoints.at(value) for value in checkpoints.values]
    lengths = [bank.prompt_means(bank.length) for bank in banks if bank.length is not None]
    known = base.length is not None and len(lengths) == len(banks)
    others = [
        _standardised(np.stack([b.prompt_means(b.proxy(name)) for b in banks], axis=1), base, base.proxy(name))
        for name in base.proxies
        if name != proxy and name in checkpoints.proxies
    ]
    return _stopping(
        curve,
        others,
        np.stack(lengths, axis=1) if known else None,
        base.prompt_means(base.length) if known and base.length is not None else None,
        rng,
    )


def _standardised(means: Array, bank: ScoreBank, values: Array) -> Array:
    """Gains of another proxy over the base policy in its own pooled within-prompt SD."""
    base = bank.prompt_means(values)
    spread = float(np.sqrt(np.mean((values - base[bank.prompt]) ** 2)))
    return (means - base[:, None]) / (spread or 1.0)


def _stopping(
    curve: Curve, others: list[Array], length: Array | None, base_length: Array | None, rng: np.random.Generator
) -> Stopping:
    clusters = curve.clusters
    assert clusters is not None
    monitor = _Monitor(
        gold=clusters.gold_gain,
        proxy=clusters.proxy_gain,
        others=np.mean(others, axis=0) if others else None,
        length=None if length is None or base_length is None else length - base_length[:, None],
        kl=curve.kl,
    )
    rules: dict[str, _Rule] = {
        "gold on other prompts": (True, lambda rows: _highest(monitor.gold[rows].mean(axis=0))),
        "quantile rule": (True, lambda rows: _first_maximum(monitor.gold[rows].mean(axis=0))),
        "proxy plateau": (False, lambda rows: _plateau(monitor.proxy[rows].mean(axis=0))),
        "first": (False, lambda rows: 0),
        "last": (False, lambda rows: curve.pressure.size - 1),
    }
    skipped: dict[str, str] = {}
    everyone = np.arange(clusters.count)

    def add_bounded(name: str, unit: str, values: Callable[[NDArray[np.intp]], Array], bar: float, limit: str) -> None:
        """A rule that stays within a bar, unless the first point is already above it."""
        if _last_below(values(everyone), bar) is None:
            skipped[name] = f"a first point {limit}"
        else:
            rules[f"{name}{unit}"] = (False, lambda rows: _last_below(values(rows), bar))

    if curve.axis != "n":
        del rules["quantile rule"]
    if np.isfinite(curve.kl).all():
        bound = f"{KL_BUDGET:g} nats"
        add_bounded("KL budget", f" ({bound})", lambda rows: curve.kl, KL_BUDGET, f"within {bound}")
    else:
        skipped["KL budget"] = "a kl column"
    if monitor.length is not None and base_length is not None:
        bar = LENGTH_DRIFT * abs(float(base_length.mean()))
        drift = monitor.length
        limit = f"whose length is within {LENGTH_DRIFT:.0%} of the base policy's"
        add_bounded("length drift", "", lambda rows: np.abs(drift[rows].mean(axis=0)), bar, limit)
    else:
        skipped["length drift"] = "a length column"
    if monitor.others is not None:
        judges = monitor.others
        rules["other proxies"] = (False, lambda rows: int(np.argmax(judges[rows].mean(axis=0))))
    else:
        skipped["other proxies"] = "a second proxy"
    found = _judged(curve, monitor.gold, rules, rng)
    best = _highest(curve.gold_gain)
    return Stopping(
        axis=curve.axis,
        recommended=None if best is None else float(curve.pressure[best]),
        gold_gain=0.0 if best is None else float(curve.gold_gain[best]),
        rules=tuple(sorted(found, key=lambda rule: rule.regret)),
        skipped=skipped,
    )


def _judged(
    curve: Curve,
    gold: Array,
    rules: Mapping[str, _Rule],
    rng: np.random.Generator,
) -> list[StoppingRule]:
    """Choose on one random half of the prompts, judge on the other, ``SPLITS`` times."""
    count = gold.shape[0]
    regrets: dict[str, list[float]] = {name: [] for name in (*rules, "random")}
    for _ in range(SPLITS):
        shuffled = rng.permutation(count)
        chosen_on, judged_on = shuffled[: count // 2], shuffled[count // 2 :]
        judged = gold[judged_on].mean(axis=0)
        highest = max(float(judged.max()), 0.0)
        for name, (_, rule) in rules.items():
            at = rule(chosen_on)
            regrets[name].append(highest - (0.0 if at is None else float(judged[at])))
        regrets["random"].append(highest - float(judged.mean()))
    everyone = np.arange(count)
    choices = {name: rule(everyone) for name, (_, rule) in rules.items()}
    return [
        StoppingRule(
            name=name,
            sees_gold=name in rules and rules[name][0],
            choice=None if (at := choices.get(name)) is None else float(curve.pressure[at]),
            regret=float(np.mean(values)),
            regret_se=float(np.std(values, ddof=1)),
        )
        for name, values in regrets.items()
    ]


def _highest(gain: Array) -> int | None:
    """The point of the largest gain; None, no optimization, where every point loses."""
    best = int(np.argmax(gain))
    return best if gain[best] >= 0 else None


def _plateau(gain: Array) -> int:
    steps = np.diff(gain)
    flat = np.flatnonzero((gain[:-1] > 0) & (steps < PLATEAU * gain[:-1]))
    return int(flat[0]) if flat.size else gain.size - 1


def _last_below(values: Array, bar: float) -> int | None:
    """The last point before the first one above the bar; None, no optimization, where that is the very first."""
    above = np.flatnonzero(values > bar)
    if not above.size:
        return values.size - 1
    return int(above[0]) - 1 if above[0] else None


def _first_maximum(gold: Array) -> int:
    """First n at which the mean over the proxy's quantile stops rising: ``d/dn int g(u) n u^(n-1) du`` changes sign.

    The calibration condition of HedgeTune (Khalaf et al. 2025, "Inference-Time Reward Hacking in Large Language
    Models", arXiv 2506.19248), evaluated with the unbiased estimate at neighbouring n.
    """
    down = np.flatnonzero(np.diff(gold) < 0)
    return int(down[0]) if down.size else gold.size - 1
