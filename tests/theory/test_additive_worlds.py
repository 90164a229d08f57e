"""Additive worlds: three routes to E[gold | proxy], exact gold curves, and the limits of regressional Goodhart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import sympy
from exact_quadrature import integrate
from scipy import stats

from overopt.theory import conditional_mean as cm
from overopt.theory.additive import Convolution, additive_world
from overopt.theory.best_of_n import best_of_n
from overopt.theory.errors import InputError
from overopt.theory.exponential_tilt import exponential_tilt
from overopt.theory.proxy_law import Mixture
from overopt.theory.regressional import (
    best_of_n_gold_from_density,
    case_b_remainder,
    cumulant_expansion,
    far_limit,
    is_log_concave,
    reliability,
    tail_rate,
)
from overopt.theory.world import World

GOLD = {"gold_mean": 0.3, "gold_sd": 1.2}
NOISES: dict[str, tuple[Any, Callable[[np.ndarray], np.ndarray]]] = {
    "normal": (stats.norm(0.5, 0.8), lambda s: cm.given_normal_noise(s, noise_sd=0.8, noise_mean=0.5, **GOLD)),
    "uniform": (stats.uniform(-2, 4), lambda s: cm.given_uniform_noise(s, half_width=2, **GOLD)),
    "laplace": (stats.laplace(scale=0.7), lambda s: cm.given_laplace_noise(s, scale=0.7, **GOLD)),
    "exponential": (stats.expon(scale=0.5), lambda s: cm.given_exponential_noise(s, rate=2.0, **GOLD)),
    "cauchy": (stats.cauchy(scale=0.5), lambda s: cm.given_cauchy_noise(s, scale=0.5, **GOLD)),
    "normal mixture": (
        Mixture((0.3, 0.7), (stats.norm(-1, 0.5), stats.norm(2, 1))),
        lambda s: cm.given_normal_mixture_noise(s, weights=(0.3, 0.7), noise_means=(-1, 2), noise_sds=(0.5, 1), **GOLD),
    ),
}
POINTS = np.linspace(-14, 18, 81)


@pytest.mark.parametrize("name", NOISES)
def test_closed_form_convolution_and_tweedie_agree(name: str) -> None:
    noise, closed_form = NOISES[name]
    sum_law = Convolution(stats.norm(GOLD["gold_mean"], GOLD["gold_sd"]), noise)
    expected = closed_form(POINTS)
    assert np.allclose(sum_law.conditional_mean_exact(POINTS), expected, rtol=1e-10, atol=1e-10)
    assert np.allclose(sum_law.conditional_mean(POINTS), expected, rtol=1e-10, atol=1e-10)
    assert np.allclose(cm.tweedie_dual(sum_law.log_density, POINTS, **GOLD), expected, rtol=1e-8, atol=1e-8)


def test_tweedie_with_normal_noise_and_any_gold() -> None:
    sum_law = Convolution(stats.laplace(0.2, 0.7), stats.norm(0.1, 0.9))
    s = np.linspace(-9, 9, 40)
    by_score = cm.tweedie(sum_law.log_density, s, noise_sd=0.9, noise_mean=0.1)
    assert np.allclose(by_score, sum_law.conditional_mean_exact(s), rtol=1e-9, atol=1e-9)


def test_two_point_noise_equals_a_sharp_mixture() -> None:
    s = np.linspace(-6, 6, 41)
    narrow = cm.given_normal_mixture_noise(s, weights=(0.5, 0.5), noise_means=(-1.5, 1.5), noise_sds=(1e-9, 1e-9))
    assert np.allclose(cm.given_two_point_noise(s, delta=1.5), narrow, atol=1e-12)


@pytest.mark.parametrize("noise", [stats.t(3), stats.logistic(), stats.lognorm(1.0), stats.pareto(2.0)])
def test_conditional_mean_equals_mpmath(noise: Any) -> None:
    x, z = exact_densities(noise)
    sum_law = Convolution(stats.norm(), noise)
    for s in (-3.0, 2.0, 9.0, 200.0):
        with mp.workdps(30):
            inside = np.arange(-9.0, 9.5, 1.0)
            knots = [*inside[inside < s - z[1]], *([s - z[1]] if s - z[1] < 9 else [])]
            # Halving towards the end of the noise's support, where a lognormal density has an essential singularity.
            knots += [knots[-1] - 2.0**-k for k in range(1, 8)]
            total = integrate(lambda u, s=s: mp.mpc(1, u) * x(u) * z[0](s - u), sorted(knots))
            weight, moment = total.real, total.imag
        expected = float(moment / weight)
        assert abs(float(sum_law.conditional_mean_exact(s)) - expected) < 1e-9 * abs(expected) + 1e-12, s
        assert abs(float(sum_law.conditional_mean(np.array([s]))[0]) - expected) < 1e-9 * abs(expected) + 1e-12, s
        assert abs(float(sum_law.log_density(s)) - float(mp.log(weight))) < 1e-11, s


def exact_densities(noise: Any) -> tuple[Callable[[Any], Any], tuple[Callable[[Any], Any], Any]]:
    """Densities in mpmath of a standard normal and of the noise, with the lower end of the noise's support."""
    everywhere = -np.inf
    densities: dict[str, tuple[Callable[[Any], Any], Any]] = {
        "t": (lambda u: 2 / (mp.pi * mp.sqrt(3) * (1 + u * u / 3) ** 2), everywhere),
        "logistic": (lambda u: mp.sech(u / 2) ** 2 / 4, everywhere),
        "lognorm": (lambda u: mp.npdf(mp.log(u)) / u if u > 0 else mp.mpf(0), 0.0),
        "pareto": (lambda u: 2 * u**-3 if u >= 1 else mp.mpf(0), 1.0),
    }
    return mp.npdf, densities[noise.dist.name]


