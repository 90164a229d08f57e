"""The theory's share of ``overopt validate``: the ledger on many worlds, and the mutation of the formula files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overopt.bridges.worker_processes import end_with_parent
from overopt.reports.output import print_json, print_table, progress

if TYPE_CHECKING:
    from overopt.bridges.validation.mutation import MutationStudy

__all__ = ["validate_claims", "validate_mutation"]

LEDGER_EXAMPLES = 20_000


def validate_claims(out: Path, as_json: bool, *, examples: int = LEDGER_EXAMPLES, processes: int = 1) -> int:
    """Search every property of the ledger on 20,000 worlds and store what was found with the commit; 1 if one fails.

    ``out/claims.json`` is written after every entry, and a later run of the same commit continues it.
    """
    from overopt.bridges.provenance import commit
    from overopt.theory.claims import ledger

    path = out / "claims.json"
    record: dict[str, Any] = {"commit": commit(), "examples": examples, "claims": {}}
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if {**stored, "claims": {}} == record:
            record = stored
    found: dict[str, Any] = record["claims"]
    names = [entry.id for entry in ledger()]
    waiting = [name for name in names if name not in found]
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=end_with_parent, initargs=(os.getpid(),))
    with progress() as bar, pool:
        task = bar.add_task("searching", total=len(names), completed=len(found))
        for done in as_completed([pool.submit(_searched, name, examples) for name in waiting]):
            name, row = done.result()
            found[name] = row
            record["claims"] = {name: found[name] for name in names if name in found}
            _store(path, record)
            bar.advance(task)
    if as_json:
        print_json(record)
    else:
        print_table(
            ("id", "verdict", "worlds", "smallest slack", "worst deviation", "ok"),
            [
                (name, row["verdict"], row["worlds"], row["smallest_slack"], row["max_deviation"], row["ok"])
                for name, row in record["claims"].items()
            ],
        )
    return 0 if all(row["ok"] for row in record["claims"].values()) else 1


def _searched(name: str, examples: int) -> tuple[str, dict[str, Any]]:
    """One entry's name and its row of the record."""
    from overopt.theory.claims import evaluate, find
    from overopt.toys.claim_search import searcher

    (entry,) = find((name,))
    found = evaluate(entry, searcher(examples))
    searched = found.searched
    return name, {
        "verdict": found.verdict, "ok": found.ok, "max_deviation": found.max_deviation,
        "worlds": searched.examples if searched else 0,
        "refuted": bool(searched and not searched.holds),
        "smallest_slack": _finite(searched.slack) if searched else None,
    }  # fmt: skip


def _finite(slack: float) -> float | None:
    return slack if abs(slack) < float("inf") else None


def _store(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def validate_mutation(
    sample: int | None,
    seed: int,
    out: Path,
    as_json: bool,
    *,
    minutes: float | None = None,
    doc: Path | None = None,
    again: bool = False,
) -> int:
    """Judge ``sample`` mutants of the formula files (all for None) for at most ``minutes``.

    ``out/mutation.json`` is written after every mutant and a later run continues it. ``doc`` receives the account in
    Markdown.
    """
    import numpy as np

    from overopt.bridges.provenance import commit
    from overopt.bridges.validation.mutation import mutation_study, study_from_record, study_record

    path = out / "mutation.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"outcomes": []}
    head = {"commit": stored.get("commit", commit()), "seed": seed}
    study = mutation_study(
        np.random.default_rng(seed), sample, minutes=minutes, earlier=study_from_record(stored), again=again,
        on_outcome=_shower(lambda so_far: _store(path, {**head, **study_record(so_far)})),
    )  # fmt: skip
    record = {**head, **study_record(study)}
    _store(path, record)
    if doc is not None:
        from overopt.reports.mutation_account import mutation_account

        doc.write_text(mutation_account(record), encoding="utf-8")
    if as_json:
        print_json({name: value for name, value in record.items() if name != "outcomes"})
        return 0
    print_table(
        ("kind", "mutants", "sampled", "caught", "share"),
        [
            (kind, row["mutants"], row["sampled"], row["caught"], row["caught_share"])
            for kind, row in record["kinds"].items()
        ],
    )
    print_table(
        ("file", "line", "change that nothing noticed", "why"),
        [(row["file"], row["line"], row["change"], row["reason"]) for row in record["survivors"]["formula"]],
        title="Formulas",
    )
    return 0


def _shower(store: Callable[[MutationStudy], None]) -> Callable[[MutationStudy], None]:
    def show(study: MutationStudy) -> None:
        store(study)
        mutant, outcome = study.outcomes[-1].mutant, study.outcomes[-1]
        print(
            f"{mutant.module}.py:{mutant.line} {mutant.change} ({mutant.kind}): {outcome.result} {outcome.by}",
            file=sys.stderr,
        )

    return show
