"""Numbers that the seed discussions and the ledger state, each from its own derivation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from overopt.theory.best_of_n import best_of_n_kl
from overopt.toys import toy
from overopt.toys.finite_selection import conditioned_policy, rank_policy, tilted_policy
from overopt.toys.optimizers.best_of_n import BestOfN
from overopt.toys.optimizers.policy_gradient import PolicyGradient
from overopt.toys.optimizers.quantilizer import Quantilizer
from overopt.toys.worlds.adversarial_mode import AdversarialMode
from overopt.toys.worlds.bounded import Bounded
from overopt.toys.worlds.break_points import BreakPoints
from overopt.toys.worlds.feasible_region import FeasibleRegion
from overopt.toys.worlds.joint_gaussian import JointGaussian
from overopt.toys.worlds.kink import Kink
from overopt.toys.worlds.missing_features import MissingFeatures
from overopt.toys.worlds.quadratic import Quadratic
from overopt.toys.worlds.saturation import Saturation
from overopt.toys.worlds.sentences import Sentences
from overopt.toys.worlds.tabular import Tabular
from overopt.toys.worlds.three_submodules import ThreeSubmodules


def exact(world, optimizer, pressures, **parameters):
    return toy(world, optimizer, pressures, replicates=0, **parameters)


def test_student_t_noise_peaks_near_42_at_1_336_and_returns_to_0():
    n = np.arange(30, 60)
    gold = exact("additive", "best-of-n", n, noise="student_t", df=3).column("delivered")
    assert abs(n[gold.argmax()] - 42) <= 2
    assert gold.max() == pytest.approx(1.336, abs=5e-4)
    far = exact("additive", "best-of-n", [1e13, 1e20, 1e30], noise="student_t", df=3).column("delivered")
    assert np.all(np.diff(far) < 0)
    assert 0 < far[-1] < 1e-8


@pytest.mark.parametrize(
    ("noise", "limit"), [("laplace", math.sqrt(2)), ("exponential", 1.0), ("logistic", math.pi / math.sqrt(3))]
)
def test_exponential_tails_saturate_at_their_rate(noise, limit):
    gold = exact("additive", "best-of-n", [60000, 1e13], noise=noise).column("delivered")
    assert gold[-1] == pytest.approx(limit, abs=1e-4)
    assert gold[0] < gold[1] + 1e-9


def test_bounded_noise_becomes_free():
    """K13: gold given a large proxy c is a normal truncated at a = c - delta, mean ``a + 1/a - 2/a^3 + ...``."""
    point = exact("bounded", "best-of-n", [1e13], delta=1.0).points[0]
    a = point.promise - 1
    assert point.regressional == pytest.approx(1 - 1 / a + 2 / a**3, abs=0.002)


def test_two_point_noise_makes_gold_fall_in_the_proxy():
    """K14, against Bayes' rule by hand."""
    delta = 2.0
    joint = Bounded(delta=delta, shape="two-point").joint
    law = joint.law(None)
    p = law.proxy[np.abs(law.proxy) < 3]
    up, down = np.exp(-0.5 * (p - delta) ** 2), np.exp(-0.5 * (p + delta) ** 2)
    by_hand = (up * (p - delta) + down * (p + delta)) / (up + down)
    np.testing.assert_allclose(law.gold[np.abs(law.proxy) < 3], by_hand, atol=1e-12)
    assert np.any(np.diff(by_hand) < 0)


def test_best_of_e30_costs_what_its_formula_says():
    point = exact("additive", "best-of-n", [1.07e13]).points[0]
    assert point.kl == pytest.approx(29.000, abs=2e-3)


