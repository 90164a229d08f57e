"""Best-of-n against policy gradient in the three-submodule world, with and without a KL penalty (K35, K36)."""

from __future__ import annotations

from overopt.toys.run import toy
from overopt.toys.studies.study import Line, Study, verdict

__all__ = ["study"]


def study() -> Study:
    """Selection on persuasiveness raises truth; a gradient on the weights lowers it even under a KL penalty."""
    curves = {
        "best-of-n": toy("three-submodules", "best-of-n", (1, 2, 4, 16, 64, 256), replicates=0),
        "conditioning": toy("three-submodules", "threshold", (-3, -1, 0, 1, 2), replicates=0),
        "gradient": toy("three-submodules", "weights-gradient", (0, 20, 50, 100, 200), replicates=0),
        "gradient, KL penalty 0.05": toy(
            "three-submodules", "weights-gradient", (0, 20, 50, 100, 500), replicates=0, kl_penalty=0.05
        ),
    }
    ends = {name: curve.points[-1].delivered for name, curve in curves.items()}
    selected, moved = list(ends.values())[:2], list(ends.values())[2:]
    return Study(
        claim="Conditioning on persuasiveness raises truth; a gradient on the weights lowers it, with and without KL.",
        verdict=verdict(min(selected) > 0 > max(moved)),
        finding="Truth gained at the last point, gold SD: " + ", ".join(f"{k} {v:+.2f}" for k, v in ends.items()) + ".",
        x="KL (nats)",
        y="truth gained (gold SD)",
        lines=tuple(Line(name, tuple((p.kl, p.delivered) for p in curve.points)) for name, curve in curves.items()),
    )
