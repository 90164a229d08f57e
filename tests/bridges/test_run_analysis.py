"""Peaks and trends of a run: judged on prompts that did not choose them; controls that must not fire."""

from pathlib import Path

import numpy as np
import pytest

from overopt.bridges.best_of_n import best_of_n_curve
from overopt.bridges.checkpoints import Checkpoints, checkpoint_curve
from overopt.bridges.decomposition import decompose_best_of_n
from overopt.bridges.kl import KL
from overopt.bridges.run_analysis import PolicyRun, gold_peak, without_floor
from overopt.bridges.run_summary import CurvePoint, GoldPeak, MeasuredCurve, ProxyModel
from overopt.bridges.run_trends import control_trend, judge_trends
from overopt.bridges.score_bank import ScoreBank

PROMPTS, SAMPLES = 64, 8


def measured_run(
    rng: np.random.Generator, gold_path: list[float], proxy_path: list[float]
) -> tuple[ScoreBank, PolicyRun]:
    """A base bank and checkpoints whose mean gold and proxy follow the given paths."""
    bank = ScoreBank.from_rectangle(rng.normal(size=(PROMPTS, 256)), {"proxy": rng.normal(size=(PROMPTS, 256))})
    banks = {
        float(step): ScoreBank.from_rectangle(
            gold + rng.normal(size=(PROMPTS, SAMPLES)), {"proxy": proxy + rng.normal(size=(PROMPTS, SAMPLES))}
        )
        for step, (gold, proxy) in enumerate(zip(gold_path, proxy_path, strict=True))
    }
    kl = {step: KL(step**2, "full-vocabulary", standard_error=0.1) for step in banks}
    return bank, PolicyRun("ppo", "proxy", 0, Path(), Checkpoints(banks, kl))


def peak_of(bank: ScoreBank, run: PolicyRun) -> GoldPeak:
    return gold_peak(checkpoint_curve(run.checkpoints, "proxy", bank), run.optimizer, run.proxy, run.index)


def test_a_planted_turn_is_found_with_its_size():
    bank, run = measured_run(np.random.default_rng(0), [0, 0.5, 1.0, 0.2, -0.5], [0, 1, 2, 3, 4])
    peak = peak_of(bank, run)
    assert peak.peak_pressure == 2.0
    assert abs(peak.rise - 1.0) < 5 * peak.rise_se
    assert abs(peak.fall - 1.5) < 5 * peak.fall_se
    assert abs(peak.proxy_after - 2.0) < 5 * peak.proxy_after_se


def test_noise_alone_gives_no_peak_on_average_where_the_naive_maximum_does():
    rng = np.random.default_rng(1)
    rises, naive = [], []
    for _ in range(60):
        bank, run = measured_run(rng, [0.0] * 12, [0.0] * 12)
        curve = checkpoint_curve(run.checkpoints, "proxy", bank)
        rises.append(gold_peak(curve, run.optimizer, run.proxy, run.index).rise)
        naive.append(curve.gold_gain.max())
    error = np.std(rises, ddof=1) / np.sqrt(len(rises))
    assert abs(np.mean(rises)) < 5 * error
    assert np.mean(naive) > 5 * np.std(naive, ddof=1) / np.sqrt(len(naive)), "the control should show the bias"


def test_points_at_golds_floor_leave_the_fit_and_others_stay():
    rng = np.random.default_rng(2)
    bank, run = measured_run(rng, [0.0, 0.5, -9.0], [0.0, 1.0, 2.0])
    floored = ScoreBank.from_rectangle(np.full((PROMPTS, SAMPLES), -20.0), {"proxy": np.zeros((PROMPTS, SAMPLES))})
    banks = {**run.checkpoints.banks, 2.0: floored}
    run = PolicyRun("ppo", "proxy", 0, Path(), Checkpoints(banks, run.checkpoints.kl))
    curve = checkpoint_curve(run.checkpoints, "proxy", bank)
    assert without_floor(curve, run.checkpoints, bank).pressure.tolist() == [0.0, 1.0]


def turn(rise: float, fall: float, proxy: float, end: float = 9.0) -> GoldPeak:
    return GoldPeak("ppo", "proxy", 0, 3.0, 9.0, rise, 0.1, fall, 0.1, end, 81.0, 2.0, proxy, 0.1)


def model(name: str, parameters: int, labels: int, peak: float) -> ProxyModel:
    return ProxyModel(name, parameters, labels, 0.7, None, 0.6, None, peak, (peak - 0.1, peak + 0.1), 64.0)


