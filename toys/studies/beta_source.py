"""The paper's parametric decomposition against the exact one over many worlds: when does beta mislead? (K27)"""

from __future__ import annotations

from typing import Any

import numpy as np

from overopt.toys.fit import fit_toy_curve
from overopt.toys.run import toy
from overopt.toys.studies.study import Line, Study, verdict

__all__ = ["WORLDS", "study"]

_N = tuple(2.0 ** np.arange(1, 11))
_MARGIN = 0.05

WORLDS: dict[str, tuple[str, dict[str, Any]]] = {
    **{noise: ("additive", {"noise": noise}) for noise in ("gaussian", "uniform", "laplace", "logistic", "student_t")},
    **{name: (name, {}) for name in (
        "quadratic", "kink", "saturation", "break-points", "missing-features", "feasible-region", "adversarial-mode",
        "common-cause-length",
    )},
}  # fmt: skip


def study() -> Study:
    """beta > 0 without an extremal loss misleads; so does an extremal loss without beta."""
    points, misled = [], []
    for name, (world, parameters) in WORLDS.items():
        curve = toy(world, "best-of-n", _N, replicates=0, **parameters)
        fit = fit_toy_curve(curve, "bon")
        assert fit is not None
        extremal = curve.points[-1].extremal
        points.append((name, fit["beta"], extremal))
        if (fit["beta"] > _MARGIN) != (extremal > _MARGIN):
            misled.append(f"{name} (beta {fit['beta']:+.2f}, extremal {extremal:+.2f})")
    independent = [name for name, beta, extremal in points if beta > _MARGIN and abs(extremal) < 1e-9]
    return Study(
        claim="A fitted beta > 0 does not mean extremal Goodhart.",
        verdict=verdict(bool(independent)),
        finding=f"beta misleads in {len(misled)} of {len(points)} worlds: {'; '.join(misled)}.",
        x="fitted beta, best-of-n, n = 2..1024",
        y="exact extremal loss at n = 1024 (gold SD)",
        lines=tuple(Line(name, ((beta, extremal),)) for name, beta, extremal in points),
    )
