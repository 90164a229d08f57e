"""What every training loop here does with its gradients between the backward pass and the optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from overopt.theory.errors import InputError

__all__ = ["avoid_cudnn_attention", "clip_gradients"]


def avoid_cudnn_attention() -> None:
    """Leave attention on a GPU to torch's own kernels, in this process; on a CPU nothing changes.

    cuDNN's, the default of H100 and later, returns gradients that are not numbers for some masks and lengths (torch
    2.11 to 2.13, pytorch#196678).
    """
    torch.backends.cuda.enable_cudnn_sdp(False)


def clip_gradients(parameters: Iterable[torch.nn.Parameter], maximum: float, what: str) -> float:
    """Clip the gradients to the Euclidean norm ``maximum`` and return the norm that they had.

    Raises
    ------
    InputError
        If that norm is not finite: a step along such a gradient leaves no weight finite, and everything measured
        afterwards would be noise. ``what`` names the training and its update.
    """
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, maximum))
    if not math.isfinite(norm):
        raise InputError(f"{what}: the gradient is not finite; try a lower learning rate, or float32.")
    return norm
