"""Parquet files of scored samples: zstd, byte-stream-split floats, whole prompts per row group, typed metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overopt.theory.errors import InputError

__all__ = ["ROWS_PER_GROUP", "proxy_column", "read_metadata", "write_rows"]

ROWS_PER_GROUP = 1_048_576
_KEY = b"overopt"
_OWN_COLUMNS = frozenset({"checkpoint", "prompt", "sample", "gold", "kl", "logratio", "length"})


def proxy_column(name: str) -> str:
    """The column that holds a proxy: its name, or ``proxy_`` + name where a column of the table itself is so called."""
    return f"proxy_{name}" if name in _OWN_COLUMNS else name


def write_rows(
    path: str | os.PathLike[str],
    names: NDArray[np.object_] | tuple[str, ...],
    prompt: NDArray[np.intp],
    columns: Mapping[str, NDArray[Any]],
    boundaries: NDArray[np.intp],
    metadata: Mapping[str, Any],
) -> None:
    """Write one table atomically: to a temporary name beside ``path``, then renamed.

    Parameters
    ----------
    names, prompt
        The prompts' names and each row's code; written as a dictionary-encoded string column ``prompt``.
    columns
        Name -> (R,) integers or floats, written in this order after ``prompt``.
    boundaries
        Rows at which a prompt starts, ending with R: a row group never splits a prompt.
    metadata
        Stored as JSON under the key ``overopt``; :func:`read_metadata` returns it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [pa.field("prompt", pa.dictionary(pa.int32(), pa.string()))]
    fields += [pa.field(name, pa.from_numpy_dtype(values.dtype)) for name, values in columns.items()]
    schema = pa.schema(fields, metadata={_KEY: json.dumps(metadata).encode()})
    dictionary = pa.array(list(names), pa.string())
    target = Path(path)
    temporary = target.with_name(target.name + ".part")
    floats = [name for name, values in columns.items() if values.dtype.kind == "f"]
    with pq.ParquetWriter(
        temporary,
        schema,
        compression="zstd",
        use_dictionary=["prompt"],
        column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT") or None,
    ) as writer:
        start = 0
        while start < boundaries[-1]:
            last = int(np.searchsorted(boundaries, start + ROWS_PER_GROUP, side="right")) - 1
            stop = int(boundaries[last])
            if stop <= start:
                stop = int(boundaries[last + 1])
            codes = pa.array(prompt[start:stop].astype(np.int32))
            arrays = [pa.DictionaryArray.from_arrays(codes, dictionary)]
            arrays += [pa.array(values[start:stop]) for values in columns.values()]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=stop - start)
            start = stop
    os.replace(temporary, target)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The metadata written by :func:`write_rows`, or None for a Parquet file from elsewhere.

    Raises
    ------
    InputError
        If the file is missing or no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())}).") from None
    raw = (schema.metadata or {}).get(_KEY)
    if raw is None:
        return None
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
