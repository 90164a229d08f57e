"""Columns of a CSV, JSONL, JSON or Parquet file, plain or gzipped: found by content, errors in one line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TableFile", "is_parquet", "labels", "numbers", "open_table"]

_DELIMITERS = ",;\t|"
_LARGEST = 1e50
"""Larger scores are no scores: a sentinel or a damaged cell, whose fourth power overflows."""


NAMED_BY_OPTIONS = ("prompt", "sample", "gold", "proxy", "checkpoint", "kl", "logratio")


@dataclass(frozen=True)
class TableFile:
    """A file and its header; the columns are read on demand.

    Attributes
    ----------
    path
        As the user gave it, for messages.
    names
        Column names in the file's order.
    kind
        ``"csv"``, ``"json"`` or ``"parquet"``.
    """

    path: str
    names: tuple[str, ...]
    kind: str
    content: bytes | None = None
    delimiter: str = ","

    def find(self, name: str) -> str:
        """The column of that name, which may differ in case and outer blanks.

        Raises
        ------
        InputError
            If there is none or it occurs twice; the message lists the columns and the closest one.
        """
        same = [n for n in self.names if n == name] or [n for n in self.names if _plain(n) == _plain(name)]
        if len(same) > 1:
            raise InputError(f"{self.path}: column '{name}' must occur once in the header, got it {len(same)} times.")
        if not same:
            close = get_close_matches(name, self.names, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else f" The option --{name} names another one."
            hint = hint if close or name in NAMED_BY_OPTIONS else ""
            shown = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            raise InputError(f"{self.path}: column '{name}' must exist, got the columns {shown}.{hint}")
        return same[0]

    def has(self, name: str) -> bool:
        """Whether :meth:`find` would find something."""
        return any(_plain(n) == _plain(name) for n in self.names)

    def read(self, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """The columns, as text where the file holds text.

        Raises
        ------
        InputError
            If a row has the wrong number of cells, the file is damaged or holds no row.
        """
        wanted = list(dict.fromkeys(columns))
        match self.kind:
            case "parquet":
                found = _read_parquet(self.path, wanted)
            case "json":
                found = _read_json(self.path, self.content or b"", wanted)
            case _:
                found = _read_csv(self.path, self.content or b"", self.delimiter, wanted)
        if found and len(next(iter(found.values()))) == 0:
            raise InputError(f"{self.path}: at least one row is needed, got none.")
        return found


def is_parquet(path: str) -> bool:
    """Whether the file starts with Parquet's magic bytes."""
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


