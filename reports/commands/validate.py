"""``overopt validate``: coverage, controls and power of the estimators in worlds whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from overopt.reports.options import parse_options
from overopt.reports.output import print_json, print_table, progress
from overopt.theory.errors import InputError

if TYPE_CHECKING:
    from overopt.bridges.validation.study import Cell, Tally

__all__ = ["ValidateOptions", "main"]


@dataclass(frozen=True)
class ValidateOptions:
    """Options of ``overopt validate``."""

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY")] = "all"
    """coverage, controls, checkpoints, tables (mutated files), or all of them; claims (the ledger on 20,000 worlds),
    mutation (broken formulas) and kills (sweeps under random SIGKILLs) stand alone. document writes the tallies stored
    in --out into --page."""
    banks: int = 2000
    """Simulated banks per cell."""
    cells: tuple[str, ...] = ()
    """Only cells whose name starts with one of these."""
    mutants: int | None = None
    """Study mutation: how many broken formulas to draw (default: every one)."""
    minutes: float | None = None
    """Study mutation: begin no further broken formula after so many minutes; the same command continues later."""
    again: bool = False
    """Study mutation: judge the stored survivors again first; tests may have been written since."""
    doc: Path | None = None
    """Study mutation: also write the account as Markdown here."""
    kills: int = 20
    """Study kills: SIGKILLs in all, of parents and workers, on every engine that is installed."""
    processes: int = 1
    """Worker processes. The result does not depend on their number."""
    out: Path = Path("runs/validation")
    """Tallies are stored here, one JSON file per cell; the same command continues them."""
    page: Path = Path("reports/docs/estimator.md")
    """Page whose tables study document rewrites."""
    seed: int = 0
    """Seed of the simulated banks."""
    json: bool = False
    """Print one JSON object instead of tables."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parse_options(
        ValidateOptions,
        argv,
        prog="overopt validate",
        description="The statistical validation that is too slow for the test suite.",
    )
    if options.study == "kills":
        from overopt.reports.commands.validate_kills import validate_kills

        return validate_kills(options.kills, options.seed, options.out, options.json)
    if options.study == "claims":
        from overopt.reports.commands.validate_theory import validate_claims

        return validate_claims(options.out, options.json, processes=options.processes)
    if options.study == "mutation":
        from overopt.reports.commands.validate_theory import validate_mutation

        return validate_mutation(
            options.mutants,
            options.seed,
            options.out,
            options.json,
            minutes=options.minutes,
            doc=options.doc,
            again=options.again,
        )
    if options.study == "document":
        from overopt.reports.validation_tables import read_tallies, update_page

        update_page(options.page, read_tallies(options.out))
        return 0
    from overopt.bridges.validation.study import STUDIES, run_cell

    if options.study != "all" and options.study not in STUDIES:
        known = ", ".join([*STUDIES, "claims", "mutation", "kills", "document"])
        raise InputError(f"STUDY must be all or one of {known}, got '{options.study}'.")
    names = list(STUDIES) if options.study == "all" else [options.study]
    chosen = [(name, cell) for name in names for cell in STUDIES[name] if _wanted(cell, options.cells)]
    if not chosen:
        raise InputError(f"`--cells` must name the start of a cell's name, got {', '.join(options.cells)}.")
    running = [
        run_cell(study, cell, options.banks, out=options.out, processes=options.processes, seed=options.seed)
        for study, cell in chosen
    ]
    latest: list[Tally | None] = [None] * len(chosen)
    with progress() as display:
        overall = display.add_task("banks", total=len(chosen) * options.banks)
        # One chunk of every cell in turn: a study that is stopped early knows as much about each cell.
        done = -1
        while done < len(chosen) * options.banks:
            latest = [next(steps, tally) for steps, tally in zip(running, latest, strict=True)]
            done = sum(tally.banks for tally in latest if tally is not None)
            display.update(overall, completed=done)
    tallies = [(study, cell, tally) for (study, cell), tally in zip(chosen, latest, strict=True) if tally is not None]
    if options.json:
        print_json({"banks": options.banks, "cells": [_record(*row) for row in tallies]})
        return 0
    for study, cell, tally in tallies:
        print_table(*_pivot(tally), title=f"{study}: {cell.name}; {tally.banks} banks, commit {tally.commit[:12]}")
    return 0


def _wanted(cell: Cell, prefixes: tuple[str, ...]) -> bool:
    return not prefixes or cell.name.startswith(prefixes)


def _pivot(tally: Tally) -> tuple[list[str], list[list[object]]]:
    """Shares with one row per quantity and one column per point of the curve."""
    points: list[str] = []
    rows: dict[str, dict[str, float]] = {}
    for name, rate in tally.rates.items():
        quantity, _, point = name.partition(", ")
        rows.setdefault(quantity, {})[point] = rate.share
        if point not in points:
            points.append(point)
    points.sort(key=lambda point: point == "")
    return ["share of", *points], [[name, *(shares.get(point) for point in points)] for name, shares in rows.items()]


def _record(study: str, cell: Cell, tally: Tally) -> dict[str, object]:
    rates = {name: {"share": rate.share, "of": rate.of} for name, rate in tally.rates.items()}
    return {
        "study": study, "cell": cell.name, "commit": tally.commit, "banks": tally.banks, "rates": rates,
        "histograms": tally.histograms,
    }  # fmt: skip
