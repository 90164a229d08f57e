"""Turn and stopping: gold that turns, rises or does nothing is told apart; rules are judged on other prompts."""

from __future__ import annotations

import numpy as np
import pytest

from overopt.bridges.best_of_n import best_of_n_curve
from overopt.bridges.checkpoints import Checkpoints
from overopt.bridges.kl import KL
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.stopping import stop_best_of_n, stop_checkpoints
from overopt.bridges.turn import measure_turn

PROMPTS, SAMPLES = 60, 64


def bank(kind: str, seed: int = 0) -> ScoreBank:
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(PROMPTS, SAMPLES))
    gold = {
        "rises": u + 0.5 * rng.normal(size=u.shape),
        "turns": u - 1.5 * np.maximum(u - 0.8, 0) + 0.2 * rng.normal(size=u.shape),
        "falls": -u + 0.5 * rng.normal(size=u.shape),
        "flat": rng.normal(size=u.shape),
    }[kind]
    return ScoreBank.from_rectangle(gold, {"p": u, "q": gold}, length=np.exp(0.3 * u) * 100)


@pytest.mark.parametrize("kind", ["rises", "turns", "falls", "flat"])
def test_the_shape_of_gold_is_told(kind) -> None:
    shapes = [measure_turn(best_of_n_curve(bank(kind, seed), "p")).shape for seed in range(10)]
    assert shapes.count(kind) >= 9, shapes


def test_a_flat_curve_is_not_called_a_turn() -> None:
    """The measured maximum of pure noise always exceeds the last point; choosing it on other prompts removes that."""
    naive = claimed = 0
    for seed in range(60):
        curve = best_of_n_curve(bank("flat", seed), "p")
        turn = measure_turn(curve)
        claimed += turn.shape == "turns"
        best = int(np.argmax(curve.gold))
        fall = curve.clusters.gold[:, best] - curve.clusters.gold[:, -1]
        naive += best < curve.gold.size - 1 and fall.mean() > 0
    assert claimed <= 3
    assert naive > 30


def test_few_prompts_cannot_tell() -> None:
    rng = np.random.default_rng(0)
    small = ScoreBank.from_rectangle(rng.normal(size=(3, 8)), {"p": rng.normal(size=(3, 8))})
    assert measure_turn(best_of_n_curve(small, "p")).shape == "cannot tell"
    assert stop_best_of_n(small, "p", rng=rng) is None


def test_rules_on_a_curve_that_turns() -> None:
    stopping = stop_best_of_n(bank("turns"), "p", rng=np.random.default_rng(0))
    regret = {rule.name: rule.regret for rule in stopping.rules}
    assert {"first", "last", "random"} <= set(regret), "the three nulls are always there"
    assert regret["gold on other prompts"] < 0.2 * min(regret["first"], regret["last"], regret["random"])
    assert regret["quantile rule"] < 0.5 * regret["last"]
    assert regret["other proxies"] < 0.2 * regret["last"], "q is gold itself: where it peaks is where to stop"
    assert 1 < stopping.recommended < SAMPLES
    assert list(regret.values()) == sorted(regret.values())
    assert all(value >= 0 for value in regret.values())


def test_gold_blind_rules_do_not_see_gold() -> None:
    """Turning gold upside down must not move what a blind rule chooses."""
    one = bank("turns")
    other = ScoreBank.from_rectangle(
        -one.gold.reshape(PROMPTS, SAMPLES),
        {name: values.reshape(PROMPTS, SAMPLES) for name, values in one.proxies.items()},
        length=one.length.reshape(PROMPTS, SAMPLES),
    )
    choices = []
    for table in (one, other):
        stopping = stop_best_of_n(table, "p", rng=np.random.default_rng(1))
        choices.append({rule.name: rule.choice for rule in stopping.rules if not rule.sees_gold})
    assert choices[0] == choices[1]
    assert {"proxy plateau", "KL budget (4 nats)", "length drift", "other proxies"} <= set(choices[0])


