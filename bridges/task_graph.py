"""Stages of one or several runs as tasks with dependencies, worked off in the order they become ready.

Tasks of different runs that would make the same bytes have the same content address: the first is worked, the others
take its files from the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from overopt.bridges.run_directory import RunDirectory
from overopt.bridges.task_store import TaskStore, code_of
from overopt.bridges.worker_processes import Advance, Done, Engine, Failed, Progress, RemoteTraceback

__all__ = ["Advance", "Failure", "Outcome", "Task", "Work", "run_graphs", "run_tasks"]


class Work(Protocol):
    """A task's body: fills ``folder``; must be importable from a fresh process.

    Its inputs decide what it writes: on a CPU every byte, on a GPU up to what its kernels round.
    """

    def __call__(self, folder: Path, run: Path, advance: Advance) -> None: ...


@dataclass(frozen=True)
class Task:
    """One stage of a run.

    Attributes
    ----------
    stage
        Folder name below the run.
    work
        Fills that folder; may read the finished stages named in ``needs``.
    inputs
        Plain data that decides the stage's bytes; the outputs of ``needs`` are added to it.
    needs
        Stages that must be finished first.
    group
        Tasks of one group share a progress bar.
    size
        Units of work, for the bar.
    """

    stage: str
    work: Work
    inputs: Any
    needs: tuple[str, ...] = ()
    group: str = ""
    size: int = 1


@dataclass(frozen=True)
class Failure:
    """A task that raised ``error``; ``traceback`` is that of the process which worked on it."""

    run: Path
    stage: str
    error: BaseException
    traceback: str


@dataclass
class Outcome:
    """What became of the tasks.

    Attributes
    ----------
    seconds
        (run, stage) -> seconds, for every task that was worked.
    shared
        (run, stage) of the tasks that took their files from the store.
    failures
        Tasks that failed. What needs their stages was not tried.
    """

    seconds: dict[tuple[Path, str], float] = field(default_factory=dict)
    shared: list[tuple[Path, str]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


OnProgress = Callable[[RunDirectory, Task, int], None]
Key = tuple[Path, str]


@dataclass(frozen=True)
class _Job:
    """A task of one run, ready to be worked: the hashes of what it needs are known."""

    run: RunDirectory
    task: Task
    inputs: Any
    store: TaskStore | None
    address: str | None

    @classmethod
    def ready(cls, run: RunDirectory, task: Task, store: TaskStore | None) -> _Job:
        needs = {stage: run.outputs_of(stage) for stage in task.needs}
        # A run that goes on after its code has changed works the stage again: no table mixes two versions.
        inputs = {"own": task.inputs, "needs": needs, "code": code_of(task.work)}
        address = None if store is None else store.address(task.stage, inputs)
        return cls(run, task, inputs, store, address)

    @property
    def key(self) -> Key:
        return self.run.path, self.task.stage

    def fetched(self) -> bool:
        """Whether the store had the stage; it is in the run then."""
        if self.store is None or self.address is None:
            return False
        seconds = self.store.fetch(self.address, self.run, self.task.stage, self.inputs)
        if seconds is None:
            return False
        self.run.log({"stage": self.task.stage, "seconds": seconds, "shared": self.address})
        return True


def _work(job: _Job, advance: Advance) -> float:
    begin = time.perf_counter()

    def fill(folder: Path) -> None:
        job.task.work(folder, job.run.path, advance)

    finished = job.run.run_stage(job.task.stage, job.inputs, fill)
    seconds = round(time.perf_counter() - begin, 3)
    if job.store is not None and job.address is not None:
        job.store.put(job.address, finished, seconds)
    return seconds


def run_tasks(
    run: RunDirectory,
    tasks: Sequence[Task],
    *,
    engine: Engine,
    on_progress: Callable[[str, int], None] | None = None,
    store: TaskStore | None = None,
) -> dict[str, float]:
    """Finish every task of one run and return the seconds that each unfinished one took.

    Parameters
    ----------
    engine
        Where they run; closed at the end. Of the tasks that are ready, the first in the list goes first.
    on_progress
        Called in this process with (group, units of work done).
    store
        Asked for every stage before it is worked, and given every stage that was.

    Raises
    ------
    ValueError
        If a needed stage is not among the tasks.
    Exception
        The first exception of a task, after the running ones were stopped. Finished stages stay.
    """
    report: OnProgress | None = None
    if on_progress is not None:
        advance = on_progress

        def report(run: RunDirectory, task: Task, units: int) -> None:
            advance(task.group, units)

    try:
        outcome = run_graphs([(run, tasks)], engine, store=store, on_progress=report)
    finally:
        engine.close()
    return {stage: seconds for (_, stage), seconds in outcome.seconds.items()}


def run_graphs(
    graphs: Sequence[tuple[RunDirectory, Sequence[Task]]],
    engine: Engine,
    *,
    store: TaskStore | None = None,
    on_progress: OnProgress | None = None,
    on_failure: Callable[[Failure], None] | None = None,
) -> Outcome:
    """Finish every task of several runs; of the ready ones, the first in the list goes first.

    Parameters
    ----------
    engine
        Where tasks are worked; the caller closes it.
    store
        As for :func:`run_tasks`. A task waits while another with the same address is worked.
    on_progress
        Called in this process with (run, task, units of work done).
    on_failure
        Called in this process for every task that failed; the others go on. Without it, the first exception is raised.

    Raises
    ------
    ValueError
        If a needed stage is not among the tasks of its run.
    """
    for _, tasks in graphs:
        missing = sorted({stage for task in tasks for stage in task.needs} - {task.stage for task in tasks})
        if missing:
            raise ValueError(f"`tasks` must hold every stage that one of them needs, got none called '{missing[0]}'.")
    return _Schedule(graphs, engine, store, on_progress or (lambda run, task, units: None), on_failure).finish()


class _Schedule:
    """The state of :func:`run_graphs`."""

    def __init__(
        self,
        graphs: Sequence[tuple[RunDirectory, Sequence[Task]]],
        engine: Engine,
        store: TaskStore | None,
        report: OnProgress,
        on_failure: Callable[[Failure], None] | None,
    ) -> None:
        self.engine, self.store, self.report, self.on_failure = engine, store, report, on_failure
        self.waiting: dict[Key, tuple[RunDirectory, Task]] = {
            (run.path, task.stage): (run, task) for run, tasks in graphs for task in tasks
        }
        self.ready: dict[Key, _Job] = {}
        self.running: dict[Hashable, _Job] = {}
        self.reported: dict[Key, int] = {}
        self.finished: set[Key] = set()
        self.failed_addresses: dict[str, Failed] = {}
        self.outcome = Outcome()

    def finish(self) -> Outcome:
        while self.waiting or self.running:
            while self._start_what_is_ready():
                pass
            if self.running:
                for event in self.engine.events(timeout=0.5):
                    self._take(event)
        return self.outcome

    def _start_what_is_ready(self) -> bool:
        """Settle or start every ready task; whether some were settled, so that others may have become ready."""
        settled = False
        for key, (run, task) in list(self.waiting.items()):
            # Later tasks wait here, so that the order of the tasks is the order of priority.
            if len(self.running) >= self.engine.slots:  # a cluster may have shrunk
                return False
            if key not in self.waiting or not self.finished.issuperset((run.path, stage) for stage in task.needs):
                continue
            if key not in self.ready:
                self.ready[key] = _Job.ready(run, task, self.store)
            job = self.ready[key]
            if job.address is not None and job.address in {other.address for other in self.running.values()}:
                continue
            del self.waiting[key], self.ready[key]
            if job.address in self.failed_addresses:
                self._fail(job, self.failed_addresses[job.address])
            elif run.is_finished(task.stage, job.inputs):
                self._complete(job)
            elif job.fetched():
                self.outcome.shared.append(key)
                self._complete(job)
            else:
                self.running[key] = job
                self.engine.submit(key, partial(_work, job))
                continue
            settled = True
        return settled

    def _take(self, event: Progress | Done | Failed) -> None:
        job = self.running[event.key]
        if isinstance(event, Progress):
            self._advance(job, event.units)
            return
        del self.running[job.key]
        if isinstance(event, Done):
            self.outcome.seconds[job.key] = event.value
            job.run.log({"stage": job.task.stage, "seconds": event.value})
            self._complete(job)
        else:
            self._fail(job, event)

    def _advance(self, job: _Job, units: int) -> None:
        """Report progress up to ``units``; a repeated task is silent until it is where it was."""
        done = self.reported.get(job.key, 0)
        if units > done:
            self.reported[job.key] = units
            self.report(job.run, job.task, units - done)

    def _complete(self, job: _Job) -> None:
        self.finished.add(job.key)
        self._advance(job, job.task.size)

    def _fail(self, job: _Job, event: Failed) -> None:
        failure = Failure(job.run.path, job.task.stage, event.error, event.traceback)
        if self.on_failure is None:
            raise event.error from RemoteTraceback(event.traceback)
        if job.address is not None:
            self.failed_addresses[job.address] = event
        self.outcome.failures.append(failure)
        self.on_failure(failure)
        self._abandon_what_needs({job.task.stage}, job.run.path)

    def _abandon_what_needs(self, stages: set[str], run: Path) -> None:
        needing = {
            stage
            for (path, stage), (_, task) in self.waiting.items()
            if path == run and stages.intersection(task.needs)
        }
        for stage in needing:
            del self.waiting[run, stage]
        if needing:
            self._abandon_what_needs(needing, run)
