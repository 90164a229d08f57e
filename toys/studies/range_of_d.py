"""Which law fits a curve best, the quadratic or the log form, is decided by the range of d (K32)."""

from __future__ import annotations

import numpy as np

from overopt.theory.scaling_laws import LAWS, fit_law
from overopt.toys.run import toy
from overopt.toys.studies.study import Line, Study, verdict

__all__ = ["study"]


def _advantage(d: np.ndarray, gold: np.ndarray) -> float:
    """log of (rmse of the log form / rmse of the quadratic form): above 0 the quadratic form wins."""
    bon, rl = (float(fit_law(LAWS[name], d, gold).rmse) for name in ("bon", "rl"))
    return float(np.log(rl / bon))


def study() -> Study:
    """Fit both forms to exact curves of the log-uniform break-point world, cut at growing d."""
    curves = {
        "best-of-n": toy("break-points", "best-of-n", tuple(2.0 ** np.arange(1, 41)), replicates=0),
        "tilt": toy("break-points", "exponential-tilt", tuple(np.linspace(0.1, 3.2, 40)), replicates=0),
    }
    lines, winners = [], {}
    for name, curve in curves.items():
        d, gold = curve.column("d"), curve.column("delivered")
        points = tuple((float(d[k - 1]), _advantage(d[:k], gold[:k])) for k in range(6, d.size + 1))
        lines.append(Line(name, points))
        winners[name] = {bool(value > 0) for _, value in points}
    changes = [name for name, found in winners.items() if len(found) == 2]
    return Study(
        claim="The range of d, not the optimizer, decides whether the quadratic or the log form fits best.",
        verdict=verdict(len(changes) == 2),
        finding=f"The better form changes with the range for: {', '.join(changes) or 'none'}.",
        x="largest d in the fit",
        y="log(rmse of log form / rmse of quadratic)",
        lines=tuple(lines),
    )
