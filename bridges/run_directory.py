"""A run's folder: stages that are finished or absent, never half-written; on the CPU the same bytes after any stop.

A stage writes into a folder with a temporary name; its manifest (the hash of everything it was made from, the SHA-256
of every file) is written last, all files are flushed to the disk, and one rename makes the stage exist. A stage whose
manifest names the same inputs is not run again; one whose inputs changed, or that was half-written, is redone.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from overopt.theory.errors import InputError

__all__ = ["RunDirectory", "fingerprint", "link_stage", "write_json_atomically", "write_text_atomically"]

MANIFEST = "manifest.json"
READ_ONLY = 0o444


def fingerprint(value: Any) -> str:
    """SHA-256 of plain JSON data with sorted keys: equal data, equal fingerprint."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text_atomically(path: Path, text: str) -> None:
    """Write text under a temporary name, flush it, and rename it into place."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    _sync(temporary)
    temporary.replace(path)


def write_json_atomically(path: Path, value: Any) -> None:
    """Write JSON as :func:`write_text_atomically` does."""
    write_text_atomically(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def link_stage(source: Path, target: Path) -> None:
    """Make ``target`` a folder with the files of the finished stage ``source``: hard links, else copies.

    A file with several names must not change under any of them, so all become read-only.
    """
    manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    for name in (*manifest["files"], MANIFEST):
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, file)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source / name, file)
            _sync(file)
        if file.stat().st_mode & ~READ_ONLY & 0o777:
            file.chmod(READ_ONLY)


def _intact(stage: Path, files: Mapping[str, str]) -> bool:
    return all((stage / name).is_file() and _file_hash(stage / name) == digest for name, digest in files.items())


@dataclass(frozen=True)
class RunDirectory:
    """The folder of one run."""

    path: Path

    @classmethod
    def open(cls, path: Path, config: Mapping[str, Any]) -> RunDirectory:
        """The run folder at ``path`` for ``config``: created where absent, resumed where it holds the same ``config``.

        ``config`` holds the values in force that decide the run's results.

        Raises
        ------
        InputError
            If the folder holds something else, belongs to another configuration, or cannot be written.
        """
        config = json.loads(json.dumps(config))
        stored_at = path / "config.json"
        try:
            path.mkdir(parents=True, exist_ok=True)
            if stored_at.exists():
                stored = json.loads(stored_at.read_text(encoding="utf-8"))["in_force"]
                if stored != config:
                    raise InputError(
                        f"{path} belongs to another configuration ({_difference(stored, config)}); "
                        "choose another --out or delete that folder."
                    )
            elif any(not entry.name.startswith(".") and entry.name != "provenance.json" for entry in path.iterdir()):
                raise InputError(f"{path} is not empty and holds no config.json of a run; choose another --out.")
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"the run folder {path} cannot be used: {error}.") from error
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises
        ------
        InputError
            If another process holds it.
        """
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"another process is writing to {self.path}; wait for it or choose another --out."
                ) from error
            yield

    def record(self, config: Mapping[str, Any], given: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Write ``config.json`` (arguments given and in force) and ``provenance.json`` where they are absent."""
        if not (self.path / "config.json").exists():
            write_json_atomically(self.path / "provenance.json", dict(provenance))
            write_json_atomically(self.path / "config.json", {"given": dict(given), "in_force": dict(config)})

    def provenance(self) -> dict[str, str]:
        """What :meth:`record` was told of where the run comes from."""
        return dict(json.loads((self.path / "provenance.json").read_text(encoding="utf-8")))

    def inputs_of(self, stage: str) -> str | None:
        """The input fingerprint of a finished stage, or None where it is absent or half-written."""
        manifest = self.path / stage / MANIFEST
        if not manifest.exists():
            return None
        return str(json.loads(manifest.read_text(encoding="utf-8"))["inputs"])

    def is_finished(self, stage: str, inputs: Any) -> bool:
        """Whether ``stage`` is finished and was made from these ``inputs``."""
        return self.inputs_of(stage) == fingerprint(inputs)

    def outputs_of(self, stage: str) -> str:
        """The fingerprint of a finished stage's files: what the next stage names as its input."""
        manifest = json.loads((self.path / stage / MANIFEST).read_text(encoding="utf-8"))
        return fingerprint(manifest["files"])

    def run_stage(self, stage: str, inputs: Any, work: Callable[[Path], None]) -> Path:
        """The folder of ``stage``; ``work(folder)`` is called to fill it unless it is finished for these ``inputs``.

        Raises
        ------
        InputError
            If the disk is full. The half-written stage is removed; finished ones stay.
        """
        key = fingerprint(inputs)
        final = self.path / stage
        if self.is_finished(stage, inputs):
            return final
        temporary = self._temporary(stage)
        with self._clearing(stage, temporary):
            work(temporary)
            files = sorted(path for path in temporary.rglob("*") if path.is_file())
            manifest = {"inputs": key, "files": {str(p.relative_to(temporary)): _file_hash(p) for p in files}}
            write_json_atomically(temporary / MANIFEST, manifest)
            for file in files:
                _sync(file)
        self._finish(stage, inputs, temporary)
        return final

    def adopt_stage(self, stage: str, inputs: Any, source: Path) -> bool:
        """Take over the finished stage in the folder ``source``, which may lie in another run, if it is intact.

        Returns
        -------
        bool
            Whether ``source`` was made from ``inputs`` and every file has the SHA-256 of its manifest. If not, the
            stage is absent afterwards.
        """
        temporary = self._temporary(stage)
        with self._clearing(stage, temporary):
            link_stage(source, temporary)
        manifest = json.loads((temporary / MANIFEST).read_text(encoding="utf-8"))
        if manifest["inputs"] != fingerprint(inputs) or not _intact(temporary, manifest["files"]):
            shutil.rmtree(temporary)
            return False
        self._finish(stage, inputs, temporary)
        return True

    def _temporary(self, stage: str) -> Path:
        """A new empty folder for ``stage``; what earlier attempts left of the stage is removed.

        Its name is used once: a process that outlives its parent for a moment cannot write into a later attempt.
        """
        final = self.path / stage

        def new() -> Path:
            return final.with_name(f".{final.name}.partial-{uuid.uuid4().hex}")

        if final.exists():
            final.replace(new())  # at once: a finished stage is never half-removed either
        for leftover in final.parent.glob(f".{escape(final.name)}.partial*"):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = new()
        temporary.mkdir(parents=True)
        return temporary

    @contextmanager
    def _clearing(self, stage: str, temporary: Path) -> Iterator[None]:
        """Remove ``temporary`` after a failed write; a full disk is the user's to mend."""
        try:
            yield
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise InputError(
                    f"no space left on the disk of {self.path} (stage '{stage}'); free some and repeat the command."
                ) from error
            raise

    def _finish(self, stage: str, inputs: Any, temporary: Path) -> None:
        final = self.path / stage
        try:
            temporary.replace(final)
        except OSError:
            # A process that was given up has finished after all.
            if not self.is_finished(stage, inputs):
                raise
            shutil.rmtree(temporary, ignore_errors=True)
        _sync(final.parent)

    def verify(self) -> list[str]:
        """Finished outputs whose bytes no longer match their manifest (empty = all intact)."""
        damaged = []
        for manifest in sorted(self.path.rglob(MANIFEST)):
            for name, digest in json.loads(manifest.read_text(encoding="utf-8"))["files"].items():
                file = manifest.parent / name
                if not file.exists() or _file_hash(file) != digest:
                    damaged.append(str(file.relative_to(self.path)))
        return damaged

    def timings(self) -> dict[str, float]:
        """Seconds that each stage took when it was computed, here or in the run that shared it."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        # A kill may have cut the last line short.
        records = [json.loads(line) for line in lines if line.endswith("}")]
        return {record["stage"]: record["seconds"] for record in records if "stage" in record}

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(record), sort_keys=True) + "\n")


def _difference(stored: Any, wanted: Any, prefix: str = "") -> str:
    """The first option in which two configurations differ, in words."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in sorted({*stored, *wanted}):
            if stored.get(key) != wanted.get(key):
                return _difference(stored.get(key), wanted.get(key), f"{prefix}.{key}" if prefix else key)
    return f"`{prefix}` is {stored!r} there, {wanted!r} here"