def test_normal_noise_is_the_rescaled_world() -> None:
    n = np.exp(np.linspace(0, 40, 15))
    by_convolution = best_of_n(additive_world(stats.norm(), stats.norm(0, 0.7)), n)
    direct = best_of_n(World(stats.norm(0, np.hypot(1, 0.7)), lambda u: u / 1.49), n)
    assert np.allclose(by_convolution.gold, direct.gold, rtol=1e-11, atol=1e-12)
    assert np.allclose(by_convolution.proxy, direct.proxy, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("noise", [stats.t(3), stats.laplace(), stats.uniform(-1, 2), stats.lognorm(0.5)])
def test_best_of_n_gold_from_the_density_alone(noise: Any) -> None:
    sum_law = Convolution(stats.norm(0, 1.3), noise)
    n = np.array([1.0, 1.5, 2.0, 30.0, 1e6, 1e13])
    gold = best_of_n(World(sum_law, sum_law.conditional_mean), n).gold
    assert np.allclose(best_of_n_gold_from_density(sum_law, n, gold_sd=1.3), gold, rtol=1e-9, atol=1e-12)


def test_best_of_n_gold_equals_brute_force_selection() -> None:
    rng = np.random.default_rng(7)
    gold, noise = rng.normal(size=(40_000, 6)), stats.t(3).rvs((40_000, 6), random_state=rng)
    winner = (gold + noise).argmax(axis=1)
    chosen = gold[np.arange(winner.size), winner]
    exact = float(best_of_n(additive_world(stats.norm(), stats.t(3)), 6.0).gold)
    assert abs(chosen.mean() - exact) < 5 * chosen.std() / np.sqrt(chosen.size)


def test_mean_preserving_tails_decide_whether_gold_rises_saturates_or_returns() -> None:
    n = np.array([1e13, np.exp(40)])
    unit = {
        "uniform": stats.uniform(-np.sqrt(3), 2 * np.sqrt(3)),
        "laplace": stats.laplace(scale=np.sqrt(0.5)),
        "logistic": stats.logistic(scale=np.sqrt(3) / np.pi),
        "exponential": stats.expon(),
        "t3": stats.t(3, scale=np.sqrt(1 / 3)),
    }
    gold = {name: best_of_n(additive_world(stats.norm(), z), n).gold for name, z in unit.items()}
    limits = {name: far_limit(stats.norm(), z) for name, z in unit.items()}
    assert limits["uniform"] == np.inf
    assert limits["t3"] == 0
    assert gold["uniform"][1] > gold["uniform"][0] + 1
    for name, value in {"laplace": np.sqrt(2), "logistic": np.pi / np.sqrt(3), "exponential": 1.0}.items():
        assert abs(limits[name] - value) < 1e-9
        assert abs(gold[name][1] - value) < 1e-3, name
    assert 0 < gold["t3"][1] < gold["t3"][0] < 1e-3


def test_far_limit_is_the_cumulant_slope_of_a_gold_that_is_not_normal() -> None:
    # kappa'(1/2) of a uniform on [-1, 1] is coth(1/2) - 2.
    expected = 1 / np.tanh(0.5) - 2
    noise = stats.laplace(scale=2.0)
    assert abs(far_limit(stats.uniform(-1, 2), noise) - expected) < 1e-12
    deep = Convolution(stats.uniform(-1, 2), noise).conditional_mean_exact(50.0)
    assert abs(float(deep) - expected) < 1e-9
    assert far_limit(stats.uniform(-1, 2), stats.norm()) == 1.0


def test_tail_rates() -> None:
    assert tail_rate(stats.norm()) == np.inf
    assert tail_rate(stats.uniform()) == np.inf
    assert tail_rate(stats.weibull_min(1.5)) == np.inf
    for heavy in (stats.t(5), stats.lognorm(1.0), stats.pareto(3.0), stats.weibull_min(0.5)):
        assert tail_rate(heavy) == 0.0
    assert abs(tail_rate(stats.laplace(scale=0.4)) - 2.5) < 1e-9
    assert abs(tail_rate(stats.gumbel_r(scale=2.0)) - 0.5) < 1e-9
    assert abs(tail_rate(stats.gamma(3.0)) - 1.0) < 1e-3


def test_log_concave_noise_and_only_it_keeps_gold_increasing() -> None:
    s = np.linspace(-8, 8, 300)
    for noise in (stats.norm(), stats.uniform(-1, 2), stats.laplace(), stats.logistic(), stats.gamma(2.0)):
        assert is_log_concave(noise), noise.dist.name
        points = s + 2 if noise.support()[0] == 0 else s
        assert np.all(np.diff(Convolution(stats.norm(), noise).conditional_mean_exact(points)) > -1e-10)
    for noise in (stats.t(3), stats.cauchy(), stats.lognorm(1.0)):
        assert not is_log_concave(noise), noise.dist.name
        assert np.any(np.diff(Convolution(stats.norm(), noise).conditional_mean_exact(s)) < -1e-6)


def test_two_point_noise_wider_than_gold_turns_gold_back() -> None:
    s = np.array([-0.1, 0.1])
    assert np.diff(cm.given_two_point_noise(s, delta=0.9))[0] > 0
    assert np.diff(cm.given_two_point_noise(s, delta=1.1))[0] < 0
    assert abs(float(cm.given_two_point_noise(50.0, delta=1.0)) - 49.0) < 1e-12


def test_case_b_has_the_order_that_the_remainder_says() -> None:
    deltas = np.array([0.08, 0.04, 0.02])
    c = 0.7

    def error(noise: Callable[[float], Any], mean: float) -> np.ndarray:
        exact = [float(Convolution(stats.norm(), noise(d)).conditional_mean_exact(c + d * mean)) for d in deltas]
        variance = np.array([noise(d).var() for d in deltas])
        return np.array(exact) - c / (1 + variance)

    skewed = error(lambda d: stats.beta(1, 3, scale=d), 0.25)
    symmetric = error(lambda d: stats.uniform(-d, 2 * d), 0.0)
    assert np.allclose(np.diff(np.log(abs(skewed))) / np.log(0.5), 3, atol=0.1)
    assert np.allclose(np.diff(np.log(abs(symmetric))) / np.log(0.5), 4, atol=0.1)
    kappa_3 = stats.beta(1, 3).stats("s") * stats.beta(1, 3).var() ** 1.5
    leading = case_b_remainder(c, gold_sd=1.0, third_cumulant=float(kappa_3) * deltas[-1] ** 3)
    assert abs(skewed[-1] / leading - 1) < 0.05
    kappa_4 = -2 / 15 * deltas[-1] ** 4
    quartic = case_b_remainder(c, gold_sd=1.0, third_cumulant=0.0, fourth_cumulant=kappa_4)
    assert abs(symmetric[-1] / quartic - 1) < 0.01


def test_appendix_a_case_a_and_b_symbolically() -> None:
    x, c, t = sympy.symbols("x c t", real=True)
    v, w, k3, k4 = sympy.symbols("v w k3 k4", positive=True)
    joint = -(x**2) / (2 * v) - (c - x) ** 2 / (2 * w)
    posterior_mean = sympy.solve(sympy.diff(joint, x), x)[0]
    assert sympy.simplify(posterior_mean - c * v / (v + w)) == 0

    # log f_S by the moment expansion in the noise's scale t, differentiated: Tweedie's dual with exact gold N(0, v).
    density = sympy.exp(-(c**2) / (2 * v))
    moments = {2: w, 3: k3, 4: k4 + 3 * w**2}
    hermite = {k: sympy.expand(sympy.diff(density, c, k) / density) for k in moments}
    excess = sum(m * (-t) ** k / sympy.factorial(k) * hermite[k] for k, m in moments.items())
    log_density = sympy.expand(excess - excess**2 / 2) - c**2 / (2 * v)
    mean = sympy.expand(-v * sympy.diff(log_density, c) + sympy.O(t**5)).removeO()
    linear = sympy.series(c * v / (v + w * t**2), t, 0, 5).removeO()
    remainder = mean - linear
    stated = -k3 * t**3 / 2 * (c**2 / v**2 - 1 / v) - k4 * t**4 / 6 * (c**3 / v**3 - 3 * c / v**2)
    assert sympy.simplify(remainder - stated) == 0
    numbers = {c: 0.9, v: 1.44, k3: 0.02, k4: 0.01, t: 1}
    by_function = case_b_remainder(0.9, gold_sd=1.2, third_cumulant=0.02, fourth_cumulant=0.01)
    assert abs(float(stated.subs(numbers)) - float(by_function)) < 1e-14
    cumulants = cumulant_expansion(0.9, gold_sd=1.2, noise_cumulants=[0.0, 0.05, 0.02, 0.01])
    assert abs(float(cumulants) - (0.9 - 0.05 * 0.9 / 1.44 + float(by_function))) < 1e-14


def test_reliability_is_the_slope_of_gold_on_proxy() -> None:
    assert float(reliability(1.0, 3.0)) == 0.25
    curve = exponential_tilt(additive_world(stats.norm(), stats.norm(0, np.sqrt(3))), [0.5, 2.0])
    assert np.allclose(curve.gold, 0.25 * curve.proxy, rtol=1e-11)


def test_sum_law_round_trip_and_normalisation() -> None:
    for noise in (stats.t(3), stats.laplace(), stats.pareto(3.0), stats.cauchy()):
        law = Convolution(stats.norm(), noise)
        logits = np.array([-40.0, -3.0, 0.0, 5.0, 60.0])
        assert np.allclose(law.logit(law.quantile(logits)), logits, rtol=1e-11, atol=1e-11)
    # P(N + Cauchy > s) by scipy's Voigt-free route: integrate the normal against the Cauchy tail.
    s = np.array([0.5, 4.0, 100.0])
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    tail = (stats.cauchy().sf(s[:, None] - nodes) * weights).sum(axis=1) / np.sqrt(2 * np.pi)
    logit = Convolution(stats.norm(), stats.cauchy()).logit(s)
    assert np.allclose(1 / (1 + np.exp(logit)), tail, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cm.given_normal_noise(0.0, noise_sd=0.0), "`noise_sd` must be > 0, got 0."),
        (lambda: cm.given_laplace_noise(0.0, scale=-1.0), "`scale` must be > 0, got -1."),
        (lambda: reliability(-1.0, 1.0), "`gold_variance` and `noise_variance` must be >= 0"),
        (lambda: Convolution(stats.norm(), 3.0).log_density(0.0), "`law` must be a frozen continuous distribution"),
    ],
)
def test_wrong_additive_input_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
