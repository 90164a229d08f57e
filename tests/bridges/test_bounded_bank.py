"""Banks too large to hold: which records are kept, in memory and from a file, with a run beside them and without."""

from __future__ import annotations

import numpy as np
import pytest

import overopt.bridges.diagnosis as diagnosis_module
import overopt.bridges.read_tables as reader
import overopt.bridges.stored_bank as stored_bank
from overopt.bridges import bounded_bank
from overopt.bridges.bounded_bank import some_prompts, some_samples
from overopt.bridges.diagnosis import diagnose
from overopt.bridges.read_tables import read_tables
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.stored_bank import StoredBank

NAMES = tuple(f"p{k}" for k in (5, 2, 9, 0, 7, 3))


@pytest.fixture
def bank() -> ScoreBank:
    rng = np.random.default_rng(0)
    gold = rng.normal(size=(6, 40))
    return ScoreBank.from_rectangle(
        gold, {"proxy": gold + rng.normal(size=gold.shape)}, NAMES, rng.random(gold.shape) + 1
    )


@pytest.fixture
def stored(bank, tmp_path, monkeypatch) -> StoredBank:
    monkeypatch.setattr(stored_bank, "_BATCH", 30)
    bank.write(tmp_path / "bank.parquet")
    return StoredBank.open(tmp_path / "bank.parquet", length="length")


def records(bank: ScoreBank) -> set[tuple[object, ...]]:
    prompts = [bank.prompts[code] for code in bank.prompt]
    assert bank.length is not None
    found = list(zip(prompts, bank.sample, bank.gold, bank.proxies["proxy"], bank.length, strict=True))
    assert len(set(found)) == len(found)
    return set(found)


def test_a_small_bank_is_kept_whole(bank, stored) -> None:
    rng = np.random.default_rng(0)
    assert some_prompts(bank, 240, rng) == (bank, "")
    whole, left_out = some_prompts(stored, 240, rng)
    assert (whole.prompts, left_out) == (tuple(sorted(NAMES)), "")
    assert records(whole) == records(bank)


@pytest.mark.parametrize("kind", ["bank", "stored"])
def test_many_prompts_are_kept_whole_or_not_at_all(request, monkeypatch, bank, kind) -> None:
    monkeypatch.setattr(bounded_bank, "KEPT_PROMPTS", 2)
    kept, left_out = some_prompts(request.getfixturevalue(kind), 130, np.random.default_rng(1))
    assert left_out == "3 of 6 prompts, drawn at random"
    assert kept.counts.tolist() == [40, 40, 40]
    assert records(kept) < records(bank)


@pytest.mark.parametrize("kind", ["bank", "stored"])
def test_few_prompts_keep_some_samples_each(request, bank, kind) -> None:
    source = request.getfixturevalue(kind)
    for choose in (some_prompts, some_samples):
        kept, left_out = choose(source, 60, np.random.default_rng(1))
        assert left_out == "at most 10 samples of a prompt, drawn at random"
        assert kept.counts.tolist() == [10] * 6
        assert records(kept) < records(bank)


def test_one_pool_is_thinned() -> None:
    gold = np.arange(1000.0)
    pool = ScoreBank.from_rows(prompt=None, gold=gold, proxies={"proxy": -gold})
    kept, _ = some_prompts(pool, 100, np.random.default_rng(0))
    assert (kept.n_prompts, kept.n_rows) == (1, 100)
    np.testing.assert_array_equal(kept.gold, -kept.proxies["proxy"])
    # A uniform choice: the mean of 100 of 0..999 has SD 28.9 sqrt(900 / 999).
    assert abs(kept.gold.mean() - 499.5) < 5 * 27.4


