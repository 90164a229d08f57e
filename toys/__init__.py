"""Cheap optimization of worlds with known ground truth, every optimizer on one exact KL axis.

``from overopt.toys import toy; print(toy("additive", pressures=[1, 42, 1000], noise="student_t"))``.
Numpy only at import time; torch is optional and imported where it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overopt.toys.curve import ToyCurve, ToyPoint
    from overopt.toys.run import simulate, toy

__all__ = ["ToyCurve", "ToyPoint", "simulate", "toy"]


def __getattr__(name: str) -> Any:
    """Load the worlds on first use: they need scipy."""
    if name in ("simulate", "toy"):
        from overopt.toys.run import simulate, toy

        return {"simulate": simulate, "toy": toy}[name]
    if name in ("ToyCurve", "ToyPoint"):
        from overopt.toys import curve

        return getattr(curve, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
