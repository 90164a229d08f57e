"""The best-of-n decomposition: exact identity, brute-force oracles, invariances, controls and what it cannot tell."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from overopt.bridges.best_of_n_weights import best_of_n_weights
from overopt.bridges.decomposition import BestOfNDecomposition, decompose_best_of_n
from overopt.bridges.decomposition.residual_permutation import normal_scores, null_gold, observed_gold
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.validation.worlds import BANK_WORLDS
from overopt.theory.errors import InputError

SIZES = [1, 2, 4, 8, 16]


def bank_of(world: str, seed: int, prompts: int = 32, samples: int = 64) -> ScoreBank:
    rng = np.random.default_rng(seed)
    gold, proxy = BANK_WORLDS[world].draw(rng, rng.random((prompts, 1)), samples)
    return ScoreBank.from_rectangle(gold, {"proxy": proxy})


def decompose(bank: ScoreBank, sizes: list[int] = SIZES, seed: int = 0, scale: str = "slope") -> BestOfNDecomposition:
    return decompose_best_of_n(bank, "proxy", sizes, rng=np.random.default_rng(seed), scale=scale)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["slope", "pooled-sd", "raw", "calibrated"])
@pytest.mark.parametrize("world", ["gaussian", "kink", "integer-judge", "negative-slope"])
def test_the_terms_add_up_exactly(world: str, scale: str) -> None:
    for point in decompose(bank_of(world, 1), scale=scale).points:
        terms = [point.promise, point.regressional, point.extremal, point.causal, point.unattributed, point.delivered]
        promise, *losses, delivered = [term.estimate for term in terms if term.estimate is not None]
        assert promise - sum(losses) == pytest.approx(delivered, abs=1e-9)
        assert point.linear_shrinkage.estimate is not None
        assert point.noise_tail.estimate is not None
        assert point.linear_shrinkage.estimate + point.noise_tail.estimate == pytest.approx(losses[0], abs=1e-9)


def test_promise_and_delivered_are_the_means_over_all_subsets() -> None:
    bank = bank_of("integer-judge", 2, prompts=3, samples=7)
    gold, proxy = bank.gold.reshape(3, 7), bank.proxies["proxy"].reshape(3, 7)
    result = decompose(bank, [1, 2, 3, 7], scale="raw")
    for point in result.points:
        promised, delivered = [], []
        for g, p in zip(gold, proxy, strict=True):
            for subset in combinations(range(7), point.n):
                rows = list(subset)
                best = p[rows] == p[rows].max()
                promised.append(p[rows].max() - p.mean())
                delivered.append(g[rows][best].mean() - g.mean())
        assert point.promise.estimate == pytest.approx(np.mean(promised), abs=1e-12)
        assert point.delivered.estimate == pytest.approx(np.mean(delivered), abs=1e-12)


def test_the_null_is_the_average_over_all_permutations_of_the_residual() -> None:
    """Four samples have 24 permutations: the sampled average is within 5 standard errors of the exact one."""
    rng = np.random.default_rng(3)
    gold = rng.standard_normal((1, 4))
    proxy = gold + rng.standard_normal((1, 4))
    gold, proxy = gold - gold.mean(), proxy - proxy.mean()
    weights = best_of_n_weights(4, 2)[:, None]
    slope = float((gold * proxy).sum() / (gold**2).sum())
    error = proxy - slope * gold
    values = []
    for order in permutations(range(4)):
        rebuilt = slope * gold[0] + error[0, list(order)]
        winners = [max(pair, key=rebuilt.__getitem__) for pair in combinations(range(4), 2)]
        values.append(gold[0, winners].mean())
    draws = 20_000
    estimate = null_gold(gold, proxy, weights, rng, permutations=draws, null_banks=0).gold[0, 0]
    assert estimate == pytest.approx(np.mean(values), abs=5 * np.std(values) / draws**0.5)


def test_row_order_and_an_affine_change_of_the_proxy_change_nothing() -> None:
    bank = bank_of("laplace", 4)
    shuffled_rows = np.random.default_rng(5).permuted(np.arange(64 * 32).reshape(32, 64), axis=1).ravel()
    shuffled = ScoreBank.from_rectangle(
        bank.gold[shuffled_rows].reshape(32, 64), {"proxy": bank.proxies["proxy"][shuffled_rows].reshape(32, 64)}
    )
    affine = ScoreBank.from_rectangle(
        bank.gold.reshape(32, 64), {"proxy": 3.0 * bank.proxies["proxy"].reshape(32, 64) - 7.0}
    )
    reference = decompose(bank)
    for other in (decompose(shuffled), decompose(affine)):
        for a, b in zip(reference.points, other.points, strict=True):
            assert a.promise.estimate == pytest.approx(b.promise.estimate, abs=1e-9)
            assert a.delivered.estimate == pytest.approx(b.delivered.estimate, abs=1e-9)
    for a, b in zip(reference.points, decompose(affine).points, strict=True):
        assert a.extremal.estimate == pytest.approx(b.extremal.estimate, abs=1e-9)


def test_normal_scores_do_not_see_a_monotone_transform() -> None:
    bank = bank_of("gaussian", 6)
    bent = ScoreBank.from_rectangle(bank.gold.reshape(32, 64), {"proxy": np.exp(bank.proxies["proxy"]).reshape(32, 64)})
    for a, b in zip(decompose(bank).points, decompose(bent).points, strict=True):
        assert a.delivered.estimate == pytest.approx(b.delivered.estimate, abs=1e-12)
    rows = bank.proxies["proxy"].reshape(32, 64)
    assert np.allclose(normal_scores(rows), normal_scores(np.exp(rows)), atol=1e-12)


def test_prompts_with_unequal_samples_are_the_same_prompts() -> None:
    """Two groups of prompts with 40 and 64 samples: the mean of the two rectangles, prompt by prompt."""
    long, short = bank_of("gaussian", 7), bank_of("gaussian", 8, samples=40)
    joined = ScoreBank.from_rows(
        prompt=np.concatenate([long.prompt, 32 + short.prompt]).astype(object),
        gold=np.concatenate([long.gold, short.gold]),
        proxies={"proxy": np.concatenate([long.proxies["proxy"], short.proxies["proxy"]])},
    )
    both = decompose(joined, [2, 8], scale="raw")
    parts = [decompose(bank, [2, 8], scale="raw") for bank in (long, short)]
    for index, point in enumerate(both.points):
        delivered = np.mean([part.points[index].delivered.estimate for part in parts])
        assert point.delivered.estimate == pytest.approx(delivered, abs=1e-12)


@pytest.mark.parametrize("world", ["gaussian", "student-t3", "binary-gold", "gold-scale-varies", "exp", "sigmoid"])
def test_no_dependence_is_claimed_where_there_is_none(world: str) -> None:
    result = decompose(bank_of(world, 9, prompts=64, samples=128), [2, 8, 32])
    assert [point.dependent_error for point in result.points] == [0, 0, 0]


@pytest.mark.parametrize("world", ["kink", "length-hack"])
def test_dependence_is_claimed_where_there_is_some(world: str) -> None:
    result = decompose(bank_of(world, 10, prompts=64, samples=128), [2, 8, 32])
    assert result.points[-1].dependent_error == 1
    assert result.independence.p_value == pytest.approx(1 / 200)
    assert any("error depends on gold" in line for line in result.sentences())


def test_a_five_level_judge_is_not_mistaken_for_a_dependent_error() -> None:
    result = decompose(bank_of("five-level-judge", 11, prompts=64, samples=128), [2, 8, 32])
    for point in result.points:
        assert point.extremal.estimate == pytest.approx(0.0, abs=0.03)


def test_the_small_sample_correction_removes_the_bias() -> None:
    """24 samples of 2,000 prompts whose slopes differ: extremal is off by many standard errors, with null banks not."""
    bank = bank_of("slope-varies", 12, prompts=2000, samples=24)
    rows = [values.reshape(2000, 24) for values in (bank.gold, bank.proxies["proxy"])]
    gold, proxy = (values - values.mean(axis=1, keepdims=True) for values in rows)
    weights = best_of_n_weights(24, 2)[:, None]
    rng = np.random.default_rng(13)
    z = []
    for banks in (0, 10):
        null = null_gold(gold, proxy, weights, rng, null_banks=banks).gold
        extremal = null - observed_gold(gold, proxy, weights)
        z.append(float(extremal.mean() / (extremal.std(ddof=1) / 2000**0.5)))
    assert z[0] > 5.0
    assert abs(z[1]) < 3.0


@pytest.mark.parametrize("floor", [-np.inf, 0.0])
def test_gold_as_its_own_proxy_loses_exactly_nothing(floor: float) -> None:
    """Also in other units and with half of the samples tied at gold's floor; a little noise is a negative control."""
    rng = np.random.default_rng(16)
    gold = np.maximum(rng.standard_normal((16, 32)), floor)
    noisy = gold + 0.01 * rng.standard_normal(gold.shape)
    bank = ScoreBank.from_rectangle(gold, {"proxy": 3.0 * gold - 7.0, "noisy": noisy})
    result = decompose(bank, [2, 8, 32])
    for point in result.points:
        for term in (point.regressional, point.extremal, point.extremal_normal_scores, point.gap):
            assert term.estimate == 0.0
            assert term.interval == (0.0, 0.0)
        assert point.promise.estimate == pytest.approx(point.delivered.estimate, rel=1e-12)
    assert result.independence.p_value is None
    control = decompose_best_of_n(bank, "noisy", [2, 8, 32], rng=rng)
    assert all(point.gap.estimate != 0.0 and point.regressional.estimate != 0.0 for point in control.points)


