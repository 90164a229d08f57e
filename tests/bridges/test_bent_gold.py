"""Gold bent above a quantile of each prompt's base samples."""

import numpy as np
import pytest

from overopt.bridges.bent_gold import GoldBend
from overopt.bridges.decomposition import decompose_best_of_n
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.errors import InputError


def bank(rng, prompts=40, samples=256):
    gold = rng.normal(rng.normal(size=(prompts, 1)), 1.0, size=(prompts, samples))
    return ScoreBank.from_rectangle(gold, {"p": gold})


def test_below_the_threshold_nothing_changes_and_above_it_gold_goes_down():
    base = ScoreBank.from_rectangle([[0.0, 1.0, 2.0, 3.0, 4.0]], {"p": [[0.0, 1.0, 2.0, 3.0, 4.0]]})
    bent = GoldBend.at_quantile(base, 0.5, 3.0).bank(base)
    np.testing.assert_allclose(bent.gold, [0.0, 1.0, 2.0, -1.0, -4.0])
    np.testing.assert_array_equal(bent.proxy("p"), base.proxy("p"))


def test_each_prompt_has_its_own_threshold():
    base = bank(np.random.default_rng(0))
    bent = GoldBend.at_quantile(base, 0.9, 2.0).bank(base)
    changed = (bent.gold != base.gold).reshape(40, 256).mean(axis=1)
    np.testing.assert_allclose(changed, 0.1, atol=1 / 256)


def test_the_decomposition_finds_the_bend_and_without_one_nothing():
    base = bank(np.random.default_rng(1))
    bent = GoldBend.at_quantile(base, 0.9, 3.0).bank(base)
    point = decompose_best_of_n(bent, "p", [128], rng=np.random.default_rng(2)).points[0]
    assert point.extremal.interval[0] > 1.0
    assert point.delivered.interval[1] < -1.0
    control = decompose_best_of_n(base, "p", [128], rng=np.random.default_rng(2)).points[0]
    assert control.extremal.estimate == pytest.approx(0.0, abs=1e-9)


def test_wrong_numbers_are_one_line():
    base = bank(np.random.default_rng(0), 2, 8)
    with pytest.raises(InputError, match=r"`quantile` must be in \(0, 1\), got 1"):
        GoldBend.at_quantile(base, 1, 2.0)
    with pytest.raises(InputError, match="`strength` must be >= 0, got -1"):
        GoldBend.at_quantile(base, 0.9, -1)
