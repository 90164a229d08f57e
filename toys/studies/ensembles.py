"""Ensembles: when does pessimism pay? Light and heavy private tails, private and shared error (K44)."""

from __future__ import annotations

from overopt.toys.run import toy
from overopt.toys.studies.study import Line, Study, verdict

__all__ = ["study"]

_N = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)


def study() -> Study:
    """Exact best-of-n gold under the mean and the min of five members."""
    cases = {
        f"{aggregate}, {errors}{', shared 1' if shared else ''}": toy(
            "ensemble", "best-of-n", _N, replicates=0, aggregate=aggregate, errors=errors, shared_sd=shared
        )
        for aggregate in ("mean", "min")
        for errors in ("gaussian", "student_t")
        for shared in (0.0, 1.0)
    }
    end = {name: curve.points[-1].delivered for name, curve in cases.items()}
    light = end["min, gaussian"] - end["mean, gaussian"]
    heavy = end["min, student_t"] - end["mean, student_t"]
    shared = end["min, gaussian, shared 1"] - end["mean, gaussian, shared 1"]
    return Study(
        claim="Pessimism pays only under heavy-tailed private error; a shared error survives it.",
        verdict=verdict(light < 0.05 and shared < 0.05 and heavy > 0.5),
        finding=(f"Gold of min over mean at n = 1e5: light {light:+.2f}, shared {shared:+.2f}, heavy {heavy:+.2f}."),
        x="d",
        y="gold gained (gold SD)",
        lines=tuple(Line(name, tuple((p.d, p.delivered) for p in curve.points)) for name, curve in cases.items()),
    )
