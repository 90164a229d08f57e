"""Retraining the proxy: fresh errors average out, a shared one does not (K43)."""

from __future__ import annotations

import math

from overopt.toys.run import toy
from overopt.toys.studies.study import Line, Study, verdict

__all__ = ["study"]

_ROUNDS = (1, 2, 4, 8, 16)


def study() -> Study:
    """Gold per unit of shift, ``gold / sqrt(2 KL)``, against the number of rounds."""
    lines = []
    for fresh in (True, False):
        curve = toy(
            "linear-rm", "iterated-retraining", _ROUNDS, replicates=0, seeds=10, labels=100, dimensions=100,
            round_kl=0.1, fresh=fresh,
        )  # fmt: skip
        name = "fresh labels" if fresh else "one model"
        lines.append(Line(name, tuple((p.pressure, p.delivered / math.sqrt(2 * p.kl)) for p in curve.points)))
    gained = lines[0].points[-1][1] - lines[0].points[0][1]
    kept = lines[1].points[-1][1] - lines[1].points[0][1]
    return Study(
        claim="Iterating raises the slope of gold with independent errors, and leaves it unchanged with a shared one.",
        verdict=verdict(gained > 0.1 and abs(kept) < 0.01),
        finding=f"Slope gained from 1 to 16 rounds: fresh {gained:+.2f}, one model {kept:+.2f}.",
        x="rounds",
        y="gold per unit of shift",
        lines=tuple(lines),
    )
