"""The worker processes of this machine: one per core, or one per GPU."""

from __future__ import annotations

import os

import torch

from overopt.bridges.lm.stages import prepare_process
from overopt.bridges.worker_processes import WorkerProcesses
from overopt.theory.errors import InputError

__all__ = ["check_device", "visible_gpus", "worker_processes"]

VISIBLE = "CUDA_VISIBLE_DEVICES"


def check_device(device: str) -> None:
    """Refuse a device that torch cannot use here.

    Raises
    ------
    InputError
        For ``cuda`` without a CUDA device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("`--device` must be a device that torch can use here, got 'cuda' (no CUDA device found).")


def visible_gpus() -> list[str]:
    """The GPUs that torch sees, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] if named else [str(number) for number in range(count)]


def worker_processes(workers: int, device: str) -> WorkerProcesses:
    """``workers`` processes; 0: one per core or, on ``cuda``, one per GPU.

    Several GPUs each work a stage of their own: process ``i`` sees GPU ``i`` modulo their number and nothing else.
    """
    if device != "cuda":
        return WorkerProcesses(workers or os.cpu_count() or 1, prepare_process)
    gpus = visible_gpus()
    count = workers or len(gpus)
    return WorkerProcesses(count, prepare_process, [{VISIBLE: gpus[i % len(gpus)]} for i in range(count)])
