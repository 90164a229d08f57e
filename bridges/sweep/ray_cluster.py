"""Tasks on a Ray cluster (or on Ray's own local one): one remote call per stage, files on a shared file system."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable
from importlib.util import find_spec
from typing import Any

from overopt.bridges.worker_processes import MAX_RETRIES, Call, Done, Event, Failed, answer
from overopt.theory.errors import InputError

__all__ = ["RayCluster"]

CAPACITY_SECONDS = 5.0


def _remote(call: Call, prepare: Callable[[], None] | None) -> tuple[Any, ...]:
    if prepare is not None:
        prepare()
    return answer(call, lambda units: None)


class RayCluster:
    """An :class:`~overopt.bridges.worker_processes.Engine` of Ray workers.

    Ray repeats a call whose worker or machine was lost up to three times. Progress is reported when a call is done.

    Parameters
    ----------
    most
        Most calls at the same time; 0 leaves it to the cluster's CPUs and GPUs.
    gpus_per_task
        Share of a GPU that a call reserves; Ray sets CUDA_VISIBLE_DEVICES for it.
    prepare
        Runs before every call, in its process.
    address
        Of a cluster to join, for example "auto"; empty: the one RAY_ADDRESS names, else a local one for this sweep.

    Raises
    ------
    InputError
        If Ray is not installed, there is no cluster at the address, or it has no GPU where one is wanted.
    """

    def __init__(
        self,
        most: int = 0,
        *,
        gpus_per_task: float = 0.0,
        prepare: Callable[[], None] | None = None,
        address: str = "",
    ) -> None:
        if find_spec("ray") is None:
            raise InputError("`--engine ray` needs ray, which is not installed: pip install 'overopt[ray]'.")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self._ray = ray
        try:
            ray.init(address=address or None, include_dashboard=False, log_to_driver=False)
        except ConnectionError as error:
            raise InputError(f"`--ray-address` must name a running Ray cluster, got '{address}' ({error}).") from error
        self._gpus, self._most, self._prepare = gpus_per_task, most, prepare
        self._remote = ray.remote(num_cpus=1, num_gpus=gpus_per_task, max_retries=MAX_RETRIES)(_remote)
        self._keys: dict[Any, Hashable] = {}
        self._counted = -CAPACITY_SECONDS
        self._capacity = 0
        if gpus_per_task and not ray.cluster_resources().get("GPU"):
            self.close()
            raise InputError(f"`--gpus-per-task` must be 0 on a cluster without a GPU, got {gpus_per_task:g}.")

    @property
    def slots(self) -> int:
        """Calls that can run at the same time; grows and shrinks with the cluster."""
        if time.monotonic() - self._counted > CAPACITY_SECONDS:
            resources = self._ray.cluster_resources()
            self._capacity = int(resources.get("CPU", 1))
            if self._gpus:
                self._capacity = min(self._capacity, int(resources.get("GPU", 0) / self._gpus))
            self._counted = time.monotonic()
        capacity = max(1, self._capacity)
        return min(capacity, self._most) if self._most else capacity

    def submit(self, key: Hashable, call: Call) -> None:
        """Start ``call`` on the cluster."""
        self._keys[self._remote.remote(call, self._prepare)] = key

    def events(self, timeout: float) -> list[Event]:
        """What happened since the last call; waits up to ``timeout`` seconds for something to happen."""
        ready, _ = self._ray.wait(list(self._keys), num_returns=1, timeout=timeout)
        events: list[Event] = []
        for reference in ready:
            key = self._keys.pop(reference)
            try:
                kind, *content = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:  # lost more often than Ray repeats
                events.append(Failed(key, RuntimeError(" ".join(str(error).split())), str(error)))
                continue
            events.append(Done(key, *content) if kind == "done" else Failed(key, *content))
        return events

    def close(self) -> None:
        """Stop every call and leave the cluster."""
        for reference in self._keys:
            self._ray.cancel(reference, force=True)
        self._keys.clear()
        self._ray.shutdown()
