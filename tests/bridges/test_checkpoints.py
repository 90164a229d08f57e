"""Checkpoints on disk and back, their curve, and tables that do not fit together."""

from __future__ import annotations

import numpy as np
import pytest

from overopt.bridges.checkpoints import Checkpoints, checkpoint_curve
from overopt.bridges.kl import KL
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.errors import InputError

NAMES = ("a", "b", "c")


def bank(seed: int, names: tuple[str, ...] = NAMES, proxy: str = "p") -> ScoreBank:
    rng = np.random.default_rng(seed)
    shape = (len(names), 4)
    return ScoreBank.from_rectangle(
        rng.normal(size=shape), {proxy: rng.normal(size=shape)}, names, length=rng.integers(1, 9, size=shape)
    )


def run() -> Checkpoints:
    banks = {0.0: bank(0), 10.0: bank(1), 20.0: bank(2)}
    kl = {0.0: KL(0.0, "k1"), 10.0: KL(1.0, "k1", n=12, standard_error=0.1), 20.0: KL(4.0, "k1", n=12)}
    return Checkpoints(banks, kl, {step: table.gold * 2 for step, table in banks.items()})


def test_written_checkpoints_come_back_with_every_bit(tmp_path) -> None:
    one = run()
    one.write(tmp_path / "run.parquet")
    other = Checkpoints.read(tmp_path / "run.parquet")
    assert other.values == one.values
    assert other.kl == one.kl
    for step in one.values:
        for name in ("prompt", "sample", "gold", "length"):
            np.testing.assert_array_equal(getattr(one.at(step), name), getattr(other.at(step), name))
        np.testing.assert_array_equal(one.at(step).proxies["p"], other.at(step).proxies["p"])
        np.testing.assert_array_equal(one.logratio[step], other.logratio[step])


def test_the_order_of_optimization_is_kept(tmp_path) -> None:
    """A KL coefficient falls as optimization grows."""
    kl = {0.5: KL(1.0, "imported"), 0.1: KL(4.0, "imported")}
    one = Checkpoints({0.5: bank(1), 0.1: bank(2)}, kl, kl_source="as given in column kl")
    assert checkpoint_curve(one, "p", bank(0)).d.tolist() == [1, 2]
    one.write(tmp_path / "run.parquet")
    other = Checkpoints.read(tmp_path / "run.parquet")
    assert other.values == (0.5, 0.1)
    assert other.kl_kind == one.kl_kind == one.take(np.array([0])).kl_kind == "imported, as given in column kl"
    assert one.without(0.5).kl_kind == one.kl_kind


def test_curve_weights_prompts_equally_and_counts_from_the_base() -> None:
    one = run()
    curve = checkpoint_curve(one, "p", one.at(0.0))
    table = one.at(10.0).gold.reshape(3, 4).mean(axis=1)
    base = one.at(0.0).gold.reshape(3, 4).mean(axis=1)
    assert curve.gold[1] == pytest.approx(table.mean())
    assert curve.gold_gain[1] == pytest.approx((table - base).mean())
    assert curve.gain_se[1] == pytest.approx((table - base).std(ddof=1) / np.sqrt(3))
    assert curve.gold_gain[0] == 0
    assert curve.d.tolist() == [0, 1, 2]
    assert curve.kl_kind.startswith("k1, policy||base, sequence sum, completion only")
    assert np.isnan(curve.kl_standard_error[2]) or curve.kl_standard_error[2] == 0


def test_a_curve_without_kl_has_no_d() -> None:
    curve = checkpoint_curve(Checkpoints({0.0: bank(0), 1.0: bank(1)}, {}), "p")
    assert np.isnan(curve.d).all()
    assert curve.kl_kind == "unknown"


def test_take_keeps_rows_together() -> None:
    part = run().take(np.array([2, 0]))
    assert part.prompts == ("a", "c")
    for step in part.values:
        np.testing.assert_array_equal(part.logratio[step], part.at(step).gold * 2)


def test_without() -> None:
    assert run().without(10.0).values == (0.0, 20.0)
    assert Checkpoints({0.0: bank(0)}, {}).without(0.0) is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Checkpoints({}, {}), "at least one checkpoint"),
        (lambda: Checkpoints({1.0: bank(0), 0.0: bank(1)}, {}), "ascending order"),
        (
            lambda: Checkpoints({1.0: bank(0), 0.0: bank(1)}, {1.0: KL(2.0, "k1"), 0.0: KL(1.0, "k1")}),
            "ascending order of checkpoint or of KL, got",
        ),
        (lambda: Checkpoints({0.0: bank(0), 1.0: bank(1, ("a", "b", "d"))}, {}), "got prompt 'c' at checkpoint 0 only"),
        (lambda: Checkpoints({0.0: bank(0), 1.0: bank(1, proxy="q")}, {}), "checkpoint 1: proxies must be p, got q"),
        (lambda: Checkpoints({0.0: bank(0)}, {1.0: KL(1.0, "k1")}), "`kl` must name the checkpoints"),
        (
            lambda: Checkpoints({1.0: bank(0), 2.0: bank(1)}, {1.0: KL(1.0, "k1"), 2.0: KL(1.0, "k3")}),
            "KL must be of one kind at all checkpoints",
        ),
        (lambda: run().at(7.0), "`checkpoint` must be one of 0, 10, 20, got 7"),
        (lambda: checkpoint_curve(run(), "p", bank(0, ("a", "b", "x"))), "got prompt 'c' in the checkpoints only"),
        (lambda: checkpoint_curve(run(), "q"), "`proxy` must be one of p, got 'q'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_named(build, message) -> None:
    with pytest.raises(InputError, match=message):
        build()
