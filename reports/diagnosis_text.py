"""A diagnosis as text tables on standard output."""

from __future__ import annotations

from overopt.bridges.decomposition import BestOfNDecomposition, Term
from overopt.bridges.diagnosis import Diagnosis, OptimizerDiagnosis, ProxyDiagnosis
from overopt.reports.diagnosis_record import TERMS
from overopt.reports.fit_record import curve_rows, law_rows
from overopt.reports.output import format_number, print_table

__all__ = ["print_diagnosis"]


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """Sentences first, then the tables they come from."""
    print(f"{diagnosis.n_prompts:,} prompts, {diagnosis.samples_per_prompt:,} samples each; scale {diagnosis.scale}")
    for proxy in diagnosis.proxies.values():
        _print_proxy(proxy)
    if diagnosis.warnings:
        print("\nNotes")
        for warning in diagnosis.warnings:
            print(f"  - {warning}")


def _print_proxy(proxy: ProxyDiagnosis) -> None:
    print(f"\n== {proxy.name}")
    for verdict in proxy.verdicts:
        print(f"  - {verdict}")
    for part in proxy.optimizers:
        print()
        _print_curve(part)
        _print_decomposition(part)
        _print_fit(part)
        _print_stopping(part)


def _print_curve(part: OptimizerDiagnosis) -> None:
    curve = part.curve
    print_table(
        [curve.axis, "KL", "d", "proxy", "gold", "se", "gold over base", "se"],
        [
            [r[curve.axis], r["kl"], r["d"], r["proxy"], r["gold"], r["gold_se"], r["gold_gain"], r["gold_gain_se"]]
            for r in curve_rows(curve)
        ],
        title=f"{curve.method}, KL {curve.kl_kind}, own units",
    )


def _print_decomposition(part: OptimizerDiagnosis) -> None:
    decomposition = part.decomposition
    if decomposition is None:
        return
    best_of_n = isinstance(decomposition, BestOfNDecomposition)
    names = TERMS if best_of_n else (*TERMS, "path_selection", "path_shift")
    axis = "n" if best_of_n else "checkpoint"
    unit = "gold's own units" if decomposition.scale.kind == "raw" else "gold SD"
    print_table(
        [axis, *(name.replace("_", " ") for name in names)],
        [[getattr(point, axis), *(_cell(getattr(point, name)) for name in names)] for point in decomposition.points],
        title=f"where the promise went: {unit}, scale {decomposition.scale.kind} [95% intervals over prompts]",
    )


def _cell(term: Term) -> str:
    if term.estimate is None:
        return "cannot tell"
    if term.interval is None:
        return f"{term.estimate:.2f}"
    return f"{term.estimate:.2f} [{term.interval[0]:.2f}, {term.interval[1]:.2f}]"


def _print_fit(part: OptimizerDiagnosis) -> None:
    fit = part.fit
    if fit is None:
        return
    print(f"{fit}")
    heldout = "" if fit.heldout_d is None else f", fitted up to d = {format_number(fit.heldout_d)} and scored above"
    print_table(
        ["law", "form", "least squares", "weighted", "R2", "held-out RMSE"],
        law_rows(fit),
        title=f"rival laws{heldout}",
    )


def _print_stopping(part: OptimizerDiagnosis) -> None:
    stopping = part.stopping
    if stopping is None:
        return
    print_table(
        ["rule", "sees gold", f"{stopping.axis}", "regret", "sd over splits"],
        [
            [
                rule.name,
                "yes" if rule.sees_gold else "no",
                "base" if rule.choice is None and rule.name != "random" else rule.choice,
                rule.regret,
                rule.regret_se,
            ]
            for rule in stopping.rules
        ],
        title="where to stop: chosen on half of the prompts, judged on the other half",
    )
    for rule, need in stopping.skipped.items():
        print(f"  not tried: {rule} (needs {need})")
