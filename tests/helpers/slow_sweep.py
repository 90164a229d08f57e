"""A sweep over runs that take a chosen time: run as a script, it is something to kill."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from slow_stages import fail, graph

from overopt.bridges.sweep.grid import cells
from overopt.bridges.sweep.ray_cluster import RayCluster
from overopt.bridges.sweep.results import ResultRow, write_rows
from overopt.bridges.sweep.sweep import SweepResult, run_sweep
from overopt.bridges.task_graph import Advance, Task
from overopt.bridges.worker_processes import Engine, WorkerProcesses


def write_result(seed: int, folder: Path, run: Path, advance: Advance) -> None:
    """A row whose numbers are decided by the text of the stage before it."""
    numbers = Random(f"{seed} {(run / 'last' / 'out.txt').read_text()}")
    peak, peak_kl, end, end_kl, proxy = (numbers.random() for _ in range(5))
    write_rows(folder, [ResultRow("ppo", "synthetic", 0, peak, None, peak_kl, end, end_kl, proxy)])


@dataclass(frozen=True)
class SlowExperiment:
    """What a sweep runs; ``mark`` "fails" makes part 1 fail; parts 0 and 2 are the same for all marks and seeds."""

    mark: str
    seed: int
    pause: float = 0.0

    def config(self) -> dict[str, Any]:
        return {"mark": self.mark, "seed": self.seed}

    def tasks(self, run: Path) -> list[Task]:
        tasks = graph(self.pause, f"{self.mark} {self.seed}")
        if self.mark == "fails":
            tasks[1] = replace(tasks[1], work=fail)
        return [*tasks, Task("result", partial(write_result, self.seed), self.seed, ("last",), "result")]


def slow_sweep(out: Path, engine: Callable[[], Engine], marks: Sequence[str], seeds: int, pause: float) -> SweepResult:
    experiments = [
        (cell, SlowExperiment(cell.settings["mark"], cell.seed, pause))
        for cell in cells({"mark": tuple(marks)}, range(seeds))
    ]
    return run_sweep(out, experiments, engine, config={"marks": list(marks), "seeds": seeds})


if __name__ == "__main__":
    engine = partial(RayCluster if sys.argv[3] == "ray" else WorkerProcesses, 2)
    slow_sweep(Path(sys.argv[1]), engine, ["a", "b"], 2, float(sys.argv[2]))
