"""Composite 20-point Gauss-Legendre quadrature in mpmath: many times faster than `mpmath.quad` on known pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from typing import Any

import mpmath as mp
import numpy as np


@cache
def legendre_rule() -> list[tuple[Any, Any]]:
    """Nodes and weights at 40 digits."""
    with mp.workdps(40):
        starts = np.polynomial.legendre.leggauss(20)[0]
        nodes = [mp.findroot(lambda x: mp.legendre(20, x), float(start)) for start in starts]
        slopes = [20 * (x * mp.legendre(20, x) - mp.legendre(19, x)) / (x * x - 1) for x in nodes]
        return [(x, 2 / ((1 - x * x) * slope**2)) for x, slope in zip(nodes, slopes, strict=True)]


def integrate(f: Callable[[Any], Any], knots: Iterable[Any]) -> Any:
    """Integral of `f`, smooth between neighbouring `knots`, at the working precision."""
    total = mp.mpf(0)
    for a, b in pairwise(map(mp.mpf, knots)):
        half, middle = (b - a) / 2, (a + b) / 2
        total += half * mp.fsum(w * f(middle + half * x) for x, w in legendre_rule())
    return total
