"""Mutated score tables: every one must end in a diagnosis or in one line that names what is wrong."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from overopt.bridges.diagnosis import diagnose
from overopt.bridges.read_tables import read_tables
from overopt.theory.errors import InputError

__all__ = ["FuzzResult", "FuzzTrial", "fuzz_tables", "mutated_table"]

_CELLS = (
    "", "nan", "inf", "-inf", "NA", "null", "None", "1e999", "-1e308", "1,5", "0x10", "٣", "a", "true", " 7 ", '"',
    "''", "1;2", "-3", "9" * 40, "\t", "é", "=1+1", "0", "0.5",
)  # fmt: skip


@dataclass(frozen=True)
class FuzzResult:
    """Outcome of a fuzz run.

    Attributes
    ----------
    inputs
        Number of mutated files.
    diagnosed, refused
        How many ended in a diagnosis, and how many in one line for the user.
    failures
        Tracebacks of anything else: each one is a bug.
    messages
        How often each kind of message was given (numbers and names removed).
    """

    inputs: int
    diagnosed: int
    refused: int
    failures: tuple[str, ...]
    messages: dict[str, int]


def _records(rng: np.random.Generator) -> list[dict[str, object]]:
    prompts, samples = int(rng.integers(1, 6)), int(rng.integers(1, 9))
    steps: list[float | None] = [None] if rng.random() < 0.6 else [0.0, 10.0, 20.0]
    rows: list[dict[str, object]] = []
    for step in steps:
        for k in range(prompts):
            for sample in range(samples):
                gold = float(rng.normal())
                row: dict[str, object] = {
                    "prompt": f"p{k}", "sample": sample, "gold": round(gold, 4),
                    "proxy": round(gold + float(rng.normal()), 4), "length": int(rng.integers(1, 99)),
                }  # fmt: skip
                if step is not None:
                    row |= {"checkpoint": step, "kl": round(step / 10, 3), "logratio": round(float(rng.normal()), 3)}
                rows.append(row)
    return rows


def _csv(rows: list[dict[str, object]], rng: np.random.Generator) -> bytes:
    names = list(rows[0])
    table = [names, *([str(row[name]) for name in names] for row in rows)]
    for _ in range(int(rng.integers(0, 4))):
        line = table[int(rng.integers(len(table)))]
        match int(rng.integers(8)):
            case 0 | 1 | 2:
                line[int(rng.integers(len(line)))] = str(rng.choice(_CELLS))
            case 3:
                line.append("extra")
            case 4 if len(line) > 1:
                line.pop(int(rng.integers(len(line))))
            case 5:
                table.append(list(line))
            case 6:
                column = int(rng.integers(len(names)))
                for other in table[1:]:
                    if column < len(other):
                        other[column] = "1"
            case _:
                rng.shuffle(table)
    delimiter = str(rng.choice([",", ",", ";", "\t"]))
    ending = str(rng.choice(["\n", "\r\n", "\r"]))
    return (ending.join(delimiter.join(line) for line in table) + ending).encode()


def _json(rows: list[dict[str, object]], rng: np.random.Generator) -> bytes:
    odd: tuple[object, ...] = (None, "x", [1], {"a": 1}, float("nan"), True, 10**400, "", -1.5)
    for _ in range(int(rng.integers(0, 3))):
        row = rows[int(rng.integers(len(rows)))]
        name = str(rng.choice(list(row) or ["gold"]))
        if rng.random() < 0.3:
            row.pop(name, None)
        else:
            row[name] = odd[int(rng.integers(len(odd)))]
    if rng.random() < 0.3:
        return json.dumps(rows).encode()
    return "\n".join(json.dumps(row) for row in rows).encode()


def _parquet(rows: list[dict[str, object]], rng: np.random.Generator) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[object]] = {name: [row[name] for row in rows] for name in rows[0]}
    if rng.random() < 0.5:
        name = str(rng.choice(list(columns)))
        change: list[Callable[[object], object]] = [
            lambda value: None, str, lambda value: [value], lambda value: True, lambda value: float("nan"),
        ]  # fmt: skip
        changed = change[int(rng.integers(len(change)))]
        if rng.random() < 0.5:
            columns[name] = [changed(value) for value in columns[name]]
        else:
            columns[name][-1] = None
    if rng.random() < 0.2:
        columns.pop(str(rng.choice(list(columns))))
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def mutated_table(rng: np.random.Generator) -> tuple[str, bytes]:
    """A file name and the bytes of one small table with mutations of cells, rows, columns, encoding or bytes."""
    name, write = [("t.csv", _csv), ("t.csv", _csv), ("t.jsonl", _json), ("t.parquet", _parquet)][int(rng.integers(4))]
    content = write(_records(rng), rng)
    match int(rng.integers(12)):
        case 0 if content:
            damaged = bytearray(content)
            for _ in range(int(rng.integers(1, 6))):
                damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
            content = bytes(damaged)
        case 1:
            content = content[: int(rng.integers(len(content) + 1))]
        case 2:
            content = gzip.compress(content)
        case 3:
            content = gzip.compress(content)[: -int(rng.integers(1, 20))]
        case 4:
            content = content.decode("latin-1").encode("utf-16" if rng.random() < 0.5 else "utf-8-sig")
        case _:
            pass
    return name, content


@dataclass(frozen=True)
class FuzzTrial:
    """One mutated table as a trial of ``overopt validate``."""

    def __call__(self, rng: np.random.Generator) -> dict[str, bool | float]:
        result = fuzz_tables(rng, 1)
        return {"a result or one line": not result.failures, "a result": result.diagnosed == 1}


def fuzz_tables(rng: np.random.Generator, count: int) -> FuzzResult:
    """Diagnose ``count`` mutated tables."""
    diagnosed, failures = 0, []
    messages: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            name, content = mutated_table(rng)
            path = Path(folder) / name
            path.write_bytes(content)
            try:
                tables = read_tables([str(path)])
                diagnose(tables.bank, tables.checkpoints, rng=np.random.default_rng(index))
                diagnosed += 1
            except InputError as error:
                message = str(error)
                if "\n" in message:
                    failures.append(f"input {index}: more than one line: {message!r}")
                kind = message.split(":", 2)[-1].strip()
                messages[" ".join(word for word in kind.split() if word.isalpha())[:60]] += 1
            except Exception:
                failures.append(f"input {index} ({name}): {traceback.format_exc()}")
    return FuzzResult(count, diagnosed, sum(messages.values()), tuple(failures), dict(messages.most_common()))
