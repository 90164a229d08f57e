"""A diagnosis as plain data, with the keys that ``overopt diagnose --json`` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from overopt.bridges.decomposition import BestOfNDecomposition, BestOfNPoint, CheckpointPoint, Term
from overopt.bridges.diagnosis import Diagnosis, OptimizerDiagnosis, ProxyDiagnosis
from overopt.bridges.turn import Turn
from overopt.reports.fit_record import curve_rows, fit_record

__all__ = ["TERMS", "diagnosis_record"]

TERMS = ("promise", "regressional", "extremal", "causal", "unattributed", "delivered")


def diagnosis_record(diagnosis: Diagnosis) -> dict[str, Any]:
    """The stable keys: promise and delivered are gains, the four terms losses, in gold SD; the curve in own units."""
    return {
        "scale": diagnosis.scale,
        "n_prompts": diagnosis.n_prompts,
        "samples_per_prompt": diagnosis.samples_per_prompt,
        "proxies": {name: _proxy(proxy) for name, proxy in diagnosis.proxies.items()},
        "warnings": list(diagnosis.warnings),
    }


def _proxy(proxy: ProxyDiagnosis) -> dict[str, Any]:
    parts = proxy.optimizers
    law = "bon" if proxy.checkpoints is None else "rl"
    return {
        "curve": [row for part in parts for row in curve_rows(part.curve)],
        "fit": fit_record(proxy.fit, law),
        "fits": {part.curve.method: fit_record(part.fit, law) for part in parts},
        "proxy_fits": {part.curve.method: fit_record(part.proxy_fit, law) for part in parts},
        "decomposition": [row for part in parts for row in _decomposition(part)],
        "independence_p": proxy.independence_p,
        "turn": {part.curve.method: _turn(part.turn) for part in parts},
        "stopping": {part.curve.method: part.stopping for part in parts},
        "scale": {
            part.curve.method: {
                "in_force": part.decomposition.scale.kind,
                "gold_unit": part.decomposition.scale.gold_unit,
                "proxy_unit": part.decomposition.scale.proxy_unit,
                "slope": part.decomposition.scale.slope,
                "slope_ci": part.decomposition.scale.slope_interval,
                "reliability": part.decomposition.scale.reliability,
            }
            for part in parts
            if part.decomposition is not None
        },
        "verdicts": list(proxy.verdicts),
    }


def _turn(turn: Turn | None) -> dict[str, Any] | None:
    return None if turn is None else {**asdict(turn), "shape": turn.shape, "shown_rise": asdict(turn.shown_rise)}


def _decomposition(part: OptimizerDiagnosis) -> list[dict[str, Any]]:
    decomposition = part.decomposition
    if decomposition is None:
        return []
    if isinstance(decomposition, BestOfNDecomposition):
        return [_best_of_n_row(point) for point in decomposition.points]
    return [_checkpoint_row(point) for point in decomposition.points]


def _terms(terms: dict[str, Term]) -> dict[str, Any]:
    return {
        **{name: term.estimate for name, term in terms.items()},
        "ci": {name: term.interval for name, term in terms.items() if term.interval is not None},
        "band": {name: term.band for name, term in terms.items() if term.band is not None},
        "reasons": {name: term.reason for name, term in terms.items() if term.reason is not None},
    }


def _best_of_n_row(point: BestOfNPoint) -> dict[str, Any]:
    names = (*TERMS, "linear_shrinkage", "noise_tail", "extremal_own_scale", "extremal_normal_scores")
    return {
        "method": "best-of-n",
        "n": point.n,
        **_terms({name: getattr(point, name) for name in names}),
        "promise_mismatch": point.promise_mismatch,
        "dependent_error": point.dependent_error,
    }


def _checkpoint_row(point: CheckpointPoint) -> dict[str, Any]:
    names = (*TERMS, "path_selection", "path_shift", "on_policy_slope")
    return {
        "method": "checkpoints",
        "checkpoint": point.checkpoint,
        **_terms({name: getattr(point, name) for name in names}),
        "outside": point.outside,
        "path_outside": point.path_outside,
        "kl_budget": point.kl_budget,
        "kl_efficiency": point.kl_budget.efficiency,
    }
