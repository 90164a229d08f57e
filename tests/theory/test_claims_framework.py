"""The machinery of the ledger: comparisons, evaluation, worlds."""

from __future__ import annotations

import math
from itertools import product

import mpmath
import numpy as np
import pytest
import sympy
from scipy import integrate, stats

from overopt.theory import claim
from overopt.theory.claims import (
    Claim,
    Counterexample,
    Property,
    Searched,
    Step,
    at_least,
    at_most,
    equal,
    evaluate,
    find,
    printed,
)
from overopt.theory.claims.ensemble_claims import _expected_cosine
from overopt.theory.claims.noise_worlds import BoundedNoise, InnerNoise
from overopt.theory.claims.oracles import posterior_mean
from overopt.theory.claims.worlds import BentMean, FiniteTable, HeavyTailed, IndependentNoise
from overopt.theory.errors import InputError


def _entry(**parts: object) -> Claim:
    fields = {
        "id": "K99",
        "title": "t",
        "statement": "x",
        "assumptions": "a",
        "source": "s",
        "verdict": "true",
        **parts,
    }
    return Claim(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("comparison", "ok"),
    [
        (equal("relative", 2.0 * (1 + 1e-10), 2.0), True),
        (equal("relative", 2.0 * (1 + 1e-8), 2.0), False),
        (equal("nan", math.nan, 2.0), False),
        (equal("infinite", math.inf, math.inf), True),
        (equal("infinite", 1e300, math.inf), False),
        (printed("rounds", 0.69314, "0.693"), True),
        (printed("does not round", 0.69414, "0.693"), False),
        (at_most("below", 1.0, 1.0), True),
        (at_most("above", 1.1, 1.0), False),
        (at_least("nan", math.nan, 0.0), False),
    ],
)
def test_comparisons(comparison, ok):
    assert comparison.ok is ok


def test_evidence_reports_the_worst_deviation_and_disagreement():
    entry = _entry(check=lambda: [equal("good", 1.0, 1.0), equal("bad", 1.5, 1.0)])
    evidence = evaluate(entry)
    assert not evidence.ok
    assert evidence.max_deviation == pytest.approx(0.5)
    assert "bad" in evidence.failures[0]


def test_wrong_proof_step_is_named():
    x = sympy.Symbol("x")
    evidence = evaluate(_entry(proof=lambda: [Step("square", (x + 1) ** 2, x**2 + 2 * x)]))
    assert not evidence.ok
    assert "square" in evidence.failures[0]


def test_a_claim_without_evidence_and_a_false_one_without_counterexample_are_not_ok():
    assert not evaluate(_entry()).ok
    assert not evaluate(_entry(verdict="false", check=lambda: [equal("x", 1, 1)])).ok
    stored = Counterexample("c", {"x": 1.0}, lambda x: [equal("x", x, 1)])
    assert evaluate(_entry(verdict="false", counterexample=stored)).ok


def test_a_false_claim_wants_its_property_refuted():
    entry = _entry(verdict="false", property=Property(None, lambda world: world))
    assert evaluate(entry, lambda _: Searched(3, "world", -1.0)).ok
    assert not evaluate(entry, lambda _: Searched(3)).ok
    assert not evaluate(_entry(property=entry.property), lambda _: Searched(3, "world", -1.0)).ok


def test_evidence_that_raises_is_evidence_that_fails():
    def broken():
        raise ZeroDivisionError("formula")

    evidence = evaluate(_entry(check=broken))
    assert not evidence.ok
    assert "ZeroDivisionError" in evidence.failures[0]


def test_find_suggests_the_closest_id():
    with pytest.raises(InputError, match="Did you mean 'K"):
        find(("K2X",))
    assert [entry.id for entry in find(("k27", "K01"))] == ["K27", "K01"]