def test_prompts_of_a_file_are_taken_as_from_memory(bank, stored) -> None:
    for places in ([0], [1, 4], [0, 2, 3, 5]):
        here, there = bank.take(np.array(places)), stored.take(np.array(places))
        assert (there.prompts, there.n_rows, there.n_prompts) == (here.prompts, here.n_rows, len(places))
        assert records(ScoreBank.concatenate(list(there.chunks()))) == records(here)
    twice = stored.take(np.array([1, 2, 4])).take(np.array([0, 2]))
    assert twice.prompts == (NAMES[1], NAMES[4])


def run_csv(names: tuple[str, ...]) -> str:
    rng = np.random.default_rng(3)
    lines = ["checkpoint,prompt,gold,proxy,kl"]
    for step in (1, 2):
        lines += [f"{step},{name},{g:.3f},{g + step:.3f},{step}" for name in names for g in rng.normal(size=30)]
    return "\n".join(lines)


def test_a_run_beside_a_stored_bank_is_judged_as_beside_one_in_memory(tmp_path, bank, monkeypatch) -> None:
    """Also where the run holds fewer prompts, in another order than the file."""
    monkeypatch.setattr(stored_bank, "_BATCH", 30)
    bank.write(tmp_path / "bank.parquet")
    (tmp_path / "run.csv").write_text(run_csv(NAMES[:-1]))
    paths = [str(tmp_path / "run.csv"), str(tmp_path / "bank.parquet")]
    found = []
    for rows in (1_000, 100):
        monkeypatch.setattr(reader, "STREAM_ROWS", rows)
        tables = read_tables(paths)
        assert isinstance(tables.bank, ScoreBank if rows == 1_000 else StoredBank)
        found.append(diagnose(tables.bank, tables.checkpoints, rng=np.random.default_rng(0), warnings=tables.warnings))
    here, there = found
    assert there.n_prompts == 5
    assert there.warnings == here.warnings
    for field in ("gold", "proxy", "base_gold"):
        one, other = (getattr(result.proxies["proxy"].checkpoints.curve, field) for result in found)
        np.testing.assert_allclose(one, other, rtol=1e-12)
    one, other = (result.proxies["proxy"].checkpoints.decomposition.points[-1] for result in found)
    assert other.delivered.estimate == pytest.approx(one.delivered.estimate, rel=1e-9)
    assert other.promise.estimate == pytest.approx(one.promise.estimate, rel=1e-9)


def test_a_run_is_compared_with_samples_of_every_prompt(monkeypatch, tmp_path, bank) -> None:
    """The decomposition of best-of-n may leave prompts out; a run holds all of them."""
    monkeypatch.setattr(bounded_bank, "KEPT_PROMPTS", 2)
    monkeypatch.setattr(diagnosis_module, "DECOMPOSED_ROWS", 130)
    bank.write(tmp_path / "bank.parquet")
    (tmp_path / "run.csv").write_text(run_csv(NAMES))
    tables = read_tables([str(tmp_path / "run.csv"), str(tmp_path / "bank.parquet")])
    result = diagnose(tables.bank, tables.checkpoints, rng=np.random.default_rng(0))
    assert any("stopping rules 3 of 6 prompts, drawn at random" in text for text in result.warnings)
    assert any("base samples of every prompt, at most 21 samples of a prompt" in text for text in result.warnings)
    assert result.proxies["proxy"].checkpoints.curve.clusters.gold.shape[0] == 6


def test_thinned_prompts_beside_a_run_are_said(monkeypatch, tmp_path, bank) -> None:
    """All prompts are kept with some of their samples: the run is compared with these, and the reader is told."""
    monkeypatch.setattr(diagnosis_module, "DECOMPOSED_ROWS", 130)
    bank.write(tmp_path / "bank.parquet")
    (tmp_path / "run.csv").write_text(run_csv(NAMES))
    tables = read_tables([str(tmp_path / "run.csv"), str(tmp_path / "bank.parquet")])
    result = diagnose(tables.bank, tables.checkpoints, rng=np.random.default_rng(0))
    assert sum("at most 21 samples of a prompt" in text for text in result.warnings) == 2
    assert any(text.startswith("the checkpoints are compared with base samples") for text in result.warnings)
