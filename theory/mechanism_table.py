"""The map from mechanism to law: what each mechanism implies and what the paper's protocol would report for it.

Which of the two paper forms fits better is read off two ranges of d, for best-of-n and for the tilt over the same KL:
the range decides it, not the optimizer (ledger K32).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overopt.theory.additive import additive_world
from overopt.theory.best_of_n import n_at_kl
from overopt.theory.exponential_tilt import cumulant
from overopt.theory.mechanisms import (
    PAPER_N,
    Affine,
    Kink,
    LogUniformBreakPoints,
    Mechanism,
    PowerBreakPoints,
    QuadraticGold,
    Saturation,
    UniformBreakPoints,
    adversarial_mode,
    read_law,
)
from overopt.theory.world import World

__all__ = ["MechanismRow", "mechanism_table", "standard_worlds"]


@dataclass(frozen=True)
class MechanismRow:
    """One mechanism.

    `implied` is the exact law of the tilt and its coefficients, if there is one. `alpha`, `beta` and `r2` belong to the
    quadratic form fitted to best-of-n at n = 2 .. 1024; `short` and `long` name the better of `bon` and `rl` on the
    shorter and the longer range of KL, for (best-of-n, tilt), with None where the tilt does not exist.
    """

    mechanism: str
    implied: tuple[str, tuple[float, ...]] | None
    alpha: float
    beta: float
    r2: float
    short: tuple[str, str | None]
    long: tuple[str, str | None]


def standard_worlds(*, mode_mass: float = 1e-3) -> dict[str, World]:
    """One world per mechanism, over a standard normal proxy or unit-variance independent noise."""
    from scipy import stats

    noises: dict[str, Any] = {
        "Gaussian noise": stats.norm(),
        "uniform noise": stats.uniform(-np.sqrt(3), 2 * np.sqrt(3)),
        "Laplace noise": stats.laplace(scale=np.sqrt(0.5)),
        "Student t3 noise": stats.t(3, scale=np.sqrt(1 / 3)),
    }
    mechanisms: dict[str, Mechanism] = {
        "affine": Affine(),
        "quadratic gold": QuadraticGold(),
        "uniform break-points": UniformBreakPoints(),
        "log-uniform break-points": LogUniformBreakPoints(),
        "power break-points": PowerBreakPoints(),
        "saturation": Saturation(),
        "kink": Kink(),
    }
    worlds = {name: additive_world(stats.norm(), noise) for name, noise in noises.items()}
    worlds |= {name: World(stats.norm(), mechanism) for name, mechanism in mechanisms.items()}
    return worlds | {"adversarial mode": adversarial_mode(mode_mass)}


def _kl_grid(largest: float, *, smallest: float = 0.2, points: int = 12) -> NDArray[np.float64]:
    grid: NDArray[np.float64] = np.geomspace(smallest, largest, points)
    return grid


def _preferred(world: World, kl: NDArray[np.float64], *, tilt: bool) -> tuple[str, str | None]:
    reading = read_law(world, n=n_at_kl(kl), tilt_kl=kl if tilt else (), laws=("bon", "rl"))
    return reading.preferred("best_of_n"), reading.preferred("tilt") if tilt else None


def mechanism_table(
    worlds: dict[str, World] | None = None, *, short_kl: float = 6.0, long_kl: float = 35.0
) -> list[MechanismRow]:
    """A row for every world; default `standard_worlds()`. Preferences are read up to `short_kl` and `long_kl` nats."""
    rows = []
    for name, world in (standard_worlds() if worlds is None else worlds).items():
        tilt = bool(np.isfinite(cumulant(world, 1.0)))
        fit = read_law(world, n=PAPER_N, tilt_kl=(), laws=("bon",)).best_of_n["bon"]
        rows.append(
            MechanismRow(
                mechanism=name,
                implied=world.gold.implied_law() if isinstance(world.gold, Mechanism) else None,
                alpha=float(fit.coefficients[0]),
                beta=float(fit.coefficients[1]),
                r2=float(fit.r2),
                short=_preferred(world, _kl_grid(short_kl), tilt=tilt),
                long=_preferred(world, _kl_grid(long_kl), tilt=tilt),
            )
        )
    return rows
