"""Best-of-n: divergences, ties, Beirami's estimate and the rank weights against enumeration."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product
from math import comb
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from overopt.theory.best_of_n import (
    beirami_kl_estimate,
    best_of_n_chi2,
    best_of_n_kl,
    best_of_n_kl_with_ties,
    best_of_n_win_rate,
    n_at_kl,
    order_statistic_weights,
    winner_log_rank,
)
from overopt.theory.errors import InputError


@pytest.mark.parametrize("n", [1.5, 2.0, 7.0, 100.0])
def test_divergences_equal_integrals_of_the_winner_density(n: float) -> None:
    kl = integrate.quad(lambda x: n * x ** (n - 1) * np.log(n * x ** (n - 1)), 1e-300, 1, epsabs=1e-12)[0]
    chi2 = integrate.quad(lambda x: (n * x ** (n - 1)) ** 2, 0, 1, epsabs=1e-12)[0] - 1
    win = integrate.quad(lambda x: x * n * x ** (n - 1), 0, 1, epsabs=1e-12)[0]
    assert abs(best_of_n_kl(n) - kl) < 1e-8
    assert abs(best_of_n_chi2(n) - chi2) < 1e-8
    assert abs(best_of_n_win_rate(n) - win) < 1e-10


def test_printed_values() -> None:
    assert abs(best_of_n_kl(1000.0) - 5.908755) < 1e-6
    assert abs(np.sqrt(best_of_n_kl(60_000.0)) - 3.163) < 5e-4
    assert abs(best_of_n_kl(1.07e13) - 29.0) < 2e-3
    assert abs(n_at_kl(30.0) / 2.905e13 - 1) < 1e-3


def test_n_at_kl_inverts_the_kl() -> None:
    kl = np.array([0.0, 1e-12, 1e-6, 0.01, 1.0, 6.0, 39.0])
    assert np.allclose(best_of_n_kl(n_at_kl(kl)), kl, rtol=1e-9, atol=0)


def enumerated_kl(p: np.ndarray, n: int) -> float:
    """KL of best-of-n by enumerating all ordered samples of size n."""
    wins = np.zeros_like(p)
    for sample in product(range(p.size), repeat=n):
        wins[max(sample)] += np.prod(p[list(sample)])
    return float((wins * np.log(wins / p)).sum())


def test_ties_equal_enumeration_and_stay_below_the_analytic_formula() -> None:
    rng = np.random.default_rng(0)
    for _ in range(6):
        p = rng.dirichlet(np.ones(4))
        for n in (1, 2, 5):
            exact = float(best_of_n_kl_with_ties(p, n))
            assert abs(exact - enumerated_kl(p, n)) < 1e-12
            assert exact <= best_of_n_kl(n) + 1e-12


def test_two_levels_cap_the_kl_at_log_two() -> None:
    assert abs(best_of_n_kl_with_ties([0.5, 0.5], 100.0) - np.log(2)) < 1e-12
    assert abs(best_of_n_kl(100.0) - 3.6152) < 1e-4


def test_many_levels_approach_the_continuous_formula() -> None:
    p = np.full(100_000, 1e-5)
    n = np.array([2.0, 30.0, 300.0])
    assert np.allclose(best_of_n_kl_with_ties(p, n), best_of_n_kl(n), rtol=1e-3)


def test_beirami_estimate_is_between_the_truth_and_the_analytic_formula() -> None:
    p = np.array([0.05, 0.5, 0.25, 0.2])
    cumulative = np.cumsum(p)
    for n in (2.0, 8.0, 64.0):
        wins = cumulative**n - (cumulative - p) ** n
        estimate = float(wins @ beirami_kl_estimate(p, n))
        assert best_of_n_kl_with_ties(p, n) - 1e-12 <= estimate <= best_of_n_kl(n) + 1e-12
    assert abs(beirami_kl_estimate(1e-12, 8.0) - best_of_n_kl(8.0)) < 1e-9
    assert beirami_kl_estimate(1.0, 8.0) == 0


@pytest.mark.parametrize(("samples", "n"), [(5, 1), (6, 2), (7, 7), (8, 3)])
def test_rank_weights_equal_all_subsets(samples: int, n: int) -> None:
    counts = np.zeros(samples)
    for subset in combinations(range(samples), n):
        counts[max(subset)] += 1
    assert np.allclose(order_statistic_weights(samples, n), counts / comb(samples, n), rtol=1e-13)


def test_rank_weights_stay_accurate_at_a_million_samples() -> None:
    weights = order_statistic_weights(1_000_000, np.array([2, 1000]))
    assert np.allclose(weights.sum(axis=1), 1, rtol=1e-10)
    for k in (5000, 999_000, 1_000_000):
        exact = 1000 / 1_000_000
        for j in range(999):
            exact *= (k - 1 - j) / (999_999 - j)
        assert abs(weights[1, k - 1] - exact) <= 1e-9 * exact


def test_winner_rank_is_the_maximum_of_n_uniforms() -> None:
    rng = np.random.default_rng(3)
    rank = np.exp(winner_log_rank(rng.random(20_000), 5.0))
    brute = rng.random((20_000, 5)).max(axis=1)
    assert stats.ks_2samp(rank, brute).pvalue > 1e-3
    assert stats.ks_2samp(rank, rng.random((20_000, 4)).max(axis=1)).pvalue < 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: best_of_n_kl(0.0), "`n` must be >= 1, got 0."),
        (lambda: n_at_kl(-0.1), "`kl` must be >= 0, got -0.1."),
        (lambda: order_statistic_weights(4, 5), r"`n` must be a whole number in 1\.\.4"),
        (lambda: order_statistic_weights(4, 1.5), "`n` must be a whole number"),
        (lambda: best_of_n_kl_with_ties([0.5, 0.6], 2), "`probability` must be"),
        (lambda: beirami_kl_estimate(0.0, 2.0), r"`probability` must lie in \(0, 1\]"),
    ],
)
def test_wrong_best_of_n_input_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
