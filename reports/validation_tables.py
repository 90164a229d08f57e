"""The stored tallies of ``overopt validate`` as the tables of the estimators' page: read, rounded, never typed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from overopt.theory.errors import InputError

if TYPE_CHECKING:
    from overopt.bridges.validation.study import Tally

__all__ = ["read_tallies", "update_page", "validation_tables"]

BEGIN, END = "<!-- tallies: begin -->", "<!-- tallies: end -->"
NOMINAL = (0.925, 0.975)
RARE = 0.05
"""A share of fewer banks than this (those of a term that hardly ever has an interval) is not shown."""
COLUMNS = {
    "coverage": ("promise", "regressional", "extremal", "delivered", "extremal band", "alpha", "beta"),
    "controls": ("promise", "regressional", "extremal", "delivered", "extremal band", "alpha", "beta"),
    "checkpoints": (
        "promise", "regressional", "extremal", "causal", "unattributed", "delivered", "path selection", "path shift",
        "fresh winners",
    ),
}  # fmt: skip
DETECTIONS = {
    "coverage": ("dependent error claimed", "independence rejected", "skewed promise warned of"),
    "controls": ("dependent error claimed", "independence rejected", "skewed promise warned of"),
    "checkpoints": (),
}  # fmt: skip


def read_tallies(folder: Path) -> dict[str, dict[str, Tally]]:
    """Study -> cell -> tally, for every study of :data:`COLUMNS` that has a folder there."""
    from overopt.bridges.validation.study import STUDIES, Tally, tally_path

    found: dict[str, dict[str, Tally]] = {}
    for study in COLUMNS:
        paths = {cell.name: tally_path(folder, study, cell, seed=0) for cell in STUDIES[study]}
        cells = {name: Tally.read(path) for name, path in paths.items() if path.exists()}
        if cells:
            found[study] = cells
    if not found:
        raise InputError(f"`--out` must hold tallies of {', '.join(COLUMNS)}, got {folder}.")
    return found


def validation_tables(tallies: dict[str, dict[str, Tally]]) -> str:
    """One Markdown table per study: the lowest and highest share over the points of a curve, nominal .95.

    Shares of intervals outside [.925, .975] are bold; the columns after them are shares of banks with a detection.
    """
    parts = []
    for study, cells in tallies.items():
        columns = [name for name in COLUMNS[study] if any(_shares(tally, name) for tally in cells.values())]
        detections = DETECTIONS[study]
        commits = sorted({tally.commit[:12] for tally in cells.values()})
        parts.append(f"### {study} (commit {', '.join(commits)})")
        header = ["world, prompts x samples", "banks", *columns, *detections]
        lines = [_row(header), _row(["---"] * len(header))]
        lines += [
            _row(
                [
                    name,
                    str(tally.banks),
                    *(_range(_shares(tally, column), mark=True) for column in columns),
                    *(_range(_shares(tally, column), mark=False) for column in detections),
                ]
            )
            for name, tally in cells.items()
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def update_page(page: Path, tallies: dict[str, dict[str, Tally]]) -> None:
    """Replace what stands between the page's two markers by the tables."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise InputError(f"{page}: must hold '{BEGIN}' and '{END}' once each.")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{validation_tables(tallies)}\n{END}{after}", encoding="utf-8")


def _shares(tally: Tally, quantity: str) -> list[float]:
    enough = RARE * tally.banks
    return [
        rate.share for name, rate in tally.rates.items() if name.partition(", ")[0] == quantity and rate.of >= enough
    ]


def _range(shares: list[float], *, mark: bool) -> str:
    if not shares:
        return ""
    text = "-".join(dict.fromkeys(_share(value) for value in (min(shares), max(shares))))
    odd = mark and (min(shares) < NOMINAL[0] or max(shares) > NOMINAL[1])
    return f"**{text}**" if odd else text


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
