"""Where beta comes from, mechanism by mechanism: exact best-of-n gold against d (K27 to K33)."""

from __future__ import annotations

import numpy as np

from overopt.toys.fit import fit_toy_curve
from overopt.toys.run import toy
from overopt.toys.studies.study import Line, Study, verdict

__all__ = ["study"]

_N = tuple(2.0 ** np.arange(1, 11))


def study() -> Study:
    """Gaussian noise has beta about -.02, Laplace noise +.25 without any dependence, a parabola's beta is real."""
    curves = {
        "gaussian noise": toy("additive", "best-of-n", _N, replicates=0),
        "laplace noise": toy("additive", "best-of-n", _N, replicates=0, noise="laplace"),
        "parabola": toy("quadratic", "best-of-n", _N, replicates=0),
        "break points": toy("break-points", "best-of-n", _N, replicates=0),
    }
    fits = {name: fit_toy_curve(curve, "bon") for name, curve in curves.items()}
    beta = {name: fit["beta"] for name, fit in fits.items() if fit is not None}
    as_stated = abs(beta["gaussian noise"] + 0.02) < 0.01 and abs(beta["laplace noise"] - 0.25) < 0.02
    return Study(
        claim="beta is about -.02 for Gaussian noise, +.25 for Laplace noise, and positive where gold bends.",
        verdict=verdict(as_stated and min(beta["parabola"], beta["break points"]) > 0),
        finding="beta: " + ", ".join(f"{name} {value:+.3f}" for name, value in beta.items()) + ".",
        x="d",
        y="gold gained (gold SD)",
        lines=tuple(Line(name, tuple((p.d, p.delivered) for p in curve.points)) for name, curve in curves.items()),
    )
