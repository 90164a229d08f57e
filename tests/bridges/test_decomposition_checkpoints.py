"""The checkpoint decomposition against worlds with known truth: tilts, hacks, kinks, and far outside the bank."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from overopt.bridges.decomposition import CheckpointDecomposition, decompose_checkpoints
from overopt.bridges.decomposition.terms import Term
from overopt.bridges.kl import KL
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.validation.policy_truth import TERMS, PolicyTruth
from overopt.bridges.validation.policy_worlds import POLICY_WORLDS, Run, draw_run
from overopt.theory.errors import InputError

Array = NDArray[np.float64]


def bank_of(gold: Array, proxy: Array) -> ScoreBank:
    return ScoreBank.from_rectangle(gold, {"proxy": proxy})


def decompose(bank: ScoreBank, run: Run, seed: int = 0) -> CheckpointDecomposition:
    return decompose_checkpoints(bank, run, "proxy", rng=np.random.default_rng(seed))


def value(term: Term) -> float:
    assert term.estimate is not None
    return term.estimate


def half_width(term: Term) -> float:
    assert term.interval is not None
    return (term.interval[1] - term.interval[0]) / 2


@pytest.mark.parametrize("world", list(POLICY_WORLDS))
def test_the_terms_and_the_path_add_up_exactly(world: str) -> None:
    bank, run = draw_run(POLICY_WORLDS[world], np.random.default_rng(1), 16, 64, 16)
    for point in decompose(bank, run).points:
        promise, *losses, delivered = (value(getattr(point, term)) for term in TERMS)
        assert promise - sum(losses) == pytest.approx(delivered, abs=1e-9)
        assert value(point.path_selection) + value(point.path_shift) == pytest.approx(delivered, abs=1e-9)
        assert value(point.gap) == pytest.approx(promise - delivered, abs=1e-9)


@pytest.mark.parametrize("world", ["gaussian-tilt", "scale-varies-tilt", "kink-hack"])
def test_every_term_is_near_the_truth(world: str) -> None:
    """Within 5 standard errors (2.5 half widths of the 95% interval) and the .02 SD that smoothing may cost."""
    bank, run = draw_run(POLICY_WORLDS[world], np.random.default_rng(2), 64, 256, 32)
    result = decompose(bank, run)
    truth = PolicyTruth(POLICY_WORLDS[world], np.random.default_rng(3), records=400_000)
    support = (result.support[0] * result.scale.proxy_unit, result.support[1] * result.scale.proxy_unit)
    for step, point in enumerate(result.points):
        for name, expected in truth.terms(step, support).items():
            term: Term = getattr(point, name)
            if term.interval is not None:
                assert value(term) == pytest.approx(expected, abs=2.5 * half_width(term) + 0.02), (name, step)
        shift = float(truth.path_shift[step])
        assert value(point.path_shift) == pytest.approx(shift, abs=2.5 * half_width(point.path_shift) + 0.02)


@pytest.mark.parametrize("scales", ["equal", "vary by prompt"])
def test_fresh_best_of_n_winners_get_no_causal_term(scales: str) -> None:
    """Winners of other samples of the same prompts only reweight by the proxy; one pooled m would say +.6 SD."""
    rng = np.random.default_rng(4)
    spread = np.exp(0.6 * rng.standard_normal((64, 1))) if scales != "equal" else np.ones((64, 1))
    gold = spread * rng.standard_normal((64, 512))
    bank = bank_of(gold, gold + rng.standard_normal(gold.shape))
    fresh = spread[..., None] * rng.standard_normal((64, 40, 16))
    proxy = fresh + rng.standard_normal(fresh.shape)
    best = proxy.argmax(axis=2)[..., None]
    winners = bank_of(*(np.take_along_axis(values, best, 2)[..., 0] for values in (fresh, proxy)))
    result = decompose(bank, Run({1.0: winners}))
    causal = result.points[0].causal
    assert value(causal) == pytest.approx(0.0, abs=2.5 * half_width(causal))
    assert result.fresh_winners_n == 16
    control = result.fresh_winners_causal
    assert control is not None
    assert value(control) == pytest.approx(0.0, abs=2.5 * half_width(control))


def gaussian_path(rng: np.random.Generator, hack: bool) -> tuple[ScoreBank, Run, float]:
    """A run to KL 60 nats in 16 steps: a tilt (gold = proxy / 2), or a hack that costs half of what it pretends.

    With the proxy at unit variance a mean shift d costs ``d^2 / 2`` nats: KL 60 is d = 10.95.
    """
    prompts, samples = 64, 128
    gold = rng.standard_normal((prompts, samples))
    bank = bank_of(gold, (gold + rng.standard_normal(gold.shape)) / math.sqrt(2))
    banks = {}
    for step in range(1, 17):
        shift = math.sqrt(120.0) * step / 16
        if hack:
            gold = rng.standard_normal((prompts, samples)) - 0.5 * shift
            proxy = (gold + rng.standard_normal(gold.shape)) / math.sqrt(2) + shift * (1 + 0.5 / math.sqrt(2))
        else:
            proxy = shift + rng.standard_normal((prompts, samples))
            gold = proxy / math.sqrt(2) + math.sqrt(0.5) * rng.standard_normal((prompts, samples))
        banks[float(step)] = bank_of(gold, proxy)
    return bank, Run(banks), math.sqrt(120.0)


def test_far_outside_the_bank_the_path_sees_no_shift_in_a_tilt() -> None:
    bank, run, shift = gaussian_path(np.random.default_rng(5), hack=False)
    last = decompose(bank, run).points[-1]
    assert last.outside > 0.99
    assert value(last.delivered) == pytest.approx(shift / math.sqrt(2), abs=0.1)
    assert value(last.path_shift) == pytest.approx(0.0, abs=2.5 * half_width(last.path_shift))


def test_far_outside_the_bank_the_path_sizes_a_hack() -> None:
    """Each step moves the proxy by s and gold by -s/2: by the relation gold should have gained ``s / sqrt 2``."""
    bank, run, shift = gaussian_path(np.random.default_rng(6), hack=True)
    last = decompose(bank, run).points[-1]
    true_shift = -0.5 * shift - shift / math.sqrt(2)
    assert value(last.delivered) == pytest.approx(-0.5 * shift, abs=0.1)
    assert value(last.path_shift) == pytest.approx(true_shift, abs=2.5 * half_width(last.path_shift) + 0.02)


def heterogeneous_tilts(rng: np.random.Generator, samples: int) -> tuple[ScoreBank, Run]:
    """Exact tilts of a world where gold's SD varies by prompt (lognormal .5), to a proxy gain of 3 and beyond."""
    prompts, tilts = 64, np.linspace(0, 3, 11)
    spread = np.exp(rng.normal(0, 0.5, prompts))[:, None]
    variance = spread**2 + 1

    def draw(tilt: float, count: int) -> ScoreBank:
        proxy = tilt * variance + np.sqrt(variance) * rng.standard_normal((prompts, count))
        error = spread / np.sqrt(variance) * rng.standard_normal(proxy.shape)
        return bank_of(spread**2 / variance * proxy + error, proxy)

    return draw(0.0, 512), Run({float(step): draw(tilt, samples) for step, tilt in enumerate(tilts)})


