"""Work in batches that become smaller when the device's memory does not hold them."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable

import torch

from overopt.theory.errors import InputError

__all__ = ["in_batches"]


def in_batches(work: Callable[[slice], None], rows: int, batch_size: int, what: str) -> int:
    """Call ``work`` on consecutive slices of ``range(rows)``, and return the batch size that fitted.

    Where the device is out of memory the batch is halved, a warning says so, and the same slice is done again: ``work``
    must give the same when it is repeated and when its rows come in other batches.

    Raises
    ------
    InputError
        If a single row does not fit; ``what`` names the work.
    """
    start = 0
    while start < rows:
        batch = slice(start, min(start + batch_size, rows))
        if _fits(work, batch):
            start = batch.stop
            continue
        count = batch.stop - batch.start
        if count == 1:
            raise InputError(
                f"{what}: the device is out of memory with a batch of 1; shorten the texts or take another."
            )
        batch_size = (count + 1) // 2
        gc.collect()  # a trainer's tensors are in cycles, and memory in use is not returned
        torch.cuda.empty_cache()
        warnings.warn(
            f"{what}: out of memory with a batch of {count}, going on with {batch_size}", RuntimeWarning, stacklevel=2
        )
    return batch_size


def _fits(work: Callable[[slice], None], batch: slice) -> bool:
    # A function of its own: the error holds on to the failed batch's tensors until it is gone.
    try:
        work(batch)
    except torch.OutOfMemoryError:
        return False
    return True
