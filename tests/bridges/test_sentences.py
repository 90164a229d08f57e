"""The sentences of a diagnosis say no more than the numbers do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from overopt.bridges.best_of_n import best_of_n_curve
from overopt.bridges.checkpoints import Checkpoints, checkpoint_curve
from overopt.bridges.curve import ClusterValues, Curve
from overopt.bridges.decomposition import decompose_best_of_n, decompose_checkpoints
from overopt.bridges.decomposition.independence import independence_test
from overopt.bridges.diagnosis import diagnose
from overopt.bridges.kl import KL
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.turn import Lift, Turn, measure_turn


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


def test_gold_below_the_base_policy_at_one_n_is_not_below_from_there_on():
    """Gold dips for middling proxies and jumps for the best: -.05 at n = 2, +6 at n = 128."""
    rng = np.random.default_rng(12)
    u = rng.random((200, 128))
    grid = (1, 2, 4, 8, 16, 32, 64, 128)
    gold = np.where(u > 0.98, 6.0, np.where(u > 0.6, -1.0, 0.0)) + 0.1 * u
    dips = " ".join(sentences(ScoreBank.from_rectangle(gold, {"p": u + 5 * (u > 0.98)}), n=grid))
    assert "Gold is below the base policy at n = 2, 4." in dips
    turns = np.where(u < 0.7, 3 * u, 2.1 - 8 * (u - 0.7))
    heavy = np.where(u < 0.7, 5 * u, 3.5 + 0.1 * (u - 0.7))
    falls = " ".join(sentences(ScoreBank.from_rectangle(turns, {"p": heavy}), n=grid))
    assert "Gold is below the base policy from n = 4 on." in falls


def test_a_reversed_proxy_is_not_called_noise():
    rng = np.random.default_rng(13)
    for noise in (lambda shape: 0.2 * rng.standard_normal(shape), np.zeros):
        said = " ".join(sentences(drawn(rng, noise, sign=-1.0)))
        assert "was its reversed sign and independent noise (regressional)" in said
        assert "selection on independent noise" not in said
        assert "give it with its sign turned" in said


def test_a_proxy_that_never_rose_with_gold_is_not_spent():
    rng = np.random.default_rng(14)
    gold = rng.standard_normal((40, 64))
    bank = ScoreBank.from_rectangle(gold, {"p": -gold + 0.2 * rng.standard_normal(gold.shape)})
    later = gold[:, :16] - 1
    run = Checkpoints({1.0: ScoreBank.from_rectangle(later, {"p": -1.3 * later})}, {})
    said = " ".join(decompose_checkpoints(bank, run, "p", rng=np.random.default_rng(0)).sentences())
    assert "the proxy is spent" not in said


@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_rare_successes_count_in_their_own_sd(rate):
    """Gini's SD of a Bernoulli is p (1 - p) sqrt(pi): a tenth of its SD at one success in 300."""
    rng = np.random.default_rng(15)
    gold = (rng.random((400, 64)) < rate).astype(float)
    bank = ScoreBank.from_rectangle(gold, {"p": gold + rng.standard_normal(gold.shape)})
    unit = decompose_best_of_n(bank, "p", [1, 8], rng=np.random.default_rng(0)).scale.gold_unit
    within = gold - gold.mean(axis=1, keepdims=True)
    assert unit == pytest.approx(np.sqrt((within**2).sum() / (400 * 63)), rel=1e-12)
    assert unit == pytest.approx(np.sqrt(rate * (1 - rate)), rel=0.1)


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_rounding_to_few_levels_is_not_evidence_of_a_dependent_error(levels):
    rng = np.random.default_rng(16)
    gold = rng.standard_normal((60, 64))
    raw = gold + rng.standard_normal(gold.shape)
    cuts = np.quantile(raw, np.arange(1, levels) / levels)
    test = independence_test(ScoreBank.from_rectangle(gold, {"p": np.digitize(raw, cuts).astype(float)}), "p", rng)
    assert test.p_value is None
    assert f"the proxy has {levels} levels" in test.reason


