"""From the finished stages of a run to its summary: curves, fits, decompositions, peaks, texts, trends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from overopt.bridges.best_of_n import best_of_n_curve
from overopt.bridges.checkpoints import Checkpoints, checkpoint_curve
from overopt.bridges.curve import Curve
from overopt.bridges.decomposition import (
    BestOfNDecomposition,
    CheckpointDecomposition,
    MeasurementScale,
    Term,
    decompose_best_of_n,
    decompose_checkpoints,
)
from overopt.bridges.experiments import experiment_trends
from overopt.bridges.fits import fit_curve
from overopt.bridges.recalibration import logit_rescale
from overopt.bridges.reweighting import ReweightedCurve, best_of_poisson_curve
from overopt.bridges.run_data import GOLD, PolicyRun, RunData, read_run
from overopt.bridges.run_summary import (
    CurvePoint,
    FittedLaw,
    GoldPeak,
    MeasuredCurve,
    OptimizerArm,
    ProxyModel,
    RunSummary,
    SplitRow,
    TextSample,
)
from overopt.bridges.run_trends import control_trend, judge_trends
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.errors import InputError
from overopt.theory.scaling_laws import law_named

__all__ = ["analyse", "gold_peak"]

FLOORED_SHARE = 0.5
MOVING_REWARD = ("iterated",)
"""Kinds of optimizers whose reward changes on the way: no promise of one proxy can be split."""
SHOWN_PROMPTS = 5
REWEIGHTED: Mapping[str, Callable[[ScoreBank, str, Sequence[float]], ReweightedCurve]] = {
    "best-of-poisson": best_of_poisson_curve
}
"""Optimizers that weigh the base policy's samples anew, by the name that a recipe gives them."""

Array = NDArray[np.float64]
Advance = Callable[[int], None]


def analyse(
    run: Path,
    *,
    world: str,
    limits: Sequence[str],
    provenance: Mapping[str, str],
    timings: Mapping[str, float],
    advance: Advance = lambda units: None,
) -> RunSummary:
    """The summary of a finished run, in gold SD of the base policy; proxies on the ``slope`` scale.

    Every random number (permutations, bootstrap) comes from the run's seed.
    """
    data = read_run(run)
    seed = int(data.config["seed"])
    headline = headline_proxy(data)
    curves: list[MeasuredCurve] = []
    arms: dict[str, OptimizerArm] = {}
    laws: list[FittedLaw] = []
    splits: list[SplitRow] = []
    peaks: list[GoldPeak] = []
    sentences: list[str] = []
    proxies: list[ProxyModel] = []
    best_of_n: dict[str, Curve] = {}
    units: dict[str, MeasurementScale] = {}
    scale = "slope"
    optimized = {policy.proxy for policy in data.policies}
    for name in data.bank.proxies:
        bank = data.bank_for(name)
        curve = best_of_n_curve(bank, name)
        split = decompose_best_of_n(
            bank, name, [int(n) for n in curve.pressure], rng=np.random.default_rng([seed, 1, *name.encode()])
        )
        units[name] = split.scale
        best_of_n[name] = unit_curve(curve, split)
        curves.append(measured(best_of_n[name], "best-of-n", name, None))
        splits.extend(best_of_n_rows(split, best_of_n[name]))
        laws.extend(fitted_laws(best_of_n[name], "best-of-n", name, None, ("bon",), seed))
        if name in optimized:
            for method in data.config["recipe"].get("reweighted", ()):
                reweighted = REWEIGHTED[method](bank, name, curve.pressure.tolist()).supported
                curves.append(measured(unit_curve(reweighted, split), method, name, None))
                peaks.append(gold_peak(unit_curve(reweighted, split), method, name, None))
        if name == headline:
            sentences.extend(split.sentences())
            scale = split.scale.kind
        if name != GOLD:
            proxies.append(proxy_model(name, data, best_of_n[name], split.scale))
        advance(1)
    for policy in data.policies:
        bank, checkpoints = data.bank_for(policy.proxy), data.checkpoints_of(policy)
        arms[policy.optimizer] = OptimizerArm(policy.optimizer, policy.kind, dict(policy.settings or {}))
        curve, split_path = policy_curve(bank, replace(policy, checkpoints=checkpoints), seed)
        curves.append(measured(curve, policy.optimizer, policy.proxy, policy.index))
        if policy.kind not in MOVING_REWARD:
            splits.extend(checkpoint_rows(split_path, curve, policy))
        unfloored = without_floor(curve, checkpoints, bank)
        laws.extend(fitted_laws(unfloored, policy.optimizer, policy.proxy, policy.index, ("rl", "bon"), seed))
        peaks.append(gold_peak(curve, policy.optimizer, policy.proxy, policy.index))
        if (policy.optimizer, policy.proxy, policy.index) == ("ppo", headline, 0):
            sentences.extend(split_path.sentences())
        advance(1)
    trends = judge_trends(headline, best_of_n, curves, peaks, proxies)
    summary = RunSummary(
        recipe=str(data.config["recipe"]["name"]),
        seeds=tuple(sorted({policy.index for policy in data.policies if policy.proxy != GOLD})),
        world=world,
        scale=f"{scale}: gold in pooled within-prompt SD of the base policy, proxy divided by its slope on gold",
        headline_proxy=headline,
        proxies=tuple(proxies),
        arms=tuple(arms.values()),
        curves=tuple(curves),
        laws=tuple(laws),
        splits=tuple(splits),
        peaks=tuple(peaks),
        samples=tuple(shown_texts(data, headline, best_of_n[headline], units[headline], peaks)),
        trends=(*trends, *control_trend(peaks)),
        verdicts=tuple(sentences),
        limits=(*dict.fromkeys((*limits, *_moving_reward(data))),),
        provenance=dict(provenance),
        timings=dict(timings),
    )
    return replace(summary, trends=(*summary.trends, *experiment_trends(summary)))


