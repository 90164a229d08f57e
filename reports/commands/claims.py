"""``overopt claims``: recompute the ledger of claims, explain one, or search a claim of your own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from overopt.reports.arguments import check_outputs
from overopt.reports.options import parse_options
from overopt.reports.output import print_json, print_table, progress
from overopt.theory.errors import InputError

if TYPE_CHECKING:
    from overopt.reports.pages.blocks import Section
    from overopt.theory.claims import Claim, Evidence, Searched
    from overopt.theory.claims.evaluation import Search

__all__ = ["ClaimsOptions", "main"]

LEDGER_EXAMPLES = 200
FILE_EXAMPLES = 2000


@dataclass(frozen=True)
class ClaimsOptions:
    """Options of ``overopt claims``."""

    ids: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[ID ...]")] = ()
    """Entries to recompute and explain, such as K27 (default: the whole ledger as a table)."""
    file: Path | None = None
    """A Python file with claims of your own (from overopt.theory import claim), searched instead of the ledger."""
    examples: int | None = None
    """Worlds to draw per claim (default: 200 for the ledger, 2000 for a file)."""
    seed: int | None = None
    """Seed of the worlds (default: the same worlds in every run)."""
    report: Path | None = None
    """Also write the ledger as a page with typeset mathematics that works offline."""
    json: bool = False
    """Print one JSON list: id, title, verdict, evidence, max_deviation, ok."""


def main(argv: Sequence[str]) -> int:
    """Run the command: 0 if all evidence agrees with the verdicts, 1 if not."""
    options = parse_options(
        ClaimsOptions, argv, prog="overopt claims",
        description="Recompute the ledger of claims about overoptimization, or search a claim of your own.",
    )  # fmt: skip
    if options.file is not None:
        if options.ids or options.report:
            raise InputError("overopt claims: --file stands alone; leave out ids and --report.")
        return _search_file(options.file, options)
    return _recompute(options)


def _recompute(options: ClaimsOptions) -> int:
    from overopt.theory.claims import evaluate, find

    check_outputs({"--report": options.report})
    claims = find(options.ids)
    search = _ledger_search(options)
    evidence: list[Evidence] = []
    with progress() as bar:
        task = bar.add_task("recomputing", total=len(claims))
        for entry in claims:
            bar.update(task, description=f"recomputing {entry.id}")
            evidence.append(evaluate(entry, search))
            bar.advance(task)
    if options.report is not None:
        from overopt.reports.pages.claims_page import claims_page
        from overopt.reports.pages.page import write_page

        write_page(options.report, claims_page(claims, evidence, None if options.ids else _mechanisms()))
    if options.json:
        print_json([_record(item) for item in evidence])
    elif options.ids:
        print("\n\n".join("\n".join(_explanation(entry, item)) for entry, item in zip(claims, evidence, strict=True)))
    else:
        _print_ledger(evidence)
    return 0 if all(item.ok for item in evidence) else 1


def _mechanisms() -> Section:
    from overopt.reports.pages.mechanism_section import mechanism_section
    from overopt.theory.best_of_n import best_of_n, best_of_n_kl, n_at_kl
    from overopt.theory.mechanism_table import mechanism_table, standard_worlds
    from overopt.theory.mechanisms import PAPER_N

    worlds = standard_worlds()
    n = n_at_kl([0.0025 * k**2 for k in range(81)])
    curves = {name: best_of_n(world, n) for name, world in worlds.items()}
    return mechanism_section(mechanism_table(worlds), curves, float(best_of_n_kl(PAPER_N[-1]) ** 0.5))


def _ledger_search(options: ClaimsOptions) -> Search | None:
    """The ledger does without its property searches where Hypothesis is not installed, and says so."""
    from overopt.toys.claim_search import searcher

    try:
        return searcher(options.examples if options.examples is not None else LEDGER_EXAMPLES, options.seed)
    except InputError:
        if options.examples is not None:
            raise
        import sys

        print(
            "overopt claims: no property searches without Hypothesis: pip install 'overopt[property]'.", file=sys.stderr
        )
        return None


def _record(item: Evidence) -> dict[str, object]:
    return {
        "id": item.id, "title": item.title, "verdict": item.verdict, "evidence": item.evidence,
        "max_deviation": item.max_deviation, "ok": item.ok,
    }  # fmt: skip


def _print_ledger(evidence: Sequence[Evidence]) -> None:
    print_table(
        ("id", "claim", "verdict", "evidence", "worst deviation", "ok"),
        [
            (
                item.id, item.title, item.verdict, ", ".join(item.evidence), f"{item.max_deviation:.1e}",
                "ok" if item.ok else "NOT OK",
            )
            for item in evidence
        ],
    )  # fmt: skip
    for item in evidence:
        for failure in item.failures:
            print(f"{item.id}: {failure}")
    agreeing = sum(item.ok for item in evidence)
    print(f"{agreeing} of {len(evidence)} entries: the evidence was recomputed and agrees with the verdict.")


def _explanation(entry: Claim, item: Evidence) -> Iterator[str]:
    yield f"{entry.id}  {entry.title}: {entry.verdict}"
    yield f"  statement    {entry.statement}"
    yield f"  assumptions  {entry.assumptions}"
    yield f"  source       {entry.source}"
    if entry.note:
        yield f"  note         {entry.note}"
    yield f"  evidence     {', '.join(item.evidence)}; worst deviation {item.max_deviation:.1e}"
    if item.searched is not None:
        outcome = "no counterexample" if item.searched.holds else f"counterexample {item.searched.world}"
        yield f"  search       {item.searched.examples} worlds: {outcome}"
    if entry.counterexample is not None:
        yield f"  counterexample  {entry.counterexample.description}"
        yield f"                  {', '.join(f'{name} = {value}' for name, value in entry.counterexample.data.items())}"
    if item.comparisons:
        yield "  compared, value against reference:"
        width = max(len(comparison.what) for comparison in item.comparisons)
        for c in item.comparisons:
            yield f"    {c.what:<{width}}  {c.value:>14.7g}  {c.reference:>14.7g}  deviation {c.deviation:.1e}"
    yield "  the evidence agrees with the verdict" if item.ok else "  NOT OK: " + "; ".join(item.failures)


def _search_file(path: Path, options: ClaimsOptions) -> int:
    from overopt.reports.user_claims import load_claims, search_claim
    from overopt.toys.claim_search import searcher

    examples = options.examples if options.examples is not None else FILE_EXAMPLES
    claims = load_claims(path)
    searcher(examples, options.seed)  # what every search would refuse is refused once
    records: list[dict[str, object]] = []
    failures: list[str] = []
    for entry in claims:
        record: dict[str, object] = {
            "id": entry.id, "title": entry.title, "verdict": entry.verdict, "evidence": ["property"],
            "max_deviation": None, "ok": False, "examples": None, "counterexample": None, "error": None,
        }  # fmt: skip
        records.append(record)
        try:
            with progress() as bar:
                task = bar.add_task(f"searching {entry.id}", total=examples)
                search = searcher(examples, options.seed, lambda bar=bar, task=task: bar.advance(task))  # type: ignore[misc]
                found = search_claim(path, entry, search)
        except InputError as error:
            record["error"] = str(error)
            failures.append(str(error).rstrip("."))
            if not options.json:
                print(f"{entry.id}: {entry.title}\n  was not judged: it ended in an error")
            continue
        record |= {
            "max_deviation": max(0.0, -found.slack), "ok": found.holds == (entry.verdict != "false"),
            "examples": found.examples, "counterexample": None if found.holds else str(found.world),
        }  # fmt: skip
        if not options.json:
            _print_search(entry, found)
    if options.json:
        print_json(records)
    if failures:
        raise InputError("; ".join(failures) + ".")
    return 0 if all(record["ok"] for record in records) else 1


def _print_search(entry: Claim, found: Searched) -> None:
    print(f"{entry.id}: {entry.title}")
    if found.holds:
        print(f"  holds on {found.examples} worlds")
        return
    print(f"  refuted by world {found.examples}; the smallest counterexample, slack {found.slack:.4g}:")
    print(f"  {found.world}")
    parts = found.world if isinstance(found.world, tuple) else (found.world,)
    curves = [part.curve() for part in parts if hasattr(part, "curve")]
    for curve in curves[:1]:
        print_table(("method", "pressure", "KL (nats)", "d", "proxy", "gold"), [_row(policy) for policy in curve])


def _row(policy: Any) -> tuple[object, ...]:
    return (policy.method, policy.pressure, policy.kl, policy.d, policy.proxy, policy.gold)