@pytest.mark.parametrize(
    ("peaks", "verdict"),
    [
        ([turn(1.0, 2.0, 1.0), turn(0.9, 1.0, 0.5)], "reproduced"),
        ([turn(1.0, 2.0, 1.0), turn(0.4, 0.2, 0.5)], "cannot tell"),
        ([turn(1.0, 2.0, -1.0)], "cannot tell"),
        ([turn(1.0, 0.0, 1.0, end=3.0)], "not reproduced"),
        ([turn(-0.2, 1.0, 1.0)], "not reproduced"),
    ],
)
def test_rise_and_fall_needs_both_beyond_their_errors_and_a_rising_proxy(peaks, verdict):
    bank, _ = measured_run(np.random.default_rng(0), [0.0], [0.0])
    trends = judge_trends("proxy", {"proxy": best_of_n_curve(bank, "proxy")}, [], peaks, [])
    assert trends[0].verdict == verdict


@pytest.mark.parametrize(
    ("peaks", "verdict"),
    [((0.5, 0.9, 1.4), "reproduced"), ((0.5, 0.55, 1.4), "cannot tell"), ((0.5, 0.9, 0.2), "not reproduced")],
)
def test_the_order_of_label_sizes_is_judged_step_by_step(peaks, verdict):
    bank, _ = measured_run(np.random.default_rng(0), [0.0], [0.0])
    proxies = [model(f"p{labels}", 100, labels, peak) for labels, peak in zip((10, 100, 1000), peaks, strict=True)]
    trends = judge_trends("proxy", {"proxy": best_of_n_curve(bank, "proxy")}, [], [turn(1, 1, 1)], proxies)
    assert next(t for t in trends if "labels" in t.statement).verdict == verdict


@pytest.mark.parametrize(
    ("shares", "verdict", "evidence"),
    [
        ((2.0, 3.0), "reproduced", "against 0.6 nats"),
        ((0.5, 0.8), "not reproduced", "against 0.6 nats"),
        ((0.5, 3.0), "cannot tell", "against 0.6 nats"),
        ((2.0, None), "cannot tell", "seed 1: the proxy never rose"),
        ((None, None), "cannot tell", "seed 0: the proxy never rose; seed 1: the proxy never rose"),
    ],
)
def test_kl_is_compared_at_the_same_proxy_gain_where_there_is_one(shares, verdict, evidence):
    """Best-of-4 costs ln 4 - 3/4 = .64 nats; a PPO run that reaches its gain at ``share`` times that."""
    bank, _ = measured_run(np.random.default_rng(0), [0.0], [0.0])
    curve = best_of_n_curve(bank, "proxy", [1, 4, 16])
    curves = []
    for seed, share in enumerate(shares):
        kl, gain = (1.0, -0.2) if share is None else (share * (np.log(4) - 0.75), float(curve.proxy_gain[1]))
        points = (CurvePoint(0.0, 0.0, 0.0, 0.0, 0.0), CurvePoint(1.0, kl, kl**0.5, gain, 0.0))
        curves.append(MeasuredCurve("ppo", "proxy", seed, "full-vocabulary", points))
    trends = judge_trends("proxy", {"proxy": curve}, curves, [], [])
    found = next(t for t in trends if t.statement.startswith("PPO spends more KL"))
    assert found.verdict == verdict
    assert evidence in found.evidence


def test_the_control_arm_fails_when_gold_is_lost_again():
    kept = GoldPeak("ppo", "gold", 0, 9.0, 9.0, 1.5, 0.1, 0.0, 0.0, 9.0, 9.0, 1.5, 0.0, 0.0)
    lost = GoldPeak("ppo", "gold", 0, 4.0, 9.0, 1.5, 0.1, 1.0, 0.1, 9.0, 9.0, 1.5, 0.0, 0.0)
    assert control_trend([kept])[0].verdict == "reproduced"
    assert control_trend([lost])[0].verdict == "not reproduced"
    assert control_trend([]) == ()


GRID = [1, 4, 16, 64, 256]


def controls() -> ScoreBank:
    rng = np.random.default_rng(3)
    gold = rng.normal(size=(PROMPTS, 256)) + rng.normal(size=(PROMPTS, 1))
    proxies = {"gold": gold, "constant": np.zeros_like(gold), "random": rng.normal(size=gold.shape)}
    return ScoreBank.from_rectangle(gold, proxies)


def test_gold_as_its_own_proxy_has_no_gap_and_no_fall():
    bank = controls()
    curve = best_of_n_curve(bank, "gold", GRID)
    assert (np.diff(curve.gold_gain) > 0).all()
    split = decompose_best_of_n(bank, "gold", GRID, rng=np.random.default_rng(0))
    for point in split.points:
        for name in ("regressional", "extremal", "causal", "unattributed"):
            assert getattr(point, name).estimate == pytest.approx(0.0, abs=1e-9)


def test_a_constant_proxy_cannot_tell():
    split = decompose_best_of_n(controls(), "constant", GRID, rng=np.random.default_rng(0))
    assert all(point.regressional.estimate is None and point.regressional.reason for point in split.points)


def test_a_random_proxy_gains_no_gold():
    curve = best_of_n_curve(controls(), "random", GRID)
    assert (np.abs(curve.gold_gain[1:]) < 5 * curve.gain_se[1:]).all()
    assert curve.proxy_gain[-1] > 2.0, "it does climb its own score"
