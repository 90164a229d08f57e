"""Scaling laws: peaks, inverses, fits and composition over rounds against search, sympy and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
from scipy import optimize
from scipy.special import lambertw
from sympy.parsing import sympy_parser as parse

from overopt.theory.errors import InputError
from overopt.theory.iterated import composed_slope, iterated_gold, iterated_peak, random_walk_gold, scaled_coefficient
from overopt.theory.scaling_laws import LAWS, d_at_gold, fit_law, law_named

COEFFICIENTS: dict[str, tuple[float, ...]] = {
    "bon": (1.3, 0.25),
    "rl": (1.3, 0.5),
    "log1p": (1.5, 0.6),
    "power": (1.3, 0.3, 0.7),
    "saturating": (1.2, 0.4),
    "linear": (0.7,),
}
D = np.linspace(0.3, 3.0, 12)


@pytest.mark.parametrize("name", LAWS)
def test_formula_as_printed(name: str) -> None:
    law = LAWS[name]
    values = dict(zip(law.parameters, COEFFICIENTS[name], strict=True))
    rules = (*parse.standard_transformations, parse.implicit_multiplication, parse.convert_xor)
    names = {key: sympy.Symbol(key) for key in ("d", *law.parameters)}
    printed = parse.parse_expr(
        law.formula.replace("d (", "d*(").replace("log d", "log(d)"), local_dict=names, transformations=rules
    )
    expected = [float(printed.subs({**values, "d": x})) for x in D]
    assert np.allclose(law.gold(D, *COEFFICIENTS[name]), expected, rtol=1e-12)
    assert law.gold(0.0, *COEFFICIENTS[name]) == 0


@pytest.mark.parametrize("name", ["bon", "rl", "log1p", "power"])
def test_peak_equals_a_numerical_search(name: str) -> None:
    law, coefficients = LAWS[name], COEFFICIENTS[name]
    found = optimize.minimize_scalar(
        lambda d: -float(law.gold(d, *coefficients)), bounds=(1e-6, 40), method="bounded", options={"xatol": 1e-10}
    )
    peak = law.peak(*coefficients)
    assert abs(float(peak.d) - found.x) < 1e-6
    assert abs(float(peak.gold) + found.fun) < 1e-12


def test_laws_without_a_loss_never_turn() -> None:
    for name in ("bon", "rl", "log1p", "power"):
        peak = LAWS[name].peak(*(1.0, -0.1, 0.5)[: len(LAWS[name].parameters)])
        assert peak.d == np.inf
        assert peak.gold == np.inf
    plateau = LAWS["saturating"].peak(1.2, 0.4)
    assert plateau.d == np.inf
    assert abs(float(plateau.gold) - 3.0) < 1e-15
    assert LAWS["linear"].peak(-0.5).gold == 0


def test_inverse_has_its_closed_forms_on_the_rising_branch() -> None:
    level = np.array([0.1, 0.9, 1.5])
    alpha, beta = COEFFICIENTS["bon"]
    quadratic = (alpha - np.sqrt(alpha**2 - 4 * beta * level)) / (2 * beta)
    assert np.allclose(d_at_gold(LAWS["bon"], level, alpha, beta), quadratic, rtol=1e-10)
    alpha, beta = COEFFICIENTS["rl"]
    v = -np.real(lambertw(-level / beta * np.exp(-alpha / beta), -1))
    assert np.allclose(d_at_gold(LAWS["rl"], level, alpha, beta), np.exp(alpha / beta - v), rtol=1e-10)
    alpha, beta = COEFFICIENTS["saturating"]
    assert np.allclose(d_at_gold(LAWS["saturating"], level, alpha, beta), -np.log1p(-level * beta / alpha) / beta)


@pytest.mark.parametrize("name", LAWS)
def test_inverse_out_of_reach_is_nan_and_zero_is_zero(name: str) -> None:
    law, coefficients = LAWS[name], COEFFICIENTS[name]
    top = float(law.peak(*coefficients).gold)
    assert d_at_gold(law, 0.0, *coefficients) == 0
    assert np.isnan(d_at_gold(law, -0.1, *coefficients))
    if np.isfinite(top):
        assert np.isnan(d_at_gold(law, top + 0.1, *coefficients))


@pytest.mark.parametrize("name", LAWS)
def test_fit_recovers_its_own_law_for_many_curves_at_once(name: str) -> None:
    law, coefficients = LAWS[name], np.array(COEFFICIENTS[name])
    curves = np.stack([law.gold(D, *coefficients), 2 * law.gold(D, *coefficients)])
    fit = fit_law(law, D, curves)
    scale = np.where(np.arange(coefficients.size) < len(law.parameters) - (law.shape_bounds is not None), 2.0, 1.0)
    assert np.allclose(fit.coefficients, [coefficients, scale * coefficients], rtol=1e-6)
    assert np.all(fit.r2 > 1 - 1e-12)
    assert np.allclose(fit.gold(D), curves, atol=1e-8)


@pytest.mark.parametrize("name", LAWS)
def test_fit_is_the_least_squares_minimum(name: str) -> None:
    rng = np.random.default_rng(11)
    law, weights = LAWS[name], rng.uniform(0.5, 2.0, D.size)
    gold = law.gold(D, *COEFFICIENTS[name]) + 0.05 * rng.normal(size=D.size)

    def residual(c: np.ndarray) -> Any:
        return np.sqrt(weights) * (law.gold(D, *c) - gold)

    other = optimize.least_squares(residual, COEFFICIENTS[name], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    fit = fit_law(law, D, gold, weights)
    assert np.allclose(fit.coefficients, other.x, rtol=1e-4, atol=1e-5)
    assert float(fit.rmse) <= np.sqrt(2 * other.cost / weights.sum()) * (1 + 1e-9)


def test_rounds_scale_the_peak_and_give_the_paper_form() -> None:
    alpha, beta = COEFFICIENTS["rl"]
    k = np.array([1.0, 3.0, 8.0])
    stated = 2.0 * (alpha - beta * np.log(2.0) + beta * np.log(k))
    assert np.allclose(iterated_gold(LAWS["rl"], 2.0, k, alpha, beta), stated, rtol=1e-14)
    for name in ("bon", "rl", "log1p", "power"):
        law, coefficients = LAWS[name], COEFFICIENTS[name]
        peak = iterated_peak(law, 4.0, *coefficients)
        found = optimize.minimize_scalar(
            lambda d, law=law, c=coefficients: -float(iterated_gold(law, d, 4.0, *c)),
            bounds=(1e-6, 160),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert abs(float(peak.d) - found.x) < 1e-4
        assert abs(float(peak.gold) + found.fun) < 1e-10


@pytest.mark.parametrize(("errors", "shared"), [("shared", True), ("independent", False)])
def test_slope_over_rounds_equals_explicit_displacements(errors: str, shared: bool) -> None:
    cosine, k, step = 0.6, 5, 0.7
    sine = np.sqrt(1 - cosine**2)
    basis = np.eye(k + 1)
    rounds = [cosine * basis[0] + sine * basis[1 if shared else i + 1] for i in range(k)]
    total = step * np.sqrt(2) * np.sum(rounds, axis=0)
    d, gold = np.linalg.norm(total) / np.sqrt(2), total[0]
    assert abs(gold / d / (np.sqrt(2) * cosine) - float(composed_slope(k, cosine, errors=errors))) < 1e-12
    walked = random_walk_gold(step, k, cosine, 1.0 if shared else 0.0)
    assert np.allclose(walked, (d, gold), rtol=1e-12)


def test_partly_shared_errors_lie_between() -> None:
    d = [float(random_walk_gold(1.0, 6, 0.5, r)[0]) for r in (0.0, 0.4, 1.0)]
    assert d[0] < d[1] < d[2]
    assert abs(d[2] - 6.0) < 1e-12


def test_coefficient_scaling_is_linear_in_log_size() -> None:
    sizes = 3e6 * np.exp(np.arange(4.0))
    assert np.allclose(scaled_coefficient(sizes, 0.5, 0.1, reference=3e6), 0.5 + 0.1 * np.arange(4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: law_named("quadratic"),
            "`law` must be one of bon, rl, log1p, power, saturating, linear, got 'quadratic'",
        ),
        (lambda: LAWS["bon"].gold(1.0, 2.0), "`bon` takes alpha, beta, got 1 coefficients"),
        (lambda: LAWS["bon"].gold(-1.0, 2.0, 1.0), "`d` must be >= 0, got -1."),
        (lambda: fit_law(LAWS["power"], [1.0, 2.0], [1.0, 1.0]), "`power` needs at least 3 points, got 2."),
        (lambda: fit_law(LAWS["bon"], [1.0, 2.0, 3.0], [1.0, 1.0]), "`d` must have shape"),
        (lambda: fit_law(LAWS["bon"], [1.0, 2.0], [1.0, np.nan]), "must be finite"),
        (lambda: fit_law(LAWS["bon"], [1.0, 2.0], [1.0, 1.0], [1.0, 0.0]), "`weights` must be > 0"),
        (lambda: iterated_gold(LAWS["bon"], 1.0, 0.5, 1.0, 1.0), "`k` must be >= 1, got 0.5."),
        (lambda: composed_slope(2, 0.0, errors="shared"), r"`cosine` must lie in \(0, 1\], got 0."),
        (lambda: composed_slope(2, 0.5, errors="both"), "`errors` must be 'shared' or 'independent', got 'both'."),
        (lambda: random_walk_gold(1.0, 2, 0.5, 1.5), r"`correlation` must lie in \[0, 1\], got 1.5."),
        (lambda: scaled_coefficient(0.0, 1.0, 1.0), "`size` must be > 0, got 0."),
    ],
)
def test_wrong_law_input_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
