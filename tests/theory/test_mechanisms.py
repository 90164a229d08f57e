"""Mechanisms: exact curves, the coefficients they imply and the law that a fit reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from overopt.theory.additive import additive_world
from overopt.theory.best_of_n import best_of_n, best_of_n_kl, n_at_kl
from overopt.theory.errors import InputError
from overopt.theory.exponential_tilt import exponential_tilt
from overopt.theory.mechanism_table import mechanism_table, standard_worlds
from overopt.theory.mechanisms import (
    Affine,
    BreakPoints,
    Kink,
    LogUniformBreakPoints,
    PowerBreakPoints,
    QuadraticGold,
    Saturation,
    UniformBreakPoints,
    adversarial_mode,
    gumbel_penalty,
    read_law,
    surprisal,
)
from overopt.theory.scaling_laws import LAWS
from overopt.theory.world import World

NORMAL = stats.norm()


@pytest.mark.parametrize("mechanism", [Affine(0.7, 0.2), QuadraticGold(1.1, 0.15)])
def test_tilt_follows_the_implied_law_exactly(mechanism: Any) -> None:
    curve = exponential_tilt(World(NORMAL, mechanism), [0.0, 0.3, 1.0, 4.0, 9.0])
    name, coefficients = mechanism.implied_law()
    assert np.allclose(curve.gold - curve.gold[0], LAWS[name].gold(curve.d, *coefficients), rtol=1e-10, atol=1e-12)


def test_quadratic_gold_is_the_conditional_mean_of_its_features() -> None:
    rng = np.random.default_rng(5)
    w, v, q = rng.normal(size=3), rng.normal(size=3), np.diag([0.3, 0.1, 0.2])
    mechanism = QuadraticGold.from_features(w, v, q)
    features = rng.normal(size=(200_000, 3))
    gold = features @ v - np.einsum("ni,ij,nj->n", features, q, features)
    u = features @ (w / np.linalg.norm(w))
    # E[gold | u] differs from the mechanism by the constant that the features off w contribute.
    design = np.stack([np.ones_like(u), u, u**2], axis=1)
    estimate, residual, *_ = np.linalg.lstsq(design, gold, rcond=None)
    error = np.sqrt(residual[0] / u.size * np.diag(np.linalg.inv(design.T @ design)))
    assert abs(estimate[1] - mechanism.slope) < 5 * error[1]
    assert abs(estimate[2] + mechanism.curvature) < 5 * error[2]


DENSITIES: list[tuple[BreakPoints, Callable[[float], float]]] = [
    (UniformBreakPoints(1.0, 1.5, 0.2, 4.0), lambda t: 1 / 3.8),
    (LogUniformBreakPoints(1.0, 1.5, 0.2, 4.0), lambda t: 1 / (t * np.log(20))),
    (PowerBreakPoints(1.0, 1.5, 0.2, 4.0, gamma=0.6), lambda t: 0.6 * t**-0.4 / (4**0.6 - 0.2**0.6)),
]


@pytest.mark.parametrize(("mechanism", "density"), DENSITIES)
def test_break_points_equal_their_integral(mechanism: BreakPoints, density: Callable[[float], float]) -> None:
    for u in (-2.0, 0.1, 0.7, 3.9, 6.0):
        overshoot = integrate.quad(lambda t, u=u: max(u - t, 0) * density(t), 0.2, 4.0, points=[min(max(u, 0.2), 4)])[0]
        assert abs(float(mechanism(u)) - (u - 1.5 * overshoot)) < 1e-8, u


@pytest.mark.parametrize("mechanism", [m for m, _ in DENSITIES])
def test_slope_falls_from_slope_to_slope_minus_loss(mechanism: BreakPoints) -> None:
    u = np.linspace(-1, 6, 400)
    slope = np.diff(mechanism(u)) / np.diff(u)
    assert np.all(np.diff(slope) < 1e-9)
    assert abs(slope[0] - 1) < 1e-9
    assert abs(slope[-1] + 0.5) < 1e-9


def test_break_point_density_fixes_the_law_inside_its_range() -> None:
    # The tilt's proxy is sqrt2 d: d = 4 .. 28 stays inside [0.05, 60] and makes the smoothing of width 1 small.
    kl = np.linspace(4.0, 28.0, 25) ** 2 / 8
    for mechanism, law in (
        (UniformBreakPoints(1.0, 1.5, 1e-6, 60.0), "bon"),
        (LogUniformBreakPoints(1.0, 1.5, 0.05, 60.0), "rl"),
        (PowerBreakPoints(1.0, 1.5, 1e-6, 60.0, gamma=0.4), "power"),
    ):
        reading = read_law(World(NORMAL, mechanism), tilt_kl=kl, laws=("bon", "rl", "power"))
        residual = {name: float(fit.rmse) for name, fit in reading.tilt.items()}
        assert residual[law] < 0.02, (law, residual)
        rivals = {"bon": "rl", "rl": "bon", "power": "bon"}
        assert residual[law] < 0.2 * residual[rivals[law]], residual
        if law == "power":
            assert abs(float(reading.tilt["power"].coefficients[2]) - 0.4) < 0.05


def test_longer_robustness_lowers_beta_like_one_over_its_log_range() -> None:
    kl = np.linspace(3.0, 9.0, 25) ** 2 / 2
    log_range = np.log([30.0, 300.0, 3000.0])
    worlds = [World(NORMAL, LogUniformBreakPoints(1.0, 1.0, 1.0, high)) for high in np.exp(log_range)]
    fits = np.array([read_law(w, tilt_kl=kl, laws=("rl",)).tilt["rl"].coefficients for w in worlds])
    assert np.ptp(fits[:, 1] * log_range) < 1e-3
    # Alpha is sqrt2 plus a term that falls at the same rate: it tends to a constant and never rises.
    assert np.ptp((fits[:, 0] - np.sqrt(2)) * log_range) < 1e-3
    assert np.all(np.diff(fits[:, 0]) < 0)


def test_independent_laplace_noise_fits_a_positive_beta() -> None:
    reading = read_law(additive_world(NORMAL, stats.laplace(scale=np.sqrt(0.5))), laws=("bon",))
    fit = reading.best_of_n["bon"]
    assert abs(float(fit.coefficients[1]) - 0.25) < 0.01
    assert abs(float(fit.r2) - 0.992) < 0.001


def test_gaussian_noise_fits_a_slightly_negative_beta_and_the_tilt_none() -> None:
    reading = read_law(additive_world(NORMAL, NORMAL), laws=("bon",))
    assert abs(float(reading.best_of_n["bon"].coefficients[1]) + 0.019) < 0.001
    assert abs(float(reading.tilt["bon"].coefficients[1])) < 1e-9


def test_gumbel_penalty_costs_best_of_n_its_kl() -> None:
    for law in (NORMAL, stats.expon(), stats.t(3)):
        n = np.array([1.0, 1.7, 2.0, 10.0, 1000.0, 1e12])
        curve = best_of_n(World(law, lambda u, law=law: gumbel_penalty(law.logcdf(u))), n)
        assert np.allclose(curve.gold, best_of_n_kl(n), rtol=1e-9, atol=1e-12)
    assert np.allclose(best_of_n_kl([2.0, 10.0, 1000.0]), [0.19315, 1.40259, 5.90876], atol=1e-5)


def test_gumbel_penalty_approaches_the_surprisal() -> None:
    z = np.array([10.0, 30.0])
    assert np.allclose(gumbel_penalty(-np.exp(-z)) - surprisal(-z), -np.euler_gamma, atol=1e-4)


def test_adversarial_mode_hacks_best_of_n_near_the_inverse_mass() -> None:
    mass = 1e-3
    n = np.array([1.0, 10.0, 300.0, 1000.0, 1e5])
    gold = best_of_n(adversarial_mode(mass, gold_at_mode=-5.0), n).gold
    hacked = -np.expm1(n * np.log1p(-mass))
    clean = best_of_n(World(NORMAL, lambda u: u), n).gold
    # The clean branch is best-of-n among the draws outside the mode.
    assert np.allclose(gold, (1 - hacked) * clean - 5 * hacked, atol=3e-3)
    assert abs(gold[-1] + 5) < 1e-9
    # At the same KL the tilt is hacked already.
    spent = float(best_of_n_kl(300.0))
    reading = read_law(adversarial_mode(mass), n=[300.0, 400.0], tilt_kl=[spent, spent + 0.1])
    assert float(reading.tilt["linear"].coefficients[0]) < float(reading.best_of_n["linear"].coefficients[0]) - 1


def test_saturation_and_kink_reach_their_limits() -> None:
    n = np.array([1e9, 1e17])
    assert np.allclose(best_of_n(World(NORMAL, Saturation(1.5, 2.0)), n).gold, 3.0, rtol=1e-9)
    world = World(NORMAL, Kink(1.2, 1.0, 0.5))
    curve = best_of_n(world, n)
    assert np.allclose(curve.gold, 1.2 - 0.5 * (curve.proxy - 1.2), rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UniformBreakPoints(low=2.0, high=1.0), "`low` and `high` must satisfy 0 <= low < high"),
        (lambda: LogUniformBreakPoints(low=0.0), "`low` must be > 0, got 0."),
        (lambda: PowerBreakPoints(gamma=0.0), "`gamma` must be > 0, got 0."),
        (lambda: adversarial_mode(0.0), r"`mass` must lie in \(0, 1\), got 0."),
    ],
)
def test_wrong_mechanism_input_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_the_range_of_d_and_not_the_optimizer_picks_the_form_of_a_kink() -> None:
    for fall in (0.3, 1.0, 3.0):
        world = World(NORMAL, Kink(2.0, 1.0, fall))
        for top, expected in ((6.0, "bon"), (30.0, "rl")):
            kl = np.geomspace(0.2, top, 12)
            reading = read_law(world, n=n_at_kl(kl), tilt_kl=kl, laws=("bon", "rl"))
            assert (reading.preferred("best_of_n"), reading.preferred("tilt")) == (expected, expected), (fall, top)


def test_table_reports_exact_laws_and_the_misleading_beta() -> None:
    worlds = standard_worlds()
    rows = {row.mechanism: row for row in mechanism_table(worlds)}
    assert rows.keys() == worlds.keys()
    assert rows["Laplace noise"].beta > 0.2
    assert rows["Student t3 noise"].long[1] is None
    assert rows["uniform noise"].beta < rows["Gaussian noise"].beta < 0
    name, (alpha, beta) = rows["quadratic gold"].implied or ("", (0.0, 0.0))
    assert name == "bon"
    assert abs(rows["quadratic gold"].beta - beta) < 0.05
    assert abs(rows["quadratic gold"].alpha - alpha) < 0.1
