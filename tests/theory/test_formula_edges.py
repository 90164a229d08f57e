"""What the mutation study found that no entry and no other test noticed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from overopt.theory.additive import Convolution
from overopt.theory.best_of_n import beirami_kl_estimate, best_of_n
from overopt.theory.best_of_poisson import best_of_poisson_kl
from overopt.theory.conditional_mean import given_normal_mixture_noise, given_two_point_noise
from overopt.theory.errors import InputError
from overopt.theory.exponential_tilt import tilt_at_kl
from overopt.theory.iterated import composed_slope, scaled_coefficient
from overopt.theory.kl_geometry import binarised_tilt, tilted
from overopt.theory.mechanism_table import standard_worlds
from overopt.theory.mechanisms import adversarial_mode, read_law
from overopt.theory.missing_features import FeatureBudget, feature_path
from overopt.theory.panels import Interpolant, panel_nodes, panel_points
from overopt.theory.proxy_law import FrozenLaw, Mixture
from overopt.theory.quantilizer import quantilizer, quantilizer_kl
from overopt.theory.regressional import reliability
from overopt.theory.scaling_laws import Linear, Power, Quadratic, Saturating, d_at_gold, fit_law, law_named
from overopt.theory.structural import common_cause, intermediary
from overopt.theory.world import World


def test_a_mixture_inverts_its_own_distribution_function():
    mixture = Mixture((0.3, 0.7), (stats.norm(-1.0, 0.5), stats.laplace(2.0, 1.0)))
    q = np.array([1e-6, 0.2, 0.5, 0.97])
    np.testing.assert_allclose(np.exp(mixture.logcdf(mixture.ppf(q))), q, rtol=1e-10)
    np.testing.assert_allclose(np.exp(mixture.logsf(mixture.isf(q))), q, rtol=1e-10)


@pytest.mark.parametrize(
    "law",
    [stats.t(3), stats.t(1.1, loc=-2.0, scale=0.5), stats.t(df=40.0, scale=7.0), stats.t(np.inf), stats.norm(1.0)],
)
def test_a_student_t_has_the_log_density_that_scipy_gives_it(law):
    value = np.concatenate([[0.0], np.geomspace(1e-9, 1e120, 90)])
    value = np.concatenate([-value, value]).reshape(2, -1)
    np.testing.assert_allclose(FrozenLaw(law).log_density(value), law.logpdf(value), rtol=2e-14, atol=2e-14)


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


# ---- beyond the last panel of a world's grid, at log-odds z: there the upper tail's mass is exp(-z)


def edge(world: World) -> float:
    return float(world.grid.edges[-1])


@pytest.mark.parametrize("pressure", [0.0, 0.4, -0.5])
def test_a_linear_tail_is_integrated_beyond_the_grid(pressure: float) -> None:
    # U = z far out for a unit exponential: int_e^inf z exp((pressure - 1) z) dz.
    world = World(stats.expon(), np.tanh)
    e, rate = edge(world), 1 - pressure
    beyond = world.beyond((pressure * world.grid.proxy)[None, :], world.grid.proxy, upper=True)
    assert beyond[0] == pytest.approx(np.exp(-rate * e) * (e / rate + 1 / rate**2), rel=1e-9, abs=0)


@pytest.mark.parametrize("b", [1.6, 60.0])
def test_a_power_tail_is_integrated_beyond_the_grid(b: float) -> None:
    # U = exp(z/b) for a Pareto law: int_e^inf exp(z/b - z) dz. With b = 60 the last panel is almost a line.
    world, rate = World(stats.pareto(b), np.tanh), 1 - 1 / b
    beyond = world.beyond(np.zeros((1, world.grid.proxy.size)), world.grid.proxy, upper=True)
    assert beyond[0] == pytest.approx(np.exp(-rate * edge(world)) / rate, rel=1e-9, abs=0)


def test_the_lower_tail_mirrors_the_upper_one() -> None:
    world = World(stats.logistic(), np.tanh)
    flat = np.zeros((1, world.grid.proxy.size))
    e = edge(world)
    assert world.beyond(flat, world.grid.proxy, upper=False)[0] == pytest.approx(-(e + 1) * np.exp(-e), rel=1e-9, abs=0)


@pytest.mark.parametrize("q", [1.0, 0.1, 1e-6])
def test_the_top_of_a_law_that_barely_has_a_mean(q: float) -> None:
    # E[U | top q] = b/(b - 1) q^(-1/b); with b = 1.02 a thousandth of it lies beyond any grid.
    b = 1.02
    curve = quantilizer(World(stats.pareto(b), np.tanh), [q])
    assert curve.proxy[0] == pytest.approx(b / (b - 1) * q ** (-1 / b), rel=1e-6)


# ---- sums


@pytest.mark.parametrize("noise", [stats.norm(), stats.laplace()], ids=["normal", "laplace"])
def test_a_sum_inverts_its_own_ranks(noise) -> None:
    law = Convolution(stats.norm(), noise)
    logits = np.array([-349.0, -120.0, -37.0, -3.0, 0.0, 0.4, 9.0, 44.0, 200.0, 349.0])
    np.testing.assert_allclose(law.logit(law.quantile(logits)), logits, rtol=1e-9, atol=1e-9)


def test_a_sum_of_normals_has_normal_quantiles_to_the_end_of_its_table_and_beyond() -> None:
    law = Convolution(stats.norm(), stats.norm())
    for logit, error in ((-340.0, 1e-9), (340.0, 1e-9), (380.0, 2e-3)):
        exact = np.sqrt(2) * np.sign(logit) * stats.norm.isf(np.exp(-abs(logit)))
        assert float(law.quantile(np.array([logit]))[0]) == pytest.approx(exact, rel=error)


def test_an_interpolant_uses_the_panel_that_holds_the_point() -> None:
    edges = np.array([0.0, 1.0, 2.0])
    nodes = panel_nodes(edges)[0]
    step = Interpolant(edges, np.where(nodes < 1, nodes, 5 - nodes))
    np.testing.assert_allclose(step(np.array([0.1, 0.9, 1.1, 1.9])), [0.1, 0.9, 3.9, 3.1], rtol=1e-12)


# ---- arguments and constants that no default shows


def test_two_point_noise_is_centred_on_the_mean_of_gold() -> None:
    s, mean, sd, delta = np.linspace(-3, 4, 15), 0.7, 1.3, 0.9
    up, down = stats.norm(mean + delta, sd).pdf(s), stats.norm(mean - delta, sd).pdf(s)
    exact = ((s - delta) * up + (s + delta) * down) / (up + down)
    np.testing.assert_allclose(given_two_point_noise(s, delta=delta, gold_mean=mean, gold_sd=sd), exact, rtol=1e-12)


def test_the_noises_of_the_mechanism_table_have_unit_variance() -> None:
    worlds = standard_worlds()
    for name in ("Gaussian noise", "uniform noise", "Laplace noise", "Student t3 noise"):
        gold, noise = worlds[name].law.gold, worlds[name].law.noise
        assert (gold.mean(), noise.mean()) == pytest.approx((0, 0), abs=1e-12)
        assert (gold.var(), noise.var()) == pytest.approx((1, 1), rel=1e-12)


def test_a_mediator_spreads_by_its_own_sd() -> None:
    model = intermediary(on_mediator=0.5, on_proxy=2.0, mediator_sd=3.0)
    assert model.proxy @ model.covariance @ model.proxy == pytest.approx(4 * (0.25 + 9) + 1)


def test_the_slope_outside_an_adversarial_mode() -> None:
    world = adversarial_mode(1e-9, slope=2.0)
    assert float(world.gold(np.array([-1.5]))[0]) == pytest.approx(-3.0, rel=1e-6)


def test_a_tilt_does_not_overflow() -> None:
    np.testing.assert_allclose(tilted([0.5, 0.3, 0.2], [0.0, 3.0, 1.0], 1e4), [0.0, 1.0, 0.0], atol=1e-300)


def test_the_divergence_of_best_of_many_poisson_draws() -> None:
    # exp(-x) Ei(x) by its asymptotic series from x = 60 on, against the rank's density by quadrature.
    mu = 150.0
    t = np.linspace(0.0, 1.0, 2_000_001)
    log_ratio = np.log1p(mu * t) - mu * (1 - t)
    exact = np.trapezoid(np.exp(log_ratio) * log_ratio, t)
    assert float(best_of_poisson_kl(mu)) == pytest.approx(exact, rel=1e-7)


def test_a_line_that_rises_has_no_peak() -> None:
    peak = Linear().peak(np.array([0.3, -0.3]))
    assert peak.gold.tolist() == [np.inf, 0.0]


def test_peaks_of_a_batch_of_fits_keep_its_shape() -> None:
    rng = np.random.default_rng(0)
    alpha, beta = rng.uniform(1, 2, size=(2, 2, 3))
    d = np.linspace(0.2, 3, 9)
    fit = fit_law(Quadratic(), d, Quadratic().gold(d, alpha[..., None], beta[..., None]))
    np.testing.assert_allclose(fit.peak.d, alpha / (2 * beta), rtol=1e-9)


@pytest.mark.parametrize("cosine", [0.0, 1.2, -0.1])
def test_a_cosine_is_at_most_one(cosine: float) -> None:
    with pytest.raises(InputError, match=r"`cosine` must lie in \(0, 1\]"):
        composed_slope(3, cosine, errors="shared")


def test_sizes_may_be_measured_against_a_part_of_one() -> None:
    assert scaled_coefficient(2.0, 1.0, 3.0, reference=0.5) == pytest.approx(1 + 3 * np.log(4))


def test_a_feature_path_starts_within_the_budget_and_may_have_one_step() -> None:
    problem = FeatureBudget(np.ones(2), np.ones(2), np.full(2, 0.1), 2.0)
    known = np.array([True, False])
    assert feature_path(problem, np.array([1.0, 1.0]), known, steps=1).shape == (2, 2)
    with pytest.raises(InputError, match="floors and the budget"):
        feature_path(problem, np.array([1.5, 1.0]), known, steps=1)


@pytest.mark.parametrize("shape", [0.0, 0.5, 1.0])
def test_a_saturating_law_turns_into_a_line(shape: float) -> None:
    d = np.array([0.0, 0.4, 2.0])
    exact = d if shape == 0 else (1 - np.exp(-shape * d)) / shape
    np.testing.assert_allclose(Saturating().design(d, shape)[..., 0], exact, rtol=1e-12)


def test_points_of_panels_are_their_nodes() -> None:
    edges = np.array([-1.0, 0.5, 4.0])
    np.testing.assert_allclose(panel_points(edges[:-1], edges[1:]), panel_nodes(edges)[0].ravel(), rtol=1e-12)


def test_the_tilt_is_read_at_the_divergences_of_best_of_n() -> None:
    world, n = World(stats.norm(), lambda u: u - 0.1 * u**2), np.array([2.0, 8.0, 32.0, 128.0])
    reading = read_law(world, n=n)
    curve = best_of_n(world, n)
    tilted_curve = tilt_at_kl(world, curve.kl)
    for name, found in reading.tilt.items():
        exact = fit_law(law_named(name), tilted_curve.d, tilted_curve.gold + 0.1)
        np.testing.assert_allclose(found.coefficients, exact.coefficients, rtol=1e-6, atol=1e-9)


def test_a_batch_of_curves_has_a_shape_each() -> None:
    d = np.linspace(0.2, 3, 12)
    shapes = np.array([[0.3, 0.6, 0.9], [1.2, 1.5, 0.45]])
    fit = fit_law(Power(), d, Power().gold(d, 1.5, 0.4, shapes[..., None]))
    assert fit.coefficients.shape == (2, 3, 3)
    np.testing.assert_allclose(fit.coefficients[..., 2], shapes, rtol=1e-3)


def test_effort_is_the_common_cause_of_gold_and_length() -> None:
    covariance = common_cause(on_gold=2.0, on_correlate=0.5, correlate_sd=3.0).covariance
    np.testing.assert_allclose(covariance[1:, 1:], [[4 + 1, 1.0], [1.0, 0.25 + 9]])


@pytest.mark.parametrize("mass", [0.0, 1.0, 1.5])
def test_a_mode_holds_a_part_of_the_mass(mass: float) -> None:
    with pytest.raises(InputError, match=r"`mass` must lie in \(0, 1\)"):
        adversarial_mode(mass)


def test_a_tail_without_a_mean_is_infinite_and_nothing_times_it_is_nothing() -> None:
    world = World(stats.expon(), np.tanh)
    steep = (2 * world.grid.proxy)[None, :]
    assert world.beyond(steep, world.grid.proxy, upper=True)[0] == np.inf
    assert world.beyond(steep, -world.grid.proxy, upper=True)[0] == -np.inf
    assert world.beyond(steep, 0 * world.grid.proxy, upper=True)[0] == 0


def test_the_whole_of_a_law_with_two_heavy_tails_has_its_mean() -> None:
    assert quantilizer(World(stats.t(1.1), np.tanh), [1.0]).proxy[0] == pytest.approx(0, abs=1e-6)


def test_a_line_reaches_any_level() -> None:
    assert d_at_gold(Linear(), 5.0, 0.1) == pytest.approx(50.0, rel=1e-9)


# ---- gaps that a second sample of broken formulas fell through


@pytest.mark.parametrize(("z", "error"), [(20.0, 1e-12), (349.9, 1e-9), (688.0, 2e-6), (696.1, 5e-3)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_sum_is_inverted_up_to_the_end_of_its_table(z, error, sign):
    """The table ends at log-odds of 696; beyond, the density is continued as an exponential."""
    law, exact = Convolution(stats.norm(), stats.norm()), stats.norm(scale=np.sqrt(2))
    value = law.quantile(np.array([sign * z]))
    np.testing.assert_allclose(exact.logcdf(value) - exact.logsf(value), sign * z, atol=error)


@pytest.mark.parametrize("probability", [0.0, 1.5])
def test_an_output_has_a_probability(probability):
    with pytest.raises(InputError, match=r"`probability` must lie in \(0, 1\]"):
        beirami_kl_estimate(probability, 4)


@pytest.mark.parametrize("success", [0.0, 1.0, 1.5])
def test_a_binary_reward_succeeds_and_fails(success):
    with pytest.raises(InputError, match=r"`success` must lie in \(0, 1\)"):
        binarised_tilt(success, 1.0)


def test_the_posterior_of_a_mixture_keeps_its_digits_far_out():
    """At s = 200 every component's density underflows; the wide one holds all of the posterior."""
    found = given_normal_mixture_noise(200.0, weights=[0.5, 0.5], noise_means=[0.0, 0.0], noise_sds=[0.5, 2.0])
    np.testing.assert_allclose(found, 200.0 / 5, rtol=1e-12)