def test_the_decorator_names_its_mistakes():
    with pytest.raises(InputError, match="needs a title"):
        claim(lambda world: True, None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`verdict` must be"):
        claim("t", None, verdict="maybe")(lambda world: True)  # type: ignore[arg-type]


TABLE = FiniteTable((0.2, 0.5, 0.3), (1.0, 0.0, 1.0), (3.0, -1.0, 0.5))


def test_best_of_n_of_a_table_is_the_law_of_the_winner():
    p, proxy = np.asarray(TABLE.probability), np.asarray(TABLE.proxy)
    law = np.zeros(3)
    for draw in product(range(3), repeat=3):
        winners = [output for output in draw if proxy[output] == proxy[list(draw)].max()]
        for output in winners:
            law[output] += np.prod(p[list(draw)]) / len(winners)
    best = TABLE.best_of_n(3)
    np.testing.assert_allclose(best.probability, law, rtol=1e-12)
    assert best.kl == pytest.approx(float(np.sum(law * np.log(law / p))), rel=1e-12)
    assert best.gold == pytest.approx(float(law @ np.asarray(TABLE.gold)), rel=1e-12)


def test_other_policies_of_a_table():
    weights = np.array(TABLE.probability) * np.exp(0.7 * np.array(TABLE.proxy))
    np.testing.assert_allclose(TABLE.exponential_tilt(0.7).probability, weights / weights.sum(), rtol=1e-12)
    # The best half holds both outputs with proxy 1.
    np.testing.assert_allclose(TABLE.quantilizer(0.5).probability, [0.4, 0.0, 0.6], rtol=1e-12)
    np.testing.assert_allclose(TABLE.condition(0.5).probability, [0.4, 0.0, 0.6], rtol=1e-12)
    poisson = sum(
        np.exp(-2.0) * 2.0**k / math.factorial(k) * np.array(TABLE.best_of_n(k + 1).probability) for k in range(40)
    )
    np.testing.assert_allclose(TABLE.best_of_poisson(2.0).probability, poisson, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TABLE.best_of_n(0.5), "`n` must be >= 1, got 0.5."),
        (lambda: TABLE.quantilizer(0.0), "`fraction` must be in"),
        (lambda: FiniteTable((0.5, 0.6), (0.0, 1.0), (0.0, 1.0)), "sum to 1"),
        (lambda: FiniteTable((1.0,), (0.0, 1.0), (0.0, 1.0)), "same length"),
    ],
)
def test_worlds_refuse_wrong_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_the_bent_mean_is_integrated_exactly():
    bent = BentMean(1.0, (0.5, 2.0), (-2.0, 1.5))
    u = np.linspace(-12.0, 14.0, 400_001)
    for strength in (0.0, 1.0, 2.5):
        density = np.exp(-((u - strength) ** 2) / 2) / np.sqrt(2 * np.pi)
        base = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
        exact = np.trapezoid(bent.mean(u) * (density - base), u)
        assert bent.exponential_tilt(strength)[1] == pytest.approx(float(exact), abs=1e-9)
    assert bent.turning_points() == 2


def test_the_tilted_slope_keeps_its_digits_where_the_mean_ends_level():
    bent = BentMean(3.0, (-2.0, -0.5, 1.1, 3.9), (-4.0, 4.0, -4.0, 1.0))
    assert bent.directions().tolist() == [1, -1, 1, -1]
    for strength in (-20.0, 0.4, 12.0, 30.0):
        with mpmath.workdps(500):
            exact = bent.slope + sum(
                bend * mpmath.ncdf(mpmath.mpf(strength) - knot)
                for knot, bend in zip(bent.knots, bent.bends, strict=True)
            )
        assert float(bent.tilted_slope(strength) / exact) == pytest.approx(1.0, rel=1e-11)


def test_a_turn_of_gold_far_out_is_seen():
    # A tenth of rise outweighs a steep fall beyond it only 18 SD below; both slopes are below 1e-60 there.
    far = BentMean(0.0, (-2.0, -1.9, -1.8, -1.7), (1.0, -4.0, -4.0, -4.0))
    assert find(("K10",))[0].property.slack(far) == 0.0  # type: ignore[union-attr]
    slope = far.tilted_slope(np.array([-19.0, -17.0]))
    assert slope[0] > 0 > slope[1]
    assert np.abs(slope).max() < 1e-40


