"""`overopt validate claims`: what is stored per entry, and that a run of the same commit goes on where it was."""

from __future__ import annotations

import json

from overopt.bridges.provenance import commit
from overopt.reports.commands import validate_theory
from overopt.theory.claims import ledger


def test_an_entry_is_searched_by_name():
    name, row = validate_theory._searched("K17", 20)
    assert name == "K17"
    assert row["ok"]
    assert row["worlds"] == 20
    assert not row["refuted"]


def test_a_finished_search_is_not_done_again(tmp_path, capsys):
    found = {entry.id: {"verdict": entry.verdict, "ok": entry.id != "K50", "max_deviation": 0.0} for entry in ledger()}
    rows = {name: {**row, "worlds": 7, "refuted": False, "smallest_slack": None} for name, row in found.items()}
    stored = {"commit": commit(), "examples": 20_000, "claims": rows}
    (tmp_path / "claims.json").write_text(json.dumps(stored))
    assert validate_theory.validate_claims(tmp_path, True) == 1
    assert json.loads(capsys.readouterr().out) == stored
