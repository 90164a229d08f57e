"""An engine that works every task in the calling process: no start-up of workers in tests of many small runs."""

from collections.abc import Hashable

from overopt.bridges.worker_processes import Call, Done, Event


class InlineEngine:
    """Runs a call when its events are asked for; an exception leaves through the caller."""

    slots = 1

    def __init__(self) -> None:
        self.waiting: list[tuple[Hashable, Call]] = []

    def submit(self, key: Hashable, call: Call) -> None:
        self.waiting.append((key, call))

    def events(self, timeout: float) -> list[Event]:
        done = [Done(key, call(lambda units: None)) for key, call in self.waiting]
        self.waiting.clear()
        return done

    def close(self) -> None:
        pass
