"""Measuring a policy while it is trained: proxy, gold and KL on the same held-out prompts at every checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from overopt.bridges.checkpoints import Checkpoints
from overopt.bridges.kl import KL
from overopt.bridges.lm.completions import sequence_kl
from overopt.bridges.lm.policy import Policy
from overopt.bridges.lm.ppo import Scorer
from overopt.bridges.lm.sampler import TokenIds, sample_completions
from overopt.bridges.score_bank import ScoreBank
from overopt.theory.errors import InputError

__all__ = ["CompletionWriter", "HeldOutMeasurement", "read_completions"]


class HeldOutMeasurement:
    """Draws fresh completions of held-out prompts from a policy and scores them; writes its tables on leaving.

    Parameters
    ----------
    folder
        Gets ``checkpoints.parquet`` and ``completions.parquet``.
    base
        The initial policy: KL is measured against it, and it names the prompts.
    prompts
        Held-out prompts as token ids.
    samples
        Completions per prompt and checkpoint.
    proxy_name, proxy, gold
        The reward that is optimized, and gold.
    rng_of
        Step -> generator for that step's completions; training never draws from it.
    """

    def __init__(
        self,
        folder: Path,
        base: Policy,
        prompts: Sequence[TokenIds],
        samples: int,
        *,
        proxy_name: str,
        proxy: Scorer,
        gold: Scorer,
        rng_of: Any,
        max_new_tokens: int,
        temperature: float,
    ) -> None:
        self.folder, self.base, self.prompts, self.samples = folder, base, prompts, samples
        self.proxy_name, self.proxy, self.gold = proxy_name, proxy, gold
        self.rng_of, self.max_new_tokens, self.temperature = rng_of, max_new_tokens, temperature
        self.banks: dict[float, ScoreBank] = {}
        self.kl: dict[float, KL] = {}
        self.logratio: dict[float, NDArray[np.float64]] = {}
        self.writer = CompletionWriter(folder / "completions.parquet", base)

    def __enter__(self) -> HeldOutMeasurement:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.writer.close()
        if error is None:
            logratio = self.logratio if len(self.logratio) == len(self.banks) else None
            Checkpoints(self.banks, self.kl, logratio).write(self.folder / "checkpoints.parquet")

    def measure(self, step: int, policy: Any) -> None:
        """Measure ``policy`` as checkpoint ``step``."""
        rows = [prompt for prompt in self.prompts for _ in range(self.samples)]
        codes = np.repeat(np.arange(len(self.prompts)), self.samples)
        completions = sample_completions(
            self.rng_of(step), policy, rows,
            max_new_tokens=self.max_new_tokens, eos=self.base.eos, pad=self.base.pad, temperature=self.temperature,
        ).rows()  # fmt: skip
        divergence = sequence_kl(
            policy, self.base.model, rows, completions, pad=self.base.pad, temperature=self.temperature
        )
        self.record(step, completions, divergence.mean(codes, self.temperature), divergence.logratio)

    def record(
        self,
        checkpoint: float,
        completions: Sequence[TokenIds],
        kl: KL,
        logratio: NDArray[np.float64] | None = None,
    ) -> None:
        """Score ``samples`` completions of every held-out prompt, a prompt's own together, as one checkpoint.

        ``checkpoint`` is a step or a strength; checkpoints are recorded in ascending order. ``logratio`` (R,) is
        log pi(y|x) - log pi0(y|x) of each completion, where it is known; it is written if every checkpoint has it.
        """
        rows = [prompt for prompt in self.prompts for _ in range(self.samples)]
        codes = np.repeat(np.arange(len(self.prompts)), self.samples)
        if len(completions) != len(rows):
            raise InputError(
                f"`completions` must hold {self.samples} for each of {len(self.prompts)} prompts, "
                f"got {len(completions)}."
            )
        gold = self.gold(rows, completions)
        proxy = gold if self.proxy is self.gold else self.proxy(rows, completions)
        value = float(checkpoint)
        self.banks[value] = ScoreBank.from_codes(
            codes=codes,
            prompts=tuple(self.base.prompt_text(self.prompts)),
            gold=gold,
            proxies={self.proxy_name: proxy},
            length=np.array([len(row) for row in completions], dtype=np.float64),
        )
        self.kl[value] = kl
        if logratio is not None:
            self.logratio[value] = logratio
        for k, prompt in enumerate(self.prompts):
            mine = slice(k * self.samples, (k + 1) * self.samples)
            self.writer.write(k, prompt, completions[mine], gold[mine], checkpoint=value)


class CompletionWriter:
    """Writes completions with their text and gold to Parquet, a row group per call."""

    SCHEMA = pa.schema(
        [
            ("checkpoint", pa.float64()),
            ("prompt", pa.int32()),
            ("sample", pa.int32()),
            ("gold", pa.float64()),
            ("length", pa.int32()),
            ("tokens", pa.list_(pa.int32())),
            ("text", pa.string()),
        ]
    )

    def __init__(self, path: Path, policy: Policy) -> None:
        self.policy = policy
        self.writer = pq.ParquetWriter(path, self.SCHEMA, compression="zstd")

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()

    def write(
        self,
        prompt: int,
        prompt_ids: TokenIds,
        completions: Sequence[TokenIds],
        gold: NDArray[np.float64],
        *,
        checkpoint: float = 0.0,
        first: int = 0,
    ) -> None:
        """Append completions of one prompt (by its number); ``first`` is the number of the first one."""
        count = len(completions)
        table = pa.table(
            {
                "checkpoint": pa.array([checkpoint] * count, pa.float64()),
                "prompt": pa.array([prompt] * count, pa.int32()),
                "sample": pa.array(range(first, first + count), pa.int32()),
                "gold": gold,
                "length": pa.array([len(row) for row in completions], pa.int32()),
                "tokens": pa.array([list(row) for row in completions], pa.list_(pa.int32())),
                "text": self.policy.whole_text([prompt_ids] * count, completions),
            },
            schema=self.SCHEMA,
        )
        self.writer.write_table(table)


def read_completions(folder: Path) -> pa.Table:
    """The completions of a finished stage."""
    return pq.read_table(folder / "completions.parquet")
