"""A small graph of stages that take a chosen time: run as a script, it is something to kill."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from functools import partial
from pathlib import Path

from overopt.bridges.run_directory import RunDirectory
from overopt.bridges.task_graph import Advance, Task, run_tasks
from overopt.bridges.task_store import TaskStore
from overopt.bridges.worker_processes import WorkerProcesses


def write_part(pause: float, mark: str, folder: Path, run: Path, advance: Advance) -> None:
    with (folder / "out.txt").open("w") as file:
        for step in range(3):
            time.sleep(pause)
            file.write(str(step))
            file.flush()
            advance(1)
        file.write(mark)


def join_parts(folder: Path, run: Path, advance: Advance) -> None:
    texts = [(run / "part" / str(number) / "out.txt").read_text() for number in range(3)]
    (folder / "out.txt").write_text("|".join(texts))


def die(times: int, marks: Path, folder: Path, run: Path, advance: Advance) -> None:
    """Killed the first ``times`` times it is worked; ``marks`` counts them."""
    (folder / "out.txt").write_text("half")
    advance(1)
    if len(list(marks.iterdir())) < times:
        (marks / uuid.uuid4().hex).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "out.txt").write_text("whole")


def fail(folder: Path, run: Path, advance: Advance) -> None:
    raise ValueError("a stage failed")


def graph(pause: float, mark: str = "") -> list[Task]:
    """Three parts and a stage that needs them all; part 1 ends in ``mark``."""
    parts = [
        Task(f"part/{i}", partial(write_part, pause, text), [i, text], (), "parts", 3)
        for i, text in enumerate(["", mark, ""])
    ]
    return [*parts, Task("last", join_parts, 0, ("part/0", "part/1", "part/2"), "last")]


if __name__ == "__main__":
    config = {"recipe": {"steps": 3}, "seed": 0}
    directory = RunDirectory.open(Path(sys.argv[1]), config)
    with directory.locked():
        directory.record(config, {}, {})
        store = TaskStore.beside(directory.path) if "store" in sys.argv else None
        run_tasks(directory, graph(float(sys.argv[2])), engine=WorkerProcesses(2), store=store)
