"""The best-of-n estimator against brute force, exact fractions, the jackknife and known laws; its invariances."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest

from overopt.bridges.best_of_n import best_of_n_curve, best_of_n_means
from overopt.bridges.best_of_n_kl import ties_exact_kl
from overopt.bridges.best_of_n_weights import best_of_n_weights, default_grid
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.best_of_n import best_of_n_kl, best_of_n_kl_with_ties, order_statistic_weights
from overopt.theory.errors import InputError


def subsets_mean(gold: np.ndarray, proxy: np.ndarray, n: int) -> float:
    """Mean over all subsets of size n of the gold of the top proxy, ties averaged."""
    picked = []
    for subset in combinations(range(gold.size), n):
        rows = list(subset)
        picked.append(gold[rows][proxy[rows] == proxy[rows].max()].mean())
    return float(np.mean(picked))


@pytest.mark.parametrize("levels", [None, 1.0, 3.0], ids=["no ties", "integers", "few levels"])
def test_estimator_is_the_mean_over_all_subsets(levels) -> None:
    rng = np.random.default_rng(1)
    gold, proxy = rng.normal(size=(3, 8)), rng.normal(size=(3, 8)) * 1.5
    if levels is not None:
        proxy = np.round(proxy / levels)
    curve = best_of_n_curve(ScoreBank.from_rectangle(gold, {"p": proxy}), "p", range(1, 9))
    for column, n in enumerate(range(1, 9)):
        for k in range(3):
            assert curve.clusters.gold[k, column] == pytest.approx(subsets_mean(gold[k], proxy[k], n), abs=1e-12)


@pytest.mark.parametrize(("samples", "n"), [(1, 1), (5, 1), (5, 3), (5, 5), (40, 17)])
def test_weights_are_the_exact_fractions(samples, n) -> None:
    exact = [float(Fraction(comb(i - 1, n - 1), comb(samples, n))) for i in range(1, samples + 1)]
    np.testing.assert_allclose(best_of_n_weights(samples, n), exact, rtol=1e-13)


@pytest.mark.parametrize("n", [2, 1000, 500_000, 10**6])
def test_weights_are_stable_at_a_million_samples(n) -> None:
    weights = best_of_n_weights(10**6, n)
    assert weights.sum() == pytest.approx(1.0, abs=1e-10)
    np.testing.assert_allclose(weights, order_statistic_weights(10**6, np.array(n)), rtol=1e-8, atol=1e-300)


def test_a_million_samples_follow_the_law_of_the_maximum() -> None:
    """Uniform proxy: the best of n has mean n/(n+1) and variance n/((n+1)^2 (n+2)), its estimator less."""
    proxy = np.random.default_rng(2).random((1, 10**6))
    sizes = [1, 32, 1024, 32768]
    curve = best_of_n_curve(ScoreBank.from_rectangle(proxy, {"p": proxy}), "p", sizes)
    n = np.array(sizes)
    bound = np.sqrt(n / ((n + 1) ** 2 * (n + 2)) * n / 10**6)
    assert (np.abs(curve.gold - n / (n + 1)) < 5 * bound).all()


def test_rows_in_any_order_give_the_same_curve() -> None:
    rng = np.random.default_rng(3)
    prompt, gold = np.repeat(["a", "b", "c"], 20), rng.normal(size=60)
    proxy, sample = np.round(gold + rng.normal(size=60)), np.tile(np.arange(20), 3)
    curves = []
    for order in (np.arange(60), rng.permutation(60), np.argsort(gold), np.argsort(-gold)):
        bank = ScoreBank.from_rows(
            prompt=prompt[order], sample=sample[order], gold=gold[order], proxies={"p": proxy[order]}
        )
        curves.append(best_of_n_curve(bank, "p"))
    for curve in curves[1:]:
        np.testing.assert_array_equal(curve.gold, curves[0].gold)
        np.testing.assert_array_equal(curve.kl, curves[0].kl)


def test_a_stable_sort_would_fail_the_same_test() -> None:
    """Control: without averaging ties, rows sorted by gold inflate the curve (the error found in public code)."""
    rng = np.random.default_rng(4)
    gold = np.sort(rng.normal(size=256))
    proxy = np.round(0.3 * gold + rng.normal(size=256))
    bank = ScoreBank.from_rectangle(gold[None], {"p": proxy[None]})
    weights = best_of_n_weights(256, 64)
    stable = gold[np.argsort(proxy, kind="stable")] @ weights
    assert stable > best_of_n_curve(bank, "p", [64]).gold[0] + 0.2


@pytest.mark.parametrize("transform", [np.exp, np.tanh, lambda p: 3 * p - 7, lambda p: p**3])
def test_a_monotone_transform_of_the_proxy_leaves_the_gold_curve(transform) -> None:
    rng = np.random.default_rng(5)
    gold, proxy = rng.normal(size=(4, 33)), rng.normal(size=(4, 33))
    bank = ScoreBank.from_rectangle(gold, {"p": proxy, "q": transform(proxy)})
    one, other = best_of_n_curve(bank, "p"), best_of_n_curve(bank, "q")
    np.testing.assert_array_equal(one.gold, other.gold)
    np.testing.assert_array_equal(one.kl, other.kl)


def test_the_plug_in_estimator_is_biased_where_this_one_is_not() -> None:
    """Mean over banks at n = N: the plug-in falls short by many standard errors, the U-statistic by none."""
    rng = np.random.default_rng(6)
    samples, banks = 16, 4000
    gold = np.sort(rng.normal(size=(banks, samples)), axis=1)
    rank = np.arange(1, samples + 1) / samples
    plug_in = gold @ np.diff(np.append(0.0, rank**samples))
    unbiased = gold @ best_of_n_weights(samples, samples)
    fresh = rng.normal(size=(200_000, samples)).max(axis=1)
    error = np.hypot(unbiased.std() / np.sqrt(banks), fresh.std() / np.sqrt(fresh.size))
    assert abs(unbiased.mean() - fresh.mean()) < 5 * error
    assert plug_in.mean() < fresh.mean() - 20 * error


def test_unequal_prompts_use_all_their_samples() -> None:
    rng = np.random.default_rng(7)
    counts = [4, 9, 6, 9, 4]
    prompt = np.repeat(np.arange(5), counts)
    gold, proxy = rng.normal(size=32), np.round(2 * rng.normal(size=32))
    bank = ScoreBank.from_rows(prompt=[f"p{k}" for k in prompt], gold=gold, proxies={"p": proxy})
    curve = best_of_n_curve(bank, "p")
    assert curve.pressure.tolist() == [1, 2, 4], "n stops at the smallest prompt"
    for k in range(5):
        expected = [subsets_mean(gold[prompt == k], proxy[prompt == k], n) for n in (1, 2, 4)]
        np.testing.assert_allclose(curve.clusters.gold[k], expected, atol=1e-12)


def test_covariance_across_n_is_that_of_repeated_banks() -> None:
    rng = np.random.default_rng(8)
    gold = rng.normal(size=(2000, 10, 16))
    proxy = gold + rng.normal(size=gold.shape)
    curves = [best_of_n_curve(ScoreBank.from_rectangle(g, {"p": p}), "p") for g, p in zip(gold, proxy, strict=True)]
    across = np.cov(np.array([curve.gold for curve in curves]), rowvar=False)
    within = np.mean([curve.gold_covariance for curve in curves], axis=0)
    spread = np.std([curve.gold_covariance for curve in curves], axis=0) / np.sqrt(2000)
    sampling = np.sqrt((np.outer(np.diag(across), np.diag(across)) + across**2) / 2000)
    assert (np.abs(within - across) < 5 * np.hypot(spread, sampling)).all()


def test_one_pool_gets_jackknife_errors() -> None:
    rng = np.random.default_rng(9)
    gold, proxy = rng.normal(size=12), np.round(2 * rng.normal(size=12))
    sizes = [1, 3, 7, 12]
    pool = best_of_n_curve(ScoreBank.from_rows(prompt=None, gold=gold, proxies={"p": proxy}), "p", sizes)
    for column, n in enumerate(sizes[:-1]):
        full = subsets_mean(gold, proxy, n)
        left_out = [subsets_mean(np.delete(gold, j), np.delete(proxy, j), n) for j in range(12)]
        pseudo = 12 * full - 11 * np.array(left_out)
        np.testing.assert_allclose(pool.clusters.gold[:, column], pseudo, atol=1e-9)
        assert pool.gold[column] == pytest.approx(full)
        assert pool.gold_se[column] == pytest.approx(pseudo.std(ddof=1) / np.sqrt(12))
    assert np.isnan(pool.gold_se[3]), "one subset of all samples has no error"
    assert pool.gold[3] == pytest.approx(subsets_mean(gold, proxy, 12))


def test_blocks_of_a_large_pool_keep_the_estimate(monkeypatch) -> None:
    import overopt.bridges.pool as pool

    rng = np.random.default_rng(10)
    bank = ScoreBank.from_rows(prompt=None, gold=rng.normal(size=5000), proxies={"p": rng.normal(size=5000)})
    whole = best_of_n_curve(bank, "p", [1, 8, 64])
    monkeypatch.setattr(pool, "MAX_BLOCKS", 500)
    blocks = best_of_n_curve(bank, "p", [1, 8, 64])
    np.testing.assert_allclose(blocks.clusters.gold.mean(axis=0), whole.gold, atol=1e-9)
    np.testing.assert_allclose(blocks.gold_se, whole.gold_se, rtol=5 / np.sqrt(2 * 500))


def test_kl_is_analytic_without_ties() -> None:
    proxy = np.random.default_rng(11).normal(size=(5, 64))
    curve = best_of_n_curve(ScoreBank.from_rectangle(proxy, {"p": proxy}), "p")
    np.testing.assert_allclose(curve.kl, best_of_n_kl(curve.pressure), atol=1e-12)
    assert (curve.kl_standard_error == 0).all()


@pytest.mark.parametrize("probability", [[0.5, 0.5], [0.1, 0.2, 0.3, 0.4], [0.98, 0.02], [1.0]])
@pytest.mark.parametrize("n", [1, 2, 16, 128])
def test_ties_exact_kl_is_that_of_the_discrete_law(probability, n) -> None:
    counts = (1000 * np.array(probability)).round().astype(int)
    proxy = np.repeat(np.arange(counts.size), counts)
    exact = float(best_of_n_kl_with_ties(probability, n))
    assert ties_exact_kl(proxy, n) == pytest.approx(exact, abs=1e-9)
    curve = best_of_n_curve(ScoreBank.from_rectangle(np.zeros((1, 1000)), {"p": proxy[None]}), "p", [n])
    assert curve.kl[0] == pytest.approx(exact, abs=1e-9)


def test_two_levels_at_n_128_cost_log_2_and_not_the_analytic_kl() -> None:
    assert ties_exact_kl([0.0] * 500 + [1.0] * 500, 128) == pytest.approx(np.log(2), abs=1e-9)
    assert float(best_of_n_kl(128)) == pytest.approx(3.86, abs=0.005)


def test_ties_exact_kl_never_exceeds_the_bound() -> None:
    rng = np.random.default_rng(12)
    for _ in range(200):
        proxy = np.round(rng.normal(size=rng.integers(2, 60)) * rng.choice([0.5, 1, 3, 100]))
        n = float(rng.integers(1, 200))
        assert -1e-12 <= ties_exact_kl(proxy, n) <= float(best_of_n_kl(n)) + 1e-12


def test_a_constant_proxy_selects_nothing() -> None:
    gold = np.random.default_rng(13).normal(size=(6, 10))
    curve = best_of_n_curve(ScoreBank.from_rectangle(gold, {"p": np.ones((6, 10))}), "p")
    np.testing.assert_allclose(curve.gold, gold.mean(), atol=1e-12)
    assert (curve.kl == 0).all()


def test_means_of_another_column() -> None:
    rng = np.random.default_rng(14)
    gold, proxy, length = rng.normal(size=(3, 2, 7))
    bank = ScoreBank.from_rectangle(gold, {"p": proxy})
    means = best_of_n_means(bank, "p", length.ravel(), [2, 5])
    assert means[1, 1] == pytest.approx(subsets_mean(length[1], proxy[1], 5))


def test_default_grid() -> None:
    assert default_grid(1) == (1,)
    assert default_grid(24) == (1, 2, 4, 8, 16, 24)
    assert default_grid(64) == (1, 2, 4, 8, 16, 32, 64)


@pytest.mark.parametrize("n", [[], [0, 1], [2, 2], [4, 2], [1, 9]])
def test_bad_sizes(n) -> None:
    bank = ScoreBank.from_rectangle(np.zeros((2, 8)), {"p": np.ones((2, 8))})
    with pytest.raises(InputError, match="`n` must"):
        best_of_n_curve(bank, "p", n)


def test_curves_come_as_a_frame() -> None:
    rng = np.random.default_rng(15)
    curve = best_of_n_curve(ScoreBank.from_rectangle(rng.normal(size=(4, 8)), {"p": rng.normal(size=(4, 8))}), "p")
    frame = curve.to_frame()
    assert frame["n"].to_pylist() == [1, 2, 4, 8]
    np.testing.assert_array_equal(frame["gold_se"].to_numpy(), curve.gold_se)
    assert set(frame["kl_kind"].to_pylist()) == {"ties-exact"}