def test_three_submodules_conditioning_against_policy_gradient():
    world = ThreeSubmodules()
    assert world.truth_given_persuasiveness(1.5) == pytest.approx(1.341, abs=5e-4)
    rng = np.random.default_rng(0)
    parts = world.weights[:, None] * (np.array([[1.0], [1.2], [1.5]]) + rng.standard_normal((3, 2_000_000)))
    near = np.abs(parts[0] + parts[2] - 1.5) < 0.02
    truth = (parts[0] + parts[1])[near]
    assert abs(truth.mean() - world.truth_given_persuasiveness(1.5)) < 5 * truth.std() / math.sqrt(near.sum())

    end = world.trained_weights(5000)
    assert end == pytest.approx([0, 0, 1], abs=5e-3)
    assert world.mean_truth(end) == pytest.approx(0, abs=5e-3)
    assert ThreeSubmodules(mean_a=2.0).trained_weights(5000) == pytest.approx([1, 0, 0], abs=5e-3)


def test_a_kl_penalty_inside_the_weight_family_is_not_conditioning():
    """K36: persuasiveness rises, truth falls, whereas conditioning on as much persuasiveness raises truth."""
    world = ThreeSubmodules(kl_penalty=0.05)
    weights = world.trained_weights(20_000)
    moved = world.gradient_step(weights)
    assert moved == pytest.approx(weights, abs=1e-9)
    persuasiveness = world.mean_persuasiveness(weights)
    assert persuasiveness > world.mean_persuasiveness(world.weights) + 0.05
    assert (
        world.mean_truth(weights) < world.mean_truth(world.weights) < world.truth_given_persuasiveness(persuasiveness)
    )


def test_gradient_of_the_kl_between_weights_by_differences():
    world, weights = ThreeSubmodules(), np.array([0.3, 0.45, 0.25])
    differences = [(world.kl(weights + step) - world.kl(weights - step)) / 2e-6 for step in 1e-6 * np.eye(3)]
    assert world.kl_gradient(weights) == pytest.approx(differences, abs=1e-6)
    assert world.kl(world.weights) == 0


def test_shifting_costs_more_than_conditioning_and_gains_nothing():
    """K38 against the general formula of the KL between normals."""
    world = JointGaussian(rho=0.8)
    covariance = np.array([[1, 0.8], [0.8, 1]])
    for m, v in ((1.0, 0.0), (1.0, 0.8), (2.0, -0.3)):
        shift = np.array([m, v])
        assert world.kl(m, v) == pytest.approx(0.5 * shift @ np.linalg.solve(covariance, shift))
    vanilla = exact("joint-gaussian", "vanilla-gradient", [1.5]).points[0]
    natural = exact("joint-gaussian", "natural-gradient", [1.5]).points[0]
    assert vanilla.kl / natural.kl == pytest.approx(1 / (1 - 0.64))
    assert vanilla.promise == pytest.approx(natural.promise)
    assert vanilla.delivered == 0
    assert vanilla.causal == pytest.approx(natural.delivered)
    assert natural.causal == pytest.approx(0, abs=1e-12)
    tilt = exact("joint-gaussian", "exponential-tilt", [natural.promise * 0.64]).points[0]
    assert (tilt.kl, tilt.delivered) == pytest.approx((natural.kl, natural.delivered), rel=1e-9)


def test_conditioning_keeps_a_common_cause_and_moving_breaks_it():
    selected = exact("common-cause-length", "best-of-n", [100]).points[0]
    moved = exact("common-cause-length", "move-length", [2.0]).points[0]
    assert selected.delivered == pytest.approx(0.64**2 * selected.promise)
    assert (selected.causal, moved.delivered) == (0, 0)
    assert moved.causal == pytest.approx(0.64 * 2.0)


