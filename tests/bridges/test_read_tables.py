"""Messy tables: every format reads alike, and every mistake is named by file, row, column and value."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from overopt.bridges import read_tables as reader
from overopt.bridges.read_tables import TableColumns, read_tables
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.stored_bank import StoredBank
from overopt.bridges.validation.table_fuzz import fuzz_tables
from overopt.theory.errors import InputError

GOOD = "prompt,sample,gold,proxy\na,0,1,2\na,1,3,1.5\nb,0,0,7\nb,1,-1,2e1\n"
RUN = (
    "checkpoint,prompt,sample,gold,proxy,kl,logratio\n"
    "0,a,0,1,2,0,0\n0,a,1,2,2.5,0,0\n0,b,0,1,2,0,0\n0,b,1,2,4,0,0\n"
    "5,a,0,1,2,1.5,1.4\n5,a,1,2,2,1.5,1.7\n5,b,0,3,2,1.5,1.2\n5,b,1,2,2,1.5,1.9\n"
)


@pytest.fixture
def at(tmp_path, monkeypatch):
    """Write a file into the working folder; its name."""
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes, name: str = "t.csv") -> str:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return write


def records() -> list[dict[str, object]]:
    cells = [line.split(",") for line in GOOD.split()[1:]]
    return [{"prompt": c[0], "sample": int(c[1]), "gold": float(c[2]), "proxy": float(c[3])} for c in cells]


def parquet_bytes(columns: dict[str, object]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


FORMATS = {
    "comma": GOOD,
    "semicolon": GOOD.replace(",", ";"),
    "tab": GOOD.replace(",", "\t"),
    "windows": "\ufeff" + GOOD.replace("\n", "\r\n"),
    "utf-16": GOOD.encode("utf-16"),
    "gzip": gzip.compress(GOOD.encode(), mtime=0),
    "blank lines": GOOD.replace("\n", "\n\n"),
    "quoted": GOOD.replace("a,", '"a",').replace("gold", '"gold"'),
    "capitals and blanks": GOOD.replace("gold", " Gold ").replace("prompt", "PROMPT"),
    "other columns": "text," + GOOD.replace("\n", "\nhéllo,", 4),
    "jsonl": "\n".join(json.dumps(record) for record in records()),
    "json array": json.dumps(records()),
    "json text": "\n".join(json.dumps({k: str(v) for k, v in record.items()}) for record in records()),
    "gzipped jsonl": gzip.compress("\n".join(json.dumps(record) for record in records()).encode(), mtime=0),
    "parquet": parquet_bytes({name: [record[name] for record in records()] for name in records()[0]}),
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_bank(at, form) -> None:
    bank = read_tables([at(FORMATS[form], "any.name")]).bank
    assert bank.prompts == ("a", "b")
    assert bank.gold.tolist() == [1, 3, 0, -1]
    assert bank.proxies["proxy"].tolist() == [2, 1.5, 7, 20]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.replace("1.5", "nan"), "t.csv, row 2, column 'proxy': must be finite, got nan."),
        (GOOD.replace("1.5", "-inf"), "t.csv, row 2, column 'proxy': must be finite, got -inf."),
        (GOOD.replace("1.5", "-1e308"), "t.csv, row 2, column 'proxy': must lie within ±1e+50, got -1e+308."),
        (GOOD.replace("1.5", ""), "t.csv, row 2, column 'proxy': must be a number, got an empty cell."),
        (GOOD.replace("1.5", '"a\nb"'), "t.csv, row 2, column 'proxy': must be a number, got 'a b'."),
        (GOOD.replace("1.5", "high"), "t.csv, row 2, column 'proxy': must be a number, got 'high'."),
        (GOOD.replace("b,0", "a,0"), "row 3, column 'sample': ... got (prompt 'a', sample 0) again, as in t.csv"),
        (GOOD.replace("b,0,", ",0,"), "t.csv, row 3, column 'prompt': must not be empty, got an empty cell."),
        (GOOD.replace("b,0,", "b,,"), "t.csv, row 3, column 'sample': must not be empty, got an empty cell."),
        (GOOD.replace(",2e1", ""), "t.csv, row 4: must have 4 cells like the header, got 3."),
        (GOOD.replace("2e1", "2e1,9"), "t.csv, row 4: must have 4 cells like the header, got 5."),
        (GOOD.replace(",", ";").replace("1.5", "1,5"), "row 2, column 'proxy': must be a number, got '1,5' (decimal"),
        (GOOD.replace("gold", "golden"), "column 'gold' must exist, got ... Did you mean 'golden'?"),
        (GOOD.replace("sample", "gold"), "column 'gold' must occur once in the header, got it 2 times."),
        (GOOD.split("\n")[0] + "\n", "t.csv: at least one row is needed, got none."),
        ("", "t.csv: at least one row is needed, got an empty file."),
        ("prompt,gold,proxy\na,1,2\nb,2,3\n", "column 'prompt': every prompt needs at least 2 base samples, got 1"),
        (GOOD.replace("a,1,3", "a,1,1").replace("b,1,-1", "b,1,0"), "column 'gold': must vary within prompts, got one"),
        (GOOD.encode("latin-1").replace(b"a,0", b"\xe9,0"), "must be UTF-8 text, got byte 0xe9 in line 2"),
        (gzip.compress(GOOD.encode(), mtime=0)[:-4], "t.csv: cannot be read"),
        ('{"gold": 1, "proxy": 1}\n{"gold": 2', "t.csv, row 2: must be JSON, one object per line"),
        ('{"gold": 1, "proxy": 1}\n[2]', "t.csv, row 2: must be a JSON object, got [2]."),
        ('{"gold": 1, "proxy": 1}\n{"gold": 2}', "row 2, column 'proxy': must be present in every object, got none."),
        ('{"gold": 1, "proxy": NaN}', "t.csv, row 1, column 'proxy': must be finite, got nan."),
        (parquet_bytes({"gold": [1.0, 2], "proxy": [[1], [2]]}), "column 'proxy' must hold numbers, got type list"),
        (parquet_bytes({"gold": [1.0, None], "proxy": [1, 2]}), "row 2, column 'gold': must be a number, got an empty"),
        (parquet_bytes({"gold": [1.0], "proxy": [1]})[:40], "t.csv: cannot be read as Parquet"),
        (RUN.replace("5,b,1,2,2,1.5", "5,b,1,2,2,-1"), "row 8, column 'kl': a KL must be >= 0, got -1; a log-ratio"),
        (RUN.replace("5,b", "5,c"), "t.csv: every checkpoint must hold the same prompts, got prompt 'b' at"),
        (RUN.replace("\n0,", "\n2,"), "base samples are needed: ... got checkpoints 2, 5."),
        (RUN.replace("\n5,", "\nfinal,"), "row 5, column 'checkpoint': a checkpoint must be a number"),
        (
            RUN.replace("logratio", "kl_kind").replace(",0\n", ",k1\n").replace(",1.4\n", ",k3\n"),
            "column 'kl_kind': KL must be of one kind, got",
        ),
    ],
)  # fmt: skip
def test_every_mistake_is_named(at, content, message) -> None:
    name = at(content)
    with pytest.raises(InputError) as caught:
        read_tables([name])
    text = str(caught.value)
    assert "\n" not in text
    start = 0
    for part in message.split("... "):
        assert part in text[start:], text
        start = text.index(part, start) + len(part)


def test_files_must_exist_and_be_given_once(at) -> None:
    name = at(GOOD)
    for paths, message in (([], "at least one table"), (["no.csv"], "no.csv: no such file"), ([name, name], "once")):
        with pytest.raises(InputError, match=message):
            read_tables(paths)


def test_columns_can_have_any_name(at) -> None:
    content = "task;i;score;rm a;rm b\nx;7;True;1;2\nx;9;false;2;1\n"
    columns = TableColumns(prompt="task", sample="i", gold="score", proxy=("rm a", "rm b"))
    bank = read_tables([at(content)], columns).bank
    assert bank.gold.tolist() == [1, 0]
    assert bank.sample.tolist() == [7, 9]
    assert list(bank.proxies) == ["rm a", "rm b"]


def test_proxies_are_found_by_their_prefix(at) -> None:
    bank = read_tables([at("gold,proxy,proxy_small,proximity\n1,2,3,4\n2,3,4,5\n")]).bank
    assert list(bank.proxies) == ["proxy", "proxy_small"]
    assert bank.prompts == ("pool",), "no prompt column: one pool"


def test_gold_is_no_proxy(at) -> None:
    with pytest.raises(InputError, match="a proxy must differ from gold, got column 'gold' for both"):
        read_tables([at(GOOD)], TableColumns(proxy=("gold",)))


def test_unequal_prompts_are_said(at) -> None:
    tables = read_tables([at(GOOD + "b,2,5,5\n")])
    assert tables.bank.samples_per_prompt == 2
    assert tables.warnings == ("prompts have 2 to 3 samples; n stops at 2, the number of prompt 'a'.",)


def test_shards_are_joined_and_mistakes_located_in_theirs(at) -> None:
    one, two = at(GOOD), at(GOOD.replace("\na,", "\nc,").replace("\nb,", "\nd,"), "u.csv")
    assert read_tables([one, two]).bank.prompts == ("a", "b", "c", "d")
    with pytest.raises(InputError, match=r"u\.csv, row 2, column 'sample': .* as in t\.csv, row 4"):
        read_tables([one, at("prompt,sample,gold,proxy\ne,1,1,1\nb,1,1,1\n", "u.csv")])


def test_a_run_in_one_table(at) -> None:
    tables = read_tables([at(RUN)])
    assert tables.checkpoints.values == (0.0, 5.0)
    assert tables.bank is tables.checkpoints.at(0.0), "checkpoint 0 is the bank if none is given"
    assert tables.checkpoints.kl[5.0].value == 1.5
    assert tables.checkpoints.kl[5.0].estimator == "imported"
    assert tables.checkpoints.logratio[5.0].tolist() == [1.4, 1.7, 1.2, 1.9]


def test_rows_of_a_run_in_any_order_stay_records(at) -> None:
    header, *lines = RUN.splitlines()
    shuffled = [lines[k] for k in np.random.default_rng(0).permutation(8)]
    tables = read_tables([at("\n".join([header, *shuffled]))])
    assert tables.checkpoints.logratio[5.0].tolist() == [1.4, 1.7, 1.2, 1.9]
    assert tables.checkpoints.at(5.0).gold.tolist() == [1, 2, 3, 2]


def test_logratios_alone_make_a_k1_with_its_error(at) -> None:
    content = "\n".join(",".join(line.split(",")[:5] + line.split(",")[6:]) for line in RUN.splitlines())
    kl = read_tables([at(content)]).checkpoints.kl[5.0]
    assert kl.estimator == "k1"
    assert kl.value == pytest.approx(1.55)
    assert kl.standard_error == pytest.approx(np.std([1.55, 1.55], ddof=1) / np.sqrt(2), abs=1e-12)


def test_two_kinds_of_kl_in_one_table_are_noticed(at) -> None:
    tables = read_tables([at(RUN.replace(",1.5,", ",0.1,"))])
    assert len(tables.warnings) == 1
    assert "checkpoint 5: the kl column says 0.1 nats, the mean logratio 1.55" in tables.warnings[0]


def test_a_run_without_kl_is_read_and_said(at) -> None:
    content = "\n".join(",".join(line.split(",")[:5]) for line in RUN.splitlines())
    tables = read_tables([at(content)])
    assert tables.checkpoints.kl == {}
    assert "no kl and no logratio column" in tables.warnings[0]


def sweep(coefficients: list[float], kl: list[float], name: str = "beta") -> str:
    """Two prompts with two samples at each value of a KL coefficient."""
    lines = [
        f"{value},{prompt},{sample},{value * sample},{sample},{nats}"
        for value, nats in zip(coefficients, kl, strict=True)
        for prompt in "ab"
        for sample in (0, 1)
    ]
    return "\n".join([f"{name},prompt,sample,gold,proxy,kl", *lines])


def read_sweep(at, coefficients: list[float], kl: list[float], name: str = "beta"):
    return read_tables([at(GOOD, "base.csv"), at(sweep(coefficients, kl, name))], TableColumns(checkpoint=name))


def test_a_sweep_of_a_kl_penalty_is_ordered_by_kl(at) -> None:
    tables = read_sweep(at, [0.01, 0.1, 1.0], [13.3, 5.0, 0.8])
    assert tables.checkpoints.values == (1.0, 0.1, 0.01)
    assert list(tables.checkpoints.kl) == [1.0, 0.1, 0.01]
    (said,) = tables.warnings
    assert "KL falls as column 'beta' rises, from 13.3 nats at 0.01 to 0.8 at 1" in said
    assert read_sweep(at, [0, 0.01, 1.0], [16.0, 13.3, 0.8]).checkpoints.values == (1.0, 0.01, 0.0)
    assert read_sweep(at, [0, 0.01, 1.0], [0.0, 13.3, 0.8]).checkpoints.values == (0.0, 1.0, 0.01)


@pytest.mark.parametrize(
    ("values", "kl", "name"),
    [
        ([1, 2, 3], [1, 4, 9], "beta"),
        ([1, 2, 3], [9, 1, 4], "beta"),
        ([1, 2, 3], [9, 4, 1], "step"),
        ([0, 100, 200], [0, 9, 4], "checkpoint"),
    ],
)
def test_a_run_whose_kl_dips_keeps_its_order(at, values, kl, name) -> None:
    tables = read_sweep(at, values, kl, name)
    assert tables.checkpoints.values == tuple(values)
    assert tables.warnings == ()


def test_checkpoint_0_far_from_the_base_policy_is_not_it(at) -> None:
    columns = TableColumns(checkpoint="beta")
    with pytest.raises(InputError, match="checkpoint 0 has a KL of 16 nats, so it is not the base policy"):
        read_tables([at(sweep([0, 0.01, 1.0], [16.0, 13.3, 0.8]))], columns)
    assert read_tables([at(sweep([0, 1.0, 2.0], [0.01, 1.0, 2.0]))], columns).bank.n_prompts == 2
    # A noisy estimate that two standard errors put at 0: means 0.4 and 0 of the two prompts.
    noisy = RUN.replace("0,a,0,1,2,0,0", "0,a,0,1,2,0,0.8")
    noisy = "\n".join(",".join(line.split(",")[:5] + line.split(",")[6:]) for line in noisy.splitlines())
    assert read_tables([at(noisy)]).bank.n_prompts == 2


def test_the_label_of_a_kl_from_elsewhere_claims_only_where_it_is_from(at) -> None:
    assert read_tables([at(RUN)]).checkpoints.kl_kind == "imported, as given in column kl"
    columns = TableColumns(kl="nats")
    found = read_tables([at(RUN.replace("kl,", "nats,"))], columns, kl_kind="k3").checkpoints
    assert found.kl_kind == "k3, as given in column nats"
    ratios = "\n".join(",".join(line.split(",")[:5] + line.split(",")[6:]) for line in RUN.splitlines())
    assert read_tables([at(ratios)]).checkpoints.kl_kind == "k1, mean of column logratio"


def test_checkpoint_names_with_a_number(at) -> None:
    content = RUN.replace("\n0,", "\ncheckpoint-0,").replace("\n5,", "\ncheckpoint-500,")
    assert read_tables([at(content)]).checkpoints.values == (0.0, 500.0)


def test_a_bank_beside_a_run(at) -> None:
    bank, run = at(GOOD), at(RUN, "run.csv")
    tables = read_tables([run, bank])
    assert tables.bank.gold.tolist() == [1, 3, 0, -1]
    more = read_tables([run, at(GOOD + "c,0,1,2\nc,1,2,2\n")])
    assert more.bank.prompts == ("a", "b")
    assert "the checkpoints hold 2 of the bank's 3 prompts" in more.warnings[0]
    with pytest.raises(InputError, match="got prompt 'b' in the checkpoints only"):
        read_tables([run, at(GOOD.replace("\nb,", "\nz,"))])


def test_large_parquet_banks_stay_on_disk(at, monkeypatch) -> None:
    name = at(FORMATS["parquet"], "t.parquet")
    assert isinstance(read_tables([name]).bank, ScoreBank)
    monkeypatch.setattr(reader, "STREAM_ROWS", 3)
    stored = read_tables([name]).bank
    assert isinstance(stored, StoredBank)
    assert (stored.n_prompts, stored.samples_per_prompt, stored.proxies) == (2, 2, ("proxy",))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": list("aab")}, "every prompt needs at least 2 base samples, got 1 for 1 of 2 prompts, first 'b'"),
        ({"prompt": list("aabbb"), "gold": [1.0, 1, 2, 2, 2]}, "must vary within prompts, got ... (1 for 'a')"),
        ({"gold": [1.0, 1, 1]}, "must vary within prompts, got ... (1 for 'pool')"),
        ({"prompt": list("aaabb"), "gold": [1.0, 1, 1, 2, 3], "proxy": [0, 1, 2, 3, 4]}, "prompts have 2 to 3 samples"),
        ({"gold": [1.0, 1, 1, 2]}, ""),
    ],
)
def test_a_stored_bank_passes_the_checks_of_one_in_memory(at, monkeypatch, columns, message) -> None:
    """The same table both ways, the stored one in batches of two rows."""
    import overopt.bridges.stored_bank as stored_bank

    rows = max(len(values) for values in columns.values())
    counted = {name: np.arange(rows, dtype=float) for name in ("gold", "proxy")}
    name = at(parquet_bytes(counted | columns), "t.parquet")

    def outcome() -> str:
        try:
            return " ".join(read_tables([name]).warnings)
        except InputError as error:
            return str(error)

    in_memory = outcome()
    assert all(part in in_memory for part in message.split("... "))
    monkeypatch.setattr(reader, "STREAM_ROWS", 1)
    monkeypatch.setattr(stored_bank, "_BATCH", 2)
    assert outcome() == in_memory


def test_gold_is_no_proxy_of_a_stored_bank(at, monkeypatch) -> None:
    monkeypatch.setattr(reader, "STREAM_ROWS", 1)
    with pytest.raises(InputError, match="a proxy must differ from gold, got column 'gold' for both"):
        read_tables([at(parquet_bytes({"gold": [1.0, 2.0]}), "t.parquet")], TableColumns(proxy=("gold",)))


def test_mutated_tables_end_in_a_result_or_in_one_line() -> None:
    """A small share of the 2,000 that `overopt validate` runs."""
    result = fuzz_tables(np.random.default_rng(0), 60)
    assert not result.failures, result.failures[0]
    assert result.diagnosed > 5
    assert result.refused > 20


def test_the_fuzz_notices_a_bug(monkeypatch) -> None:
    """Control: an exception that is not for the user is reported as a failure."""
    import overopt.bridges.validation.table_fuzz as fuzz

    def broken(paths: list[str]) -> None:
        raise KeyError(paths[0])

    monkeypatch.setattr(fuzz, "read_tables", broken)
    assert len(fuzz_tables(np.random.default_rng(0), 3).failures) == 3


def test_a_pattern_names_every_proxy_it_matches(at):
    at("task,sample,score_gold,score_a,score_b,other\na,0,1,2,3,x\na,1,3,1.5,2,y\nb,0,0,7,1,x\nb,1,-1,2,0,y\n")
    columns = TableColumns(prompt="task", gold="score_gold", proxy=("score_*",))
    assert tuple(read_tables(["t.csv"], columns).bank.proxies) == ("score_a", "score_b")
    with pytest.raises(InputError, match="`--proxy` must match a column, got 'rm_\\*'"):
        read_tables(["t.csv"], TableColumns(prompt="task", gold="score_gold", proxy=("rm_*",)))
    with pytest.raises(InputError, match="every proxy must be named once"):
        read_tables(["t.csv"], TableColumns(prompt="task", gold="score_gold", proxy=("score_a", "score_[ab]")))


def test_a_column_with_a_star_in_its_name_is_that_column(at):
    at("prompt,sample,gold,r*,r2\na,0,1,2,9\na,1,3,1.5,9\n")
    assert tuple(read_tables(["t.csv"], TableColumns(proxy=("r*",))).bank.proxies) == ("r*",)


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (["beta=1e-1", "beta=1e-2", "beta=1e-5"], [1e-5, 0.01, 0.1]),
        (["lr1e-5", "lr3e-4"], [1e-5, 3e-4]),
        (["k=-1", "k=+2"], [-1, 2]),
        (["checkpoint-50", "checkpoint-500"], [50, 500]),
        (["run2/step 7", "run2/step 10"], [7, 10]),
    ],
)
def test_a_labelled_checkpoint_is_its_whole_number(at, names, values) -> None:
    rows = "".join(f"{name},{p},{g},{g}\n" for name in names for p in "ab" for g in (0, 1))
    found = read_tables([at(GOOD, "base.csv"), at("checkpoint,prompt,gold,proxy\n" + rows, "run.csv")])
    assert sorted(found.checkpoints.values) == values


def test_two_labels_of_one_number_are_refused(at) -> None:
    rows = "".join(f"{name},{p},{g},{g}\n" for name in ("s-1", "s-01") for p in "ab" for g in (0, 1))
    with pytest.raises(InputError, match=r"checkpoints must differ, got 's-01' and 's-1'"):
        read_tables([at(GOOD, "base.csv"), at("checkpoint,prompt,gold,proxy\n" + rows, "run.csv")])


def test_text_sample_ids_are_one_numbering_over_all_files(at) -> None:
    rows = [f"{p},{p}{i}x,{i},{i * i}" for p in "ab" for i in range(4)]
    head = "prompt,sample,gold,proxy\n"
    whole = read_tables([at(head + "\n".join(rows), "all.csv")]).bank
    halves = [at(head + "\n".join(rows[start::2]), f"{start}.csv") for start in (0, 1)]
    split = read_tables(halves).bank
    assert split.gold.tolist() == whole.gold.tolist()
    assert split.sample.tolist() == whole.sample.tolist()
    with pytest.raises(InputError, match="every \\(prompt, sample\\) must occur once"):
        read_tables([at(head + "\n".join(rows), "all.csv"), at(head + rows[0], "again.csv")])


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c"])
def test_a_line_of_jsonl_ends_at_a_newline_only(at, mark) -> None:
    lines = [json.dumps({**record, "text": f"one{mark}two"}, ensure_ascii=False) for record in records()]
    for end in ("\n", "\r\n"):
        assert read_tables([at(end.join(lines), "t.jsonl")]).bank.gold.tolist() == [1, 3, 0, -1]


def test_checkpoint_0_as_base_is_warned_of_like_a_base_table(at) -> None:
    uneven = RUN.replace("0,b,1,2,4,0,0\n", "0,b,1,2,4,0,0\n0,b,2,5,4,0,0\n")
    assert any("prompts have 2 to 3 samples" in text for text in read_tables([at(uneven)]).warnings)
    constant = RUN.replace("0,a,1,2,2.5", "0,a,1,1,2.5").replace("0,b,1,2,4", "0,b,1,1,4")
    assert any("gold does not vary within prompts at checkpoint 0" in t for t in read_tables([at(constant)]).warnings)


def test_a_prompt_that_is_left_out_is_not_complained_of(at) -> None:
    found = read_tables([at(GOOD + "c,0,1,2\n"), at(RUN.replace("0,a", "1,a").replace("0,b", "1,b"), "run.csv")])
    assert found.bank.prompts == ("a", "b")
    assert len([text for text in found.warnings if "samples; n stops" in text]) == 0


def test_two_coefficients_0_and_1_are_no_steps(at) -> None:
    rows = "".join(f"{c},{p},{g},{g},{kl}\n" for c, kl in ((0, 8), (1, 0.5)) for p in "ab" for g in (0, 1))
    found = read_tables([at(GOOD, "base.csv"), at("checkpoint,prompt,gold,proxy,kl\n" + rows, "run.csv")])
    assert found.checkpoints.values == (1, 0)
    assert any("KL falls as column" in text for text in found.warnings)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": ["a", "a", "", ""]}, "row 3, column 'prompt': must not be empty"),
        ({"proxy": [1.0, 2, 1e60, 3]}, "row 3, column 'proxy': must lie within"),
        ({"gold": [1.0, 2, float("nan"), 3]}, "row 3, column 'gold': must be finite"),
        ({"sample": ["w", "x", "y", "z"]}, ""),
        ({"sample": [0.1, 0.2, 0.3, 0.4]}, ""),
        ({"gold": pa.array([1, 2, 3, 5]).cast(pa.decimal128(24, 2))}, ""),
    ],
)
def test_a_stored_bank_reads_cells_as_any_table(at, monkeypatch, columns, message) -> None:
    import overopt.bridges.stored_bank as stored_bank

    table = {"prompt": list("aabb"), "gold": [1.0, 2, 3, 5], "proxy": [1.0, 3, 2, 4]} | columns
    name = at(parquet_bytes(table), "t.parquet")
    monkeypatch.setattr(stored_bank, "_BATCH", 2)
    said = []
    for limit in (10, 1):
        monkeypatch.setattr(reader, "STREAM_ROWS", limit)
        try:
            (bank,) = read_tables([name]).bank.chunks() if limit == 10 else (None,)
            if limit == 1:
                bank = ScoreBank.concatenate(list(read_tables([name]).bank.chunks()))
            said.append(str(bank.gold.tolist()))
        except InputError as error:
            said.append(str(error))
    assert said[0] == said[1]
    assert message in said[0]
