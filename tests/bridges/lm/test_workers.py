"""Worker processes: one per core or per GPU; each sees its own GPU, and so does the one that replaces it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Hashable
from functools import partial

import pytest

from overopt.bridges.lm import gpu_world, workers
from overopt.bridges.lm.stages import prepare_process
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


@pytest.fixture
def cudnn_attention():
    """Switched on, as torch has it, and afterwards what it was."""
    before, threads = workers.torch.backends.cuda.cudnn_sdp_enabled(), workers.torch.get_num_threads()
    workers.torch.backends.cuda.enable_cudnn_sdp(True)
    yield workers.torch.backends.cuda.cudnn_sdp_enabled
    workers.torch.backends.cuda.enable_cudnn_sdp(before)
    workers.torch.set_num_threads(threads)


def test_attention_of_a_worker_is_not_cudnns(cudnn_attention):
    assert cudnn_attention()
    prepare_process()
    assert not cudnn_attention()


def test_attention_of_the_gpu_worlds_command_is_not_cudnns(cudnn_attention, monkeypatch, tmp_path):
    seen = []

    def build(folder, *_, **__):
        seen.append(cudnn_attention())
        (folder / "metrics.json").write_text("{}")

    monkeypatch.setattr(gpu_world, "build_gpu_world", build)
    monkeypatch.setattr(sys, "argv", ["gpu_world", str(tmp_path)])
    assert gpu_world.main() == 0
    assert seen == [False]


def test_imports_and_preparation_leave_cuda_alone():
    """Its first use fixes which GPUs a process sees, and a worker is told its own after its imports."""
    code = """
import torch
asked = []
for name in ("is_available", "device_count", "_lazy_init", "init", "current_device", "get_device_properties",
             "get_device_capability", "is_bf16_supported"):
    def noted(*arguments, ask=getattr(torch.cuda, name), name=name, **options):
        asked.append(name)
        return ask(*arguments, **options)
    setattr(torch.cuda, name, noted)
from overopt.bridges.lm.stages import prepare_process
prepare_process()
assert not asked, asked
torch.cuda.device_count()
assert asked[0] == "device_count", "the control: a use is noted"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_device_that_is_not_there_is_refused():
    check_device("cpu")
    if not workers.torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device found"):
            check_device("cuda")
