"""A policy that draws some texts again and again: copies share gold, proxy and error, and are no judge's grades."""

from __future__ import annotations

import numpy as np
import pytest

from overopt.bridges.decomposition.best_of_n_decomposition import decompose_best_of_n
from overopt.bridges.decomposition.blocks import first_of_each, is_coarse
from overopt.bridges.decomposition.independence import independence_test
from overopt.bridges.score_bank import ScoreBank

PROMPTS, SAMPLES, FAVOURITE = 40, 128, 0.2


def texts(rng: np.random.Generator) -> np.ndarray:
    """(PROMPTS, SAMPLES) which text each sample is; text 0 of a prompt is drawn with probability `FAVOURITE`."""
    drawn = np.tile(np.arange(1, SAMPLES + 1), (PROMPTS, 1))
    drawn[rng.random(drawn.shape) < FAVOURITE] = 0
    return drawn


def bank_of(rng: np.random.Generator, error_of_gold=lambda gold: 0 * gold) -> ScoreBank:
    which = texts(rng)
    gold, noise = (
        np.take_along_axis(rng.normal(size=(PROMPTS, SAMPLES + 1)), which, axis=1),
        np.take_along_axis(rng.normal(size=(PROMPTS, SAMPLES + 1)), which, axis=1),
    )
    return ScoreBank.from_rectangle(gold, {"p": gold + noise + error_of_gold(gold)})


def test_independent_noise_is_not_rejected_more_often_than_it_should_be() -> None:
    worlds, rng = 60, np.random.default_rng(0)
    rejected = sum(independence_test(bank_of(rng), "p", rng, permutations=99).p_value <= 0.05 for _ in range(worlds))
    assert rejected <= worlds * 0.05 + 5 * (worlds * 0.05 * 0.95) ** 0.5


def test_a_bend_is_still_rejected() -> None:
    rng = np.random.default_rng(1)
    assert independence_test(bank_of(rng, lambda gold: 0.5 * gold**2), "p", rng).p_value < 0.05


def test_independent_noise_has_no_extremal_term() -> None:
    rng = np.random.default_rng(2)
    found = np.array(
        [
            [
                point.extremal.estimate
                for point in decompose_best_of_n(
                    bank_of(rng), "p", [4, 32], rng=rng, permutations=8, test_permutations=9
                ).points
            ]
            for _ in range(20)
        ]
    )
    error = found.std(axis=0, ddof=1) / len(found) ** 0.5
    assert np.all(np.abs(found.mean(axis=0)) < 5 * error)


def test_repeats_are_told_from_grades() -> None:
    rng = np.random.default_rng(3)
    gold, proxy = rng.normal(size=(2, 5, 64))
    assert not is_coarse([(gold, proxy)])
    repeated = np.where(rng.random(gold.shape) < 0.3, 0, np.arange(64))
    assert not is_coarse([(np.take_along_axis(gold, repeated, 1), np.take_along_axis(proxy, repeated, 1))])
    assert is_coarse([(gold, np.take_along_axis(proxy, repeated, 1))])
    assert is_coarse([(gold, proxy.round())])
    assert is_coarse([(gold.round(), proxy.round())])


def test_a_grade_that_gold_repeats_is_a_grade() -> None:
    grades = np.random.default_rng(4).integers(0, 5, size=(5, 64)).astype(float)
    assert is_coarse([(grades**2, grades)])


@pytest.mark.parametrize("seed", range(5))
def test_first_of_each_by_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gold, proxy = rng.integers(0, 3, size=(2, 4, 9)).astype(float)
    for row, first in enumerate(first_of_each(gold, proxy)):
        pairs = list(zip(gold[row], proxy[row], strict=True))
        assert first.sum() == len(set(pairs))
        assert {pair for pair, keep in zip(pairs, first, strict=True) if keep} == set(pairs)
