"""Recompute the evidence for a claim: proof, numbers, counterexample and, where a searcher is given, the property."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from overopt.theory.claims.comparison import Comparison
from overopt.theory.claims.entry import Claim, Property

__all__ = ["Evidence", "Kind", "Search", "Searched", "evaluate"]

Kind = Literal["symbolic", "numeric", "property", "counterexample"]


@dataclass(frozen=True)
class Searched:
    """What a search for a counterexample found."""

    examples: int
    """Worlds on which the property was evaluated (shrinking not counted)."""
    world: Any = None
    """The smallest world that breaks the property, or None if none was found."""
    slack: float = math.inf
    """The smallest slack seen; at ``world`` where there is one."""

    @property
    def holds(self) -> bool:
        """Whether every world that was tried satisfies the property."""
        return self.world is None


Search = Callable[[Property], Searched]


@dataclass(frozen=True)
class Evidence:
    """Freshly computed evidence; ``ok`` says whether all of it agrees with the verdict."""

    id: str
    title: str
    verdict: str
    evidence: tuple[Kind, ...]
    max_deviation: float
    """The largest deviation of any comparison, dimensionless (see :class:`Comparison`); 0 for exact evidence."""
    ok: bool
    failures: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    searched: Searched | None


def evaluate(claim: Claim, search: Search | None = None) -> Evidence:
    """Run a claim's proof, check and counterexample, and its property where ``search`` is given.

    Parameters
    ----------
    claim
        The entry.
    search
        Draws worlds and reports the smallest violation: ``overopt.toys.claim_search`` makes one. Without it the
        property counts neither for nor against the claim.
    """
    kinds: list[Kind] = []
    failures: list[str] = []
    comparisons: list[Comparison] = []
    if claim.proof is not None:
        kinds.append("symbolic")
        failures += _attempt("proof", lambda: _unproved(claim))
    if claim.check is not None:
        kinds.append("numeric")
        failures += _attempt("check", lambda: _compare(claim.check, comparisons))
    searched: list[Searched] = []
    if claim.property is not None and search is not None:
        kinds.append("property")
        failures += _attempt("property", lambda: _searched(claim, search, searched))
    if claim.counterexample is not None:
        kinds.append("counterexample")
        stored = claim.counterexample
        failures += _attempt("counterexample", lambda: _compare(lambda: stored.reproduce(**stored.data), comparisons))
    if not kinds:
        failures.append("no evidence was computed")
    if claim.verdict != "true" and claim.counterexample is None and not (searched and not searched[0].holds):
        failures.append(f"a {claim.verdict} claim needs a counterexample, stored or found")
    deviation = max((math.inf if math.isnan(c.deviation) else c.deviation for c in comparisons), default=0.0)
    return Evidence(
        id=claim.id, title=claim.title, verdict=claim.verdict, evidence=tuple(kinds), max_deviation=deviation,
        ok=not failures, failures=tuple(failures), comparisons=tuple(comparisons),
        searched=searched[0] if searched else None,
    )  # fmt: skip


def _attempt(part: str, run: Callable[[], list[str]]) -> list[str]:
    """Evidence that cannot be computed is evidence that does not agree; the run over the other claims goes on."""
    try:
        return run()
    except Exception as error:
        return [f"{part} raised {type(error).__name__}: {error}"]


def _unproved(claim: Claim) -> list[str]:
    import sympy

    assert claim.proof is not None
    steps = list(claim.proof())
    if not steps:
        return ["the proof has no step"]
    return [
        f"proof step '{step.label}' leaves {residual}"
        for step in steps
        if (residual := sympy.simplify(step.left - step.right)) != 0
    ]


def _compare(run: Any, comparisons: list[Comparison]) -> list[str]:
    made = list(run())
    comparisons += made
    if not made:
        return ["nothing was compared"]
    return [
        f"{c.what}: {c.value:.10g} against {c.reference:.10g} (deviation {c.deviation:.2g} > {c.tolerance:.2g})"
        for c in made
        if not c.ok
    ]


def _searched(claim: Claim, search: Search, into: list[Searched]) -> list[str]:
    assert claim.property is not None
    found = search(claim.property)
    into.append(found)
    if claim.verdict == "false":
        return ["the search found no counterexample"] if found.holds else []
    return [] if found.holds else [f"the search found a counterexample: {found.world}"]
