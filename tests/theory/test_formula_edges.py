"""What the mutation study found that no entry and no other test noticed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from overopt.theory.additive import Convolution
from overopt.theory.errors import InputError
from overopt.theory.mechanisms import adversarial_mode
from overopt.theory.missing_features import FeatureBudget, feature_path
from overopt.theory.proxy_law import Mixture
from overopt.theory.quantilizer import quantilizer_kl
from overopt.theory.regressional import reliability
from overopt.theory.scaling_laws import Power


def test_a_mixture_inverts_its_own_distribution_function():
    mixture = Mixture((0.3, 0.7), (stats.norm(-1.0, 0.5), stats.laplace(2.0, 1.0)))
    q = np.array([1e-6, 0.2, 0.5, 0.97])
    np.testing.assert_allclose(np.exp(mixture.logcdf(mixture.ppf(q))), q, rtol=1e-10)
    np.testing.assert_allclose(np.exp(mixture.logsf(mixture.isf(q))), q, rtol=1e-10)


def test_the_whole_policy_is_the_largest_quantile():
    with pytest.raises(InputError, match=r"got 1\.5"):
        quantilizer_kl([0.5, 1.5])


def test_variances_below_one_are_variances():
    assert reliability(0.5, 0.25) == pytest.approx(2 / 3)


def test_the_power_law_peaks_where_a_search_says_for_a_small_slope():
    law, grid = Power(), np.linspace(0.0, 5.0, 500_001)
    values = law.gold(grid, 0.4, 0.3, 0.7)
    assert law.peak(0.4, 0.3, 0.7).d == pytest.approx(grid[np.argmax(values)], abs=1e-4)
    assert law.peak(0.4, 0.3, 0.7).gold == pytest.approx(values.max(), rel=1e-9)


def test_a_feature_path_has_one_state_more_than_steps():
    problem = FeatureBudget(np.ones(2), np.ones(2), np.full(2, 0.1), 2.0)
    path = feature_path(problem, np.array([0.5, 0.5]), np.array([True, False]), steps=4)
    np.testing.assert_allclose(path[:, 0], np.linspace(0.5, 1.9, 5))
    np.testing.assert_allclose(path[:, 1], np.linspace(0.5, 0.1, 5))


@pytest.mark.parametrize("s", [4.0, 25.0, 80.0])
def test_the_far_tail_of_a_sum_keeps_its_mass(s):
    # Sum of two unit exponentials: P(S > s) = (1 + s) e^-s.
    law = Convolution(stats.expon(), stats.expon())
    exact = np.log1p(s) - s
    assert float(law.logit(np.array([s]))[0]) == pytest.approx(-exact + np.log1p(-np.exp(exact)), abs=1e-8)


def test_gold_between_the_bulk_and_the_mode_is_weighted_by_bayes():
    u = np.array([3.0, 4.5, 5.0, 8.0])
    mode, bulk = 0.2 * stats.norm(5.0, 0.4).pdf(u), 0.8 * stats.norm.pdf(u)
    exact = (bulk * u - 5.0 * mode) / (bulk + mode)
    world = adversarial_mode(0.2, proxy_at_mode=5.0, spread=0.4)
    np.testing.assert_allclose(world.gold(u), exact, rtol=1e-9)
