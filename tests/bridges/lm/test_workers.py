"""Worker processes: one per core or per GPU; each sees its own GPU, and so does the one that replaces it."""

from __future__ import annotations

import os
import signal
from collections.abc import Hashable
from functools import partial

import pytest

from overopt.bridges.lm import workers
from overopt.bridges.lm.workers import check_device, visible_gpus, worker_processes
from overopt.bridges.worker_processes import Advance, Done, WorkerProcesses
from overopt.theory.errors import InputError


def seen(advance: Advance) -> str:
    return os.environ[workers.VISIBLE]


def seen_after_a_death(marker: str, advance: Advance) -> str:
    if not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.environ[workers.VISIBLE]


def results(engine: WorkerProcesses, calls: dict[Hashable, object]) -> dict[Hashable, object]:
    """Every call's value; all of them run at the same time."""
    done: dict[Hashable, object] = {}
    try:
        for key, call in calls.items():
            engine.submit(key, call)
        while len(done) < len(calls):
            for event in engine.events(1.0):
                assert isinstance(event, Done), event
                done[event.key] = event.value
    finally:
        engine.close()
    return done


@pytest.fixture
def four_gpus(monkeypatch):
    monkeypatch.setattr(workers.torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv(workers.VISIBLE, raising=False)


def test_gpus_are_named_as_the_environment_names_them(four_gpus, monkeypatch):
    assert visible_gpus() == ["0", "1", "2", "3"]
    monkeypatch.setattr(workers.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv(workers.VISIBLE, "GPU-5a, 3")
    assert visible_gpus() == ["GPU-5a", "3"]


def test_every_gpu_has_a_process_and_more_processes_share_them(four_gpus):
    assert worker_processes(0, "cuda").slots == 4
    engine = worker_processes(6, "cuda")
    assert [place[workers.VISIBLE] for place in engine.environments] == ["0", "1", "2", "3", "0", "1"]
    assert worker_processes(0, "cpu").slots == os.cpu_count()
    assert worker_processes(3, "cpu").environments == [{}] * 3


def test_processes_see_their_own_gpu():
    environments = [{workers.VISIBLE: name} for name in ("a", "b")]
    assert sorted(results(WorkerProcesses(2, None, environments), {0: seen, 1: seen}).values()) == ["a", "b"]


def test_the_process_that_replaces_a_killed_one_sees_the_same_gpu(tmp_path):
    environments = [{workers.VISIBLE: name} for name in ("a", "b")]
    calls = {0: partial(seen_after_a_death, str(tmp_path / "0")), 1: partial(seen_after_a_death, str(tmp_path / "1"))}
    assert sorted(results(WorkerProcesses(2, None, environments), calls).values()) == ["a", "b"]


def test_a_device_that_is_not_there_is_refused():
    check_device("cpu")
    if not workers.torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device found"):
            check_device("cuda")