def _moving_reward(data: RunData) -> list[str]:
    if not any(policy.kind in MOVING_REWARD for policy in data.policies):
        return []
    return [
        "Iterated RLHF optimizes another reward model in every round. The proxy drawn for it is the one trained on the "
        "base policy's samples, so that only its gold and KL are measured; its losses are not split."
    ]


def headline_proxy(data: RunData) -> str:
    """The proxy that PPO optimized first; without PPO the smallest one."""
    optimized = [policy.proxy for policy in data.policies if (policy.optimizer, policy.index) == ("ppo", 0)]
    optimized = [proxy for proxy in optimized if proxy != GOLD]
    return optimized[0] if optimized else next(iter(data.bank.proxies))


def unit_curve(curve: Curve, split: BestOfNDecomposition | CheckpointDecomposition) -> Curve:
    """``curve`` with gold and proxy in gold SD on the decomposition's scale."""
    return curve.in_units(split.scale.gold_unit, split.scale.proxy_unit)


def policy_curve(bank: ScoreBank, policy: PolicyRun, seed: int) -> tuple[Curve, CheckpointDecomposition]:
    """Curve and decomposition of one trained policy against the base bank."""
    rng = np.random.default_rng([seed, 2, policy.index, *policy.proxy.encode()])
    split = decompose_checkpoints(bank, policy.checkpoints, policy.proxy, rng=rng)
    return unit_curve(checkpoint_curve(policy.checkpoints, policy.proxy, bank), split), split


def measured(curve: Curve, method: str, proxy: str, seed: int | None) -> MeasuredCurve:
    """The curve as plain rows of gains."""
    error = np.sqrt(np.diagonal(curve.proxy_gain_covariance))
    points = tuple(
        CurvePoint(
            pressure=float(curve.pressure[i]),
            kl=float(curve.kl[i]),
            d=float(curve.d[i]),
            proxy=float(curve.proxy_gain[i]),
            gold=float(curve.gold_gain[i]),
            kl_se=float(curve.kl_standard_error[i]),
            proxy_se=float(error[i]),
            gold_se=float(curve.gain_se[i]),
        )
        for i in range(curve.pressure.size)
    )
    return MeasuredCurve(method, proxy, seed, curve.kl_kind, points)


