"""Stages of a run as tasks with dependencies, worked off by a pool of processes, in the order they become ready."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from overopt.bridges.run_directory import RunDirectory

__all__ = ["Advance", "Task", "Work", "run_tasks"]

Advance = Callable[[int], None]
"""Called by a task with the number of units of work it has just done."""


class Work(Protocol):
    """A task's body: fills ``folder``; must be importable from a fresh process, and decide every byte by its inputs."""

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


_messages: Any = None


def _start_worker(messages: Any, parent: int, prepare: Callable[[], None] | None) -> None:
    global _messages
    _messages = messages

    def follow_parent() -> None:
        # A worker must not go on writing after its parent was killed: the next run would meet its files.
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()
    if prepare is not None:
        prepare()


def _work(task: Task, run: RunDirectory, inputs: Any) -> tuple[str, float]:
    begin = time.perf_counter()
    done = 0

    def advance(units: int) -> None:
        nonlocal done
        done += units
        _messages.put((task.group, units))

    def fill(folder: Path) -> None:
        task.work(folder, run.path, advance)

    run.run_stage(task.stage, inputs, fill)
    _messages.put((task.group, task.size - done))
    return task.stage, time.perf_counter() - begin


def run_tasks(
    run: RunDirectory,
    tasks: Sequence[Task],
    *,
    workers: int,
    on_progress: Callable[[str, int], None] | None = None,
    prepare: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Finish every task and return the seconds that each unfinished one took.

    Parameters
    ----------
    workers
        Processes. They are started fresh (spawned) and kept for all tasks; ``prepare`` runs once in each. Of the tasks
        that are ready, the first in the list goes first.
    on_progress
        Called in this process with (group, units of work done).

    Raises
    ------
    ValueError
        If a needed stage is not among the tasks.
    Exception
        The first exception of a task, after the running ones were stopped. Finished stages stay.
    """
    waiting = {task.stage: task for task in tasks}
    missing = sorted({stage for task in tasks for stage in task.needs} - set(waiting))
    if missing:
        raise ValueError(f"`tasks` must hold every stage that one of them needs, got none called '{missing[0]}'.")
    finished: set[str] = set()
    seconds: dict[str, float] = {}
    report = on_progress or (lambda group, units: None)
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(messages, os.getpid(), prepare)
    )
    running: dict[Future[tuple[str, float]], Task] = {}
    try:
        while waiting or running:
            for task in [t for t in waiting.values() if finished.issuperset(t.needs)]:
                if len(running) == workers:
                    break  # later tasks wait here, so that the order of `tasks` is the order of priority
                inputs = {"own": task.inputs, "needs": {stage: run.outputs_of(stage) for stage in task.needs}}
                del waiting[task.stage]
                if run.is_finished(task.stage, inputs):
                    finished.add(task.stage)
                    report(task.group, task.size)
                else:
                    running[pool.submit(_work, task, run, inputs)] = task
            done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            _drain(messages, report)
            for future in done:
                task = running.pop(future)
                stage, took = future.result()
                seconds[stage] = took
                finished.add(stage)
                run.log({"stage": stage, "seconds": round(took, 3)})
    except BrokenProcessPool as error:
        names = ", ".join(task.stage for task in running.values())
        raise RuntimeError(f"a worker process died (out of memory, or killed) during {names}.") from error
    finally:
        processes = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=not running, cancel_futures=True)
        if running:
            for process in processes:
                process.terminate()
        _drain(messages, report)
    return seconds


def _drain(messages: Any, report: Callable[[str, int], None]) -> None:
    while True:
        try:
            group, units = messages.get_nowait()
        except queue.Empty:
            return
        report(group, units)
