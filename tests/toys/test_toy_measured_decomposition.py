"""The measured decomposition of bridges, run on samples of toy worlds, against the exact terms of the same policies."""

import numpy as np
import pytest

from overopt.bridges.checkpoints import Checkpoints
from overopt.bridges.decomposition import decompose_best_of_n, decompose_checkpoints
from overopt.bridges.score_bank import ScoreBank
from overopt.toys import simulate
from overopt.toys.worlds.additive import Additive
from overopt.toys.worlds.common_cause_length import CommonCauseLength
from overopt.toys.worlds.kink import Kink

PROMPTS, SAMPLES = 80, 128
SIZES = (2, 16)


def bank(gold, proxy):
    shape = PROMPTS, SAMPLES
    return ScoreBank.from_rectangle(gold.reshape(shape), {"proxy": proxy.reshape(shape)})


def within_five_errors(term, exact, note):
    """The interval is the estimate +- 1.98 standard errors over prompts; five of them are allowed."""
    low, high = term.interval
    error = (high - low) / (2 * 1.98)
    assert abs(term.estimate - exact) < 5 * error + 1e-9, (
        f"{note}: {term.estimate:.4f} +- {error:.4f}, exact {exact:.4f}"
    )


@pytest.mark.parametrize(
    "world", [Additive(), Additive(noise="laplace"), Additive(noise="student_t", df=5.0), Kink()], ids=repr
)
def test_best_of_n(world):
    rng = np.random.default_rng(11)
    measured = decompose_best_of_n(
        bank(*world.joint.draw_base(rng, PROMPTS * SAMPLES)), "proxy", SIZES, rng=rng, permutations=4, null_banks=2
    )
    exact = simulate(rng, world, "best-of-n", SIZES, replicates=0)
    assert measured.scale.kind == exact.scale == "slope"
    for found, point in zip(measured.points, exact.points, strict=True):
        for name in ("promise", "regressional", "extremal", "delivered"):
            within_five_errors(getattr(found, name), getattr(point, name), f"{name} at n = {point.pressure:g}")
        assert found.promise_mismatch == pytest.approx(point.promise - point.null_proxy, abs=0.1)


def test_the_extremal_term_would_be_missed_in_the_wrong_world():
    """The control: the kink's measured extremal term is far from the additive world's, which is 0."""
    rng = np.random.default_rng(11)
    measured = decompose_best_of_n(
        bank(*Kink().joint.draw_base(rng, PROMPTS * SAMPLES)), "proxy", (32,), rng=rng, permutations=4, null_banks=2
    )
    with pytest.raises(AssertionError, match="exact 0"):
        within_five_errors(measured.points[0].extremal, 0.0, "extremal")


def test_a_policy_that_moves_length():
    world, rng = CommonCauseLength(), np.random.default_rng(12)
    scale = world.joint.scale
    size = PROMPTS * SAMPLES

    def sampled(padding):
        gold, length = world.structural(rng, size, padding)
        return bank(scale.gold(gold), scale.proxy(length))

    base, paddings = sampled(0.0), (0.5, 1.0)
    found = decompose_checkpoints(
        base, Checkpoints({value: sampled(value) for value in paddings}, {}), "proxy", rng=rng
    )
    exact = simulate(rng, world, "move-length", paddings, replicates=0)
    for measured, point in zip(found.points, exact.points, strict=True):
        for name in ("promise", "regressional", "extremal", "causal", "delivered"):
            within_five_errors(getattr(measured, name), getattr(point, name), f"{name} at padding {point.pressure:g}")
        assert measured.causal.estimate > 0.2
