"""The ledger of claims about overoptimization, each with evidence that is recomputed, never quoted."""

from __future__ import annotations

from overopt.theory.claims.comparison import Comparison, at_least, at_most, equal, printed
from overopt.theory.claims.entry import Claim, Counterexample, Property, Step, claim
from overopt.theory.claims.evaluation import Evidence, Searched, evaluate
from overopt.theory.claims.ledger import find, ledger

__all__ = [
    "Claim",
    "Comparison",
    "Counterexample",
    "Evidence",
    "Property",
    "Searched",
    "Step",
    "at_least",
    "at_most",
    "claim",
    "equal",
    "evaluate",
    "find",
    "ledger",
    "printed",
]
