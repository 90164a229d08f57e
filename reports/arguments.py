"""Arguments that every command refuses alike, before anything is computed: where it writes, and its seed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from overopt.theory.errors import InputError

__all__ = ["check_folder", "check_outputs", "generator"]

Name = str | os.PathLike[str]


def check_outputs(outputs: Mapping[str, Name | None], inputs: Iterable[Name] = ()) -> None:
    """Refuse files that cannot be written, that are inputs, or that two options name; leaves nothing behind.

    Parameters
    ----------
    outputs
        Option, such as ``--report``, to the file it names; None or an empty name where it was not given.
    inputs
        Files that the command reads.

    Raises
    ------
    InputError
        One line with the option, the constraint and the name received.
    """
    read = list(inputs)
    given = {option: name for option, name in outputs.items() if name}
    for number, (option, name) in enumerate(given.items()):
        if os.path.isdir(name):
            raise InputError(f"`{option}` must be a file, got the folder '{name}'.")
        if any(_same(name, other) for other in read):
            raise InputError(f"`{option}` must not be a file that the command reads, got '{name}'.")
        for other in list(given)[:number]:
            if _same(name, given[other]) and not _is_device(name):
                raise InputError(f"`{option}` and `{other}` must be different files, got '{name}' for both.")
        if not _is_device(name):
            _try(option, "a file", name, Path(os.path.realpath(name)))


def check_folder(option: str, name: Name | None) -> None:
    """Refuse a folder into which no file can be written; leaves nothing behind.

    Raises
    ------
    InputError
        One line with the option, the constraint and the name received.
    """
    if name:
        _try(option, "a folder", name, Path(os.path.realpath(name)) / "figure.svg")


def generator(seed: int) -> np.random.Generator:
    """The random numbers of ``--seed``.

    Raises
    ------
    InputError
        If the seed is negative.
    """
    if seed < 0:
        raise InputError(f"`--seed` must be >= 0, got {seed}.")
    return np.random.default_rng(seed)


def _same(first: Name, second: Name) -> bool:
    """Whether two names are one file, also through links and other spellings."""
    try:
        return os.path.samefile(first, second)
    except OSError:
        return os.path.realpath(first) == os.path.realpath(second)


def _is_device(name: Name) -> bool:
    """Something that is there and no plain file, such as /dev/stdout: it is written as it is."""
    return os.path.exists(name) and not os.path.isfile(name)


def _try(option: str, kind: str, name: Name, target: Path) -> None:
    """Make the folders and a file beside ``target`` and take all of it away again: only trying tells."""
    made: list[Path] = []
    try:
        for folder in reversed((target.parent, *target.parent.parents)):
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        trial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise InputError(f"`{option}` must be {kind} that can be written, got '{name}' ({error.strerror}).") from None
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # another process writes into it by now
                folder.rmdir()
