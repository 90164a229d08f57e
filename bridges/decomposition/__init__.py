"""Where promised reward goes: regressional, extremal, causal, unattributed, delivered."""

from __future__ import annotations

from overopt.bridges.decomposition.best_of_n_decomposition import (
    BestOfNDecomposition,
    BestOfNPoint,
    decompose_best_of_n,
)
from overopt.bridges.decomposition.independence import IndependenceTest, independence_test
from overopt.bridges.decomposition.scale import MeasurementScale, ScaleKind
from overopt.bridges.decomposition.terms import Term

__all__ = [
    "BestOfNDecomposition",
    "BestOfNPoint",
    "IndependenceTest",
    "MeasurementScale",
    "ScaleKind",
    "Term",
    "decompose_best_of_n",
    "independence_test",
]