def test_a_table_takes_one_more_output():
    more = TABLE.with_output(0.25, 5.0, -7.0)
    np.testing.assert_allclose(more.probability, [0.15, 0.375, 0.225, 0.25])
    assert (more.proxy[-1], more.gold[-1], more.gold[:-1]) == (5.0, -7.0, TABLE.gold)


def test_independent_noise_has_the_ties_of_its_sums():
    world = IndependentNoise((0.0, 1.0), (0.5, 0.5), (0.0, 1.0), (0.5, 0.5))
    levels, mean = world.conditional_mean()
    np.testing.assert_allclose(levels, [0.0, 1.0, 2.0])
    np.testing.assert_allclose(mean, [0.0, 0.5, 1.0])


def test_bounded_noise_has_its_closed_moments():
    uniform = BoundedNoise(0.8, (3, 3))
    assert uniform.variance == pytest.approx(0.8**2 / 3, rel=1e-12)
    for c in (0.3, 4.0, 90.0):
        exact = posterior_mean(stats.uniform(-0.8, 1.6), c, kinks=(-0.8, 0.8))
        assert uniform.conditional_mean(c) == pytest.approx(exact, rel=1e-10)
    # Half of the mass on |z| < 1, uniform there, half beyond it up to 2.
    assert BoundedNoise(2.0, (1, 1)).variance == pytest.approx((1 / 3 + 7 / 3) / 2, rel=1e-12)
    assert BoundedNoise(2.0, (1, 3)).variance == pytest.approx(0.25 / 3 + 0.75 * 7 / 3, rel=1e-12)


def test_inner_noise_weighs_both_ways_to_a_sum():
    edge, sd, c = 1.5, 1.2, 3.0
    inside = [
        integrate.quad(lambda x, k=k: x**k * stats.norm.pdf(x) * stats.norm.pdf(c - x, scale=sd), -edge, edge)[0]
        for k in (0, 1)
    ]
    outside = stats.norm.pdf(c)
    exact = (inside[1] + outside * c) / (inside[0] + outside)
    assert InnerNoise(edge, sd).conditional_mean(c) == pytest.approx(exact, rel=1e-10)


def test_what_lies_beyond_in_a_heavy_tailed_world():
    light = IndependentNoise((0.0, 2.0), (0.25, 0.75), (-1.0, 1.0), (0.5, 0.5), 2.0)
    world, t = HeavyTailed(light, 2.5, 0.1), 8.0
    jump = stats.lomax(2.5)
    mass = proxy = gold = 0.0
    for p, level, value in zip(light.table.probability, light.table.proxy, light.table.gold, strict=True):
        tail = [integrate.quad(lambda y, k=k: y**k * jump.pdf(y), t - level, np.inf)[0] for k in (0, 1)]
        mass += p * tail[0]
        proxy += p * (level * tail[0] + tail[1])
        gold += p * value * tail[0]
    np.testing.assert_allclose(world.beyond(t), (0.1 * mass, proxy / mass, gold / mass), rtol=1e-7)
    np.testing.assert_allclose(world.base(), (3.0 + 0.1 * jump.mean(), 1.5), rtol=1e-12)


def test_the_expected_cosine_is_the_simulated_one():
    rng = np.random.default_rng(49)
    labels, along, spectrum = 12, 2.0, ((5.0, 3), (1.0, 20))
    scale = np.sqrt(np.repeat([along, 5.0, 1.0], [1, 3, 20]))
    x = rng.standard_normal((20_000, labels, scale.size)) * scale
    direction = np.einsum("rn,rnd->rd", np.sign(x[..., 0]), x)
    cosine = direction[:, 0] ** 2 / (direction**2).sum(axis=1)
    others, count = np.array(spectrum).T
    exact = _expected_cosine(labels, along, others, count)
    assert exact == pytest.approx(cosine.mean(), abs=5 * cosine.std() / np.sqrt(len(cosine)))
