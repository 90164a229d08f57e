"""The sentences of a diagnosis say no more than the numbers do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from overopt.bridges.best_of_n import best_of_n_curve
from overopt.bridges.checkpoints import Checkpoints, checkpoint_curve
from overopt.bridges.decomposition import decompose_best_of_n, decompose_checkpoints
from overopt.bridges.diagnosis import diagnose
from overopt.bridges.kl import KL
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.turn import measure_turn


def drawn(rng, noise, prompts=60, samples=128, sign=1.0):
    gold = rng.normal(size=(prompts, samples))
    return ScoreBank.from_rectangle(gold, {"p": sign * (gold + noise(gold.shape))})


def sentences(bank, n=(1, 8, 64), **options):
    return decompose_best_of_n(bank, "p", n, rng=np.random.default_rng(0), **options).sentences()


def test_what_can_be_won_back_is_bounded_by_what_gold_itself_would_deliver():
    """Heavy noise promises ten times what any proxy can deliver; the promise is no measure of what is to be had."""
    rng = np.random.default_rng(1)
    bank = drawn(rng, lambda shape: 2 * rng.standard_t(2.5, shape))
    result = decompose_best_of_n(bank, "p", [64], rng=np.random.default_rng(0))
    (point,) = result.points
    unit = result.scale.gold_unit
    perfect = (best_of_n_curve(replace(bank, proxies={"p": bank.gold}), "p", [64]).gold_gain[0]) / unit
    assert point.perfect == pytest.approx(perfect, rel=1e-9)
    left = perfect - point.delivered.estimate
    assert point.regressional.estimate > 3 * left
    assert any(f"can win back at most {left:.2f}" in text for text in result.sentences())


def test_a_smaller_n_is_called_a_loss_only_where_the_last_n_delivers_most():
    rng = np.random.default_rng(2)
    assert any("a smaller n would only give up gold" in text for text in sentences(drawn(rng, rng.standard_normal)))
    gold = rng.normal(size=(60, 256))
    turned = ScoreBank.from_rectangle(gold - 1.5 * np.maximum(gold - 0.7, 0), {"p": gold})
    assert not any("only give up" in text for text in sentences(turned, (1, 2, 8, 64)))


def test_a_reversed_proxy_is_told_to_be_turned_and_nothing_is_won_back_by_less_noise():
    rng = np.random.default_rng(3)
    said = sentences(drawn(rng, rng.standard_normal, sign=-1.0))
    assert any("give it with its sign turned" in text for text in said)
    assert not any("win back" in text for text in said)


def test_without_intervals_nothing_is_said_of_dependence():
    rng = np.random.default_rng(4)
    said = sentences(drawn(rng, rng.standard_normal, prompts=2, samples=64), (1, 8))
    assert not any("No dependent error shows" in text for text in said)


def test_the_raw_scale_counts_golds_own_units():
    rng = np.random.default_rng(5)
    bank = drawn(rng, rng.standard_normal)
    (headline,) = (text for text in sentences(bank, scale="raw") if "promised" in text)
    assert "of gold's own units" in headline
    assert " SD" not in headline


def test_gold_that_rose_and_may_have_fallen_is_not_called_unchanged():
    rng = np.random.default_rng(6)
    noisy = rng.normal(0, 4.0, 64)
    gains = rng.normal(0.4, 0.4, size=(64, 1)) + np.column_stack(
        [np.zeros(64), rng.normal(0, 0.1, 64), noisy - noisy.mean() - 0.3]
    )
    banks = {
        float(step): ScoreBank.from_rectangle(np.repeat(gains[:, [step]], 2, axis=1), {"p": np.zeros((64, 2))})
        for step in range(3)
    }
    base = ScoreBank.from_rectangle(np.zeros((64, 2)), {"p": np.zeros((64, 2))})
    turn = measure_turn(checkpoint_curve(Checkpoints(banks, {}), "p", base))
    assert turn.net_interval[0] < 0 < turn.net_interval[1]
    assert turn.shape == "rises"


def test_noise_alone_is_rarely_called_a_rise():
    rng = np.random.default_rng(7)
    shapes = []
    for _ in range(200):
        gold, proxy = rng.normal(size=(2, 30, 32))
        shapes.append(measure_turn(best_of_n_curve(ScoreBank.from_rectangle(gold, {"p": proxy}), "p")).shape)
    assert shapes.count("rises") / 200 < 0.05 + 5 * (0.05 * 0.95 / 200) ** 0.5


def test_a_wide_interval_does_not_spend_the_proxy():
    rng = np.random.default_rng(11)
    gold = rng.standard_normal((10, 128))
    bank = ScoreBank.from_rectangle(gold, {"p": gold + 2 * rng.standard_normal(gold.shape)})
    few = rng.standard_normal((10, 3))
    run = Checkpoints({1.0: ScoreBank.from_rectangle(few, {"p": few + 2 * rng.standard_normal(few.shape)})}, {})
    result = decompose_checkpoints(bank, run, "p", rng=rng)
    low, high = result.points[0].on_policy_slope.interval
    assert low <= 0.0 < result.scale.reliability < high, "the relation is the base policy's"
    assert not any("the proxy is spent" in text for text in result.sentences())


def test_a_kl_that_no_policy_could_do_with_is_flagged():
    rng = np.random.default_rng(9)
    gold = rng.standard_normal((40, 64))
    bank = ScoreBank.from_rectangle(gold, {"p": gold + rng.standard_normal(gold.shape)})
    moved = rng.standard_normal((40, 16)) + 1.0
    tuned = {1.0: ScoreBank.from_rectangle(moved, {"p": moved + 1.0 + rng.standard_normal(moved.shape)})}
    for nats, flagged in ((0.02, True), (9.0, False)):
        run = Checkpoints(tuned, {1.0: KL(nats, "full-vocabulary", standard_error=0.0)})
        said = decompose_checkpoints(bank, run, "p", rng=np.random.default_rng(0)).sentences()
        assert any("No policy can do that" in text for text in said) is flagged


def test_a_policy_that_has_hardly_moved_is_not_called_impossible():
    """The gain of the base policy itself, from few samples, seems to need some KL."""
    rng = np.random.default_rng(11)
    gold = rng.standard_normal((40, 64))
    bank = ScoreBank.from_rectangle(gold, {"p": gold + rng.standard_normal(gold.shape)})
    for _ in range(20):
        few = rng.standard_normal((40, 4))
        tuned = {1.0: ScoreBank.from_rectangle(few, {"p": few + rng.standard_normal(few.shape)})}
        run = Checkpoints(tuned, {1.0: KL(0.0, "full-vocabulary", standard_error=0.0)})
        said = decompose_checkpoints(bank, run, "p", rng=rng).sentences()
        assert not any("No policy can do that" in text for text in said)


def test_a_proxys_answer_does_not_depend_on_the_columns_beside_it():
    rng = np.random.default_rng(10)
    bank = drawn(rng, rng.standard_normal)
    beside = replace(bank, proxies={"other": rng.permutation(bank.gold), **bank.proxies})
    alone, both = (diagnose(b, rng=np.random.default_rng(0)).proxies["p"] for b in (bank, beside))
    assert alone.verdicts == both.verdicts
