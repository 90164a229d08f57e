"""What commands print: one JSON object or a plain table on standard output, progress on standard error."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from overopt.theory.errors import InputError

__all__ = ["format_number", "plain", "print_json", "print_table", "progress", "write_json", "write_text"]


def plain(value: Any) -> Any:
    """Plain JSON data: arrays become lists, dataclasses objects, and numbers that JSON cannot say become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, str) or value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    raise TypeError(f"cannot print a {type(value).__name__} as JSON")


def print_json(value: Any) -> None:
    """Print exactly one JSON value on standard output; NaN and infinities become null (JSON has neither)."""
    sys.stdout.write(json.dumps(plain(value), allow_nan=False, indent=2, ensure_ascii=False) + "\n")


def write_json(path: str, value: Any) -> None:
    """Write the object that :func:`print_json` prints to a file."""
    write_text(path, json.dumps(plain(value), allow_nan=False, indent=2, ensure_ascii=False) + "\n")


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a file in one step (a reader never sees half of it), with its folders, and return its path.

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    target = Path(path)
    # What a link points to is replaced, not the link; /dev/stdout and its like are written as they are.
    plain_file = Path(os.path.realpath(target))
    temporary = plain_file.with_name(f".{plain_file.name}.{os.getpid()}.tmp")
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return target
        plain_file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(plain_file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"'{path}' must be a file that can be written ({error.strerror}).") from None
    return target


def format_number(value: float | None, digits: int = 3) -> str:
    """``value`` with ``digits`` significant digits, thousands unabbreviated, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) < 1e-12:  # what rounding leaves of an exact zero
        return "0"
    if abs(value) >= 10**6 or abs(value) < 10**-4:
        return f"{value:.{digits}g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Print an aligned text table on standard output; floats with three significant digits, numbers to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    def text(cell: object) -> str:
        if cell is None or isinstance(cell, (float, np.floating)):
            return format_number(None if cell is None else float(cell))
        return str(cell)

    body = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], (int, float, np.number)) or row[index] is None for row in body)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        table.add_row(*map(text, row))
    # Piped output has no terminal width; tables are then as wide as they need to be.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def progress() -> Any:
    """A rich progress display on standard error with elapsed and remaining time; silent where it is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