@pytest.mark.parametrize("base", [-3.0, 0.0, 2.0])
def test_a_reading_does_not_depend_on_golds_origin(base):
    read = read_law(World(stats.norm(), lambda u: base + 0.4 * u - 0.1 * u**2), tilt_kl=[]).best_of_n["bon"]
    plain = read_law(World(stats.norm(), lambda u: 0.4 * u - 0.1 * u**2), tilt_kl=[]).best_of_n["bon"]
    np.testing.assert_allclose(read.coefficients, plain.coefficients, atol=1e-9)


def test_a_table_is_read_at_both_of_its_ends():
    edges = np.array([0.0, 1.0, 3.0])
    table = Interpolant(edges, panel_nodes(edges)[0] ** 3)
    np.testing.assert_allclose(table(np.array([0.0, 1.0, 3.0])), [0.0, 1.0, 27.0], atol=1e-10)


@pytest.mark.parametrize("alpha", [0.2, 0.7, 1.0, 2.5])
def test_the_peak_of_the_log1p_law_is_its_maximum(alpha):
    law = law_named("log1p")
    d = np.linspace(0, 200, 2_000_001)
    gold = law.gold(d, alpha, 1.0)
    peak = law.peak(alpha, 1.0)
    np.testing.assert_allclose([float(peak.d), float(peak.gold)], [d[gold.argmax()], gold.max()], atol=2e-4)


@pytest.mark.parametrize("gamma", [*np.geomspace(0.021, 2.95, 9)])
def test_the_exponent_of_a_power_law_is_found_wherever_it_lies(gamma):
    d = np.linspace(0.2, 4, 30)
    fit = fit_law(Power(), d, Power().gold(d, 1.5, 0.3, gamma))
    np.testing.assert_allclose(fit.coefficients, [1.5, 0.3, gamma], rtol=2e-5)
