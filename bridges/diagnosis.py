"""Score tables of one run -> everything that can be said about its overoptimization, as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from overopt.bridges.best_of_n import best_of_n_curve
from overopt.bridges.bounded_bank import some_prompts, some_samples
from overopt.bridges.checkpoints import Checkpoints, checkpoint_curve
from overopt.bridges.curve import Curve
from overopt.bridges.decomposition import (
    BestOfNDecomposition,
    CheckpointDecomposition,
    ScaleKind,
    decompose_best_of_n,
    decompose_checkpoints,
)
from overopt.bridges.fits import Fit, fit_curve
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.stopping import Stopping, stop_best_of_n, stop_checkpoints
from overopt.bridges.stored_bank import StoredBank
from overopt.bridges.turn import Turn, measure_turn
from overopt.bridges.verdicts import proxy_verdicts
from overopt.theory.errors import InputError

__all__ = ["DECOMPOSED_ROWS", "Diagnosis", "OptimizerDiagnosis", "ProxyDiagnosis", "diagnose"]

DECOMPOSED_ROWS = 1_000_000
"""A larger bank is decomposed on about so many of its rows; its curve uses all rows."""


@dataclass(frozen=True)
class OptimizerDiagnosis:
    """One proxy under one optimizer: best-of-n on the bank, or the checkpoints of a run.

    Attributes
    ----------
    curve
        The measured curve, own units of gold and proxy.
    fit, proxy_fit
        The law asked for on gold and on proxy gains; None where no law can be fitted (a warning says why).
    turn
        Rise, fall and net change of gold, the peak chosen on other prompts than it is judged on.
    decomposition
        Promise, delivery and the terms between them, in gold SD; None where the data allow none (a warning says why).
    stopping
        Where to stop, by rules that see gold or do not.
    """

    curve: Curve
    fit: Fit | None
    proxy_fit: Fit | None
    turn: Turn | None
    decomposition: BestOfNDecomposition | CheckpointDecomposition | None
    stopping: Stopping | None


@dataclass(frozen=True)
class ProxyDiagnosis:
    """One proxy.

    Attributes
    ----------
    name
        Column of the proxy.
    best_of_n, checkpoints
        What each optimizer shows; None where there are no data for it.
    verdicts
        Plain sentences, every number computed.
    """

    name: str
    best_of_n: OptimizerDiagnosis | None
    checkpoints: OptimizerDiagnosis | None
    verdicts: tuple[str, ...]

    @property
    def optimizers(self) -> tuple[OptimizerDiagnosis, ...]:
        """Those with data, best-of-n first."""
        return tuple(part for part in (self.best_of_n, self.checkpoints) if part is not None)

    @property
    def fit(self) -> Fit | None:
        """The fit of the run's checkpoints where they have a KL, else that of best-of-n."""
        run = None if self.checkpoints is None else self.checkpoints.fit
        return run if run is not None or self.best_of_n is None else self.best_of_n.fit

    @property
    def independence_p(self) -> float | None:
        """p-value of "the proxy's error is independent of gold" on the base samples; None where it has none."""
        for part in self.optimizers:
            if part.decomposition is not None:
                return part.decomposition.independence.p_value
        return None


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis of score tables.

    Attributes
    ----------
    scale
        Measurement scale asked for; each decomposition says which one is in force.
    n_prompts, samples_per_prompt
        Of the base bank; ``samples_per_prompt`` is the smallest number, up to which best-of-n is defined.
    proxies
        Name -> diagnosis, in the order of the columns.
    warnings
        What was decided or could not be told, with the reason.
    """

    scale: ScaleKind
    n_prompts: int
    samples_per_prompt: int
    proxies: Mapping[str, ProxyDiagnosis]
    warnings: tuple[str, ...]


def diagnose(
    bank: ScoreBank | StoredBank,
    checkpoints: Checkpoints | None = None,
    *,
    rng: np.random.Generator | None = None,
    scale: ScaleKind = "slope",
    law: str | None = None,
    warnings: tuple[str, ...] = (),
) -> Diagnosis:
    """Diagnose every proxy of a base bank and, if given, of the checkpoints of a run on the same prompts.

    Parameters
    ----------
    rng
        Default: seed 0.
    scale
        Measurement scale of the decomposition.
    law
        Law of both fits; default ``bon`` for best-of-n and ``rl`` for checkpoints.
    warnings
        Of the reader, put before those found here.
    """
    generator = rng or np.random.default_rng(0)
    found = list(warnings)
    memory, left_out = some_prompts(bank, DECOMPOSED_ROWS, generator)
    if left_out:
        found.append(
            f"the bank has {bank.n_rows:,} rows: the best-of-n curve and its fit use all of them, the decomposition "
            f"and the stopping rules {left_out}."
        )
    start = memory
    if checkpoints is not None and left_out:
        if memory.n_prompts < bank.n_prompts:
            start, left_out = some_samples(bank, DECOMPOSED_ROWS, generator)
        found.append(f"the checkpoints are compared with base samples of every prompt, {left_out}.")
    stream = int(generator.integers(2**63))
    proxies: dict[str, ProxyDiagnosis] = {}
    for name in bank.proxies:
        best_of_n = run = None
        # A stream of its own, so that a proxy's answer does not depend on the columns beside it.
        own = np.random.default_rng([stream, *name.encode()])
        if bank.samples_per_prompt >= 2:
            best_of_n = _best_of_n(bank, memory, name, own, scale, law or "bon", found)
        if checkpoints is not None and name in checkpoints.proxies:
            run = _checkpoints(start, checkpoints, name, own, scale, law or "rl", found)
        verdicts = proxy_verdicts(memory, name, [part for part in (best_of_n, run) if part is not None])
        proxies[name] = ProxyDiagnosis(name, best_of_n, run, verdicts)
    if bank.samples_per_prompt < 2:
        found.append("the base policy has one sample per prompt: no best-of-n curve and no test on base samples.")
    return Diagnosis(scale, bank.n_prompts, bank.samples_per_prompt, proxies, tuple(dict.fromkeys(found)))


def _best_of_n(
    bank: ScoreBank | StoredBank,
    memory: ScoreBank,
    proxy: str,
    rng: np.random.Generator,
    scale: ScaleKind,
    law: str,
    warnings: list[str],
) -> OptimizerDiagnosis:
    curve = best_of_n_curve(bank, proxy)
    sizes = [int(size) for size in curve.pressure if size <= memory.samples_per_prompt]
    decomposition: BestOfNDecomposition | None = None
    try:
        decomposition = decompose_best_of_n(memory, proxy, sizes, rng=rng, scale=scale)
        warnings += [f"{proxy}, best-of-n: {text}" for text in decomposition.warnings]
    except InputError as error:
        warnings.append(f"{proxy}, best-of-n: no decomposition: {error}")
    return OptimizerDiagnosis(
        curve=curve,
        fit=_fit(curve, law, proxy, warnings, rng),
        proxy_fit=_fit(curve, law, proxy, [], rng, proxy_gains=True),
        turn=measure_turn(curve),
        decomposition=decomposition,
        stopping=stop_best_of_n(memory, proxy, rng=rng),
    )


def _checkpoints(
    bank: ScoreBank,
    checkpoints: Checkpoints,
    proxy: str,
    rng: np.random.Generator,
    scale: ScaleKind,
    law: str,
    warnings: list[str],
) -> OptimizerDiagnosis:
    curve = checkpoint_curve(checkpoints, proxy, bank)
    decomposition: CheckpointDecomposition | None = None
    try:
        decomposition = decompose_checkpoints(bank, checkpoints, proxy, rng=rng, scale=scale)
        warnings += [f"{proxy}, checkpoints: {text}" for text in decomposition.warnings]
    except InputError as error:
        warnings.append(f"{proxy}, checkpoints: no decomposition: {error}")
    return OptimizerDiagnosis(
        curve=curve,
        fit=_fit(curve, law, proxy, warnings, rng),
        proxy_fit=_fit(curve, law, proxy, [], rng, proxy_gains=True),
        turn=measure_turn(curve),
        decomposition=decomposition,
        stopping=stop_checkpoints(checkpoints, proxy, bank, rng=rng),
    )


def _fit(
    curve: Curve, law: str, proxy: str, warnings: list[str], rng: np.random.Generator, *, proxy_gains: bool = False
) -> Fit | None:
    try:
        return fit_curve(curve, law, quantity="proxy" if proxy_gains else "gold", rng=rng)
    except InputError as error:
        warnings.append(f"{proxy}, {curve.method}: no fit: {error}")
        return None