def fitted_laws(
    curve: Curve, method: str, proxy: str, seed: int | None, names: Sequence[str], run_seed: int
) -> list[FittedLaw]:
    """The named laws fitted to the gold gain of one curve; none where it has too few points."""
    laws: list[FittedLaw] = []
    for name in names:
        try:
            fit = fit_curve(curve, name, rng=np.random.default_rng([run_seed, 3]))
        except InputError:
            return laws
        d = np.linspace(0.0, float(curve.d.max()), 60)[1:]
        line = law_named(name).gold(d, *fit.best.parameters.values())
        laws.append(
            FittedLaw(
                method, proxy, seed, name,
                alpha=fit.alpha,
                beta=float(fit.beta or 0.0),
                line=tuple(zip(d.tolist(), np.asarray(line).tolist(), strict=True)),
                alpha_ci=bounded(fit.intervals.get("alpha")),
                beta_ci=bounded(fit.intervals.get("beta")),
                peak_d=fit.peak.d,
                peak_gold=fit.peak.gain,
                r2=fit.best.r2,
                fitted_to_d=float(curve.d.max()),
                heldout_rmse=fit.best.heldout_rmse,
            )
        )  # fmt: skip
    return laws


def bounded(interval: tuple[float | None, float | None] | None) -> tuple[float, float] | None:
    """The interval where both ends are finite numbers."""
    if interval is None or interval[0] is None or interval[1] is None:
        return None
    return (float(interval[0]), float(interval[1]))


def without_floor(curve: Curve, checkpoints: Checkpoints, bank: ScoreBank) -> Curve:
    """The curve without points where gold sits at its lowest value for half of the samples: a floor, not a law."""
    floor = min(float(bank.gold.min()), *(float(checkpoints.at(value).gold.min()) for value in checkpoints.values))
    keep = [
        position
        for position, value in enumerate(curve.pressure)
        if float((checkpoints.at(value).gold <= floor).mean()) < FLOORED_SHARE
    ]
    return curve.take(np.array(keep, dtype=np.intp))


TERMS = ("promise", "regressional", "extremal", "causal", "unattributed", "delivered")


def _estimates(point: Any, names: Sequence[str]) -> tuple[dict[str, float | None], dict[str, tuple[float, float]]]:
    terms: dict[str, Term] = {name: getattr(point, name) for name in names}
    values = {name: term.estimate for name, term in terms.items()}
    return values, {name: term.interval for name, term in terms.items() if term.interval is not None}


def best_of_n_rows(split: BestOfNDecomposition, curve: Curve) -> list[SplitRow]:
    """The decomposition of best-of-n as plain rows."""
    rows = []
    for point, kl in zip(split.points, curve.kl, strict=True):
        values, intervals = _estimates(point, TERMS)
        rows.append(
            SplitRow(
                "best-of-n", split.proxy, None, float(point.n), float(kl), float(np.sqrt(kl)), **values, ci=intervals
            )
        )
    return rows


def checkpoint_rows(split: CheckpointDecomposition, curve: Curve, policy: PolicyRun) -> list[SplitRow]:
    """The decomposition of a trained policy, against the bank and along the path, as plain rows."""
    rows = []
    for point, kl, d in zip(split.points, curve.kl, curve.d, strict=True):
        values, intervals = _estimates(point, (*TERMS, "path_selection", "path_shift", "on_policy_slope"))
        rows.append(
            SplitRow(
                policy.optimizer,
                policy.proxy,
                policy.index,
                point.checkpoint,
                float(kl),
                float(d),
                **values,
                ci=intervals,
            )
        )
    return rows


