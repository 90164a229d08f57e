"""Studies by name: which worlds, how many repetitions, and a resumable tally of what happened."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from overopt.bridges.provenance import commit
from overopt.bridges.validation.policy_worlds import POLICY_WORLDS
from overopt.bridges.validation.table_fuzz import FuzzTrial
from overopt.bridges.validation.trials import BankTrial, Outcome, PolicyTrial, Trial
from overopt.bridges.worker_processes import end_with_parent
from overopt.theory.errors import InputError

__all__ = ["STUDIES", "Cell", "Rate", "Tally", "run_cell", "tally_path"]

P_BINS = 20
CHUNK = 20


@dataclass(frozen=True)
class Cell:
    """One world in one design.

    Attributes
    ----------
    name
        Unique within the study.
    prepare
        Makes the trial; computes the truth.
    """

    name: str
    prepare: Callable[[], Trial]


def _bank(world: str, prompts: int = 64, samples: int = 128) -> Cell:
    sizes = tuple(size for size in (2, 4, 8, 16, 32, 64) if size <= samples // 2)
    name = f"{world} {prompts} x {samples}"
    return Cell(name, partial(BankTrial.prepare, world, prompts, samples, sizes))


def _policy(world: str, prompts: int = 64, samples: int = 256, policy_samples: int = 32) -> Cell:
    name = f"{world} {prompts} x {samples}, {policy_samples} per checkpoint"
    return Cell(name, partial(PolicyTrial.prepare, world, prompts, samples, policy_samples))


STUDIES: Mapping[str, tuple[Cell, ...]] = {
    "coverage": (
        *(_bank(world) for world in ("gaussian", "uniform", "laplace", "student-t3", "skewed", "weak")),
        *(_bank(world) for world in ("gold-scale-varies", "slope-varies", "noisy-gold", "kink", "scale-dependence")),
        *(_bank(world) for world in ("length-hack", "rare-mode")),
    ),
    "controls": (
        *(_bank(world) for world in ("integer-judge", "five-level-judge", "rounded", "binary-gold", "exp", "sigmoid")),
        *(_bank(world) for world in ("negative-slope",)),
        _bank("gaussian", 200, 24), _bank("laplace", 200, 24), _bank("binary-gold", 200, 24),
        _bank("integer-judge", 200, 24), _bank("gaussian", 8, 128), _bank("gold-scale-varies", 8, 128),
    ),
    "checkpoints": (
        *(_policy(world) for world in POLICY_WORLDS),
        # As few as the recipes draw, where prompts differ most.
        *(_policy(world, policy_samples=4) for world in ("scale-varies-tilt", "noise-varies-tilt", "gaussian-hack")),
    ),
    "tables": (Cell("mutated files", FuzzTrial),),
}  # fmt: skip


@dataclass(frozen=True)
class Rate:
    """How often something happened.

    Attributes
    ----------
    count, of
        Times it happened, and repetitions that had an answer.
    """

    count: int
    of: int

    @property
    def share(self) -> float:
        """``count / of``."""
        return self.count / self.of


@dataclass
class Tally:
    """Counts over the repetitions of one cell so far.

    Attributes
    ----------
    banks
        Repetitions done.
    rates
        Name -> how often it happened.
    histograms
        Name -> counts of a p-value in 20 equal bins.
    commit
        The commit that is judged.
    """

    commit: str
    banks: int = 0
    rates: dict[str, Rate] = field(default_factory=dict)
    histograms: dict[str, list[int]] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count one repetition."""
        self.banks += 1
        for name, value in outcome.items():
            if isinstance(value, (bool, np.bool_)):
                rate = self.rates.get(name, Rate(0, 0))
                self.rates[name] = Rate(rate.count + int(value), rate.of + 1)
            else:
                counts = self.histograms.setdefault(name, [0] * P_BINS)
                counts[min(int(np.ceil(value * P_BINS)) - 1, P_BINS - 1)] += 1

    def write(self, path: Path) -> None:
        """Write the tally as JSON, to a temporary name first."""
        rates = {name: [rate.count, rate.of] for name, rate in self.rates.items()}
        record = {"commit": self.commit, "banks": self.banks, "rates": rates, "histograms": self.histograms}
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)

    @classmethod
    def read(cls, path: Path) -> Tally:
        """Read what :meth:`write` wrote."""
        record = json.loads(path.read_text(encoding="utf-8"))
        rates = {name: Rate(*counts) for name, counts in record["rates"].items()}
        return cls(record["commit"], record["banks"], rates, record["histograms"])


def tally_path(folder: Path, study: str, cell: Cell, seed: int) -> Path:
    """Where the tally of a cell is stored."""
    return folder / study / f"{cell.name.replace(' ', '_').replace(',', '')}_seed{seed}.json"


def run_cell(
    study: str, cell: Cell, banks: int, *, out: Path | None = None, processes: int = 1, seed: int = 0
) -> Iterator[Tally]:
    """Repeat a cell's trial ``banks`` times, yielding the tally after every chunk.

    Repetition i draws from a generator seeded with (seed, cell, i), so the tally does not depend on the number of
    processes or on interruptions. With ``out``, the tally is stored there after every chunk and a stored one of the
    same commit and seed is continued, unless that commit's code had changes.

    Raises
    ------
    InputError
        If ``banks`` or ``processes`` is below 1.
    """
    if banks < 1 or processes < 1:
        raise InputError(f"`banks` and `processes` must be >= 1, got {banks} and {processes}.")
    path = None if out is None else tally_path(out, study, cell, seed)
    tally = Tally(commit())
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and (stored := Tally.read(path)).banks <= banks:
            same = stored.commit == tally.commit and "+dirty" not in stored.commit and stored.commit != "unknown"
            tally = stored if same else tally
    yield tally
    if tally.banks >= banks:
        return
    trial = cell.prepare()
    key = zlib.crc32(f"{study}/{cell.name}".encode())
    pending = [(seed, key, index) for index in range(tally.banks, banks)]
    chunks = [pending[start : start + CHUNK * processes] for start in range(0, len(pending), CHUNK * processes)]
    if processes == 1:
        for chunk in chunks:
            for outcome in map(partial(_repetition, trial), chunk):
                tally.add(outcome)
            if path is not None:
                tally.write(path)
            yield tally
        return
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_start, initargs=(trial, os.getpid())
    ) as pool:
        for chunk in chunks:
            for outcome in pool.map(_own_repetition, chunk, chunksize=4):
                tally.add(outcome)
            if path is not None:
                tally.write(path)
            yield tally


def _repetition(trial: Trial, seed: tuple[int, int, int]) -> Outcome:
    return trial(np.random.default_rng(seed))


_TRIAL: list[Trial] = []


def _start(trial: Trial, parent: int) -> None:
    """Hold the trial in a worker process: its truth is megabytes, sent once and not with every repetition."""
    end_with_parent(parent)
    _TRIAL[:] = [trial]


def _own_repetition(seed: tuple[int, int, int]) -> Outcome:
    return _repetition(_TRIAL[0], seed)
