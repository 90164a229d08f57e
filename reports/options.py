"""Command-line options: a frozen dataclass per command, parsed by tyro, with one-line errors."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from overopt.theory.errors import InputError

__all__ = ["parse_options"]

Options = TypeVar("Options")

_BORDER = "│╭╮╰╯ "


def parse_options(
    options: type[Options],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    config: tuple[Any, ...] = (),
    repeatable: tuple[str, ...] = (),
) -> Options:
    """Parse ``argv`` into the frozen dataclass ``options``.

    Parameters
    ----------
    options
        A dataclass; the docstring under each field is its help text.
    argv
        The arguments after the command's name.
    prog, description
        Shown by ``--help``.
    config
        Further ``tyro.conf`` markers.
    repeatable
        Options that may be given several times.

    Raises
    ------
    InputError
        One line naming the option, the constraint and the value: unknown option (with the closest one), value of the
        wrong type, missing argument, or an option given twice (tyro itself keeps the last silently).
    SystemExit
        With code 0 after ``--help``.
    """
    seen: set[str] = set()
    for argument in argv:
        if argument == "--":
            break
        if argument.startswith("--"):
            name = argument.split("=", 1)[0].replace("_", "-")
            if name in seen and name not in repeatable:
                raise InputError(f"{prog}: option '{name}' is given twice; give it once (lists take several values).")
            seen.add(name)
    captured = io.StringIO()
    columns = os.environ.get("COLUMNS")
    try:
        with contextlib.redirect_stderr(captured):
            if "-h" not in argv and "--help" not in argv:
                os.environ["COLUMNS"] = "10000"  # tyro wraps its message to the terminal; one line is wanted here
            return tyro.cli(
                options,
                args=list(argv),
                prog=prog,
                description=description,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalRequiredArgs, *config),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(f"{prog}: {_first_message(captured.getvalue())}") from None
    finally:
        if columns is None:
            os.environ.pop("COLUMNS", None)
        else:
            os.environ["COLUMNS"] = columns


def _first_message(box: str) -> str:
    """The message of tyro's boxed error as one line, with the closest option if it names one."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    title, *lines = [line.strip(_BORDER) for line in plain.splitlines() if line.strip(_BORDER)] or [""]
    sections: list[list[str]] = [[]]
    for line in lines:
        # Rules between sections are drawn with box characters, or with dashes where the encoding has none.
        if set(line) <= {"─", "-"}:
            sections.append([])
        else:
            sections[-1].append(line)
    sections = [section for section in sections if section]
    if not sections:
        return title or "the arguments could not be read; see --help."
    message = " ".join(" ".join(sections[0]).split())
    for section in sections[1:]:
        if section[0].startswith("Perhaps you meant"):
            close = next((word for text in section[1:] for word in text.split() if word.startswith("--")), None)
            if close:
                message += f". Did you mean '{close}'?"
    return message
