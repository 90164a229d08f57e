"""The page of ``overopt toy --studies``: one claim, one verdict, one chart each."""

from __future__ import annotations

from collections.abc import Mapping

from overopt.reports.charts.toy_chart import study_chart
from overopt.reports.pages.blocks import Figure, Mark, Page, Section, Table
from overopt.toys.studies import Study

__all__ = ["toy_studies_page"]

_KINDS = {"pass": "good", "fail": "bad", "cannot tell": "open"}


def toy_studies_page(studies: Mapping[str, Study]) -> Page:
    """The verdicts as a table, then every study with its chart."""
    passed = sum(study.verdict == "pass" for study in studies.values())
    rows = tuple(
        (name.replace("_", " "), study.claim, Mark(study.verdict, _KINDS[study.verdict]))  # type: ignore[arg-type]
        for name, study in studies.items()
    )
    return Page(
        title="overopt toy --studies",
        kicker="overopt toy · studies",
        headline=f"The toys agree with {passed} of {len(studies)} claims.",
        sections=(
            Section("Verdicts", (Table(("study", "claim", "verdict"), rows),)),
            *(
                Section(
                    name.replace("_", " ").capitalize(),
                    (
                        Figure(
                            chart=study_chart(study),
                            title=study.claim,
                            alt=study.finding,
                            caption=study.finding,
                            name=name,
                        ),
                    ),
                )
                for name, study in studies.items()
            ),
        ),
        footer=("Gains over the base policy in gold SD; exact values, no simulation except where models are learned.",),
    )
