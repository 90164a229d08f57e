"""Every column of every optimizer's curve, from the density of its policy over the rank u of the proxy alone.

A policy that reweights by the proxy has a density `r(u)` on (0, 1); then `KL = int r log r`, `chi^2 = int r^2 - 1`,
the win rate `int r u` (a base sample of rank u loses to it with probability u) and gold `int r m(Q(u))`.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytest
from scipy import stats

from overopt.theory.best_of_n import best_of_n
from overopt.theory.best_of_poisson import best_of_poisson
from overopt.theory.exponential_tilt import exponential_tilt
from overopt.theory.quantilizer import quantilizer
from overopt.theory.threshold import threshold
from overopt.theory.world import World

RATE = 1.5
WORLD = World(stats.expon(scale=1 / RATE), np.tanh)


def quantile(u: mp.mpf) -> mp.mpf:
    return -mp.log(1 - u) / RATE


def columns(density: Callable[[mp.mpf], mp.mpf], start: float) -> dict[str, float]:
    """The columns of a policy whose density is 0 below rank `start`."""

    def integral(value: Callable[[mp.mpf], mp.mpf]) -> float:
        """Over u = 1 - exp(-z), which leaves no singularity at u = 1."""
        first = -mp.log1p(-start)
        return float(mp.quad(lambda z: value(-mp.expm1(-z)) * mp.exp(-z), [first, first + 1, first + 6, 40, 150]))

    def entropy(u: mp.mpf) -> mp.mpf:
        r = density(u)
        return r * mp.log(r) if r > 0 else mp.mpf(0)

    with mp.workdps(80):
        assert integral(density) == pytest.approx(1, rel=1e-9)
        return {
            "kl": integral(entropy),
            "chi2": integral(lambda u: density(u) ** 2) - 1,
            "win_rate": integral(lambda u: density(u) * u),
            "proxy": integral(lambda u: density(u) * quantile(u)),
            "gold": integral(lambda u: density(u) * mp.tanh(quantile(u))),
        }


def check(curve, expected: dict[str, float]) -> None:
    assert curve.kl.shape == curve.gold.shape == (1,)
    for name, value in expected.items():
        assert getattr(curve, name)[0] == pytest.approx(value, rel=1e-8, abs=1e-10), name
    assert curve.d[0] == pytest.approx(expected["kl"] ** 0.5, rel=1e-8)


@pytest.mark.parametrize("cut", [0.1, 0.9, 2.5])
def test_threshold(cut: float) -> None:
    share = float(np.exp(-RATE * cut))
    check(threshold(WORLD, [cut]), columns(lambda u: mp.mpf(1) / share, 1 - share))


@pytest.mark.parametrize("share", [0.9, 0.3, 0.01])
def test_quantilizer(share: float) -> None:
    check(quantilizer(WORLD, [share]), columns(lambda u: mp.mpf(1) / share, 1 - share))


@pytest.mark.parametrize("n", [1.5, 2.0, 17.0])
def test_best_of_n(n: float) -> None:
    check(best_of_n(WORLD, [n]), columns(lambda u: n * u ** (n - 1), 0.0))


@pytest.mark.parametrize("pressure", [0.1, 0.4, 0.6])
def test_exponential_tilt(pressure: float) -> None:
    # E exp(pressure U) = rate / (rate - pressure); chi^2 exists below half of the rate.
    norm = RATE / (RATE - pressure)
    check(exponential_tilt(WORLD, [pressure]), columns(lambda u: mp.exp(pressure * quantile(u)) / norm, 0.0))


@pytest.mark.parametrize("mean", [0.5, 3.0, 20.0])
def test_best_of_poisson(mean: float) -> None:
    # The best of 1 + Poisson(mean) draws: E[N u^(N-1)] = (1 + mean u) exp(-mean (1 - u)).
    check(best_of_poisson(WORLD, [mean]), columns(lambda u: (1 + mean * u) * mp.exp(-mean * (1 - u)), 0.0))
