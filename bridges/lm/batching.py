"""Work in batches that become smaller when the device's memory does not hold them."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch

from overopt.theory.errors import InputError

__all__ = ["in_batches", "in_parts", "rows_at_once"]

T = TypeVar("T")

_OUT_OF_MEMORY = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")
"""What libraries say in a plain error where torch's own allocator has one of its own."""
_FITTED: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()
"""What fitted, by model and work, where the default did not."""


def rows_at_once(device: torch.device | str, *, cpu: int, gpu: int) -> int:
    """How many rows to read at once: as many as a processor's cache likes, or as many as keep a GPU busy."""
    return cpu if torch.device(device).type == "cpu" else gpu


def in_batches(work: Callable[[slice], None], rows: int, batch_size: int, what: str, model: Any = None) -> int:
    """Call ``work`` on consecutive slices of ``range(rows)``, and return the batch size that fitted.

    Where the device is out of memory the batch is halved, a warning says so, and the same slice is done again: ``work``
    must give the same when it is repeated and, up to rounding, when its rows come in other batches. On a CPU the batch
    is never halved, and the same batch size gives the same bytes.

    Parameters
    ----------
    what
        Names the work in the warning.
    model
        For this object, what fitted ``what`` is remembered and is where the next call begins.

    Raises
    ------
    InputError
        If a single row does not fit; ``what`` names the work.
    """
    known = {} if model is None else _FITTED.setdefault(model, {})
    fitting = min(batch_size, known.get(what, batch_size))
    start = 0
    while start < rows:
        batch = slice(start, min(start + fitting, rows))
        if _attempt(partial(work, batch)) is None:
            fitting = known[what] = _halved(batch.stop - batch.start, what)
        else:
            start = batch.stop
    return fitting


def in_parts(work: Callable[[int], T], rows: int, part: int, what: str) -> tuple[T, int]:
    """``work(part)`` and the part size that fitted, for work on ``rows`` rows in parts of its own, such as a gradient.

    Where the device is out of memory the parts are halved, a warning says so, and ``work`` begins again: it must undo
    what it had added before.

    Raises
    ------
    InputError
        If a single row does not fit; ``what`` names the work.
    """
    while (done := _attempt(partial(work, part))) is None:
        part = _halved(min(part, rows), what)
    return done[0], part


def _halved(count: int, what: str) -> int:
    if count == 1:
        raise InputError(f"{what}: the device is out of memory with a batch of 1; shorten the texts or take another.")
    gc.collect()  # a trainer's tensors are in cycles, and memory in use is not returned
    torch.cuda.empty_cache()
    smaller = (count + 1) // 2
    warnings.warn(
        f"{what}: out of memory with a batch of {count}, going on with {smaller}", RuntimeWarning, stacklevel=3
    )
    return smaller


def _attempt(work: Callable[[], T]) -> tuple[T] | None:
    """What ``work`` returned, None where it was out of memory."""
    # A function of its own: the error holds on to the failed batch's tensors until it is gone.
    try:
        return (work(),)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY):
            return None
        raise
