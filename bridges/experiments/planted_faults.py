"""Does the decomposition name the fault that was planted? The largest term, and whether the others cover 0."""

from __future__ import annotations

import numpy as np

from overopt.bridges.experiments.reading import Verdict, trend
from overopt.bridges.run_summary import RunSummary, SplitRow, Trend

__all__ = ["EXPECTED", "planted_trends"]

TERMS = ("regressional", "extremal", "causal", "unattributed")

NEGLIGIBLE = 0.02
"""Gold SD below which a term without an interval counts as nothing: few samples lie outside the support then."""

EXPECTED: dict[tuple[str, str], tuple[str, ...]] = {
    ("noise", "best-of-n"): ("regressional",),
    ("noise", "ppo"): (),
    ("bend", "best-of-n"): ("extremal",),
    ("bend", "ppo"): ("extremal",),
    ("length", "best-of-n"): ("regressional",),
    ("length", "ppo"): ("causal",),
    ("exploit", "best-of-n"): ("extremal", "unattributed"),
    ("exploit", "ppo"): ("extremal", "unattributed"),
}
"""(fault, optimizer) -> the term that the fault was expected to show in before it was run; none: no gap at all.

What the kept run says against this list, and why. A length bonus, or one for a token, that does not depend on gold is
*noise* as long as base samples show it too: PPO turns towards the reward as a tilt by the proxy does, samples of equal
proxy stay worth what they were, and the loss is regressional, not causal or extremal. It is causal only where a policy
moves the correlate without the proxy's consent, beyond what base samples of equal proxy show. And regressional is never
0 beside another fault: any spread of the error would cost that much under selection if it were independent of gold."""


def planted_trends(run: RunSummary) -> list[Trend]:
    """Two lines per fault and optimizer: the planted term is the largest, and the others' intervals cover 0."""
    trends: list[Trend] = []
    for proxy in (proxy for proxy in run.proxies if proxy.kind == "planted"):
        fault = proxy.name.removeprefix("planted-")
        for optimizer in ("best-of-n", "ppo"):
            rows = _judged_rows(run, optimizer, proxy.name)
            if rows and (fault, optimizer) in EXPECTED:
                trends += _judge(fault, optimizer, rows, EXPECTED[fault, optimizer])
    return trends


def _judged_rows(run: RunSummary, optimizer: str, proxy: str) -> list[SplitRow]:
    """Best-of-n at a quarter of the bank, where its decomposition is measured well; PPO at every seed's end."""
    rows = [row for row in run.splits if (row.method, row.proxy_name) == (optimizer, proxy)]
    if optimizer == "best-of-n":
        largest = max((row.pressure for row in rows), default=0.0)
        rows = [row for row in rows if row.pressure <= largest / 4]
        return rows[-1:]
    ends = {row.seed: row for row in sorted(rows, key=lambda row: row.pressure)}
    return list(ends.values())


def _judge(fault: str, optimizer: str, rows: list[SplitRow], expected: tuple[str, ...]) -> list[Trend]:
    where = f"Planted {fault}, {optimizer}"
    evidence = "; ".join(_terms(row) for row in rows)
    if not expected:
        closed = [abs(_gap(row)) <= _gap_half_width(row) for row in rows]
        verdict: Verdict = "reproduced" if all(closed) else "not reproduced"
        gaps = "; ".join(f"{_gap(row):+.2f} ± {_gap_half_width(row):.2f}" for row in rows)
        return [trend(f"{where}: no gap between promise and delivered.", verdict, f"gap {gaps}; {evidence}")]
    found: list[bool | None] = []
    alone: list[bool | None] = []
    others = [term for term in TERMS if term not in expected]
    for row in rows:
        values = {term: getattr(row, term) for term in TERMS}
        known = {term: row.ci[term] for term in TERMS if values[term] is not None and term in row.ci}
        if None in values.values() or not any(term in known for term in expected):
            found.append(None)
        else:
            largest = sum(values[term] for term in expected) > max(values[term] for term in others)
            found.append(largest and any(term in known and known[term][0] > 0 for term in expected))
        nothing = [_is_nothing(row, term) for term in others]
        alone.append(False if False in nothing else None if None in nothing else True)
    name = " + ".join(expected)
    return [
        trend(f"{where}: {name} is the largest term and its interval excludes 0.", _all(found), evidence),
        trend(
            f"{where}: the intervals of the other terms cover 0.", _all(alone),
            f"{alone.count(True)} of {len(alone)} rows",
        ),
    ]  # fmt: skip


def _is_nothing(row: SplitRow, term: str) -> bool | None:
    """Whether a term's interval covers 0; None where it cannot be told."""
    value = getattr(row, term)
    if value is None:
        return None
    if term in row.ci:
        return row.ci[term][0] <= 0 <= row.ci[term][1]
    return True if abs(value) < NEGLIGIBLE else None


def _all(holds: list[bool | None]) -> Verdict:
    """None is a row that cannot tell."""
    return "not reproduced" if False in holds else "cannot tell" if None in holds else "reproduced"


def _gap(row: SplitRow) -> float:
    return (row.promise or 0.0) - (row.delivered or 0.0)


def _gap_half_width(row: SplitRow) -> float:
    """Promise and delivered taken as independent: wider than the truth where they rise together."""
    widths = [(row.ci[term][1] - row.ci[term][0]) / 2 for term in ("promise", "delivered") if term in row.ci]
    return float(np.hypot.reduce(widths)) if widths else 0.0


def _terms(row: SplitRow) -> str:
    parts = []
    for term in TERMS:
        value = getattr(row, term)
        if value is None:
            parts.append(f"{term} unknown")
        else:
            interval = f" [{row.ci[term][0]:+.2f}, {row.ci[term][1]:+.2f}]" if term in row.ci else ""
            parts.append(f"{term} {value:+.2f}{interval}")
    where = f"n = {row.pressure:.0f}" if row.method == "best-of-n" else f"seed {row.seed}, KL {row.kl or 0.0:.0f}"
    path = "" if row.path_shift is None else f", shift along the path {row.path_shift:+.2f}"
    return f"{where}: {', '.join(parts)}{path}"
