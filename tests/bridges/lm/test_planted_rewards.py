"""Rewards with a known fault and rewards made of several: against the same numbers by hand."""

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("torch", reason="the lm extra is not installed")

from overopt.bridges.lm.planted import EnsembleReward, PlantedReward, PlantedUnits, hashed_normal
from overopt.bridges.lm.recipe import EnsembleProxy, PlantedProxy
from overopt.bridges.lm.reward_model import LabelledPairs
from overopt.theory.errors import InputError

pytestmark = pytest.mark.lm

UNITS = PlantedUnits(gold_sd=2.0, length_sd=4.0, token=7, token_share=0.003)
PROMPTS = [[3], [3], [4, 5]]
COMPLETIONS = [[10, 11], [7, 10, 2], [10, 11, 12, 13]]


def gold(prompts, completions):
    return np.array([float(row[0]) for row in completions])


@pytest.mark.parametrize(
    ("fault", "error"), [("length", [0.5, 0.75, 1.0]), ("exploit", [0.0, 1.0, 0.0]), ("bend", [0.0, 0.0, 0.0])]
)
def test_the_fault_is_added_in_gold_sd(fault, error):
    reward = PlantedReward(PlantedProxy(fault, 3.0), UNITS, gold)
    expected = np.array([10.0, 7.0, 10.0]) + 3.0 * 2.0 * np.array(error)
    np.testing.assert_allclose(reward(PROMPTS, COMPLETIONS), expected)


def test_planted_noise_is_normal_and_belongs_to_the_text():
    rng = np.random.default_rng(0)
    completions = rng.integers(3, 4000, size=(20_000, 6)).tolist()
    prompts = [[5]] * len(completions)
    noise = hashed_normal(prompts, completions)
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    # Neighbouring texts have unrelated noise.
    nearly = [[*row[:-1], row[-1] + 1] for row in completions]
    assert abs(np.corrcoef(noise, hashed_normal(prompts, nearly))[0, 1]) < 5 / np.sqrt(len(noise))
    order = rng.permutation(len(completions))
    np.testing.assert_array_equal(hashed_normal(prompts, [completions[i] for i in order]), noise[order])
    assert not np.array_equal(hashed_normal([[6]] * 5, completions[:5]), noise[:5])


def test_units_are_those_of_the_base_completions():
    rng = np.random.default_rng(1)
    score = rng.normal(0, 1.5, size=(4000, 2))
    completions = [[10, 11]] * 7840 + [[9, 10, 11, 12]] * 160
    units = PlantedUnits.of(completions, np.abs(score[:, 0] - score[:, 1]), special={0, 1, 2})
    assert units.token in (9, 12)
    assert units.token_share == pytest.approx(0.02)
    # The mean square of 4,000 normal differences has relative standard error sqrt(2 / 4000).
    assert units.gold_sd == pytest.approx(1.5, rel=5 * np.sqrt(2 / 4000) / 2)
    assert units.length_sd == pytest.approx(np.std([len(row) for row in completions]))


def test_a_special_token_is_never_paid_for():
    completions = [[1, 10]] * 20 + [[9, 10]] * 40 + [[10, 11]] * 940
    assert PlantedUnits.of(completions, np.ones(500), special={0, 1, 2}).token == 9
    assert PlantedUnits.of(completions, np.ones(500), special={0, 2}).token == 1


def test_special_tokens_may_have_the_highest_ids():
    completions = [[7, 10, 99]] * 20 + [[10, 11]] * 980
    units = PlantedUnits.of(completions, np.ones(500), special={99, 100, 50_256})
    assert (units.token, units.token_share) == (7, 0.02)
    units.check("exploit")


@pytest.mark.parametrize("completions", [[[10, 11]] * 1000, [[99]] * 20 + [[10]] * 980, [[99]] * 1000])
def test_a_bonus_that_no_rare_token_can_earn_is_one_line(completions):
    with pytest.raises(
        InputError, match=r"needs a token that 0\.4% to 10% of .* contain, the nearest is in [0-9.]+%\.$"
    ):
        PlantedUnits.of(completions, np.ones(500), special={99}).check("exploit")


def test_a_bonus_for_length_needs_lengths_that_differ():
    """A policy whose answers are all cut at the longest completion has none."""
    cut = PlantedUnits.of([[7, 10]] * 20 + [[10, 11]] * 980, np.ones(500), special={99})
    with pytest.raises(InputError, match="needs base completions of more than one length, all have the same"):
        cut.check("length")
    cut.check("exploit")
    PlantedUnits.of([[7, 10]] * 20 + [[10]] * 980, np.ones(500), special={99}).check("length")


@pytest.mark.parametrize("combine", ["mean", "min", "uncertainty"])
def test_an_ensemble_is_its_formula(combine):
    scores = np.array([[1.0, 5.0], [4.0, 0.0]])
    members = [lambda p, c, row=row: row for row in scores]
    reward = EnsembleReward(EnsembleProxy((), combine, weight=0.5), members, offset=[1.0, 0.0], scale=[2.0, 4.0])
    standardised = np.array([[0.0, 2.0], [1.0, 0.0]])
    expected = {
        "mean": [0.5, 1.0],
        "min": [0.0, 0.0],
        "uncertainty": [0.5 - 0.5 * np.var([0.0, 1.0]), 1.0 - 0.5 * np.var([2.0, 0.0])],
    }[combine]
    assert standardised.shape == (2, 2)
    np.testing.assert_allclose(reward([[0]] * 2, [[1]] * 2), expected)


def test_turned_labels_exchange_chosen_and_rejected():
    pairs = LabelledPairs([[1], [2]], [[10], [11]], [[20], [21]], np.array([1.0, 2.0]))
    turned = pairs.turned(np.array([False, True]))
    assert (turned.chosen, turned.rejected) == ([[10], [21]], [[20], [11]])
    np.testing.assert_array_equal(turned.gold_margin, [1.0, -2.0])
