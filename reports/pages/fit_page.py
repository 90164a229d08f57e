"""The page of ``overopt fit``: the curve, its law, the rivals. It takes the command's JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from overopt.bridges.run_summary import CurvePoint, FittedLaw, MeasuredCurve
from overopt.reports.charts.overoptimization import d_title, overoptimization
from overopt.reports.numbers import interval, plain, signed
from overopt.reports.pages.blocks import Block, Bullets, Figure, Measured, Note, Page, Section, Table, Text

__all__ = ["fit_page"]

Json = Mapping[str, Any]
_GREEK = {"alpha": "α", "beta": "β", "gamma": "γ"}


def fit_page(result: Json, *, source: str = "") -> Page:
    """The page for one fit; ``source`` names the file that was read."""
    sections = [Section("Curve and law", tuple(_curve(result))), Section("Rival laws", (_rivals(result),))]
    if result["warnings"]:
        sections.append(Section("Notes", (Bullets(tuple(result["warnings"])),)))
    return Page(
        title="overopt fit",
        kicker=f"overopt fit{f' · {source}' if source else ''} · {result['points']} points",
        headline=f"{result['peak'][0].upper()}{result['peak'][1:]}",
        sections=tuple(sections),
        footer=("Gains are over the base policy, in gold's own units; intervals are 95%.",),
    )


def _curve(result: Json) -> list[Block]:
    rows = result["curve"]
    parameters = ", ".join(
        f"{_GREEK.get(name, name)} = {plain(value, 3)} {interval(result['intervals'].get(name), 3)}".rstrip()
        for name, value in result["parameters"].items()
    )
    blocks: list[Block] = [Text(f"Gold over base = `{result['formula']}`: {parameters}.")]
    axis = "n" if "n" in rows[0] else "checkpoint"
    method: Literal["best-of-n", "checkpoints"] = "best-of-n" if axis == "n" else "checkpoints"
    base = next((row for row in rows if row["kl"] == 0), None)
    shown = ("gold", "proxy") if all(row["proxy"] is not None for row in rows) else ("gold",)
    start = base["proxy"] if base is not None and "proxy" in shown else 0.0
    points = tuple(
        CurvePoint(
            row[axis], row["kl"], row["d"], row["proxy"] - start if "proxy" in shown else 0.0, row["gold_gain"],
            gold_se=row["gold_gain_se"],
        )
        for row in rows
    )  # fmt: skip
    curve = MeasuredCurve(method, "proxy", None, rows[0]["kl_kind"], points)
    line = tuple((d, gold) for d, gold in result["line"])
    law = FittedLaw(method, "proxy", None, result["law"], result["alpha"], result["beta"] or 0.0, line)
    gains = f"gold gained {signed(points[-1].gold)}"
    if "proxy" in shown:
        gains += f", the proxy {signed(points[-1].proxy)}"
    blocks.append(
        Figure(
            chart=overoptimization(
                [curve], [law], x_title=d_title(rows[0]["kl_kind"]), y_title="gain over the base policy (own units)",
                shown=shown,
            ),
            title="Gold and proxy" if "proxy" in shown else "Gold",
            subtitle="gain over the base policy; the line is the fitted law"
            + ("" if all(point.gold_se is None for point in points) else ", bands are 95%"),
            alt=f"At the last point {gains}.",
            name="fit-curve",
        )
    )  # fmt: skip
    cells = [(row[axis], row["kl"], row["d"], Measured(plain(row["gold_gain"], 3), _error(row))) for row in rows]
    errors = " ± standard error" if any(map(_error, rows)) else ""
    blocks.append(Table((axis, "KL", "d", f"gold over base{errors}"), tuple(cells)))
    if result.get("paper_split"):
        split = result["paper_split"]
        blocks.append(
            Note(
                f"The paper's split: regressional = proxy slope − α = {plain(split['regressional'], 3)}, "
                f"extremal = β = {plain(split['extremal'], 3)}. {split['caveat']}"
            )
        )
    return blocks


def _error(row: Json) -> str:
    # The base policy gains 0 over itself without an error.
    return "" if not row["gold_gain_se"] else f"± {plain(row['gold_gain_se'], 3)}"


def _rivals(result: Json) -> Table:
    rows = tuple(
        (
            rival["law"],
            rival["formula"],
            ", ".join(f"{name} {plain(value, 3)}" for name, value in rival["parameters"].items()),
            plain(rival["r2"], 4),
            plain(rival["heldout_rmse"], 4),
        )
        for rival in result["laws"]
    )
    reach = "" if result["heldout_d"] is None else f" Held out: fitted up to d = {plain(result['heldout_d'])}."
    return Table(("law", "form", "least squares", "R²", "held-out RMSE"), rows, caption=f"Best first.{reach}")
