"""The near-chance data threshold as an effective dimension (K49)."""

from __future__ import annotations

import numpy as np

from overopt.toys.studies.study import Line, Study, verdict
from overopt.toys.worlds.linear_reward_model import LinearRewardModel

__all__ = ["study"]

_SEEDS = 60


def study() -> Study:
    """cos^2 of the learned reward with gold against labels per dimension: one curve for all dimensions."""
    rng = np.random.default_rng(0)
    lines, worst = [], 0.0
    for dimensions in (10, 50, 200):
        points = []
        for ratio in (0.1, 0.3, 1.0, 3.0, 10.0):
            world = LinearRewardModel(labels=max(1, round(ratio * dimensions)), dimensions=dimensions)
            squares = np.array([(world.learn(rng) @ world.annotator_direction) ** 2 for _ in range(_SEEDS)])
            points.append((ratio, float(squares.mean())))
            error = float(squares.std(ddof=1)) / _SEEDS**0.5
            worst = max(worst, abs(points[-1][1] - world.expected_signal_share()) / (error + 1 / dimensions))
        lines.append(Line(f"D = {dimensions}", tuple(points)))
    return Study(
        claim="The label threshold of a linear reward model scales with its dimension: cos^2 = (2N/pi) / (2N/pi + D).",
        verdict=verdict(worst < 5),
        finding=f"Largest deviation from the formula: {worst:.1f} (standard error + 1/D).",
        x="labels per dimension",
        y="cos² with gold",
        lines=tuple(lines),
    )