def test_it_says_what_it_cannot_tell() -> None:
    constant = ScoreBank.from_rectangle(np.random.default_rng(0).standard_normal((8, 32)), {"proxy": np.ones((8, 32))})
    result = decompose(constant)
    assert result.points[-1].extremal.estimate is None
    assert "constant" in (result.points[-1].extremal.reason or "")
    assert any("constant" in line for line in result.sentences())

    coarse = bank_of("gaussian", 14)
    three = ScoreBank.from_rectangle(
        coarse.gold.reshape(32, 64), {"proxy": np.digitize(coarse.proxies["proxy"], [-1, 1]).reshape(32, 64)}
    )
    point = decompose(three).points[-1]
    assert point.regressional.estimate is None
    assert "levels" in (point.regressional.reason or "")
    assert point.delivered.estimate is not None

    noise = ScoreBank.from_rectangle(
        coarse.gold.reshape(32, 64), {"proxy": np.random.default_rng(1).standard_normal((32, 64))}
    )
    result = decompose(noise)
    assert result.scale.kind == "pooled-sd"
    assert any("no gold signal" in line for line in result.sentences())

    one = ScoreBank.from_rectangle(coarse.gold[None, :100], {"proxy": coarse.proxies["proxy"][None, :100]})
    assert decompose(one).points[-1].delivered.interval is None