def test_one_sentence_in_a_million():
    """K37, counted by hand."""
    world = Sentences()
    base = world.base
    above_99 = (99.0 - 50.0) / world.gold_sd
    assert base.proxy[0, :-1].max() < base.proxy[0, -1]
    shift = (1e5 - 50) / 1_000_001 / world.gold_sd
    policy = conditioned_policy(base, above_99 - shift)
    assert world.adversarial_probability(policy) == pytest.approx(1 / 10_001, rel=1e-9)
    best_of_100 = rank_policy(base, BestOfN(), 100)
    assert world.adversarial_probability(best_of_100) == pytest.approx(1e-4, rel=0.01)

    raw_lambdas = world.switching_lambda() * np.linspace(0.5, 1.5, 401)
    rare_and_rewarding = 0
    for value in raw_lambdas[::8]:
        policy = tilted_policy(base, value * world.gold_sd)
        reward = world.raw_reward(float(((policy - base.probability) * base.proxy).sum()))
        rare_and_rewarding += world.adversarial_probability(policy) < 0.01 and reward > 51 + 0.01 * 1e5
        rare_and_rewarding += world.adversarial_probability(policy) < 1e-5 and reward > 51
    assert rare_and_rewarding == 0
    clipped = Sentences(cap=100.0)
    policy = tilted_policy(clipped.base, 0.2 * clipped.gold_sd)
    reward = clipped.raw_reward(float(((policy - clipped.base.probability) * clipped.base.proxy).sum()))
    assert clipped.adversarial_probability(policy) < 1e-4
    assert reward > 90


def test_a_rare_mode_is_found_at_its_frequency():
    """K34: far out, the mode is emitted exactly when it is drawn."""
    world = AdversarialMode(share=1e-3, height=40.0, low=-3.0)
    scale = world.joint.scale
    for n in (10, 1000, 10_000):
        hacked = world.hacked_probability(n)
        ordinary = exact("additive", "best-of-n", [n]).points[0].delivered
        raw = exact("adversarial-mode", "best-of-n", [n], share=1e-3, height=40.0).points[0].delivered * scale.gold_sd
        assert raw + scale.gold_mean == pytest.approx(hacked * -3.0 + (1 - hacked) * ordinary, abs=0.03)


def test_a_rare_mode_is_a_jump_of_the_extremal_term():
    points = exact("adversarial-mode", "best-of-n", [10, 10_000]).points
    assert abs(points[0].extremal) < 0.05
    assert points[1].extremal > 2


def test_the_most_approved_corner_is_hardly_useful():
    curve = exact("feasible-region", "best-of-n", [2, 1e20])
    assert curve.points[0].delivered > 0.1
    assert curve.points[-1].delivered == pytest.approx(FeasibleRegion().limit(), abs=1e-3)
    assert FeasibleRegion().limit() < -1
    assert curve.points[-1].causal == 0


@pytest.mark.parametrize("lam", [0.2, 0.7, 1.9])
def test_gold_of_the_tilt_in_closed_form(lam):
    """K29 and its relatives: the tilt moves u to N(sqrt 2 d, 1)."""
    point = exact("quadratic", "exponential-tilt", [lam]).points[0]
    alpha, beta = Quadratic().tilt_coefficients()
    assert point.delivered == pytest.approx(point.d * (alpha - beta * point.d), abs=1e-12)
    for world in (Kink(), Saturation()):
        name = type(world).__name__.lower()
        point = exact(name, "exponential-tilt", [lam]).points[0]
        expected = world.tilt_gold(math.sqrt(2) * point.d) / world.joint.scale.gold_sd
        assert point.delivered == pytest.approx(expected, abs=1e-10)
    point = exact("missing-features", "exponential-tilt", [lam]).points[0]
    assert point.delivered == pytest.approx(MissingFeatures().tilt_gold(math.sqrt(2) * point.d), abs=1e-10)


def test_saturation_integral_by_quadrature():
    u, w = np.polynomial.hermite_e.hermegauss(80)
    for shift in (0.0, 1.3):
        direct = w @ ndtr(u + shift - 0.5) / w.sum() * 4.0 - w @ ndtr(u - 0.5) / w.sum() * 4.0
        assert Saturation().tilt_gold(shift) == pytest.approx(direct, abs=1e-9)


