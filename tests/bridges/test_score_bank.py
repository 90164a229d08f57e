"""Banks: records in any order, on disk and back, in memory or streamed."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from overopt.bridges import parquet
from overopt.bridges.best_of_n import best_of_n_curve
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.stored_bank import StoredBank
from overopt.theory.errors import InputError


def rows(seed: int = 0, prompts: int = 7, samples: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    count = prompts * samples
    return {
        "prompt": np.repeat([f"p{k}" for k in range(prompts)], samples),
        "sample": np.tile(np.arange(samples), prompts),
        "gold": rng.normal(size=count),
        "proxy": rng.normal(size=count),
        "length": rng.integers(1, 9, size=count).astype(float),
    }


def bank_of(table: dict[str, np.ndarray], order: np.ndarray | None = None) -> ScoreBank:
    at = np.arange(table["gold"].size) if order is None else order
    return ScoreBank.from_rows(
        prompt=table["prompt"][at],
        sample=table["sample"][at],
        gold=table["gold"][at],
        proxies={"p": table["proxy"][at], "gold": table["proxy"][at] ** 2},
        length=table["length"][at],
    )


def assert_same(one: ScoreBank, other: ScoreBank) -> None:
    assert one.prompts == other.prompts
    assert list(one.proxies) == list(other.proxies)
    for name in ("prompt", "sample", "gold", "length"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in one.proxies:
        np.testing.assert_array_equal(one.proxies[name], other.proxies[name])


def test_the_order_of_rows_changes_nothing() -> None:
    table = rows()
    assert_same(bank_of(table), bank_of(table, np.random.default_rng(1).permutation(35)))


def test_a_record_stays_one_record() -> None:
    table = rows()
    bank = bank_of(table, np.random.default_rng(2).permutation(35))
    for code, sample, gold, proxy in zip(bank.prompt, bank.sample, bank.gold, bank.proxies["p"], strict=True):
        at = np.flatnonzero((table["prompt"] == bank.prompts[code]) & (table["sample"] == sample))
        assert (gold, proxy) == (table["gold"][at[0]], table["proxy"][at[0]])


def test_written_banks_come_back_with_every_bit(tmp_path) -> None:
    bank = bank_of(rows())
    bank.write(tmp_path / "bank.parquet")
    assert_same(bank, ScoreBank.read(tmp_path / "bank.parquet"))


def test_parquet_layout(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 12)
    bank = bank_of(rows())
    bank.write(tmp_path / "bank.parquet")
    file = pq.ParquetFile(tmp_path / "bank.parquet")
    sizes = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    assert sizes == [10, 10, 10, 5], "whole prompts of 5 rows in groups of at most 12"
    gold = file.metadata.row_group(0).column(2)
    assert gold.path_in_schema == "gold"
    assert gold.compression == "ZSTD"
    assert "BYTE_STREAM_SPLIT" in gold.encodings
    assert_same(bank, ScoreBank.read(tmp_path / "bank.parquet"))


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_a_streamed_bank_has_the_curve_of_the_bank_in_memory(tmp_path, monkeypatch, batch) -> None:
    import overopt.bridges.stored_bank as stored_bank

    monkeypatch.setattr(stored_bank, "_BATCH", batch)
    bank = bank_of(rows())
    bank.write(tmp_path / "bank.parquet")
    stored = StoredBank.open(tmp_path / "bank.parquet")
    assert (stored.n_prompts, stored.n_rows, stored.samples_per_prompt) == (7, 35, 5)
    here, there = best_of_n_curve(bank, "p"), best_of_n_curve(stored, "p")
    np.testing.assert_allclose(here.gold, there.gold, rtol=1e-13)
    np.testing.assert_allclose(here.gold_covariance, there.gold_covariance, rtol=1e-10, atol=1e-15)


def test_a_streamed_table_must_hold_each_prompt_in_one_piece(tmp_path) -> None:
    import pyarrow as pa

    table = pa.table({"prompt": ["a", "a", "b", "a"], "gold": [1.0, 2, 3, 4], "proxy": [1.0, 2, 3, 4]})
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet, row 4, column 'prompt': .* got prompt 'a' again"):
        StoredBank.open(tmp_path / "t.parquet", {"proxy": "proxy"}, sample=None)


def test_take_and_concatenate_are_inverse() -> None:
    bank = bank_of(rows())
    parts = [bank.take(np.array([0, 1, 2])), bank.take(np.array([3])), bank.take(np.array([4, 5, 6]))]
    assert_same(bank, ScoreBank.concatenate(parts))


def test_unequal_numbers_of_samples() -> None:
    bank = ScoreBank.from_rows(prompt=["a", "b", "a", "a", "b"], gold=[1, 2, 3, 4, 5], proxies={"p": [1, 2, 3, 4, 5]})
    assert bank.counts.tolist() == [3, 2]
    assert bank.samples_per_prompt == 2
    assert bank.sample.tolist() == [0, 1, 2, 0, 1], "samples are numbered as they come"
    np.testing.assert_allclose(bank.prompt_means(bank.gold), [8 / 3, 3.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gold": [1, np.nan, 3]}, "record 1, column 'gold': must be finite, got nan"),
        ({"proxies": {"p": [1, 2, np.inf]}}, "record 2, column 'p': must be finite, got inf"),
        ({"sample": [0, 0, 0]}, r"record 1, column 'sample': .* got \(prompt 'a', sample 0\) again, as in .* record 0"),
        ({"proxies": {"p": [1, 2]}}, "column 'p' must have one value for each of 3 rows"),
        ({"gold": [], "prompt": [], "proxies": {"p": []}}, "at least one row"),
    ],
)
def test_bad_records_are_named(change, message) -> None:
    given = {"prompt": ["a", "a", "b"], "gold": [1, 2, 3], "proxies": {"p": [1, 2, 3]}} | change
    with pytest.raises(InputError, match=message):
        ScoreBank.from_rows(**given)


def test_a_file_from_elsewhere_is_no_bank(tmp_path) -> None:
    (tmp_path / "x.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        ScoreBank.read(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="no such file"):
        ScoreBank.read(tmp_path / "y.parquet")
