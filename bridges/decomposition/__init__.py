"""Where promised reward goes: regressional, extremal, causal, unattributed, delivered."""

from __future__ import annotations

from overopt.bridges.decomposition.best_of_n_decomposition import (
    BestOfNDecomposition,
    BestOfNPoint,
    decompose_best_of_n,
)
from overopt.bridges.decomposition.checkpoint_decomposition import (
    CheckpointDecomposition,
    CheckpointPoint,
    decompose_checkpoints,
)
from overopt.bridges.decomposition.independence import IndependenceTest, independence_test
from overopt.bridges.decomposition.kl_budget import KLBudget
from overopt.bridges.decomposition.scale import MeasurementScale, ScaleKind
from overopt.bridges.decomposition.terms import Term

__all__ = [
    "BestOfNDecomposition",
    "BestOfNPoint",
    "CheckpointDecomposition",
    "CheckpointPoint",
    "IndependenceTest",
    "KLBudget",
    "MeasurementScale",
    "ScaleKind",
    "Term",
    "decompose_best_of_n",
    "decompose_checkpoints",
    "independence_test",
]