def test_a_fall_from_the_peak_is_not_a_fall_below_the_base_policy():
    """Few base samples are shared by all checkpoints: the fall is sure, where it ends is not."""
    rng = np.random.default_rng(17)
    base = rng.normal(0, 4.0, size=(60, 4))
    base -= base.mean()
    bank = ScoreBank.from_rectangle(base, {"p": base})
    true = {1.0: 0.2, 2.0: 0.5, 3.0: 0.3}
    level = rng.normal(0, 0.3, size=(60, 1))
    banks = {
        step: ScoreBank.from_rectangle(
            level + gain + 0.05 * rng.standard_normal((60, 4)), {"p": step + rng.standard_normal((60, 4))}
        )
        for step, gain in true.items()
    }
    found = diagnose(bank, Checkpoints(banks, {}), rng=np.random.default_rng(0)).proxies["p"]
    assert found.checkpoints.turn.net_interval[0] < 0 < found.checkpoints.turn.net_interval[1]
    assert found.checkpoints.turn.shape == "falls back"
    assert any("Gold falls by 0.2" in text and "cannot be told" in text for text in found.verdicts)
    assert not any("lowers gold" in text for text in found.verdicts)


def test_a_run_that_only_loses_gold_is_told_to_stop_before_it_starts():
    rng = np.random.default_rng(18)
    gold = rng.standard_normal((40, 64))
    bank = ScoreBank.from_rectangle(gold, {"p": gold + rng.standard_normal(gold.shape)})
    banks = {
        float(step): ScoreBank.from_rectangle(
            gold[:, :8] - loss, {"p": gold[:, :8] + step + rng.standard_normal((40, 8))}
        )
        for step, loss in enumerate((1.0, 0.8, 0.6), start=1)
    }
    found = diagnose(bank, Checkpoints(banks, {}), rng=np.random.default_rng(0)).proxies["p"]
    stopping = found.checkpoints.stopping
    assert stopping.recommended is None
    assert stopping.rule("gold on other prompts").regret == 0
    assert stopping.rule("last").regret == pytest.approx(0.6, abs=0.3)
    assert any("the base policy itself has the highest measured gold" in text for text in found.verdicts)


def test_a_lift_is_quoted_where_it_is_shown():
    """No sentence says that gold is lifted with an interval that includes 0."""
    rng = np.random.default_rng(19)
    quoted = 0
    for _ in range(60):
        gains = np.cumsum(rng.normal(0.02, 0.1, size=(30, 6)) + rng.normal(0, 0.05, size=6), axis=1)
        curve = Curve.from_clusters(
            ClusterValues(gains, gains, np.zeros(30), np.zeros(30)), method="checkpoints", axis="checkpoint",
            pressure=np.arange(1.0, 7), kl=np.arange(1.0, 7), kl_kind="k1", kl_standard_error=np.zeros(6),
        )  # fmt: skip
        turn = measure_turn(curve)
        if turn.shape in ("rises", "turns") and turn.lift is not None:
            quoted += 1
            assert turn.lift.interval[0] > 0
            assert turn.lift.gain == pytest.approx(curve.gold_gain[int(turn.lift.pressure) - 1])
    assert quoted > 5


@pytest.mark.parametrize(
    ("rise", "lift", "net", "shape", "gain"),
    [
        ((0.1, 0.5), None, (-0.5, -0.1), "turns", 0.3),
        ((-0.1, 0.5), Lift(2.0, 0.4, (0.2, 0.6)), (-0.5, -0.1), "turns", 0.4),
        ((-0.1, 0.5), None, (-0.5, -0.1), "falls", 0.3),
        ((-0.1, 0.5), None, (-0.1, 0.5), "falls back", 0.3),
        ((-0.1, 0.5), None, (0.1, 0.5), "turns", 0.3),
    ],
)
def test_the_shape_of_a_surely_falling_curve(rise, lift, net, shape, gain):
    turn = Turn(1.0, 3.0, 0.3, 0.5, float(np.mean(net)), rise, (0.3, 0.7), net, lift)
    assert turn.shape == shape
    assert turn.shown_rise.gain == gain


def test_adding_nothing_but_rounding_is_not_mentioned():
    """A pass/fail proxy is exhausted early: the last doublings of n add 1e-13."""
    rng = np.random.default_rng(22)
    gold = rng.standard_normal((100, 64))
    bank = ScoreBank.from_rectangle(gold, {"p": (gold > 0).astype(float)})
    said = " ".join(diagnose(bank, rng=np.random.default_rng(0)).proxies["p"].verdicts)
    assert "raises gold" in said
    assert "e-1" not in said
