"""The diagnosis of worlds with known answers and of real tables; what it says and what it refuses to say."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import overopt.bridges.diagnosis as diagnosis_module
from overopt.bridges import bounded_bank
from overopt.bridges.best_of_n import best_of_n_curve
from overopt.bridges.checkpoints import Checkpoints
from overopt.bridges.decomposition import decompose_best_of_n
from overopt.bridges.diagnosis import diagnose
from overopt.bridges.fits import fit_curve
from overopt.bridges.kl import KL
from overopt.bridges.read_tables import TableColumns, read_tables
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.turn import measure_turn

DATA = Path(__file__).parents[1] / "data"


def real(name: str, **columns) -> ScoreBank:
    return read_tables([str(DATA / name)], TableColumns(**columns)).bank


@pytest.fixture(scope="module")
def worlds():
    rng = np.random.default_rng(0)
    u, noise = rng.normal(size=(2, 48, 128))
    gold = np.where(u > 1, 2 - u, u)
    bank = ScoreBank.from_rectangle(gold, {"kinked": u + noise, "noise": noise, "constant": 0 * u})
    return diagnose(bank, rng=np.random.default_rng(0))


def test_a_kink_is_called_a_dependent_error_that_turns_gold(worlds) -> None:
    text = " ".join(worlds.proxies["kinked"].verdicts)
    assert "The proxy carries gold signal" in text
    assert "Gold turns: best-of-n lifts it" in text
    assert "The proxy's error depends on gold" in text
    assert worlds.proxies["kinked"].independence_p < 0.05


def test_noise_is_called_noise(worlds) -> None:
    text = " ".join(worlds.proxies["noise"].verdicts)
    assert "carries no gold signal" in text
    assert "does not change gold measurably" in text
    assert "The proxy's error depends on gold" not in text
    assert worlds.proxies["noise"].independence_p >= 0.05


def test_a_constant_proxy_is_no_error(worlds) -> None:
    found = worlds.proxies["constant"]
    assert found.verdicts[0].startswith("Cannot tell: constant is constant within every prompt")
    assert found.fit is None
    assert any(text.startswith("constant, best-of-n: no fit") for text in worlds.warnings)
    assert found.best_of_n.curve.kl.tolist() == [0] * 8


def test_the_same_seed_gives_the_same_diagnosis() -> None:
    rng = np.random.default_rng(1)
    gold = rng.normal(size=(12, 32))
    bank = ScoreBank.from_rectangle(gold, {"p": gold + rng.normal(size=gold.shape)})
    one, other = (diagnose(bank, rng=np.random.default_rng(5)) for _ in range(2))
    assert one.proxies["p"].verdicts == other.proxies["p"].verdicts
    assert one.warnings == other.warnings


def run(shift: float) -> tuple[ScoreBank, Checkpoints]:
    """A length hack: each step raises the proxy through a feature without gold, and costs gold by ``shift``."""
    rng = np.random.default_rng(2)
    shape = (40, 64)
    u, h = rng.normal(size=(2, *shape))
    bank = ScoreBank.from_rectangle(u, {"p": u + h})
    banks = {0.0: bank}
    for step in (1.0, 2.0, 3.0):
        u, h = rng.normal(size=(2, 40, 16))
        banks[step] = ScoreBank.from_rectangle(u - shift * step, {"p": u + h + 0.5 * step})
    kl = {step: KL(step**2 / 4, "k1", standard_error=0.05 if step else 0.0) for step in banks}
    return bank, Checkpoints(banks, kl)


def test_a_hack_is_a_shift_of_the_relation() -> None:
    bank, checkpoints = run(0.4)
    found = diagnose(bank, checkpoints, rng=np.random.default_rng(0)).proxies["p"]
    last = found.checkpoints.decomposition.points[-1]
    assert last.path_shift.excludes_zero() < 0
    assert found.checkpoints.turn.shape == "falls"
    assert any("The run lowers gold" in text for text in found.verdicts)
    assert found.fit is found.checkpoints.fit
    assert found.fit.law == "rl"


def test_one_sample_per_prompt_has_a_run_but_no_best_of_n() -> None:
    rng = np.random.default_rng(3)
    banks = {
        float(step): ScoreBank.from_rectangle(rng.normal(size=(20, 1)) - step, {"p": rng.normal(size=(20, 1)) + step})
        for step in range(3)
    }
    found = diagnose(banks[0.0], Checkpoints(banks, {}))
    assert found.proxies["p"].best_of_n is None
    assert found.proxies["p"].checkpoints.turn.shape == "falls"
    assert any("one sample per prompt: no best-of-n curve" in text for text in found.warnings)


def test_a_large_bank_is_decomposed_on_some_of_its_prompts(monkeypatch) -> None:
    rng = np.random.default_rng(4)
    gold = rng.normal(size=(30, 16))
    bank = ScoreBank.from_rectangle(gold, {"p": gold + rng.normal(size=gold.shape)})
    monkeypatch.setattr(diagnosis_module, "DECOMPOSED_ROWS", 200)
    monkeypatch.setattr(bounded_bank, "KEPT_PROMPTS", 2)
    found = diagnose(bank, rng=np.random.default_rng(0))
    assert any("12 of 30 prompts, drawn at random" in text for text in found.warnings)
    np.testing.assert_array_equal(found.proxies["p"].best_of_n.curve.gold, best_of_n_curve(bank, "p").gold)


def test_a_stored_bank_has_the_diagnosis_of_the_bank_in_memory(tmp_path, monkeypatch) -> None:
    import overopt.bridges.stored_bank as stored_bank

    rng = np.random.default_rng(6)
    gold = rng.normal(size=(12, 32))
    bank = ScoreBank.from_rectangle(
        gold, {"p": gold + rng.normal(size=gold.shape)}, tuple(f"p{k:02d}" for k in range(12))
    )
    bank.write(tmp_path / "bank.parquet")
    monkeypatch.setattr(stored_bank, "_BATCH", 100)
    stored = stored_bank.StoredBank.open(tmp_path / "bank.parquet")
    assert len(list(stored.chunks())) > 1
    one, other = (diagnose(table, rng=np.random.default_rng(0)).proxies["p"] for table in (bank, stored))
    assert one.verdicts == other.verdicts


def test_an_llm_judge_saturates_and_does_not_fall() -> None:
    """Best-of-24 by a judge: .668 -> .831; the analytic KL of 2.22 would overstate a judge with three levels."""
    bank = real("judge_goodhart_bon24.csv.gz", prompt="task_id", gold="correct", proxy=("judge_score",))
    curve = best_of_n_curve(bank, "judge_score")
    assert curve.base_gold == pytest.approx(0.668, abs=0.001)
    assert curve.gold[-1] == pytest.approx(0.831, abs=0.001)
    assert curve.kl[-1] < 1.3 < curve.kl_analytic[-1]
    found = diagnose(bank, rng=np.random.default_rng(0)).proxies["judge_score"]
    assert found.best_of_n.turn.shape == "rises"
    assert found.fit.peak.d is None
    assert any("n = 16 to 24 adds +0.00285 [-0.0104, 0.0161], which may be nothing" in t for t in found.verdicts)
    assert any("cannot tell regressional from extremal: the proxy has 3 levels" in text for text in found.verdicts)


def test_proxies_that_rise_do_nothing_and_fall_are_told_apart() -> None:
    names = ("rm_internlm2", "rm_ArmoRM", "rm_chatgpt", "rm_prometheus_7B", "rm_grm_gemma", "n_steps")
    bank = real("rewardmath_rm_scores.csv.gz", prompt="problem_id", sample="response_idx", gold="correct", proxy=names)
    shapes = {name: measure_turn(best_of_n_curve(bank, name)).shape for name in names}
    assert shapes == dict(zip(names, ("rises", "rises", "flat", "flat", "falls", "falls"), strict=True))
    best = best_of_n_curve(bank, "rm_internlm2")
    assert best.base_gold == pytest.approx(0.1)
    assert best.gold[-1] == pytest.approx(0.373, abs=0.001)


def human_ratings(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean of a random half of a text's raters, and of the others."""
    halves = []
    with gzip.open(DATA / "vader_tweets.csv.gz", "rt") as file:
        next(file)
        for line in file:
            ratings = rng.permutation(np.array(line.rstrip("\n").rsplit(",", 1)[1].split(), dtype=float))
            half = ratings.size // 2
            halves.append((ratings[:half].mean(), ratings[half:].mean()))
    proxy, gold = np.array(halves).T
    return proxy, gold


