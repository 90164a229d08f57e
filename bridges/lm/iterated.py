"""Iterated RLHF: fresh labels from the current policy, a reward model fitted to all labels so far, more PPO.

Gao, Schulman and Hilton 2022, section 4.3, leave it unmeasured and expect ``R = d (alpha - beta log d + beta log k)``
after k iterations, d from the very first policy. Here k iterations share the labels and the updates of one: each gets
``comparisons / k`` pairs of completions of the policy as it is then, labelled by gold, and ``steps / k`` PPO updates.
The value head and the optimizer's moments start afresh with every iteration.

Metrics are PPO's, with ``iteration`` (from 1) beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import accumulate
from typing import Any

import numpy as np

from overopt.bridges.lm.ppo import PPOConfig, Scorer, ppo
from overopt.bridges.lm.preferences import label_pairs
from overopt.bridges.lm.reward_model import LabelledPairs
from overopt.bridges.lm.sampler import TokenIds
from overopt.bridges.lm.world import Policy
from overopt.theory.errors import InputError

__all__ = ["IteratedConfig", "train_iterated"]


@dataclass(frozen=True)
class IteratedConfig(PPOConfig):
    """PPO's numbers for all iterations together, and how they are shared out."""

    iterations: int = 2
    """Rounds of labels, reward model and PPO."""
    comparisons: int = 4000
    """Labelled pairs, all rounds together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, most in (("steps", self.steps), ("comparisons", self.comparisons)):
            if not 1 <= self.iterations <= most:
                raise InputError(f"`iterations` must be in 1..{most}, the number of {name}, got {self.iterations}.")


def train_iterated(
    seed: int,
    policy: Policy,
    base: Policy,
    prompts: Sequence[TokenIds],
    config: IteratedConfig,
    on_step: Callable[[int, Any], None],
    *,
    gold: Scorer,
    fit: Callable[[int, LabelledPairs], Scorer],
) -> list[dict[str, float]]:
    """Train ``policy.model`` in place, ``base`` being the policy before the first iteration.

    Parameters
    ----------
    on_step
        Called with (updates so far, model), 0 first, as PPO does.
    gold
        Labels the pairs of every iteration.
    fit
        ``fit(iteration, pairs)`` returns the reward model fitted to all pairs so far.
    """
    rng = np.random.default_rng(seed)
    shared = {field.name for field in fields(PPOConfig)}
    numbers = {name: value for name, value in asdict(config).items() if name in shared}
    labels, updates = (_shares(total, config.iterations) for total in (config.comparisons, config.steps))
    metrics: list[dict[str, float]] = []
    pairs: LabelledPairs | None = None
    for k, begin in enumerate(accumulate(updates[:-1], initial=0)):
        fresh = label_pairs(
            rng, policy.model, gold, prompts, labels[k], max_new_tokens=config.max_new_tokens, eos=base.eos,
            pad=base.pad, temperature=config.temperature,
        )  # fmt: skip
        pairs = fresh if pairs is None else pairs.joined(fresh)

        def after(step: int, model: Any, begin: int = begin) -> None:
            if step or not begin:
                on_step(begin + step, model)

        records = ppo(
            int(rng.integers(2**31)), policy.model, base.model, prompts, fit(k, pairs),
            PPOConfig(**{**numbers, "steps": updates[k]}), eos=base.eos, pad=base.pad, on_step=after,
        )  # fmt: skip
        metrics += [{**record, "step": begin + record["step"], "iteration": k + 1} for record in records]
    return metrics


def _shares(total: int, parts: int) -> list[int]:
    """``total`` in equal parts, the first ones larger by one where it does not divide."""
    return [total // parts + (i < total % parts) for i in range(parts)]