@pytest.mark.parametrize("shape", ["uniform", "log-uniform", "power"])
def test_break_points_pay_what_their_density_says(shape):
    """m is the integral of S - reversal (1 - S), S the share of surviving features, by the trapezoid rule."""
    world = BreakPoints(shape=shape, first=0.5, last=6.0, reversal=0.7)
    u = np.linspace(0, 8, 20_001)
    survival = world.surviving(u)
    integrand = survival - 0.7 * (1 - survival)
    integral = np.concatenate([[0.0], np.cumsum((integrand[1:] + integrand[:-1]) / 2 * np.diff(u))])
    np.testing.assert_allclose(world.mean(u), integral, atol=1e-6)
    density = -np.gradient(survival, u)
    inside = (u > 0.6) & (u < 5.9)
    power = {"uniform": 0.0, "log-uniform": -1.0, "power": -0.5}[shape]
    ratio = density[inside] / u[inside] ** power
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


def test_quantilizer_and_best_of_n_multiply_a_cost_at_most_n_fold():
    base = Tabular(prompts=2, actions=50).draw(np.random.default_rng(0))
    for optimizer in (BestOfN(), Quantilizer()):
        policy = rank_policy(base, optimizer, 7.0)
        assert policy.sum(axis=1) == pytest.approx(1)
        assert (policy / base.probability).max() <= 7 + 1e-9


def test_best_of_n_on_a_table_by_counting():
    """Distinct proxies, uniform base: rank i of A wins with probability (i/A)^n - ((i-1)/A)^n."""
    base = Tabular(prompts=3, actions=40).draw(np.random.default_rng(0))
    policy = rank_policy(base, BestOfN(), 5.0)
    rank = base.proxy.argsort(axis=1).argsort(axis=1) + 1
    assert policy == pytest.approx((rank / 40) ** 5 - ((rank - 1) / 40) ** 5, abs=1e-12)
    kl = base.point(5.0, policy).kl
    assert kl < float(best_of_n_kl(5.0))


def test_ties_share_their_probability():
    base = Sentences(count=1000, cap=100.0).base
    levels = np.round(base.proxy, 1)
    tied = replace(base, proxy=levels)
    policy = rank_policy(tied, BestOfN(), 3.0)
    for level in np.unique(levels)[::5]:
        share = policy[levels == level]
        assert share == pytest.approx(np.full(share.size, share[0]), rel=1e-9)
    below = np.array([(levels <= level).mean() for level in np.unique(levels)])
    mass = np.array([policy[levels == level].sum() for level in np.unique(levels)])
    assert mass == pytest.approx(np.diff(np.append(0.0, below) ** 3), abs=1e-12)


def kl_over_tilts(actions, gain, seed):
    """KL of the vanilla gradient over the tilt's at the same gain of a standardised Gaussian reward, one prompt."""
    world = Tabular(prompts=1, actions=actions, noise_sd=1e-3, gradient=PolicyGradient(learning_rate=0.01))
    drawn = world.draw(np.random.default_rng(seed))
    base = replace(drawn, proxy=(drawn.proxy - drawn.proxy.mean()) / drawn.proxy.std())
    steps = tuple(range(0, 300, 2))
    points = [base.point(s, policy) for s, policy in zip(steps, world.train(base, "vanilla", steps), strict=True)]
    gains, kl = np.array([p.promise for p in points]), np.array([p.kl for p in points])
    until = int(np.argmax(gains >= gain)) + 1
    low, high = 0.0, 9.0
    for _ in range(50):
        middle = (low + high) / 2
        reached = base.point(0, tilted_policy(base, middle)).promise >= gain
        low, high = (low, middle) if reached else (middle, high)
    return np.interp(gain, gains[:until], kl[:until]) / base.point(0, tilted_policy(base, high)).kl


def test_vanilla_gradient_pays_twice_the_tilts_kl_at_1000_actions():
    """K40: the ratio grows with the number of actions, and at first with the gain."""
    at_one = {
        actions: np.mean([kl_over_tilts(actions, 1.0, seed) for seed in range(12)]) for actions in (10, 100, 1000)
    }
    assert at_one[1000] == pytest.approx(2.0, abs=0.3)
    assert 1 <= at_one[100] < at_one[1000]
    assert np.mean([kl_over_tilts(1000, 0.25, seed) for seed in range(4)]) < 1.2