def test_a_pool_has_intervals_that_cover_and_none_beyond_its_groups() -> None:
    """40 Gaussian pools of 640: coverage .95 of the exact ``E max of n / sqrt 2``, held to five standard errors."""
    covered = []
    for seed in range(40):
        bank = bank_of("gaussian", 100 + seed, prompts=1, samples=640)
        rng = np.random.default_rng(seed)
        near, far = decompose_best_of_n(bank, "proxy", [8, 128], rng=rng, test_permutations=19).points
        assert near.delivered.interval is not None
        low, high = near.delivered.interval
        covered.append(low <= 1.42360031 / 2**0.5 <= high)  # E max of 8 standard normals: Harter 1961, table 1
        assert far.delivered.estimate is None
        assert "beyond n = 64" in (far.delivered.reason or "")
    assert np.mean(covered) > 0.95 - 5 * (0.95 * 0.05 / 40) ** 0.5


def test_one_winner_from_each_of_a_few_prompts_has_no_interval() -> None:
    bank = bank_of("gaussian", 19, prompts=8, samples=32)
    inside, all_of_them = decompose(bank, [16, 32]).points
    assert inside.delivered.interval is not None
    assert all_of_them.delivered.estimate is not None
    assert "one winner from each of 8 prompts" in (all_of_them.delivered.reason or "")
    assert decompose(bank_of("gaussian", 19, prompts=12, samples=32), [32]).points[0].delivered.interval is not None


def test_a_proxy_with_steps_of_two_sd_cannot_be_split() -> None:
    """Five levels, all but four samples on one of them; the same levels used evenly are a negative control."""
    rng = np.random.default_rng(20)
    gold = rng.standard_normal((16, 128))
    even = np.arange(128.0) % 5 * np.ones((16, 1))
    rare = np.zeros_like(gold)
    rare[:, :4] = [1.0, 2.0, 3.0, 4.0]
    bank = ScoreBank.from_rectangle(gold, {"rare": rare, "even": even})
    point = decompose_best_of_n(bank, "rare", [2], rng=rng).points[0]
    assert "steps are" in (point.extremal.reason or "")
    assert decompose_best_of_n(bank, "even", [2], rng=rng).points[0].extremal.estimate is not None


def test_a_promise_that_few_prompts_carry_is_warned_of() -> None:
    """Noise with infinite variance (Student t2) against three laws with light tails."""
    rng = np.random.default_rng(17)
    gold = rng.standard_normal((64, 64))
    heavy = ScoreBank.from_rectangle(gold, {"proxy": gold + rng.standard_t(2, gold.shape)})
    assert any("heavy tails" in warning for warning in decompose(heavy, [2, 8, 32]).warnings)
    for world in ("gaussian", "laplace", "skewed"):
        assert not any("heavy tails" in warning for warning in decompose(bank_of(world, 18), [2, 8, 32]).warnings)


def test_wrong_input_is_named() -> None:
    bank = bank_of("gaussian", 15)
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"`proxy` must be one of proxy, got 'other'"):
        decompose_best_of_n(bank, "other", [2], rng=rng)
    with pytest.raises(InputError, match=r"`n` must hold values between 1 and 64, got \[65\]"):
        decompose_best_of_n(bank, "proxy", [65], rng=rng)
    with pytest.raises(InputError, match=r"`scale` must be one of"):
        decompose(bank, scale="sd")
