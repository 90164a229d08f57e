"""A key-value cache of fixed size: appending a token to every row writes that token and copies nothing."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

__all__ = ["preallocated", "select_rows"]


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, (R, heads, length so far, width) each, as views of buffers of the final length."""

    def __init__(self, prompt: Any, rows: torch.Tensor, length: int, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = dtype or prompt.dtype, prompt.device, True
        self.buffers = []
        for states in (prompt.keys, prompt.values):
            _, heads, read, width = states.shape
            buffer = states.new_empty(len(rows), heads, length, width, dtype=self.dtype)
            buffer[:, :, :read] = states[rows]
            self.buffers.append(buffer)
        self._show(len(rows), read)

    def _show(self, rows: int, read: int) -> None:
        self.keys, self.values = (buffer[:rows, :, :read] for buffer in self.buffers)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new states and return all."""
        rows, _, read, _ = self.keys.shape
        self._show(rows, read + key_states.shape[-2])
        self.keys[:, :, read:], self.values[:, :, read:] = key_states, value_states
        return self.keys, self.values

    def move(self, rows: int, source: torch.Tensor, target: torch.Tensor) -> None:
        """Keep the first ``rows`` rows, after those of ``source`` were copied to the places ``target``."""
        moved = self.keys[source], self.values[source]
        self._show(rows, self.keys.shape[2])
        self.keys[target], self.values[target] = moved


def _moves(indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From where to where rows move for row r to become row ``indices[r]``; a GPU has to be waited for."""
    target = (indices != torch.arange(len(indices), device=indices.device)).nonzero()[:, 0]
    return indices[target], target


def preallocated(cache: Any, rows: torch.Tensor, length: int, dtype: torch.dtype | None = None) -> None:
    """Give ``cache``, which has read U prompts, R = ``len(rows)`` rows: row r continues prompt ``rows[r]``.

    Layers that attend to everything get buffers of ``length`` tokens; those of another kind (sliding windows, states of
    fixed size) keep theirs.

    ``dtype`` is what attention multiplies in, where that is another one than the cache's. Under autocast it is: the
    cache is in float32, and attention would round all of it anew for every token, to the same numbers.
    """
    for i, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[i] = PreallocatedLayer(layer, rows, length, dtype)
        else:
            layer.reorder_cache(rows)


def select_rows(cache: Any, indices: torch.Tensor) -> None:
    """Row r of ``cache`` becomes row ``indices[r]``, in every layer alike."""
    source, target = _moves(indices)
    for layer in cache.layers:
        if isinstance(layer, PreallocatedLayer):
            layer.move(len(indices), source, target)
        else:
            layer.reorder_cache(indices)
