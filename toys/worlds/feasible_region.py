"""A feasible region: approval and usefulness are correlated over it, but its most approved corner is hardly useful.

The base policy is uniform on a triangle. Nothing pulls the two apart but the shape of what is possible: maximal
approval forces low usefulness, so that conditioning on approval, the mildest optimizer of all, already destroys the
correlation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError
from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.closed_form_law import ClosedFormLaw
from overopt.toys.worlds.density import Density, piecewise_linear_density
from overopt.toys.worlds.independent_sum import IndependentSum
from overopt.toys.worlds.joint import Joint, Scale

__all__ = ["FeasibleRegion"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeasibleRegion:
    """Base policy uniform on the triangle (approval, usefulness) = (0, 0), (best, 1), (1, corner)."""

    best: float = 0.7
    """Approval of the most useful output, in (0, 1)."""
    corner: float = 0.1
    """Usefulness of the most approved output, in [0, 1)."""

    def __post_init__(self) -> None:
        if not 0 < self.best < 1:
            raise InputError(f"`best` must lie in (0, 1), got {self.best:g}.")
        if not 0 <= self.corner < 1:
            raise InputError(f"`corner` must lie in [0, 1), got {self.corner:g}.")
        if self.scale.kind != "slope":
            raise InputError(
                f"`best` must leave approval and usefulness positively correlated, got {self.best:g} with corner "
                f"{self.corner:g}."
            )

    @property
    def _vertices(self) -> tuple[Array, Array]:
        return np.array([0.0, self.best, 1.0]), np.array([0.0, 1.0, self.corner])

    @cached_property
    def scale(self) -> Scale:
        """A uniform triangle has mean = mean of its vertices and covariance = that of its vertices / 4."""
        proxy, gold = self._vertices
        covariance = np.cov(np.stack([gold, proxy]), bias=True) / 4
        sd = np.sqrt(np.diag(covariance))
        return Scale.of_moments(
            float(gold.mean()),
            float(sd[0]),
            float(proxy.mean()),
            float(sd[1]),
            float(covariance[0, 1] / (sd[0] * sd[1])),
        )

    def _chord(self, proxy: Array) -> tuple[Array, Array]:
        """Middle and half length of the feasible usefulness at each approval, raw."""
        ceiling = np.interp(proxy, [0.0, self.best, 1.0], [0.0, 1.0, self.corner])
        floor = self.corner * np.asarray(proxy)
        return np.asarray((ceiling + floor) / 2), np.asarray(np.abs(ceiling - floor) / 2)

    @cached_property
    def joint(self) -> Joint:
        """Approval has a triangular density, usefulness is uniform on a chord; gold and error are triangular too."""
        scale, best = self.scale, self.best
        vertices_proxy, vertices_gold = scale.proxy(self._vertices[0]), scale.gold(self._vertices[1])

        def raw(proxy: Array) -> Array:
            return np.clip(np.asarray(proxy) * scale.proxy_unit + scale.proxy_mean, 0.0, 1.0)

        def areas(proxy: Array) -> tuple[Array, Array]:
            """Share of the triangle left of an approval below ``best``, and right of one above it."""
            a = raw(proxy)
            return np.minimum(a**2 / best, 1.0), np.minimum((1 - a) ** 2 / (1 - best), 1.0)

        def log_pdf(proxy: Array) -> Array:
            a = raw(proxy)
            with np.errstate(divide="ignore"):
                return np.asarray(np.log(2 * scale.proxy_unit * np.minimum(a / best, (1 - a) / (1 - best))))

        def log_cdf(proxy: Array) -> Array:
            below, above = areas(proxy)
            with np.errstate(divide="ignore"):
                return np.where(raw(proxy) < best, np.log(below), np.log1p(-above))

        def log_sf(proxy: Array) -> Array:
            below, above = areas(proxy)
            with np.errstate(divide="ignore"):
                return np.where(raw(proxy) < best, np.log1p(-below), np.log(above))

        # Panels shrink towards both ends: best-of-n lives at a distance of n^(-1/2) from the corner.
        towards = 2.0 ** -np.arange(0.0, 31.0)
        raw_edges = np.concatenate([best * towards, 1 - (1 - best) * towards, [0.0, 1.0]])
        exact = ClosedFormLaw(
            np.unique(scale.proxy(raw_edges)), log_pdf, log_cdf, log_sf, lambda p: scale.gold(self._chord(raw(p))[0])
        )

        def draw_gold(rng: np.random.Generator, proxy: Array) -> Array:
            middle, half = self._chord(raw(proxy))
            return scale.gold(middle + half * rng.uniform(-1.0, 1.0, np.shape(proxy)))

        def draw_base(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
            corners = rng.dirichlet(np.ones(3), size)
            return np.asarray(corners @ vertices_gold), np.asarray(corners @ vertices_proxy)

        null = IndependentSum(_projection(vertices_gold), _projection(vertices_proxy - vertices_gold))
        return Joint(
            scale=scale, law=exact.law, quantile=exact.quantile, logit=exact.logit,
            draw_gold=draw_gold, draw_base=draw_base, null=null,
        )  # fmt: skip

    def limit(self) -> float:
        """Gold in gold SD under unbounded optimization: the usefulness of the most approved corner."""
        return float(self.scale.gold(np.asarray(self.corner)))

    def runners(self) -> dict[str, Runner]:
        """The five proxy-only optimizers."""
        return selection_runners(self.joint)


def _projection(vertices: Array) -> Density:
    """A linear image of the uniform law on a triangle has the triangular density over its vertices' images."""
    return piecewise_linear_density(np.sort(vertices), np.array([0.0, 1.0, 0.0]))
