"""A rare adversarial mode: with probability ``share`` the base policy emits a sample whose proxy is high and whose
gold is low.

Best-of-n finds it with probability about ``1 - (1 - share)^n``; the tilt jumps to it at a lower KL, a first-order
transition (ledger K34). Seen in the base bank it is a jump of the extremal term.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from overopt.theory.errors import InputError
from overopt.toys.runner import Runner
from overopt.toys.selection_runners import selection_runners
from overopt.toys.worlds.gaussian_mixture import GaussianMixture
from overopt.toys.worlds.joint import Joint
from overopt.toys.worlds.regression import check_positive

__all__ = ["AdversarialMode"]


@dataclass(frozen=True)
class AdversarialMode:
    """Ordinary samples: gold N(0, 1), proxy = gold + Gaussian noise. Adversarial ones: proxy N(height, spread^2), gold
    N(low, 1).
    """

    share: float = 1e-3
    """Base probability of the mode, in (0, 1)."""
    height: float = 8.0
    """Mean proxy of the mode."""
    spread: float = 0.5
    """SD of its proxy, > 0."""
    low: float = -3.0
    """Mean gold of the mode."""
    noise_sd: float = 1.0
    """SD of the ordinary samples' noise, > 0."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"`share` must lie in (0, 1), got {self.share:g}.")
        check_positive("spread", self.spread)
        check_positive("noise_sd", self.noise_sd)
        for name in ("height", "low"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(f"`{name}` must be a finite number, got {getattr(self, name):g}.")

    @cached_property
    def joint(self) -> Joint:
        """A mixture of two bivariate normals."""
        proxy_sd = math.hypot(1.0, self.noise_sd)
        return GaussianMixture(
            weights=np.array([1 - self.share, self.share]),
            gold_mean=np.array([0.0, self.low]),
            proxy_mean=np.array([0.0, self.height]),
            gold_sd=np.ones(2),
            proxy_sd=np.array([proxy_sd, self.spread]),
            correlation=np.array([1 / proxy_sd, 0.0]),
        ).joint(independent_error=False)

    def hacked_probability(self, n: float) -> float:
        """``1 - (1 - share)^n``: that best-of-n sees the mode at all, an upper bound on its emission where ``height``
        is far out.
        """
        return -math.expm1(n * math.log1p(-self.share))

    def runners(self) -> dict[str, Runner]:
        """The five proxy-only optimizers."""
        return selection_runners(self.joint)
