"""Every proxy-only optimizer against mpmath, over eight proxy laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from exact_quadrature import integrate
from scipy import stats

from overopt.theory.best_of_n import best_of_n, best_of_n_kl
from overopt.theory.best_of_poisson import best_of_poisson
from overopt.theory.errors import InputError
from overopt.theory.exponential_tilt import cumulant, exponential_tilt, tilt_at_kl, tilt_at_proxy
from overopt.theory.proxy_law import Mixture
from overopt.theory.quantilizer import quantilizer
from overopt.theory.threshold import threshold
from overopt.theory.world import World

N = np.exp([0.0, 0.4, 3.0, 16.0, 30.0])


def sf_normal(x: Any) -> Any:
    return mp.erfc(x / mp.sqrt(2)) / 2


def sf_t3(x: Any) -> Any:
    if x <= 0:
        return 1 - sf_t3(-x) if x else mp.mpf(1) / 2
    y = x / mp.sqrt(3)
    return (mp.atan(1 / y) - y / (1 + y * y)) / mp.pi


@dataclass(frozen=True)
class Case:
    """A law of scipy beside its density and survival function written out in mpmath."""

    law: Any
    density: Callable[[Any], Any]
    survival: Callable[[Any], Any]


CASES = {
    "gaussian": Case(stats.norm(), mp.npdf, sf_normal),
    "uniform": Case(stats.uniform(), lambda x: mp.mpf(1), lambda x: 1 - x),
    "laplace": Case(
        stats.laplace(), lambda x: mp.exp(-abs(x)) / 2, lambda x: mp.exp(-x) / 2 if x > 0 else 1 - mp.exp(x) / 2
    ),
    "logistic": Case(stats.logistic(), lambda x: mp.sech(x / 2) ** 2 / 4, lambda x: 1 / (1 + mp.exp(x))),
    "exponential": Case(stats.expon(), lambda x: mp.exp(-x), lambda x: mp.exp(-x)),
    "student_t": Case(stats.t(3), lambda x: 2 / (mp.pi * mp.sqrt(3) * (1 + x * x / 3) ** 2), sf_t3),
    "pareto": Case(stats.pareto(2.5), lambda x: mp.mpf(5) / 2 * x ** mp.mpf(-3.5), lambda x: x ** mp.mpf(-2.5)),
    "lognormal": Case(stats.lognorm(1.0), lambda x: mp.npdf(mp.log(x)) / x, lambda x: sf_normal(mp.log(x))),
}
# Tail of the winner in units of 1/n: neighbouring points bound pieces over which its density is smooth.
WINNER_TAILS = np.exp(np.concatenate([np.arange(-100.0, -8.0, 4.0), np.arange(-8.0, 4.6, 0.9)]))


def hump(u: Any) -> Any:
    return u / (1 + u * u)


def reference(case: Case, n: float) -> tuple[float, float]:
    """`INT h(u) n F^(n-1) f du` at 30 digits for h = proxy and h = hump (as real and imaginary part)."""
    with mp.workdps(30):
        tail, rank = -np.expm1(-WINNER_TAILS / n), np.exp(-WINNER_TAILS / n)
        points = np.where(tail < 0.5, case.law.isf(tail), case.law.ppf(rank))
        if n < 3:
            points = np.append(points, case.law.ppf(np.exp(-np.arange(1.0, 90.0, 4.0))))
        points = np.append(points, 0.0) if points.min() < 0 < points.max() else points
        low, high = case.law.support()
        knots = [mp.mpf(float(p)) for p in np.unique(np.append(points, [v for v in (low, high) if np.isfinite(v)]))]

        def integrand(u: Any) -> Any:
            ratio = n * mp.exp((n - 1) * mp.log1p(-case.survival(u))) if n > 1 else 1
            return mp.mpc(u, hump(u)) * ratio * case.density(u)

        total = integrate(integrand, knots)
        return float(total.real), float(total.imag)


def close(actual: Any, expected: Any) -> bool:
    return bool(np.all(np.abs(np.asarray(actual) - expected) <= 1e-9 * np.abs(expected) + 1e-12))


@pytest.mark.parametrize("name", CASES)
def test_best_of_n_equals_30_digit_quadrature(name: str) -> None:
    curve = best_of_n(World(CASES[name].law, hump), N)
    proxy, gold = np.array([reference(CASES[name], float(n)) for n in N]).T
    assert close(curve.proxy, proxy), curve.proxy - proxy
    assert close(curve.gold, gold), curve.gold - gold


CLOSED_FORMS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "uniform": (stats.uniform(), lambda n: n / (n + 1)),
    "exponential": (stats.expon(), lambda n: mp.digamma(n + 1) + mp.euler),
    "logistic": (stats.logistic(), lambda n: mp.digamma(n) + mp.euler),
    "gumbel": (stats.gumbel_r(), lambda n: mp.log(n) + mp.euler),
    "pareto": (stats.pareto(1.3), lambda n: n * mp.beta(n, 1 - 1 / mp.mpf(1.3))),
    "pareto near 1": (stats.pareto(1.05), lambda n: n * mp.beta(n, 1 - 1 / mp.mpf(1.05))),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_mean_of_the_maximum_has_its_closed_form_up_to_e40(name: str) -> None:
    law, mean = CLOSED_FORMS[name]
    n = np.exp(np.linspace(0, 40, 9))
    with mp.workdps(40):
        expected = np.array([float(mean(mp.mpf(float(v)))) for v in n])
    assert close(best_of_n(World(law, np.tanh), n).proxy, expected)


@pytest.mark.parametrize("law", [stats.cauchy(), stats.t(1), stats.pareto(1.0), stats.pareto(0.7), stats.t(0.5)])
def test_infinite_proxy_mean_is_inf_and_gold_stays_finite(law: Any) -> None:
    curve = best_of_n(World(law, np.tanh), [3.0, 1e3, np.exp(40)])
    assert np.all(curve.proxy == np.inf)
    assert np.all(np.abs(curve.gold) <= 1 + 1e-12)
    assert abs(curve.gold[-1] - 1) < 1e-12


def test_base_mean_of_a_two_sided_cauchy_does_not_exist() -> None:
    assert np.isnan(best_of_n(World(stats.cauchy(), np.tanh), 1.0).proxy)


def test_quantilizer_equals_quadrature() -> None:
    q = np.array([1.0, 0.7, 0.1, 1e-4, 1e-15])
    for name, case in CASES.items():
        curve = quantilizer(World(case.law, hump), q)
        for fraction, actual in zip(q[1:], curve.gold[1:], strict=True):
            with mp.workdps(30):
                cut = float(case.law.isf(fraction))
                deeper = case.law.isf(fraction * np.exp(-np.arange(0.5, 45.0, 1.5)))
                knots = np.unique([cut, *deeper, *([0.0] if cut < 0 else [])])
                total = integrate(lambda u, case=case: hump(u) * case.density(u), list(map(float, knots)))
                tail = case.survival(mp.mpf(cut))
            assert close(actual, float(total / tail)), (name, fraction)


def test_quantilizer_of_everything_is_the_base_policy() -> None:
    for case in CASES.values():
        world = World(case.law, np.tanh)
        assert close(quantilizer(world, 1.0).gold, best_of_n(world, 1.0).gold)


def test_threshold_of_a_normal_proxy_is_the_inverse_mills_ratio() -> None:
    c = np.array([-30.0, -2.0, 0.0, 1.5, 12.0, 24.0])
    curve = threshold(World(stats.norm(), np.sin), c)
    with mp.workdps(40):
        mills = np.array([float(mp.npdf(v) / sf_normal(mp.mpf(v))) for v in c])
        kl = np.array([float(-mp.log(sf_normal(mp.mpf(v)))) for v in c])
    assert close(curve.proxy, mills)
    assert close(curve.kl, kl)


def test_threshold_above_a_bounded_support_is_unreachable() -> None:
    curve = threshold(World(stats.uniform(), np.tanh), [0.5, 2.0])
    assert curve.kl[1] == np.inf
    assert np.isnan(curve.gold[1])
    assert close(curve.proxy[0], 0.75)


def test_best_of_poisson_mixes_best_of_n_over_a_poisson_count() -> None:
    world = World(stats.laplace(), np.tanh)
    for mu in (0.0, 0.3, 4.0, 40.0):
        counts = np.arange(400)
        weight = stats.poisson(mu).pmf(counts)
        mixed = best_of_n(world, 1.0 + counts)
        curve = best_of_poisson(world, mu)
        assert close(curve.proxy, weight @ mixed.proxy)
        assert close(curve.gold, weight @ mixed.gold)
        assert close(curve.win_rate, weight @ mixed.win_rate)


TILTS: dict[str, tuple[Any, list[float], Callable[[Any], Any]]] = {
    "gaussian": (stats.norm(), [0.0, 1e-4, 1.0, 8.0, 15.0], lambda t: t * t / 2),
    "exponential": (stats.expon(), [1e-4, 0.5, 0.9, 0.999], lambda t: -mp.log(1 - t)),
    "uniform": (stats.uniform(), [1e-3, 1.0, 30.0], lambda t: mp.log(mp.expm1(t) / t)),
    "logistic": (stats.logistic(), [1e-4, 0.5, 0.99], lambda t: mp.log(mp.pi * t / mp.sin(mp.pi * t))),
    "laplace": (stats.laplace(), [1e-4, 0.5, 0.99], lambda t: -mp.log(1 - t * t)),
    "gumbel": (stats.gumbel_r(), [1e-3, 0.5, 0.95], lambda t: mp.log(mp.gamma(1 - t))),
}


@pytest.mark.parametrize("name", TILTS)
def test_tilt_equals_the_cumulant_function_and_its_derivative(name: str) -> None:
    law, pressures, psi = TILTS[name]
    world = World(law, lambda u: u)
    curve = exponential_tilt(world, pressures)
    with mp.workdps(40):
        value = np.array([float(psi(mp.mpf(t))) if t else 0.0 for t in pressures])
        slope = np.array([float(mp.diff(psi, mp.mpf(t))) if t else 0.0 for t in pressures])
        kl = np.array([float(mp.mpf(t) * mp.diff(psi, mp.mpf(t)) - psi(mp.mpf(t))) if t else 0.0 for t in pressures])
    assert close(cumulant(world, pressures), value)
    assert close(curve.proxy, slope)
    assert close(curve.kl, kl)


def test_tilt_chi2_of_a_normal_proxy() -> None:
    pressure = np.array([0.1, 1.0, 4.0])
    assert close(exponential_tilt(World(stats.norm(), np.tanh), pressure).chi2, np.expm1(pressure**2))


@pytest.mark.parametrize("law", [stats.t(5), stats.lognorm(1.0), stats.pareto(3.0), stats.cauchy()])
def test_heavy_tailed_proxies_have_no_tilt(law: Any) -> None:
    with pytest.raises(InputError, match="moment generating function"):
        exponential_tilt(World(law, np.tanh), 0.1)


def test_tilt_beyond_an_exponential_tail_does_not_exist() -> None:
    assert np.isinf(cumulant(World(stats.expon(), np.tanh), 1.0))
    assert np.isinf(exponential_tilt(World(stats.expon(), np.tanh), 0.5).chi2)


def test_tilt_at_kl_and_at_proxy_are_inverses() -> None:
    world = World(stats.logistic(), np.tanh)
    kl = np.array([0.0, 0.01, 1.0, 6.0])
    curve = tilt_at_kl(world, kl)
    assert close(curve.kl, kl)
    assert close(tilt_at_proxy(world, curve.proxy[1:]).kl, kl[1:])


def test_a_jump_and_a_kink_in_gold_cost_no_accuracy() -> None:
    cut = 1.3
    jump = best_of_n(World(stats.norm(), lambda u: (u > cut) * 1.0), N)
    kink = best_of_n(World(stats.expon(), lambda u: np.minimum(u, cut)), N)
    with mp.workdps(40):
        n = [mp.mpf(float(v)) for v in N]
        win = np.array([float(-mp.expm1(v * mp.log1p(-sf_normal(mp.mpf(cut))))) for v in n])
        # E min(U, c) = INT_0^c (1 - F^n) du, and with x = F the integral is INT_0^F(c) (1 - x^n)/(1 - x) dx.
        capped = [float(mp.quad(lambda u, v=v: -mp.expm1(v * mp.log1p(-mp.exp(-u))), [0, 0.3, 0.8, cut])) for v in n]
    assert close(jump.gold, win)
    assert close(kink.gold, np.array(capped))


def test_mixture_equals_its_components_under_the_base_policy_and_far_out() -> None:
    mixture = Mixture((0.999, 0.001), (stats.norm(), stats.norm(9, 0.2)))
    curve = best_of_n(World(mixture, np.cos), [1.0, 1e3, 1e9])
    assert close(curve.proxy[0], 0.009)
    assert close(curve.gold[0], 0.999 * np.exp(-0.5) + 0.001 * np.cos(9) * np.exp(-0.02))
    with mp.workdps(30):
        for n, actual in zip((1e3, 1e9), curve.proxy[1:], strict=True):

            def tail(u: Any) -> Any:
                return mp.mpf("0.999") * sf_normal(u) + mp.mpf("0.001") * sf_normal((u - 9) / mp.mpf("0.2"))

            knots = [-6, -3, *np.arange(0.0, 8.0, 0.5), *np.arange(8.0, 12.0, 0.125)]
            above = integrate(lambda u, n=n: -mp.expm1(n * mp.log1p(-tail(u))), [k for k in knots if k >= 0])
            below = integrate(lambda u, n=n: mp.exp(n * mp.log1p(-tail(u))), [k for k in knots if k <= 0])
            assert abs(float(above - below) / actual - 1) < 1e-9


def test_every_policy_is_normalised() -> None:
    world = World(stats.t(2.2), lambda u: np.ones_like(u))
    assert close(best_of_n(world, N).gold, 1.0)
    assert close(best_of_poisson(world, [0.5, 50.0, 1e9]).gold, 1.0)
    assert close(quantilizer(world, [1.0, 0.3, 1e-12]).gold, 1.0)


@pytest.mark.parametrize("name", CASES)
def test_affine_change_of_proxy_and_gold(name: str) -> None:
    law = CASES[name].law
    plain = best_of_n(World(law, np.tanh), N)
    shifted = getattr(stats, law.dist.name)(*law.args, loc=7.0, scale=3.0)
    moved = best_of_n(World(shifted, lambda u: 5 - 2 * np.tanh((u - 7) / 3)), N)
    assert close(moved.proxy, 7 + 3 * plain.proxy)
    assert np.allclose(moved.gold, 5 - 2 * plain.gold, rtol=1e-9, atol=1e-11)


def test_pressure_raises_the_proxy_and_the_divergences() -> None:
    world = World(stats.logistic(), np.tanh)
    pressure = np.linspace(0.01, 0.95, 40)
    for curve in (
        best_of_n(world, np.exp(np.linspace(0, 40, 60))),
        best_of_poisson(world, np.geomspace(0.01, 1e9, 60)),
        quantilizer(world, np.geomspace(1, 1e-15, 60)),
        exponential_tilt(world, pressure),
    ):
        for values in (curve.proxy, curve.kl, curve.win_rate, curve.gold):
            assert np.all(np.diff(values) >= -1e-12), curve.method


def test_the_tilt_spends_the_least_kl_for_its_proxy() -> None:
    world = World(stats.norm(), np.tanh)
    for curve in (
        best_of_n(world, [2.0, 50.0, 1e6]),
        best_of_poisson(world, [1.0, 40.0, 1e5]),
        quantilizer(world, [0.5, 1e-3]),
    ):
        assert np.all(tilt_at_proxy(world, curve.proxy).kl < curve.kl), curve.method


def test_win_rate_and_chi2_equal_integrals_over_the_rank() -> None:
    world = World(stats.uniform(), lambda u: u)
    for curve in (best_of_n(world, [1.7, 30.0]), best_of_poisson(world, [0.2, 30.0]), quantilizer(world, [0.9, 0.01])):
        assert close(curve.win_rate, curve.gold), curve.method
    for mu in (0.2, 30.0):
        with mp.workdps(30):
            ranks = [0, mp.mpf(1) / 2, mp.mpf(9) / 10, 1]

            def log_ratio(x: Any, mu: float = mu) -> Any:
                return mp.log(mu * x + 1) + mu * (x - 1)

            square = mp.quad(lambda x: mp.exp(2 * log_ratio(x)), ranks)
            spent = mp.quad(lambda x: mp.exp(log_ratio(x)) * log_ratio(x), ranks)
        curve = best_of_poisson(world, mu)
        assert close(curve.chi2, float(square - 1))
        assert close(curve.kl, float(spent))


def test_best_of_n_kl_has_its_series_near_one_and_its_value_far_out() -> None:
    n = np.array([1.0, 1 + 1e-9, 1.019, 1.021, 2.0, 1e17, np.exp(40)])
    with mp.workdps(60):
        expected = [float(mp.log(mp.mpf(v)) - 1 + 1 / mp.mpf(v)) for v in map(float, n)]
    assert np.allclose(best_of_n_kl(n), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: best_of_n(w, 0.5), "`n` must be >= 1, got 0.5."),
        (lambda w: best_of_n(w, float("nan")), "`n` must be >= 1"),
        (lambda w: quantilizer(w, 0.0), r"`q` must lie in \(0, 1\], got 0."),
        (lambda w: best_of_poisson(w, -1.0), "`mu` must be >= 0, got -1."),
        (lambda w: exponential_tilt(w, -1.0), "`pressure` must be >= 0, got -1."),
        (lambda w: tilt_at_kl(w, -1.0), "`kl` must be >= 0, got -1."),
        (lambda w: World(3.0, np.tanh).grid, "`law` must be a frozen continuous distribution"),
        (lambda w: Mixture((0.5, 0.4), (stats.norm(), stats.norm())), "`weights` must be > 0 and sum to 1"),
    ],
)
def test_wrong_input_is_named(call: Callable[[World], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(World(stats.norm(), np.tanh))
