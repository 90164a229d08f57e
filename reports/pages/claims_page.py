"""The ledger of claims as one page: every statement typeset, its verdict, and the evidence that was just recomputed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from overopt.reports.pages.page import Block, Formula, Mark, Note, Page, Section, Table, Text
from overopt.theory.claims import Claim, Evidence

__all__ = ["claims_page"]

_KINDS = {"true": "good", "conditional": "open", "false": "bad"}


def claims_page(claims: Sequence[Claim], evidence: Sequence[Evidence], mechanisms: Section | None = None) -> Page:
    """The page for these claims; ``evidence[i]`` belongs to ``claims[i]``; ``mechanisms`` is shown before them."""
    verdicts = Counter(item.verdict for item in evidence)
    agreeing = sum(item.ok for item in evidence)
    return Page(
        title="Claims about reward-model overoptimization",
        kicker="the ledger of claims",
        headline=(
            f"{len(claims)} claims about overoptimization: {verdicts['true']} true, "
            f"{verdicts['conditional']} conditional, {verdicts['false']} false"
        ),
        summary=(
            "**True** holds under the stated assumptions, **conditional** is usually quoted without the assumptions "
            "that it needs, **false** fails under the assumptions that it names.",
            f"All evidence was recomputed for this page; that of {agreeing} of {len(claims)} entries agrees with the "
            "verdict.",
        ),
        hero=(_overview(evidence),),
        sections=(
            *([mechanisms] if mechanisms else []),
            *(_section(entry, item) for entry, item in zip(claims, evidence, strict=True)),
        ),
        footer=(
            "Deviation: |value − reference| / max(1, |reference|) for an equality, the violation for a bound, and for "
            "a printed figure the excess over half a unit of its last digit.",
        ),
    )


def _overview(evidence: Sequence[Evidence]) -> Table:
    return Table(
        columns=("id", "claim", "verdict", "evidence", "worst deviation", "recomputed"),
        rows=tuple(
            (
                item.id, item.title, _verdict(item), ", ".join(item.evidence), f"{item.max_deviation:.1e}",
                Mark("agrees", "good") if item.ok else Mark("does not agree", "bad"),
            )
            for item in evidence
        ),
    )  # fmt: skip


def _verdict(item: Evidence) -> Mark:
    return Mark(item.verdict, _KINDS[item.verdict])  # type: ignore[arg-type]


def _section(entry: Claim, item: Evidence) -> Section:
    return Section(title=f"{entry.id} {entry.title}", lead=f"{entry.verdict}", blocks=tuple(_blocks(entry, item)))


def _blocks(entry: Claim, item: Evidence) -> Iterator[Block]:
    yield Formula(entry.statement)
    yield Text(f"**Assumptions** {entry.assumptions}. **Source** {entry.source}.")
    if entry.counterexample is not None:
        yield Text(f"**Counterexample** {entry.counterexample.description}.")
    if entry.note:
        yield Text(f"**Note** {entry.note}")
    if item.searched is not None:
        outcome = "no counterexample" if item.searched.holds else f"counterexample `{item.searched.world}`"
        yield Note(f"Search over {item.searched.examples} random worlds: {outcome}.")
    if item.comparisons:
        yield Table(
            columns=("compared", "value", "reference", "deviation"),
            rows=tuple(
                (c.what, f"{c.value:.7g}", f"{c.reference:.7g}", f"{c.deviation:.1e}") for c in item.comparisons
            ),
            fold=f"{len(item.comparisons)} comparisons, worst deviation {item.max_deviation:.1e}",
        )
    for failure in item.failures:
        yield Text(f"**Does not agree** {failure}")
