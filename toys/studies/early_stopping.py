"""A KL penalty against early stopping, under the natural and the vanilla gradient (K39)."""

from __future__ import annotations

import numpy as np

from overopt.toys.optimizers.policy_gradient import Gradient, PolicyGradient
from overopt.toys.studies.study import Line, Study, verdict
from overopt.toys.worlds.tabular import Tabular

__all__ = ["study"]

_STEPS = tuple(range(0, 161, 4))


def _path(gradient: Gradient, penalty: float) -> tuple[tuple[float, float], ...]:
    settings = PolicyGradient(learning_rate=0.01, kl_penalty=penalty)
    world = Tabular(prompts=16, actions=200, gradient=settings)
    base = world.draw(np.random.default_rng(0))
    points = [
        base.point(step, policy) for step, policy in zip(_STEPS, world.train(base, gradient, _STEPS), strict=True)
    ]
    return tuple((point.kl, point.promise) for point in points)


def _distance(first: tuple[tuple[float, float], ...], second: tuple[tuple[float, float], ...]) -> float:
    """Largest difference in proxy at equal KL, over the KLs that both reach."""
    a, b = np.array(first), np.array(second)
    grid = np.linspace(0.05, min(a[:, 0].max(), b[:, 0].max()), 40)
    return float(np.abs(np.interp(grid, *a.T) - np.interp(grid, *b.T)).max())


def study() -> Study:
    """Both move along one proxy-KL curve under the natural gradient, along two under the vanilla one."""
    gradients: tuple[Gradient, ...] = ("natural", "vanilla")
    paths = {(gradient, penalty): _path(gradient, penalty) for gradient in gradients for penalty in (0.0, 0.5)}
    natural, vanilla = (_distance(paths[g, 0.0], paths[g, 0.5]) for g in gradients)
    return Study(
        claim="A KL penalty is early stopping under the natural gradient, and not under the vanilla one.",
        verdict=verdict(natural < 0.02 < 0.05 < vanilla),
        finding=f"Largest difference in proxy at equal KL: natural {natural:.3f}, vanilla {vanilla:.3f} gold SD.",
        x="KL (nats)",
        y="proxy gained (gold SD)",
        lines=tuple(
            Line(gradient + (", KL penalty 0.5" if penalty else ", no penalty"), path)
            for (gradient, penalty), path in paths.items()
        ),
    )
