"""The theory's share of ``overopt validate``: the ledger on many worlds, and the mutation of the formula files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from overopt.reports.output import print_json, print_table

if TYPE_CHECKING:
    from overopt.bridges.validation.mutation import Outcome

__all__ = ["validate_claims", "validate_mutation"]

LEDGER_EXAMPLES = 20_000


def validate_claims(as_json: bool) -> int:
    """Recompute the ledger with 20,000 worlds per property; 1 if any entry does not agree with its verdict."""
    from overopt.reports.commands.claims import main

    return main(["--examples", str(LEDGER_EXAMPLES), *(["--json"] if as_json else [])])


def validate_mutation(sample: int | None, seed: int, out: Path, as_json: bool) -> int:
    """Judge ``sample`` mutants of the formula files (all for None) and store the study with the commit it judges."""
    import numpy as np

    from overopt.bridges.provenance import commit
    from overopt.bridges.validation.mutation import mutation_study, study_record

    def show(outcome: Outcome) -> None:
        mutant = outcome.mutant
        print(f"{mutant.module}.py:{mutant.line} {mutant.change}: {outcome.result} {outcome.by}", file=sys.stderr)

    study = mutation_study(np.random.default_rng(seed), sample, on_outcome=show)
    record = {"commit": commit(), "seed": seed, **study_record(study)}
    out.mkdir(parents=True, exist_ok=True)
    (out / "mutation.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if as_json:
        print_json(record)
        return 0
    print_table(
        ("file", "line", "change that nothing noticed"),
        [(f"{o.mutant.module}.py", o.mutant.line, o.mutant.change) for o in study.survivors()],
    )
    print(f"{study.share_caught:.1%} of {len(study.outcomes)} mutants caught, drawn from {study.mutants}.")
    return 0
