"""Processes that run one call each at a time; one that dies costs a repetition of its call, nothing else.

One whose call raised an error is replaced too: what an error on a GPU leaves behind, memory in use or a device that
refuses every further call, goes with the process and not before.

Every process has a pipe of its own: a killed one cannot leave a lock behind that the others wait for, and it is known
which call it was working on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from overopt.theory.errors import InputError

__all__ = [
    "MAX_RETRIES",
    "Advance",
    "Call",
    "Done",
    "Engine",
    "Event",
    "Failed",
    "Progress",
    "RemoteTraceback",
    "WorkerProcesses",
    "answer",
    "end_with_parent",
]

MAX_RETRIES = 3
"""How often a call is repeated after the process that ran it died."""

Advance = Callable[[int], None]
"""Called by a task with the number of units of work it has just done."""

Call = Callable[[Advance], Any]
"""Something that a fresh process can import and run."""


@dataclass(frozen=True)
class Progress:
    """``units`` of work of the call ``key`` are done; a repeated call counts from 0 again."""

    key: Hashable
    units: int


@dataclass(frozen=True)
class Done:
    """The call ``key`` returned ``value``."""

    key: Hashable
    value: Any


@dataclass(frozen=True)
class Failed:
    """The call ``key`` raised ``error``; ``traceback`` is that of the process which ran it."""

    key: Hashable
    error: BaseException
    traceback: str


Event = Progress | Done | Failed


class Engine(Protocol):
    """Where calls are executed."""

    @property
    def slots(self) -> int:
        """Calls that can run at the same time."""
        ...

    def submit(self, key: Hashable, call: Call) -> None:
        """Start ``call``; fewer than ``slots`` calls are running."""
        ...

    def events(self, timeout: float) -> list[Event]:
        """What happened since the last call; waits up to ``timeout`` seconds for something to happen."""
        ...

    def close(self) -> None:
        """Stop every call."""
        ...


class RemoteTraceback(Exception):
    """The traceback of a call that failed in another process, as the cause of its exception."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _portable(error: Exception) -> Exception:
    """``error`` if it is one that is rebuilt from plain arguments in another process, else its text."""
    known = isinstance(error, InputError) or type(error).__module__ == "builtins"
    if known and all(type(part) in (str, int, float, bool, type(None)) for part in error.args):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def answer(call: Call, advance: Advance) -> tuple[Any, ...]:
    """Run ``call``: ("done", value) or ("failed", exception, traceback), ready to be sent to another process."""
    try:
        return "done", call(advance)
    except Exception as error:
        return "failed", _portable(error), traceback.format_exc()


def end_with_parent(parent: int) -> None:
    """Make this process end when ``parent``, the process id of the one that started it, is gone.

    A worker must not go on writing after its parent was killed: the next run would meet its files.
    """

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _serve(pipe: Connection, parent: int, prepare: Callable[[], None] | None, environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    end_with_parent(parent)
    if prepare is not None:
        prepare()
    while True:
        try:
            call = pipe.recv()
        except EOFError:
            return
        done = 0

        def advance(units: int) -> None:
            nonlocal done
            done += units
            pipe.send(("progress", done))

        pipe.send(answer(call, advance))


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    place: int
    """Its number among the workers; one that replaces it has the same."""
    key: Hashable = None
    """The call it works on, None while it is idle."""

    def messages(self) -> tuple[list[tuple[Any, ...]], bool]:
        """What it has sent, and whether it still lives."""
        alive = self.process.is_alive()  # asked first: what a dead process sent is complete
        received: list[tuple[Any, ...]] = []
        try:
            while self.pipe.poll():
                received.append(self.pipe.recv())
        except (EOFError, OSError, pickle.UnpicklingError):
            alive = False
        return received, alive


class WorkerProcesses:
    """An :class:`Engine` of processes on this machine, started fresh (spawned) when they are first needed.

    They are kept until a call fails in them.

    Parameters
    ----------
    workers
        Processes.
    prepare
        Runs once in each, before its first call.
    environments
        Environment variables of each process, for example the GPU that it sees; set after its imports, before
        ``prepare``. Empty: those of this process.
    """

    def __init__(
        self,
        workers: int,
        prepare: Callable[[], None] | None = None,
        environments: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self._slots = workers
        self._prepare = prepare
        self.environments = environments or [{}] * workers
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._calls: dict[Hashable, Call] = {}
        self._deaths: dict[Hashable, int] = {}

    @property
    def slots(self) -> int:
        """Calls that can run at the same time."""
        return self._slots

    def submit(self, key: Hashable, call: Call) -> None:
        """Start ``call`` in an idle process."""
        self._calls[key] = call
        self._assign(key)

    def _assign(self, key: Hashable) -> None:
        worker = next((w for w in self._workers if w.key is None), None) or self._start()
        worker.key = key
        with contextlib.suppress(OSError):  # it died while it was idle: the next look at it says so
            worker.pipe.send(self._calls[key])

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        place = min(set(range(self._slots)) - {worker.place for worker in self._workers})
        process = self._context.Process(
            target=_serve, args=(theirs, os.getpid(), self._prepare, self.environments[place])
        )
        process.start()
        theirs.close()
        worker = _Worker(process, ours, place)
        self._workers.append(worker)
        return worker

    def events(self, timeout: float) -> list[Event]:
        """What happened since the last call; waits up to ``timeout`` seconds for something to happen."""
        wait([handle for w in self._workers for handle in (w.pipe, w.process.sentinel)], timeout)
        events: list[Event] = []
        for worker in list(self._workers):
            received, alive = worker.messages()
            failed = False
            for kind, *content in received:
                if kind == "progress":
                    events.append(Progress(worker.key, *content))
                    continue
                events.append(Done(worker.key, *content) if kind == "done" else Failed(worker.key, *content))
                failed |= kind == "failed"
                self._calls.pop(worker.key)
                worker.key = None
            if failed:
                worker.process.terminate()
            if failed or not alive:
                self._workers.remove(worker)
                worker.process.join()
                worker.pipe.close()
                if worker.key is not None:
                    events.extend(self._repeat(worker.key, worker.process.exitcode))
        return events

    def _repeat(self, key: Hashable, exitcode: int | None) -> list[Event]:
        deaths = self._deaths[key] = self._deaths.get(key, 0) + 1
        if deaths <= MAX_RETRIES:
            self._assign(key)
            return []
        del self._calls[key]
        text = f"its worker process died {deaths} times (killed, or out of memory; exit code {exitcode})."
        return [Failed(key, RuntimeError(text), text)]

    def close(self) -> None:
        """Stop every process."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()
