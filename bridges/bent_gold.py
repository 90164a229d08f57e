"""Gold bent above a quantile: a planted extremal fault. The proxy is unbent gold, so nothing else can go wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.checkpoints import Checkpoints
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.errors import InputError

__all__ = ["GoldBend"]


@dataclass(frozen=True)
class GoldBend:
    """``gold -> gold`` up to a threshold per prompt, ``threshold - strength * (gold - threshold)`` above it.

    ``prompts`` are the (K,) names of the prompts and ``threshold`` (K,) theirs, in gold's own units.
    """

    prompts: tuple[str, ...]
    threshold: NDArray[np.float64]
    strength: float

    @classmethod
    def at_quantile(cls, base: ScoreBank, quantile: float, strength: float) -> GoldBend:
        """The bend at a quantile of each prompt's base samples.

        Raises
        ------
        InputError
            If ``quantile`` is not inside (0, 1) or ``strength`` is negative.
        """
        if not 0 < quantile < 1:
            raise InputError(f"`quantile` must be in (0, 1), got {quantile}.")
        if not strength >= 0:
            raise InputError(f"`strength` must be >= 0, got {strength}.")
        starts = np.searchsorted(base.prompt, np.arange(len(base.prompts) + 1))
        samples = np.split(base.gold, starts[1:-1])
        return cls(base.prompts, np.array([np.quantile(gold, quantile) for gold in samples]), strength)

    def bank(self, bank: ScoreBank) -> ScoreBank:
        """``bank`` with its gold bent."""
        if bank.prompts != self.prompts:
            raise InputError("the bend's prompts must be the bank's, got others.")
        over = np.maximum(bank.gold - self.threshold[bank.prompt], 0.0)
        return replace(bank, gold=bank.gold - (1 + self.strength) * over)

    def checkpoints(self, checkpoints: Checkpoints) -> Checkpoints:
        """``checkpoints`` with gold bent in each."""
        return replace(checkpoints, banks={value: self.bank(bank) for value, bank in checkpoints.banks.items()})
