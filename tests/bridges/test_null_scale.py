"""On which scale of the proxy the null adds gold and error: the proxy's own where that can be, else normal scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from overopt.bridges.decomposition.best_of_n_decomposition import BestOfNDecomposition, decompose_best_of_n
from overopt.bridges.decomposition.blocks import centred_blocks
from overopt.bridges.decomposition.null_scale import choose_null_scale
from overopt.bridges.decomposition.scale import fit_scale
from overopt.bridges.score_bank import ScoreBank

SHAPE = (48, 128)
ADDITIVE = {
    "gaussian": lambda rng: rng.normal(size=SHAPE),
    "student-t3": lambda rng: rng.standard_t(3, size=SHAPE) / 3**0.5,
    "exponential": lambda rng: rng.exponential(size=SHAPE),
    "uniform": lambda rng: rng.uniform(-(3**0.5), 3**0.5, size=SHAPE),
}
BENDS = {
    "exp": np.exp,
    "sigmoid": lambda s: special.expit(2 * s),
    "tanh": np.tanh,
}


def bank_of(score, bend=lambda s: s, seed: int = 0) -> ScoreBank:
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=SHAPE)
    return ScoreBank.from_rectangle(gold, {"p": bend(gold + score(rng))})


def decomposed(bank: ScoreBank, n=(4, 32), seed: int = 1) -> BestOfNDecomposition:
    return decompose_best_of_n(bank, "p", list(n), rng=np.random.default_rng(seed), test_permutations=99)


@pytest.mark.parametrize("name", ADDITIVE)
def test_an_additive_proxy_keeps_its_own_scale(name: str) -> None:
    for seed in range(5):
        blocks = centred_blocks(bank_of(ADDITIVE[name], seed=seed), "p")
        chosen = choose_null_scale(blocks, fit_scale(blocks, "slope"), np.random.default_rng(seed))
        assert not chosen.normal_scores
        assert abs(chosen.mismatch) < 0.1


@pytest.mark.parametrize("name", BENDS)
def test_a_bent_proxy_is_split_on_normal_scores_and_loses_nothing_to_extremal(name: str) -> None:
    result = decomposed(bank_of(ADDITIVE["gaussian"], BENDS[name]))
    assert result.null_scale.normal_scores
    assert not result.null_scale.coarse
    for point in result.points:
        assert point.extremal == point.extremal_normal_scores
        low, high = point.extremal.interval
        assert abs(point.extremal.estimate) < 5 * (high - low) / 4
    assert result.independence.scale == "normal scores"
    assert result.independence.p_value > 0.01
    assert any("own scale is bent" in sentence for sentence in result.sentences())


def test_a_bent_proxy_is_not_accused_more_often_than_it_should_be() -> None:
    banks = 40
    accused = sum(
        any(
            point.dependent_error
            for point in decomposed(bank_of(ADDITIVE["gaussian"], np.tanh, seed), seed=seed).points
        )
        for seed in range(banks)
    )
    assert accused <= banks * 0.05 + 5 * (banks * 0.05 * 0.95) ** 0.5


def test_gold_and_extremal_do_not_change_with_the_bend() -> None:
    golds, extremals = [], []
    for bend in (BENDS["exp"], BENDS["sigmoid"], BENDS["tanh"]):
        points = decomposed(bank_of(ADDITIVE["gaussian"], bend)).points
        golds.append([point.delivered.estimate for point in points])
        extremals.append([point.extremal.estimate for point in points])
    assert np.ptp(golds, axis=0) == pytest.approx(0, abs=1e-12)
    assert np.ptp(extremals, axis=0) == pytest.approx(0, abs=1e-9)


def test_a_bent_proxy_with_a_dependent_error_is_caught() -> None:
    rng = np.random.default_rng(3)
    u = rng.normal(size=SHAPE)
    gold = np.where(u > 1, 2 - u, u)
    bank = ScoreBank.from_rectangle(gold, {"p": special.expit(2 * (u + 0.3 * rng.normal(size=SHAPE)))})
    result = decomposed(bank)
    assert result.null_scale.normal_scores
    assert all(point.extremal.band[0] > 0 for point in result.points)


def test_a_coarse_proxy_has_no_scale_of_its_own() -> None:
    result = decomposed(bank_of(ADDITIVE["gaussian"], np.round))
    assert result.null_scale.coarse
    assert result.null_scale.mismatch is None
    assert all(point.promise_mismatch is None for point in result.points)
