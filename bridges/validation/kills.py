"""Random SIGKILLs: does an interrupted sweep end with the bytes of one that nothing happened to?"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from overopt.bridges.run_directory import RunDirectory
from overopt.bridges.sweep.sweep import TABLE
from overopt.theory.errors import InputError

__all__ = ["Command", "Kill", "KillStudy", "kill_study"]

Command = Callable[[Path, str], Sequence[str]]
"""(folder, engine) -> the command line that starts or resumes the sweep."""

MOST_KILLS_PER_SWEEP = 7
MOST_STAGES_AHEAD = 4
ATTEMPTS = 4
PARTIAL = ".partial-"
"""In the name of a folder that a stage is being written to."""


@dataclass(frozen=True)
class Kill:
    """One SIGKILL: of whom, how long after the work began, and which stages were being worked."""

    engine: str
    target: Literal["parent", "worker"]
    seconds: float
    stages: tuple[str, ...]


@dataclass(frozen=True)
class KillStudy:
    """What happened.

    Attributes
    ----------
    kills
        Every kill, in order.
    sweeps
        (engine, whether its table has the bytes of the uninterrupted one's) of every interrupted sweep.
    damaged
        Finished files whose bytes are not those of their manifest, over all sweeps.
    """

    kills: tuple[Kill, ...]
    sweeps: tuple[tuple[str, bool], ...]
    damaged: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every table is the uninterrupted one's and every file is whole."""
        return all(same for _, same in self.sweeps) and not self.damaged


def kill_study(
    rng: np.random.Generator,
    kills: int,
    command: Command,
    folder: Path,
    *,
    engines: Sequence[str],
    on_kill: Callable[[Kill], None] = lambda kill: None,
) -> KillStudy:
    """Interrupt sweeps by ``kills`` SIGKILLs in all and compare their tables with an uninterrupted one's.

    A sweep is killed, parent or one worker at even odds, at a random moment of a stage: the next one, or one to four
    finished stages later. It is resumed after every kill of the parent, and after at most seven kills left to finish;
    the next sweep starts from nothing, on the next engine.

    Raises
    ------
    InputError
        If ``kills`` is below 1, or this machine does not list processes under /proc.
    RuntimeError
        If a sweep that was left alone does not finish.
    """
    if kills < 1:
        raise InputError(f"`kills` must be >= 1, got {kills}.")
    if not Path("/proc/self/stat").exists():
        raise InputError("the kill study needs Linux: it finds worker processes under /proc.")
    whole = folder / "whole" / "sweep"
    span = _finished(command(whole, engines[0]), whole)
    expected = (whole / TABLE).read_bytes()
    done: list[Kill] = []
    sweeps: list[tuple[str, bool]] = []
    damaged = _damaged(whole)
    while len(done) < kills:
        engine = engines[len(sweeps) % len(engines)]
        out = folder / f"killed-{len(sweeps)}" / "sweep"
        quota = min(kills - len(done), int(rng.integers(2, MOST_KILLS_PER_SWEEP + 1)))
        for kill in _interrupt(rng, command(out, engine), out, engine, quota, span):
            done.append(kill)
            on_kill(kill)
        sweeps.append((engine, (out / TABLE).read_bytes() == expected))
        damaged += _damaged(out)
    return KillStudy(tuple(done), tuple(sweeps), tuple(damaged))


def _damaged(out: Path) -> list[str]:
    return [f"{out.parent.name}: {file}" for file in RunDirectory(out).verify()]


def _start(command: Sequence[str], out: Path) -> subprocess.Popen[bytes]:
    out.parent.mkdir(parents=True, exist_ok=True)
    with (out.parent / "output.txt").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _finished(command: Sequence[str], out: Path) -> float:
    """Run the sweep to its end, and the seconds from its first stage on."""
    for _ in range(ATTEMPTS):
        process = _start(command, out)
        _work_begins(process, out)
        began = time.monotonic()
        if process.wait() == 0:
            return time.monotonic() - began
    raise RuntimeError(f"the sweep in {out} does not finish; see {out.parent / 'output.txt'}.")


def _stages_in_work(out: Path) -> tuple[str, ...]:
    # os.walk passes over folders that vanish while it looks; Path.rglob raises.
    found = [
        (Path(folder).relative_to(out), name[1 : name.index(PARTIAL)])
        for folder, names, _ in os.walk(out)
        for name in names
        if name.startswith(".") and PARTIAL in name
    ]
    return tuple(sorted(f"{folder}/{stage}" for folder, stage in found))


def _work_begins(process: subprocess.Popen[bytes], out: Path) -> None:
    while process.poll() is None and not _stages_in_work(out):
        time.sleep(0.05)


def _more_finished(process: subprocess.Popen[bytes], out: Path, stages: int) -> None:
    """Wait until so many more stages have finished, or the sweep has ended."""

    def finished() -> int:
        return sum("manifest.json" in files for _, _, files in os.walk(out))

    goal = finished() + stages
    while process.poll() is None and finished() < goal:
        time.sleep(0.05)


def _interrupt(
    rng: np.random.Generator, command: Sequence[str], out: Path, engine: str, quota: int, span: float
) -> list[Kill]:
    """Up to ``quota`` kills of one sweep, which is finished afterwards."""
    kills: list[Kill] = []
    process = _start(command, out)
    while len(kills) < quota:
        _more_finished(process, out, int(rng.integers(0, MOST_STAGES_AHEAD + 1)))
        _work_begins(process, out)
        pause = float(rng.uniform(0, span / 10))
        target: Literal["parent", "worker"] = "parent" if rng.random() < 0.5 else "worker"
        try:
            process.wait(pause)
            break  # it was faster
        except subprocess.TimeoutExpired:
            pass
        victims = _workers(process.pid) if target == "worker" else [process.pid]
        if not victims:
            continue
        stages = _stages_in_work(out)
        try:
            os.kill(victims[int(rng.integers(len(victims)))], signal.SIGKILL)
        except ProcessLookupError:
            continue
        kills.append(Kill(engine, target, round(pause, 3), stages))
        if target == "parent":
            process.wait()
            process = _start(command, out)
    if process.wait() != 0:
        _finished(command, out)
    return kills


def _workers(parent: int) -> list[int]:
    """Processes below ``parent`` that work on tasks: spawned ones, or Ray's that are not idle."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name, in parentheses, may hold spaces; the parent is the second field after it.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    pending = [parent]
    while pending:
        for child in children.get(pending.pop(), []):
            pending.append(child)
            try:
                line = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "spawn_main" in line or (line.startswith("ray::") and "IDLE" not in line):
                found.append(child)
    return found
