"""A proxy whose density and distribution function are known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from overopt.toys.worlds.base_law import BaseLaw, law_on_panels

__all__ = ["ClosedFormLaw"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClosedFormLaw:
    """Proxy law and ``E[gold | proxy]`` from closed-form functions.

    Attributes
    ----------
    edges
        Panel edges over the effective support, every kink of the density or of ``mean`` among them.
    log_pdf, log_cdf, log_sf
        Vectorised.
    mean
        ``E[gold | proxy]``, vectorised.
    """

    edges: Array
    log_pdf: Callable[[Array], Array]
    log_cdf: Callable[[Array], Array]
    log_sf: Callable[[Array], Array]
    mean: Callable[[Array], Array]

    def law(self, cuts: Array | None = None) -> BaseLaw:
        """The law on quadrature nodes, with panel edges at ``cuts``."""
        if cuts is None:
            return self._uncut
        return self._on(np.append(self.edges, np.clip(cuts, self.edges[0], self.edges[-1])))

    @cached_property
    def _uncut(self) -> BaseLaw:
        return self._on(self.edges)

    def _on(self, edges: Array) -> BaseLaw:
        return law_on_panels(edges, self.log_pdf, self.log_cdf, self.log_sf, self.mean)

    @cached_property
    def _quantile(self) -> CubicHermiteSpline:
        law = self._uncut
        logit = law.log_cdf - law.log_sf
        increasing = np.append(True, np.diff(np.maximum.accumulate(logit)) > 0) & np.isfinite(logit)
        slope = np.exp(law.log_cdf + law.log_sf - self.log_pdf(law.proxy))
        return CubicHermiteSpline(logit[increasing], law.proxy[increasing], slope[increasing])

    def quantile(self, logit: Array) -> Array:
        """Proxy at log-odds of rank ``logit``."""
        return np.asarray(self._quantile(np.clip(logit, self._quantile.x[0], self._quantile.x[-1])), dtype=float)

    def logit(self, value: Array) -> Array:
        """Log-odds of the rank of ``value``."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.log_cdf(value) - self.log_sf(value), dtype=float)