def gold_peak(curve: Curve, method: str, proxy: str, seed: int | None) -> GoldPeak:
    """Rise to gold's peak and fall to the curve's end, paired by prompt.

    The peak is the point with the highest mean gold on every other prompt; rise and fall are measured on the
    prompts that did not choose it, so that picking the luckiest point cannot lift it.
    """
    if curve.clusters is None:
        raise InputError("a peak needs the prompts behind the curve, got a curve without samples.")
    gain = curve.clusters.gold_gain
    peak = int(gain[0::2].mean(axis=0).argmax())
    judged = gain[1::2]
    proxy_gain = curve.clusters.proxy_gain[1::2]
    after = proxy_gain[:, -1] - proxy_gain[:, peak]
    rise, fall = judged[:, peak], judged[:, peak] - judged[:, -1]
    root = np.sqrt(len(judged))
    return GoldPeak(
        method=method,
        proxy_name=proxy,
        seed=seed,
        peak_pressure=float(curve.pressure[peak]),
        peak_kl=float(curve.kl[peak]),
        rise=float(rise.mean()),
        rise_se=float(rise.std(ddof=1) / root),
        fall=float(fall.mean()),
        fall_se=float(fall.std(ddof=1) / root),
        end_pressure=float(curve.pressure[-1]),
        end_kl=float(curve.kl[-1]),
        proxy_end=float(curve.proxy_gain[-1]),
        proxy_after=float(after.mean()),
        proxy_after_se=float(after.std(ddof=1) / root),
    )


def proxy_model(name: str, data: RunData, curve: Curve, scale: MeasurementScale) -> ProxyModel:
    """A proxy with its held-out scores and the peak of its best-of-n curve."""
    held_out = data.held_out[name]
    best = int(curve.gold_gain.argmax())
    half = 1.96 * float(held_out["accuracy_se"])
    error = 1.96 * float(curve.gain_se[best])
    return ProxyModel(
        name=name,
        parameters=int(held_out["parameters"]),
        labels=int(held_out["labels"]),
        heldout_accuracy=float(held_out["accuracy"]),
        heldout_accuracy_ci=(float(held_out["accuracy"]) - half, float(held_out["accuracy"]) + half),
        heldout_loss=float(held_out["loss"]),
        kind=held_out["kind"],
        size=str(held_out["size"]),
        variant=str(held_out["variant"]),
        replicate=int(held_out["replicate"]),
        logit_scale=logit_rescale(np.array(held_out["margin"]), np.array(held_out["gold_margin"]) / scale.gold_unit),
        gold_peak=float(curve.gold_gain[best]),
        gold_peak_ci=(float(curve.gold_gain[best]) - error, float(curve.gold_gain[best]) + error),
        gold_peak_n=float(curve.pressure[best]),
    )


def shown_texts(
    data: RunData, headline: str, base: Curve, scale: MeasurementScale, peaks: Sequence[GoldPeak]
) -> list[TextSample]:
    """The first sample of the first prompts at the base policy, at gold's peak and at the end: nothing is picked."""
    policy = next((p for p in data.policies if (p.proxy, p.optimizer) == (headline, "ppo")), None)
    if policy is None:
        return []
    peak = next(p for p in peaks if (p.proxy_name, p.method, p.seed) == (headline, "ppo", policy.index))
    table = pq.read_table(policy.folder / "completions.parquet").to_pydict()
    rows = list(zip(*(table[name] for name in ("checkpoint", "prompt", "sample", "gold", "text")), strict=True))
    samples = []
    stages: tuple[tuple[Literal["base", "peak", "end"], float, float], ...]
    stages = (("base", 0.0, 0.0), ("peak", peak.peak_pressure, peak.peak_kl), ("end", peak.end_pressure, peak.end_kl))
    for stage, pressure, kl in stages:
        bank = policy.checkpoints.at(pressure)
        for checkpoint, prompt, sample, gold, text in rows:
            if checkpoint == pressure and sample == 0 and prompt < SHOWN_PROMPTS:
                name = data.bank.prompts[prompt]
                proxy = float(bank.proxy(headline)[bank.offsets[prompt]])
                samples.append(
                    TextSample(
                        stage, pressure, kl, name, text.removeprefix(name), gold / scale.gold_unit - base.base_gold,
                        proxy / scale.proxy_unit - base.base_proxy,
                    )
                )  # fmt: skip
    return samples
