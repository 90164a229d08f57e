"""The account of a mutation study in Markdown, from its stored record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["mutation_account"]

_HEAD = """# Would a wrong formula be noticed?

`overopt validate mutation` changes one arithmetic operator or one number of a formula file at a time (`+` to `-`, `*`
to `/`, `**` to `*`, a sign dropped, `2` to `3`, `0.1` to `0.15`), recomputes the ledger entries that execute it and
then, in a source checkout, the tests that do. The first disagreement catches it.

Which kind a mutant is follows from where it stands, by rule:

- a **setting** of the arithmetic is a number of `theory/numerics.py` (panel cuts, tolerances, brackets, where a series
  takes over), the default of a parameter, or the value of a class attribute: a nearby value gives the same digits, or
  is a choice that nobody calls wrong;
- an **equivalent** mutant provably computes the same: `bridges/validation/explained_mutants.py` lists it with its
  reason by file and source line (a test fails when the line is gone); it is not judged;
- everything else is a **formula**.
"""


def mutation_account(record: Mapping[str, Any]) -> str:
    """Shares by kind and every survivor with its reason."""
    kinds, survivors = record["kinds"], record["survivors"]
    sampled = sum(row["sampled"] for row in kinds.values())
    total = sum(row["mutants"] for row in kinds.values())
    caught = sum(row["caught"] for row in kinds.values())
    parts = [
        _HEAD,
        f"What was run: {sampled} of the {total} mutants at commit {record['commit'][:12]}, a random sample that holds "
        f"every file in proportion to its mutants (seed {record['seed']}).\n",
        _table(
            ("kind", "mutants", "sampled", "caught", "share caught"),
            [
                (kind, row["mutants"], row["sampled"], row["caught"] if kind != "equivalent" else "not judged",
                 f"{row['caught_share']:.1%}" if row["sampled"] and kind != "equivalent" else "–")
                for kind, row in kinds.items()
            ],
        ),
        f"All kinds together, equivalent ones counted as not caught: {caught} of {sampled}"
        + (f" ({caught / sampled:.1%}).\n" if sampled else ".\n"),
        "## Formula mutants that nothing noticed\n",
        _survivors(survivors["formula"], "unexplained"),
        "## Settings whose change nothing noticed\n",
        _survivors(survivors["setting"], ""),
        "## Equivalent mutants in the sample\n",
        _survivors(survivors["equivalent"], ""),
        "Lines are those of the judged commit.\n",
    ]  # fmt: skip
    return "\n".join(parts)


def _survivors(rows: Sequence[Mapping[str, Any]], unknown: str) -> str:
    if not rows:
        return "None.\n"
    return _table(
        ("where", "source", "change", "reason"),
        [
            (f"{row['file']} {row['line']}", f"`{row['text'].replace('|', chr(92) + '|')}`", row["change"],
             row["reason"] or unknown)
            for row in rows
        ],
    )  # fmt: skip


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)
