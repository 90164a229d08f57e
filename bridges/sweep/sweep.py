"""Runs of a grid, worked off together; the same command resumes, and the table does not depend on what happened."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import overopt.bridges
import overopt.theory
from overopt.bridges.provenance import provenance
from overopt.bridges.run_directory import RunDirectory, write_json_atomically, write_text_atomically
from overopt.bridges.sweep.grid import Cell
from overopt.bridges.sweep.results import RESULT, ResultRow, read_rows, summarise, table_csv
from overopt.bridges.task_graph import Failure, Task, run_graphs
from overopt.bridges.task_store import TaskStore, code_fingerprint
from overopt.bridges.worker_processes import Engine

__all__ = ["TABLE", "AnalysedRun", "Experiment", "FailedTask", "SweepResult", "run_sweep"]

TABLE = "table.csv"


class Experiment(Protocol):
    """What one run of a sweep does."""

    def config(self) -> dict[str, Any]:
        """Everything that decides the run's tables, as plain data."""
        ...

    def tasks(self, run: Path) -> list[Task]:
        """The stages; in a sweep, one of them is called :data:`~overopt.bridges.sweep.results.RESULT`."""
        ...


@dataclass(frozen=True)
class AnalysedRun:
    """A run of the language-model pipeline with its analysis as the last stage.

    Attributes
    ----------
    pipeline
        The pipeline.
    world, limits
        What the summary says about models, text and scope.
    """

    pipeline: Experiment
    world: str
    limits: tuple[str, ...]

    def config(self) -> dict[str, Any]:
        """The pipeline's."""
        return self.pipeline.config()

    def tasks(self, run: Path) -> list[Task]:
        """The pipeline's, and the analysis of all of them."""
        tasks = self.pipeline.tasks(run)
        here = Path(overopt.bridges.__file__).parent
        code = code_fingerprint(
            here, here / "decomposition", here / "experiments", Path(overopt.theory.__file__).parent
        )
        inputs = {"config": self.config(), "code": code, "world": self.world, "limits": self.limits}
        work = partial(summarise, self.world, self.limits)
        return [*tasks, Task(RESULT, work, inputs, tuple(task.stage for task in tasks), RESULT)]


@dataclass(frozen=True)
class FailedTask:
    """A task that failed: where, why in one line, and the file with its traceback."""

    cell: Cell
    stage: str
    error: str
    traceback_file: Path


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Attributes
    ----------
    table
        Rows of every run that is finished, cell by cell, seed by seed.
    failures
        Tasks that failed in this call; what needs their stages is missing from the table.
    finished
        Cells whose runs are finished.
    worked, shared
        Tasks that were worked in this call, and those that took another's result.
    """

    table: tuple[tuple[Cell, ResultRow], ...]
    failures: tuple[FailedTask, ...]
    finished: tuple[Cell, ...]
    worked: int
    shared: int


def run_sweep(
    out: Path,
    experiments: Sequence[tuple[Cell, Experiment]],
    engine: Callable[[], Engine],
    *,
    config: Mapping[str, Any],
    on_plan: Callable[[Cell, int], None] = lambda cell, size: None,
    on_progress: Callable[[Cell, Task, int], None] = lambda cell, task, units: None,
) -> SweepResult:
    """Finish every run of a sweep and write ``table.csv``.

    Parameters
    ----------
    out
        The sweep's folder: a run directory per cell and seed, ``sweep.json`` (which run is where), ``failures/``.
        Results are shared with every run and sweep beside it, through ``.store`` beside ``out``.
    experiments
        Cells and what their runs do.
    engine
        Starts the engine; it is closed at the end.
    config
        What decides the sweep: a folder holds one sweep.
    on_plan
        Called with (cell, units of work) for every cell before the work begins.
    on_progress
        Called with (cell, task, units of work done).

    Raises
    ------
    InputError
        If ``out`` holds something else, another sweep, or is being written by another process.
    """
    out = out.resolve()  # workers of a cluster have a working directory of their own
    sweep = RunDirectory.open(out, config)
    with ExitStack() as locks:
        locks.enter_context(sweep.locked())
        origin = provenance()
        sweep.record(config, config, origin)
        places = [
            {"folder": cell.folder, "settings": dict(cell.settings), "seed": cell.seed} for cell, _ in experiments
        ]
        write_json_atomically(out / "sweep.json", {"runs": places})
        graphs: list[tuple[RunDirectory, list[Task]]] = []
        cell_at: dict[Path, Cell] = {}
        for cell, experiment in experiments:
            settled = experiment.config()
            run = RunDirectory.open(out / cell.folder, settled)
            locks.enter_context(run.locked())
            run.record(settled, {"sweep": dict(config), "cell": dict(cell.settings)}, origin)
            tasks = experiment.tasks(run.path)
            graphs.append((run, tasks))
            cell_at[run.path] = cell
            on_plan(cell, sum(task.size for task in tasks))
        shutil.rmtree(out / "failures", ignore_errors=True)
        failures: list[FailedTask] = []

        def report(run: RunDirectory, task: Task, units: int) -> None:
            on_progress(cell_at[run.path], task, units)

        def keep(failure: Failure) -> None:
            failures.append(_kept(failure, cell_at[failure.run], out / "failures"))

        workers = engine()
        try:
            outcome = run_graphs(graphs, workers, store=TaskStore.beside(out), on_progress=report, on_failure=keep)
        finally:
            workers.close()
        failed = {failure.cell.folder for failure in failures}
        finished = tuple(cell for cell, _ in experiments if cell.folder not in failed)
        table = tuple((cell, row) for cell in finished for row in read_rows(out / cell.folder))
        settings = list(experiments[0][0].settings) if experiments else []
        write_text_atomically(out / TABLE, table_csv(table, settings))
    return SweepResult(table, tuple(failures), finished, len(outcome.seconds), len(outcome.shared))


def _kept(failure: Failure, cell: Cell, folder: Path) -> FailedTask:
    """The failure with its traceback in a file of ``folder``."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{quote(f'{cell.folder}/{failure.stage}', safe='=,.+- ')}.txt"
    where = f"{cell.label}, seed {cell.seed}, {failure.stage}"
    file.write_text(f"{where}\n\n{failure.traceback}", encoding="utf-8")
    return FailedTask(cell, failure.stage, " ".join(str(failure.error).split()), file)