def test_few_samples_of_unlike_prompts_are_no_shift() -> None:
    """With four samples per prompt and checkpoint; measured from the base policy's means alone this was -.5 SD."""
    rng = np.random.default_rng(8)
    shifts = [value(decompose(*heterogeneous_tilts(rng, 4)).points[-1].path_shift) for _ in range(16)]
    assert abs(np.mean(shifts)) < 0.1 + 5 * np.std(shifts, ddof=1) / np.sqrt(len(shifts))
    assert 5 * np.std(shifts, ddof=1) / np.sqrt(len(shifts)) < 0.3


def test_three_samples_per_prompt_cannot_tell_selection_from_shift() -> None:
    result = decompose(*heterogeneous_tilts(np.random.default_rng(9), 3))
    assert all(point.path_shift.estimate is None and point.path_selection.estimate is None for point in result.points)
    assert any("it takes 4 samples of every prompt" in warning for warning in result.warnings)
    assert not any("Along the path" in sentence for sentence in result.sentences())


def test_an_optimizer_that_does_not_learn_the_noise_is_named() -> None:
    rng = np.random.default_rng(7)
    gold = rng.standard_normal((64, 256))
    bank = bank_of(gold, gold + rng.standard_normal(gold.shape))
    better = rng.standard_normal((64, 64)) + 1.0
    result = decompose(bank, Run({1.0: bank_of(better, better + rng.standard_normal(better.shape))}))
    assert any("did not learn the proxy's noise" in line for line in result.sentences())
    assert any("no gap" in line for line in result.sentences())


