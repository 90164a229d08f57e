"""Missing features: a proxy that leaves out what gold needs (Zhuang & Hadfield-Menell 2020, 2102.03896).

Gold is `sum_i w_i log(x_i)` under one shared budget `sum_i c_i x_i <= B` and floors `x_i >= b_i`. The proxy knows the
features in `included` only, so that its optimum drives every other feature to its floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overopt.theory.errors import InputError
from overopt.theory.numerics import BUDGET_TOLERANCE

__all__ = ["FeatureBudget", "feature_path"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeatureBudget:
    """Logarithmic utility under a linear budget.

    Parameters
    ----------
    weights, costs, floors : positive, shape (features,).
    budget : more than the cost of all floors.
    """

    weights: Array
    costs: Array
    floors: Array
    budget: float

    def __post_init__(self) -> None:
        for name in ("weights", "costs", "floors"):
            values = np.asarray(getattr(self, name), dtype=float)
            if values.shape != np.shape(self.weights) or not np.all(values > 0):
                raise InputError(f"`{name}` must be > 0 with one entry per feature.")
        if not self.budget > float(np.dot(self.costs, self.floors)):
            raise InputError(f"`budget` must exceed the cost of the floors, got {self.budget:g}.")

    def gold(self, x: ArrayLike) -> Array:
        """`sum_i w_i log(x_i)` along the last axis."""
        result: Array = np.log(np.asarray(x, dtype=float)) @ self.weights
        return result

    def proxy(self, x: ArrayLike, included: ArrayLike) -> Array:
        """Gold's terms of the `included` features alone (a mask of shape (features,))."""
        result: Array = np.log(np.asarray(x, dtype=float)) @ (self.weights * np.asarray(included, dtype=bool))
        return result

    def optimum(self, included: ArrayLike) -> Array:
        """Maximiser of the proxy that knows the features in `included`; the gold optimum if all are.

        Water-filling: `x_i = max(b_i, w_i/(mu c_i))` on the included features, the floor elsewhere.
        """
        known = np.asarray(included, dtype=bool)
        if not known.any():
            raise InputError("`included` must hold at least one feature.")
        active = known.copy()
        while True:
            left = self.budget - float((self.costs * self.floors)[~active].sum())
            share = self.weights / self.weights[active].sum() * left / self.costs
            below = active & (share < self.floors)
            if not below.any():
                return np.where(active, share, self.floors)
            active &= ~below

    def loss(self, included: ArrayLike) -> float:
        """Gold at the optimum of gold minus gold at the optimum of the proxy.

        Grows without bound as the floor of a missing feature goes to 0 (their theorem: gold is lost because every
        feature competes for one resource); it is 0 iff the missing features sit at their floor in the gold optimum too.
        """
        best = self.optimum(np.ones(len(self.weights), dtype=bool))
        return float(self.gold(best) - self.gold(self.optimum(included)))


def feature_path(problem: FeatureBudget, start: ArrayLike, included: ArrayLike, steps: int) -> Array:
    """States on the segment from a feasible `start` to the proxy's optimum, shape (steps + 1, features).

    The proxy rises all the way (it is concave and ends at its maximum); gold is concave along the segment, so that it
    rises, turns at most once and falls.
    """
    first = np.asarray(start, dtype=float)
    if np.any(first < problem.floors) or float(problem.costs @ first) > problem.budget * (1 + BUDGET_TOLERANCE):
        raise InputError("`start` must respect the floors and the budget.")
    if steps < 1:
        raise InputError(f"`steps` must be >= 1, got {steps}.")
    share = np.linspace(0.0, 1.0, steps + 1)[:, None]
    result: Array = (1 - share) * first + share * problem.optimum(included)
    return result
