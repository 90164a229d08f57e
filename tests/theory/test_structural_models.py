"""Structural models and missing features against Gaussian conditioning, sampling and constrained optimization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from overopt.theory.errors import InputError
from overopt.theory.kl_geometry import normal_kl
from overopt.theory.missing_features import FeatureBudget, feature_path
from overopt.theory.structural import StructuralModel, common_cause, intermediary, shift_kl


def random_model(seed: int, size: int = 4) -> StructuralModel:
    rng = np.random.default_rng(seed)
    coefficients = np.tril(rng.normal(size=(size, size)), -1)
    return StructuralModel(coefficients, rng.uniform(0.3, 2, size), rng.normal(size=size), rng.normal(size=size))


@pytest.mark.parametrize("seed", range(4))
def test_covariance_equals_simulation_of_the_equations(seed: int) -> None:
    model = random_model(seed)
    rng = np.random.default_rng(100 + seed)
    noise = rng.normal(size=(200_000, 4)) * np.sqrt(model.variances)
    x = np.zeros_like(noise)
    for i in range(4):
        x[:, i] = x @ model.coefficients[i] + noise[:, i]
    s = model.covariance
    # Standard error of a Gaussian sample covariance: sqrt((s_ii s_jj + s_ij^2)/N).
    error = np.sqrt((np.outer(np.diag(s), np.diag(s)) + s**2) / len(x))
    assert np.all(np.abs(x.T @ x / len(x) - s) < 5 * error)


@pytest.mark.parametrize("seed", range(6))
def test_kl_chain_rule_bound_and_conditioning(seed: int) -> None:
    model = random_model(seed)
    rng = np.random.default_rng(seed)
    for displacement in rng.normal(size=(5, 4)):
        shift = model.mean_shift(displacement)
        assert abs(shift.kl - normal_kl(displacement, model.covariance, np.zeros(4), model.covariance)) < 1e-10
        proxy_variance = model.proxy @ model.covariance @ model.proxy
        assert abs(shift.kl_proxy - normal_kl(shift.proxy_gain, proxy_variance, 0.0, proxy_variance)) < 1e-10
        assert abs(shift.causal) <= shift.causal_bound * (1 + 1e-9)
    conditioned = model.condition(1.3)
    assert abs(conditioned.proxy_gain - 1.3) < 1e-12
    assert abs(conditioned.causal) < 1e-10
    assert conditioned.kl_off < 1e-10
    for variable in range(4):
        intervened = model.intervene(variable, 1.3)
        assert abs(intervened.proxy_gain - 1.3) < 1e-9
        assert intervened.kl >= conditioned.kl * (1 - 1e-9)


def test_the_causal_bound_is_attained() -> None:
    model = common_cause()
    s, slope = model.covariance, model.regression_slope
    residual = model.gold - slope * model.proxy
    shift = model.mean_shift(s @ residual)
    assert abs(shift.proxy_gain) < 1e-12
    assert abs(abs(shift.causal) - shift.causal_bound) < 1e-12


def test_common_cause_and_intermediary_in_closed_form() -> None:
    length = common_cause(on_gold=1.5, on_correlate=0.8, correlate_sd=0.6)
    assert abs(length.condition(1.0).delivered - 1.5 * 0.8 / (0.8**2 + 0.6**2)) < 1e-12
    written = length.intervene(2, 1.0)
    assert abs(written.delivered) < 1e-12
    assert abs(written.kl - 1 / (2 * 0.6**2)) < 1e-12
    assert abs(written.causal - length.condition(1.0).delivered) < 1e-12
    worked = length.intervene(0, 1.0)
    assert worked.causal < 0

    chain = intermediary(on_mediator=1.0, on_proxy=2.0, mediator_sd=0.5)
    assert chain.condition(1.0).delivered > 0
    assert abs(chain.intervene(1, 1.0).delivered) < 1e-12
    assert abs(chain.intervene(2, 1.0).delivered) < 1e-12
    assert abs(chain.intervene(0, 1.0).delivered - 0.5) < 1e-12


def test_shift_kl_equals_the_bivariate_normal_divergence() -> None:
    for rho in (-0.7, 0.0, 0.8):
        covariance = np.array([[1, rho], [rho, 1]])
        for m, v in ((1.0, 0.0), (0.4, -1.2), (2.0, 2 * rho)):
            assert abs(float(shift_kl(m, v, rho)) - normal_kl([m, v], covariance, [0, 0], covariance)) < 1e-12
        assert abs(float(shift_kl(1.0, 0.0, rho) / shift_kl(1.0, rho, rho)) - 1 / (1 - rho**2)) < 1e-12


BUDGET = FeatureBudget(np.array([1.0, 2.0, 1.0]), np.array([1.0, 1.0, 2.0]), np.array([0.1, 0.1, 0.1]), 3.0)


@pytest.mark.parametrize("included", [(True, True, True), (True, True, False), (False, True, False)])
@pytest.mark.parametrize("floors", [(0.1, 0.1, 0.1), (0.1, 0.1, 1.2), (1.1, 0.2, 0.3)])
def test_optimum_equals_constrained_optimization(included: tuple[bool, ...], floors: tuple[float, ...]) -> None:
    problem = FeatureBudget(BUDGET.weights, BUDGET.costs, np.array(floors), 4.0)
    found = optimize.minimize(
        lambda x: -float(problem.proxy(x, included)),
        np.array(floors) + 0.05,
        bounds=[(f, 10) for f in floors],
        constraints={"type": "ineq", "fun": lambda x: problem.budget - problem.costs @ x},
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    mine = problem.optimum(included)
    assert abs(float(problem.costs @ mine) - problem.budget) < 1e-12 or not any(included)
    assert abs(float(problem.proxy(mine, included)) + found.fun) < 1e-7


def test_loss_grows_without_bound_as_the_missing_floor_falls() -> None:
    included = (True, True, False)
    losses = [
        FeatureBudget(BUDGET.weights, BUDGET.costs, np.array([0.1, 0.1, floor]), 3.0).loss(included)
        for floor in (1e-1, 1e-4, 1e-8)
    ]
    assert losses[0] < losses[1] < losses[2]
    assert losses[2] - losses[1] > 8
    assert BUDGET.loss((True, True, True)) == 0
    # No loss where gold itself leaves the missing feature at its floor.
    assert abs(FeatureBudget(BUDGET.weights, BUDGET.costs, np.array([0.1, 0.1, 1.3]), 3.0).loss(included)) < 1e-12


def test_gold_rises_turns_once_and_falls_along_the_path() -> None:
    included = (True, True, False)
    path = feature_path(BUDGET, [0.5, 0.5, 0.5], included, 60)
    proxy, gold = BUDGET.proxy(path, included), BUDGET.gold(path)
    assert np.all(np.diff(proxy) > 0)
    signs = np.sign(np.diff(gold))
    assert signs[0] > 0 > signs[-1]
    assert np.count_nonzero(np.diff(signs)) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StructuralModel(np.eye(2), np.ones(2), np.ones(2), np.ones(2)), "strictly lower triangular"),
        (lambda: StructuralModel(np.zeros((2, 2)), np.zeros(2), np.ones(2), np.ones(2)), "`variances` must be > 0"),
        (lambda: StructuralModel(np.zeros((2, 2)), np.ones(2), np.ones(3), np.ones(2)), "`proxy` and `gold`"),
        (lambda: common_cause().intervene(7, 1.0), r"`variable` must lie in 0\.\.2, got 7."),
        (lambda: common_cause().intervene(1, 1.0), "`variable` must have an effect on the proxy, got 1"),
        (lambda: shift_kl(1.0, 0.0, 1.0), r"`correlation` must lie in \(-1, 1\), got 1."),
        (lambda: FeatureBudget(np.ones(2), np.ones(2), np.ones(2), 1.0), "`budget` must exceed the cost of the floors"),
        (lambda: FeatureBudget(np.ones(2), np.ones(2), -np.ones(2), 1.0), "`floors` must be > 0"),
        (lambda: BUDGET.optimum((False, False, False)), "`included` must hold at least one feature"),
        (lambda: feature_path(BUDGET, [9.0, 9.0, 9.0], (True, True, False), 5), "`start` must respect"),
        (lambda: feature_path(BUDGET, [0.5, 0.5, 0.5], (True, True, False), 0), "`steps` must be >= 1, got 0."),
    ],
)
def test_wrong_structural_input_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