def test_the_on_policy_slope_reaches_zero_where_the_proxy_is_spent() -> None:
    rng = np.random.default_rng(8)
    gold = rng.standard_normal((64, 256))
    bank = bank_of(gold, gold + rng.standard_normal(gold.shape))
    spent = rng.standard_normal((64, 64)) + 0.5
    result = decompose(bank, Run({1.0: bank_of(spent, 2.0 + rng.standard_normal(spent.shape))}))
    slope = result.points[0].on_policy_slope
    assert slope.interval is not None
    assert slope.interval[0] < 0 < slope.interval[1]
    assert any("the proxy is spent" in line for line in result.sentences())


def test_the_kl_budget_of_a_gaussian_tilt() -> None:
    """A tilt by d SD costs ``d^2 / 2`` nats, all of it on the proxy: efficiency 1 if that was spent."""
    rng = np.random.default_rng(9)
    proxy = rng.standard_normal((64, 1024))
    bank = bank_of(0.7 * proxy + rng.standard_normal(proxy.shape), proxy)
    tilted = rng.standard_normal((64, 256)) + 1.0
    run = Run({1.0: bank_of(0.7 * tilted + rng.standard_normal(tilted.shape), tilted)}, {1.0: KL(0.5, "k1")})
    budget = decompose(bank, run).points[0].kl_budget
    assert not budget.tilt_is_bound
    assert budget.tilt == pytest.approx(0.5, abs=0.03)
    assert budget.on_proxy == pytest.approx(0.5, abs=0.03)
    assert budget.efficiency == pytest.approx(1.0, abs=0.06)


def test_beyond_the_bank_the_budget_is_a_bound() -> None:
    rng = np.random.default_rng(10)
    proxy = rng.standard_normal((64, 64))
    bank = bank_of(0.7 * proxy + rng.standard_normal(proxy.shape), proxy)
    far = rng.standard_normal((64, 64)) + 5.0
    result = decompose(bank, Run({1.0: bank_of(0.7 * far, far)}, {1.0: KL(20.0, "k1")}))
    budget = result.points[0].kl_budget
    assert budget.tilt_is_bound
    assert budget.on_proxy_is_bound
    assert budget.tilt < 12.5
    assert budget.efficiency is None
    assert any("outside the bank's support" in line for line in result.sentences())


@pytest.mark.parametrize("floor", [-np.inf, 0.0])
def test_gold_as_its_own_proxy_loses_exactly_nothing(floor: float) -> None:
    rng = np.random.default_rng(13)
    gold, better = (np.maximum(rng.standard_normal((16, 32)) + shift, floor) for shift in (0.0, 0.5))
    noisy = better + 0.1 * rng.standard_normal(better.shape)
    result = decompose(bank_of(gold, gold), Run({1.0: bank_of(better, better), 2.0: bank_of(better, noisy)}))
    own, control = result.points
    assert [value(getattr(own, name)) for name in ("regressional", "extremal", "causal", "path_shift")] == [0.0] * 4
    assert own.regressional.interval == (0.0, 0.0)
    assert value(control.causal) != 0.0


def test_prompts_must_agree() -> None:
    rng = np.random.default_rng(11)
    gold = rng.standard_normal((4, 200))
    other = ScoreBank.from_rectangle(gold, {"proxy": gold}, prompts=("0", "1", "2", "x"))
    with pytest.raises(InputError, match=r"checkpoints must have the base bank's prompts"):
        decompose(bank_of(gold, gold), Run({1.0: other}))


def test_a_tiny_bank_cannot_tell() -> None:
    rng = np.random.default_rng(12)
    gold = rng.standard_normal((8, 8))
    bank = bank_of(gold, gold + rng.standard_normal(gold.shape))
    point = decompose(bank, Run({1.0: bank})).points[0]
    assert point.causal.estimate is None
    assert "fewer than 400" in (point.causal.reason or "")
    assert value(point.delivered) == pytest.approx(0.0, abs=1e-12)
