"""Finished stages by the content they were made from: what one run has computed, no other computes again.

A stage's address is the hash of its name, its code, its inputs (among them the hashes of the stages it needs)
and the versions of the packages that decide its bytes. Files are shared with the runs as hard links where the file
system has them, so they are read-only; deleting a run or the whole store never harms the other.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from overopt.bridges.run_directory import RunDirectory, fingerprint, link_stage, write_json_atomically
from overopt.theory.errors import InputError

__all__ = ["TaskStore", "code_fingerprint", "code_of", "package_versions"]

PACKAGES = ("overopt", "numpy", "torch", "transformers", "trl", "tokenizers")
ORIGIN = "origin.json"


def package_versions() -> dict[str, str]:
    """The installed versions of the packages that decide a stage's bytes."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@cache
def code_fingerprint(*folders: Path) -> str:
    """The hash of what every Python file directly in these folders does: other code, other results.

    Comments, docstrings and layout do not count.
    """
    files = sorted(file for folder in folders for file in folder.glob("*.py"))
    return fingerprint([[f"{file.parent.name}/{file.name}", _meaning(file)] for file in files])


def _meaning(file: Path) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                part
                for part in body
                if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))  # a docstring
            ]
    return ast.dump(tree)


def code_of(work: Callable[..., Any]) -> dict[str, str]:
    """What a stage's function is called, and the :func:`code_fingerprint` of the folder that it lies in."""
    body = getattr(work, "func", work)  # a partial's own function
    file = Path(inspect.getfile(body))
    # The file's name, not the module's, which is __main__ in a script.
    return {"name": f"{file.stem}.{body.__qualname__}", "text": code_fingerprint(file.parent)}


@dataclass(frozen=True)
class TaskStore:
    """A folder of finished stages that several runs share, at the same time and across machines.

    Attributes
    ----------
    path
        The folder; made when the first stage is put into it.
    versions
        Package versions, part of every address.
    """

    path: Path
    versions: Mapping[str, str] = field(default_factory=package_versions)

    @classmethod
    def beside(cls, folder: Path) -> TaskStore:
        """The store that all runs below one parent folder share: ``.store`` beside ``folder``."""
        return cls(folder.resolve().parent / ".store")

    def address(self, stage: str, inputs: Any) -> str:
        """The content address of what ``stage`` makes of ``inputs``, which hold its code (:func:`code_of`).

        The stage's name is part of it because random streams are keyed by it.
        """
        return fingerprint({"stage": stage, "inputs": inputs, "versions": dict(self.versions)})

    def _entry(self, address: str) -> Path:
        return self.path / address[:2] / address

    def fetch(self, address: str, run: RunDirectory, stage: str, inputs: Any) -> float | None:
        """Put the stage at ``address`` into ``run``; its cost in seconds when it was computed, None if it is not here.

        Every file is checked against its SHA-256. A damaged entry is removed and counts as absent.
        """
        entry = self._entry(address)
        try:
            origin = json.loads((entry / ORIGIN).read_text(encoding="utf-8"))
            if run.adopt_stage(stage, inputs, entry / "stage"):
                return float(origin["seconds"])
        except FileNotFoundError:
            return None
        except ValueError:
            pass
        discarded = self._temporary()
        try:
            entry.replace(discarded)
        except FileNotFoundError:
            return None  # another process removed it
        shutil.rmtree(discarded, ignore_errors=True)
        return None

    def put(self, address: str, stage: Path, seconds: float) -> None:
        """Keep the finished ``stage`` folder, whose computation took ``seconds``, at ``address``.

        Of processes that put the same address at the same time, the first one's files stay.

        Raises
        ------
        InputError
            If the store cannot be written.
        """
        entry = self._entry(address)
        temporary = self._temporary()
        try:
            temporary.mkdir(parents=True)
            link_stage(stage, temporary / "stage")
            write_json_atomically(temporary / ORIGIN, {"stage": stage.name, "seconds": seconds})
            entry.parent.mkdir(exist_ok=True)
            temporary.rename(entry)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if not (entry / ORIGIN).exists():
                raise InputError(f"the store of shared results {self.path} cannot be written: {error}.") from error

    def _temporary(self) -> Path:
        return self.path / f".{os.getpid()}-{uuid.uuid4().hex}.partial"
