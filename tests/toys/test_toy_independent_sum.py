"""The toys' law of an independent sum against the theory's: two convolutions that share no quadrature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from overopt.theory.additive import Convolution
from overopt.toys.worlds.density import gaussian_density
from overopt.toys.worlds.independent_sum import IndependentSum
from overopt.toys.worlds.noise import noise_law

SD = 0.8
MINIMUM = SD * 2 * np.sqrt(1 / 3)
MEDIAN = SD / np.sqrt(np.expm1(1.0) * np.e)
SAME_LAWS: dict[str, Any] = {
    "gaussian": stats.norm(0, SD),
    "uniform": stats.uniform(-SD * np.sqrt(3), 2 * SD * np.sqrt(3)),
    "laplace": stats.laplace(0, SD / np.sqrt(2)),
    "logistic": stats.logistic(0, SD * np.sqrt(3) / np.pi),
    "exponential": stats.expon(-SD, SD),
    "student_t": stats.t(3, 0, SD * np.sqrt(1 / 3)),
    "pareto": stats.pareto(3, -1.5 * MINIMUM, MINIMUM),
    "lognormal": stats.lognorm(1.0, -MEDIAN * np.exp(0.5), MEDIAN),
}


@pytest.mark.parametrize("name", SAME_LAWS)
def test_density_mean_and_rank_agree_with_the_theory(name: str) -> None:
    toy = IndependentSum(gaussian_density(), noise_law(name, SD).density)
    exact = Convolution(stats.norm(), SAME_LAWS[name])
    total = np.linspace(-2.5, 7.0, 39)
    log_density, mean = toy.log_density_and_mean(total)
    exact_log_density, exact_mean = exact.moments(total)
    np.testing.assert_allclose(log_density, exact_log_density, rtol=0, atol=1e-8)
    np.testing.assert_allclose(mean, exact_mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(toy.logit(total), exact.logit(total), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(toy.quantile(exact.logit(total)), total, rtol=1e-7, atol=1e-7)


def test_another_noise_is_told_apart() -> None:
    toy = IndependentSum(gaussian_density(), noise_law("laplace", SD).density)
    other = Convolution(stats.norm(), SAME_LAWS["logistic"])
    assert abs(toy.mean(np.array([4.0])) - other.conditional_mean_exact([4.0])) > 0.05