def test_rules_that_lack_their_data_are_named() -> None:
    rng = np.random.default_rng(2)
    table = ScoreBank.from_rectangle(rng.normal(size=(10, 8)), {"p": rng.normal(size=(10, 8))})
    stopping = stop_best_of_n(table, "p", rng=rng)
    assert stopping.skipped == {"length drift": "a length column", "other proxies": "a second proxy"}


def run(kl: list[float], lengths: list[float]) -> tuple[Checkpoints, ScoreBank]:
    """A base bank of length 100 and checkpoints 10, 20, ... with these KL and lengths."""
    rng = np.random.default_rng(4)

    def draw(length: float) -> ScoreBank:
        shape = (20, 4)
        return ScoreBank.from_rectangle(
            rng.normal(size=shape), {"p": rng.normal(size=shape)}, length=length + rng.normal(size=shape)
        )

    steps = [10.0 * (k + 1) for k in range(len(kl))]
    banks = {step: draw(length) for step, length in zip(steps, lengths, strict=True)}
    return Checkpoints(banks, {step: KL(nats, "k1") for step, nats in zip(steps, kl, strict=True)}), draw(100.0)


def test_a_bounded_rule_never_chooses_a_point_beyond_its_bar() -> None:
    checkpoints, base = run(kl=[5.0, 9.0], lengths=[130.0, 150.0])
    stopping = stop_checkpoints(checkpoints, "p", base, rng=np.random.default_rng(0))
    assert {"KL budget (4 nats)", "length drift"}.isdisjoint(rule.name for rule in stopping.rules)
    assert stopping.skipped["KL budget"] == "a first point within 4 nats"
    assert "within 10% of the base policy's" in stopping.skipped["length drift"]


def test_a_bounded_rule_chooses_the_only_point_within_its_bar() -> None:
    checkpoints, base = run(kl=[3.0, 9.0], lengths=[105.0, 150.0])
    stopping = stop_checkpoints(checkpoints, "p", base, rng=np.random.default_rng(0))
    assert stopping.rule("KL budget (4 nats)").choice == stopping.rule("length drift").choice == 10


def test_a_half_without_a_point_within_the_bar_takes_the_base_policy() -> None:
    """Lengths drift by 10% in the mean, more in about half of the halves, whose choice is no optimization: gain 0."""
    rng = np.random.default_rng(5)
    shape = (40, 2)
    base = ScoreBank.from_rectangle(rng.normal(size=shape), {"p": rng.normal(size=shape)}, length=np.full(shape, 100.0))
    drift = 109.9 + np.where(np.arange(40) % 2, 20.0, -20.0)
    only = ScoreBank.from_rectangle(
        base.gold.reshape(shape) + 3.0,
        {"p": rng.normal(size=shape)},
        length=np.repeat(drift[:, None], 2, axis=1),
    )
    stopping = stop_checkpoints(Checkpoints({1.0: only}, {}), "p", base, rng=rng)
    rule = stopping.rule("length drift")
    assert rule.choice == 1
    assert 0.2 < rule.regret / 3.0 < 0.8, "0 where the point is chosen, its whole gain where the base policy is"


def test_checkpoints_with_a_known_best_step() -> None:
    rng = np.random.default_rng(3)
    gold_of_step = {0: 0.0, 10: 0.6, 20: 1.0, 30: 0.4, 40: -0.5}
    banks = {
        float(step): ScoreBank.from_rectangle(
            level + rng.normal(size=(40, 4)),
            {"p": step / 10 + rng.normal(size=(40, 4))},
            length=np.full((40, 4), 100.0 + step),
        )
        for step, level in gold_of_step.items()
    }
    kl = {float(step): KL(step / 10, "k1", standard_error=0.1 if step else 0.0) for step in gold_of_step}
    stopping = stop_checkpoints(Checkpoints(banks, kl), "p", banks[0.0], rng=rng)
    assert stopping.recommended == 20
    assert stopping.rule("length drift").choice == 10, "length 110 is the last within 10%"
    assert stopping.rule("KL budget (4 nats)").choice == 40
    assert stopping.rule("last").regret == pytest.approx(1.5, abs=0.4)
    assert stopping.rule("gold on other prompts").regret < 0.1
