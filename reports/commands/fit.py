"""``overopt fit``: alpha, beta and peak of a gold curve, with intervals, rival forms and held-out error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from overopt.reports.arguments import check_outputs, generator
from overopt.reports.options import parse_options
from overopt.reports.output import format_number, plain, print_json, print_table, write_json

__all__ = ["FitOptions", "main"]


@dataclass(frozen=True)
class FitOptions:
    """What ``overopt fit`` takes."""

    file: Annotated[str, tyro.conf.Positional]
    """CSV, JSONL or Parquet with the columns n or checkpoint, kl, gold, optional gold_se and proxy; all points with
    KL > 0 are fitted, and one with KL 0 is the base policy."""
    law: Literal["bon", "rl", "log1p", "power", "saturating", "linear", "best"] | None = None
    """The law; default bon for an n column, rl for checkpoints; best: lowest held-out error."""
    n: str | None = None
    """Column of n."""
    checkpoint: str | None = None
    """Column of the checkpoint; default checkpoint, or step, iteration, update or epoch in a file without n."""
    kl: str | None = None
    """Column of the KL from the base policy, nats."""
    gold: str | None = None
    """Column of the mean gold reward."""
    gold_se: str | None = None
    """Column of gold's standard error."""
    proxy: str | None = None
    """Column of the mean proxy reward."""
    seed: int = 0
    """Of the bootstrap."""
    json: bool = False
    """Print one JSON object and nothing else."""
    out: str | None = None
    """Also write the JSON object to this file."""
    report: str | None = None
    """Write a self-contained HTML page to this file."""


def main(argv: Sequence[str]) -> int:
    """Run the command; the exit code."""
    options = parse_options(
        FitOptions,
        argv,
        prog="overopt fit",
        description="Alpha, beta and peak of a gold curve, with intervals, rival forms and held-out error.",
    )
    import numpy as np

    from overopt.bridges.fits import fit_curve
    from overopt.bridges.read_curve import CurveColumns, read_curve
    from overopt.reports.fit_record import curve_rows, fit_record, law_rows

    check_outputs({"--out": options.out, "--report": options.report}, inputs=[options.file])
    rng = generator(options.seed)
    imported = read_curve(
        options.file,
        CurveColumns(options.n, options.checkpoint, options.kl, options.gold, options.gold_se, options.proxy),
    )
    curve, warnings = imported.curve, list(imported.warnings)
    law = options.law or ("bon" if curve.axis == "n" else "rl")
    fit = fit_curve(curve, law, rng=rng)
    if fit.note:
        warnings.append(f"{fit.note}.")
    record: dict[str, Any] = {**fit_record(fit, law), "curve": curve_rows(curve)}
    split = None
    if np.isfinite(curve.proxy).all():
        from overopt.bridges.paper_split import paper_split

        proxy_fit = fit_curve(curve, law, quantity="proxy", rng=generator(options.seed))
        split = paper_split(fit, proxy_fit)
        record |= {"proxy_fit": fit_record(proxy_fit, law), "paper_split": split}
    record["warnings"] = warnings
    if options.out:
        write_json(options.out, record)
    if options.report:
        from overopt.reports.pages.fit_page import fit_page
        from overopt.reports.pages.page import write_page

        write_page(options.report, fit_page(plain(record), source=options.file))
    if options.json:
        print_json(record)
        return 0
    print_table(
        [curve.axis, "KL", "d", "gold", "se", "gold over base"],
        [[r[curve.axis], r["kl"], r["d"], r["gold"], r["gold_se"], r["gold_gain"]] for r in record["curve"]],
        title=f"{options.file}: {curve.method}, KL {curve.kl_kind}",
    )
    print_table(
        ["parameter", "value", "95% low", "95% high"],
        [[k, v, *(fit.intervals[k] or (None, None))] for k, v in fit.best.parameters.items()],
        title=f"gold over base = {fit.best.formula} ({fit.law}), {fit.points} points"
        + ("" if fit.best.r2 is None else f", R2 {fit.best.r2:.4f}"),
    )
    heldout = "" if fit.heldout_d is None else f", fitted up to d = {format_number(fit.heldout_d)} and scored above"
    print_table(
        ["law", "form", "least squares", "weighted", "R2", "held-out RMSE"],
        law_rows(fit),
        title=f"rival laws{heldout}",
    )
    print(f"Fitted law: {fit.peak}.")
    if split is not None:
        print(
            f"The paper's split (Gao et al. 2022, 4.2): proxy slope - alpha = {split.regressional:.3g} regressional, "
            f"beta = {split.extremal:.3g} extremal. {split.caveat}"
        )
    for warning in warnings:
        print(f"Note: {warning}")
    return 0