def test_half_of_the_raters_as_proxy_is_regressional_and_never_turns() -> None:
    """The error of averaging other raters is noise: gold rises to n = 32 and the dependent part is small.

    It is not 0, because ratings are integers from -4 to 4: a text near the end of the scale has less room for error.
    Texts are dealt into 84 pseudo-prompts of 50, so that there are independent units.
    """
    rng = np.random.default_rng(0)
    proxy, gold = human_ratings(rng)
    order = rng.permutation(4200)
    bank = ScoreBank.from_rectangle(gold[order].reshape(84, 50), {"half": proxy[order].reshape(84, 50)})
    found = decompose_best_of_n(bank, "half", [2, 4, 8, 16, 32], rng=rng)
    extremal = [point.extremal.estimate for point in found.points]
    assert max(map(abs, extremal)) < 0.06, extremal
    curve = best_of_n_curve(bank, "half", [1, 2, 4, 8, 16, 32])
    assert (np.diff(curve.gold) > 0).all()
    assert measure_turn(curve).shape == "rises"
    assert fit_curve(curve, rivals=False).peak.d is None


def test_revision_rounds_that_please_the_judge_cost_correctness_on_unanswerable_tasks() -> None:
    """Without KL and with one sample per task: gold falls .98 -> .25 while the judge's score rises."""
    import csv

    with gzip.open(DATA / "judge_goodhart_rounds.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["answerable"] == "False" and row["judge_score"]]
    banks = {
        float(round_): ScoreBank.from_rows(
            prompt=[r["task_id"] for r in rows if r["round"] == round_],
            gold=[float(r["correct"]) for r in rows if r["round"] == round_],
            proxies={"judge": [float(r["judge_score"]) for r in rows if r["round"] == round_]},
        )
        for round_ in sorted({row["round"] for row in rows})
    }
    found = diagnose(banks[0.0], Checkpoints(banks, {}), rng=np.random.default_rng(0)).proxies["judge"]
    assert found.checkpoints.turn.shape == "falls"
    assert found.checkpoints.turn.net == pytest.approx(0.25 - 0.983, abs=0.01)
    assert found.checkpoints.curve.proxy_gain[-1] > 0
    assert found.checkpoints.stopping.recommended == 0