def open_table(path: str) -> TableFile:
    """Read a file's header; its format is told from its first bytes, not from its name.

    Raises
    ------
    InputError
        If the file is missing, empty, damaged or not text.
    """
    target = Path(path)
    if not target.exists():
        raise InputError(f"{path}: no such file.")
    if target.is_dir():
        raise InputError(f"{path}: must be a file, got a folder.")
    if is_parquet(path):
        return TableFile(path, _parquet_names(path), "parquet")
    try:
        content = target.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from None
    if content[:4] == b"PAR1":
        raise InputError(f"{path}: a Parquet file must not be gzipped as a whole; decompress it first.")
    content = _utf8(path, content)
    start = content[:64].lstrip()
    if not start:
        raise InputError(f"{path}: at least one row is needed, got an empty file.")
    if start[:1] in (b"{", b"["):
        return TableFile(path, _json_names(path, content), "json", content)
    header = re.split(rb"\r\n|\r|\n", content.lstrip(b"\r\n"), maxsplit=1)[0].decode()
    delimiter = max(_DELIMITERS, key=header.count)
    try:
        names = next(csv.reader(io.StringIO(header), delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise InputError(f"{path}: the header line cannot be read ({error}).") from None
    return TableFile(path, tuple(names), "csv", content, delimiter)


def _plain(name: str) -> str:
    return name.strip().lower()


def _utf8(path: str, content: bytes) -> bytes:
    """The text as UTF-8 without a byte-order mark; UTF-16 with one is converted."""
    try:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            content = content.decode("utf-16").encode()
        content = content.removeprefix(b"\xef\xbb\xbf")
        content.decode()
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = content.count(b"\n", 0, start) + 1
        raise InputError(
            f"{path}: must be UTF-8 text, got byte {content[start]:#04x} in line {line}; save the table as UTF-8."
        ) from None
    if b"\x00" in content:
        raise InputError(
            f"{path}: must be UTF-8 text, got a NUL byte in line {content[: content.index(0)].count(10) + 1}."
        )
    return content


def _read_csv(path: str, content: bytes, delimiter: str, wanted: list[str]) -> dict[str, pa.ChunkedArray]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    wrong: list[tuple[int, int, int]] = []

    def on_wrong_length(row: Any) -> str:
        if row.text.strip(delimiter + " \t\r\n"):
            wrong.append((row.number or 0, row.expected_columns, row.actual_columns))
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(content),
            read_options=arrow_csv.ReadOptions(use_threads=False),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=on_wrong_length
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as CSV ({_line(error)}).") from None
    if wrong:
        number, expected, actual = wrong[0]
        raise InputError(f"{path}, row {number - 1}: must have {expected} cells like the header, got {actual}.")
    return {name: table[name] for name in wanted}


def _json_names(path: str, content: bytes) -> tuple[str, ...]:
    records = _json_records(path, content, only_first=True)
    return tuple(next(iter(records), (0, {}))[1])


def _json_records(path: str, content: bytes, only_first: bool = False) -> list[tuple[int, dict[str, Any]]]:
    """(row, object) pairs of a JSONL file or of one JSON array."""
    text = content.decode()
    records: list[tuple[int, Any]]
    try:
        if text.lstrip().startswith("["):
            loaded = json.loads(text)
            records = list(enumerate(loaded, start=1))
        else:
            records = []
            # Not splitlines: U+2028 and its like end no line of JSON.
            for row, line in enumerate(re.split(r"\r\n?|\n", text), start=1):
                if line.strip():
                    records.append((row, json.loads(line)))
                    if only_first:
                        break
    except (ValueError, RecursionError) as error:
        where = "" if text.lstrip().startswith("[") else f", row {row}"
        raise InputError(f"{path}{where}: must be JSON, one object per line ({_line(error)}).") from None
    for row, record in records:
        if not isinstance(record, dict):
            raise InputError(f"{path}, row {row}: must be a JSON object, got {_shown(json.dumps(record))}.")
    return records


def _read_json(path: str, content: bytes, wanted: list[str]) -> dict[str, pa.ChunkedArray]:
    import pyarrow as pa

    records = _json_records(path, content)
    columns = {}
    for name in wanted:
        cells = []
        for row, record in records:
            if name not in record:
                raise InputError(f"{path}, row {row}, column '{name}': must be present in every object, got none.")
            value = record[name]
            cells.append("" if value is None else value if isinstance(value, str) else json.dumps(value))
        try:
            columns[name] = pa.chunked_array([pa.array(cells, pa.string())])
        except (pa.ArrowException, UnicodeEncodeError) as error:
            raise InputError(f"{path}: column '{name}' must be UTF-8 text ({_line(error)}).") from None
    return columns


def _parquet_names(path: str) -> tuple[str, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return tuple(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({_line(error)}).") from None


def _read_parquet(path: str, wanted: list[str]) -> dict[str, pa.ChunkedArray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({_line(error)}).") from None
    return {name: table[name] for name in wanted}


def numbers(column: pa.ChunkedArray, path: str, name: str, before: int = 0) -> NDArray[np.float64]:
    """(R,) finite floats; ``true``/``false`` count as 1/0. ``before`` rows of the file come before the column's first.

    Raises
    ------
    InputError
        Naming file, row, column and value of the first cell that is empty, not a number or not finite.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        row = before + int(np.flatnonzero(column.is_null().to_numpy())[0]) + 1
        raise InputError(f"{path}, row {row}, column '{name}': must be a number, got an empty cell.")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        try:
            values = column.cast(pa.float64())
        except pa.ArrowInvalid:
            lower = pc.utf8_lower(column)
            as_number = pc.if_else(pc.equal(lower, "true"), "1", pc.if_else(pc.equal(lower, "false"), "0", column))
            try:
                values = as_number.cast(pa.float64())
            except pa.ArrowInvalid:
                row, cell = _first_bad(as_number)
                found = f"'{_shown(cell)}'" if cell else "an empty cell"
                hint = " (decimal comma? write a point)" if re.fullmatch(r"-?\d+,\d+", cell) else ""
                raise InputError(
                    f"{path}, row {before + row}, column '{name}': must be a number, got {found}{hint}."
                ) from None
    else:
        try:
            values = column.cast(pa.float64(), safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise InputError(f"{path}: column '{name}' must hold numbers, got type {column.type}.") from None
    result: NDArray[np.float64] = values.to_numpy()
    bad = np.flatnonzero(~(np.abs(result) <= _LARGEST))
    if bad.size:
        row = int(bad[0])
        rule = f"lie within ±{_LARGEST:g}" if np.isfinite(result[row]) else "be finite"
        raise InputError(f"{path}, row {before + row + 1}, column '{name}': must {rule}, got {result[row]:g}.")
    return result


def _first_bad(column: pa.ChunkedArray) -> tuple[int, str]:
    """1-based row and text of the first cell that is no number."""
    import pyarrow as pa

    start = 0
    for chunk in column.chunks:
        try:
            chunk.cast(pa.float64())
        except pa.ArrowInvalid:
            low, high = 0, len(chunk)
            while high - low > 1:
                middle = (low + high) // 2
                try:
                    chunk.slice(low, middle - low).cast(pa.float64())
                    low = middle
                except pa.ArrowInvalid:
                    high = middle
            return start + low + 1, str(chunk[low].as_py())
        start += len(chunk)
    raise AssertionError("every cell is a number")


def labels(column: pa.ChunkedArray, path: str, name: str) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """(R,) codes and the sorted names they stand for; whole floats are written as integers.

    Raises
    ------
    InputError
        Naming the first empty cell.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type) and column.null_count == 0:
        whole = pc.all(pc.equal(column, pc.floor(column))).as_py()
        if whole and pc.all(pc.less(pc.abs(column), 2**53)).as_py():
            column = column.cast(pa.int64())
    try:
        column = column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"{path}: column '{name}' must hold text or numbers, got type {column.type}.") from None
    empty = pc.or_kleene(column.is_null(), pc.equal(column, ""))
    if pc.any(empty).as_py():
        row = int(np.flatnonzero(empty.fill_null(True).to_numpy())[0]) + 1
        raise InputError(f"{path}, row {row}, column '{name}': must not be empty, got an empty cell.")
    encoded = column.combine_chunks().dictionary_encode()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    found = np.array(encoded.dictionary.to_pylist(), dtype=np.object_)
    order = np.argsort(found)
    rank = np.empty(order.size, dtype=np.intp)
    rank[order] = np.arange(order.size)
    codes: NDArray[np.intp] = rank[encoded.indices.to_numpy(zero_copy_only=False)]
    return codes, tuple(found[order].tolist())


def _line(error: BaseException) -> str:
    return _shown(str(error), 200)


def _shown(text: str, limit: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
