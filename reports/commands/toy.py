"""``overopt toy WORLD``: a toy world under chosen optimizers: exact curve, simulation, decomposition, fit, chart."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Any

from overopt.reports.arguments import check_outputs, generator
from overopt.reports.options import parse_options
from overopt.reports.output import plain, print_json, print_table, progress, write_json
from overopt.theory.errors import InputError

if TYPE_CHECKING:
    from overopt.toys.curve import ToyCurve

__all__ = ["ToyOptions", "main"]

_PROG = "overopt toy"


@dataclass(frozen=True)
class ToyOptions:
    """What ``overopt toy WORLD`` takes besides the world's own parameters."""

    optimizer: tuple[str, ...] = ()
    """One or several; ``overopt toy --list`` names those of each world (default: the world's first)."""
    pressures: tuple[float, ...] | None = None
    """The optimizers' own parameter: n, 1/q, lambda, threshold, steps (default: each optimizer's)."""
    seeds: int = 1
    """Independent repetitions, averaged."""
    seed: int = 0
    """Of the random numbers."""
    replicates: int = 100_000
    """Simulated samples per pressure and seed; 0: exact values only."""
    json: bool = False
    """Print one JSON object and nothing else."""
    out: str | None = None
    """Also write the JSON object to this file."""
    report: str | None = None
    """Write a self-contained HTML page with the chart to this file."""


@dataclass(frozen=True)
class ListOptions:
    """What ``overopt toy --list`` takes."""

    list: bool = False
    """Name the worlds and their optimizers."""
    studies: bool = False
    """Run the studies: each ends in pass, fail or cannot tell."""
    report: str | None = None
    """With --studies: write a page with one chart per study to this file."""
    json: bool = False
    """Print one JSON object and nothing else."""


def main(argv: Sequence[str]) -> int:
    """Run the command; the exit code."""
    if not argv or argv[0].startswith("-"):
        return _list(argv)
    from overopt.toys.registry import world_named

    name, *rest = argv
    kind = world_named(name)
    options_type = make_dataclass(
        "WorldOptions", [("world", kind, field(default_factory=kind))], bases=(ToyOptions,), frozen=True,
    )  # fmt: skip
    description = inspect.cleandoc(inspect.getmodule(kind).__doc__ or "")
    options: Any = parse_options(options_type, rest, prog=f"{_PROG} {name}", description=description)
    check_outputs({"--out": options.out, "--report": options.report})
    curves = _run(options)
    record = _record(curves)
    if options.out:
        write_json(options.out, record)
    if options.report:
        from overopt.reports.pages.page import write_page
        from overopt.reports.pages.toy_page import toy_page

        write_page(options.report, toy_page(plain(record)))
    if options.json:
        print_json(record)
    else:
        _print(curves, record)
        if options.report:
            print(f"page: {options.report}")
    return 0


def _list(argv: Sequence[str]) -> int:
    options = parse_options(
        ListOptions, argv, prog=_PROG,
        description="A toy world under chosen optimizers: overopt toy WORLD [OPTIONS], overopt toy WORLD --help.",
    )  # fmt: skip
    if options.studies:
        return _studies(options)
    if options.report:
        raise InputError(f"{_PROG}: --report goes with a WORLD or with --studies.")
    from overopt.toys.registry import WORLDS

    if not options.list:
        raise InputError(f"{_PROG}: WORLD comes first, one of {', '.join(WORLDS)}; see overopt toy --list.")
    rows = {}
    for name, kind in WORLDS.items():
        rows[name] = {"about": (inspect.getdoc(kind) or "").splitlines()[0], "optimizers": list(kind().runners())}
    if options.json:
        print_json({"worlds": rows})
    else:
        print_table(("world", "about"), [(name, str(row["about"])) for name, row in rows.items()])
        print_table(("world", "optimizers"), [(name, ", ".join(row["optimizers"])) for name, row in rows.items()])
    return 0


def _studies(options: ListOptions) -> int:
    from importlib import import_module

    from overopt.toys.studies import NAMES

    check_outputs({"--report": options.report})
    found = {}
    with progress() as bar:
        task = bar.add_task("studying", total=len(NAMES))
        for name in NAMES:
            bar.update(task, description=name)
            found[name] = import_module(f"overopt.toys.studies.{name}").study()
            bar.advance(task)
    if options.report:
        from overopt.reports.pages.page import write_page
        from overopt.reports.pages.toy_studies_page import toy_studies_page

        write_page(options.report, toy_studies_page(found))
    if options.json:
        print_json({"studies": found})
    else:
        print_table(("study", "verdict", "claim"), [(name, item.verdict, item.claim) for name, item in found.items()])
        for name, item in found.items():
            print(f"{name}: {item.finding}")
    return 0


def _run(options: Any) -> list[ToyCurve]:
    from overopt.toys.run import simulate

    names = options.optimizer or tuple(options.world.runners())[:1]
    if len(set(names)) < len(names):
        raise InputError(f"`optimizer` must name each optimizer once, got {', '.join(names)}.")
    curves = []
    with progress() as bar:
        task = bar.add_task("optimizing", total=len(names))
        for name in names:
            bar.update(task, description=name)
            curves.append(
                simulate(
                    generator(options.seed), options.world, name, options.pressures,
                    replicates=options.replicates, seeds=options.seeds,
                )
            )  # fmt: skip
            bar.advance(task)
    return curves


def _record(curves: Sequence[ToyCurve]) -> dict[str, Any]:
    from overopt.toys.fit import fit_toy_curve

    return {
        "world": curves[0].world,
        "parameters": curves[0].parameters,
        "scale": curves[0].scale,
        "optimizers": {
            curve.optimizer: {
                "curve": [vars(point) | {"z": point.z} for point in curve.points],
                "fit": fit_toy_curve(curve),
            }
            for curve in curves
        },
    }


def _print(curves: Sequence[ToyCurve], record: dict[str, Any]) -> None:
    scale = "the slope scale: proxy = gold + error" if record["scale"] == "slope" else "the pooled-SD scale"
    print(f"{record['world']}: gains over the base policy in gold SD, on {scale}; KL in nats.")
    for curve in curves:
        print_table(
            ("pressure", "kl", "d", "proxy", "gold", "gold exact", "se", "z"),
            [(p.pressure, p.kl, p.d, p.proxy, p.gold, p.gold_exact, p.gold_se, p.z) for p in curve.points],
            title=f"{curve.optimizer}: exact against simulated",
        )
        print_table(
            ("pressure", "promise", "- regressional", "- extremal", "- causal", "- unattributed", "= delivered"),
            [
                (p.pressure, p.promise, p.regressional, p.extremal, p.causal, p.unattributed, p.delivered)
                for p in curve.points
            ],
            title=f"{curve.optimizer}: where the promise went (exact)",
        )
        fit = record["optimizers"][curve.optimizer]["fit"]
        if fit is None:
            print("fit: needs at least three points with KL > 0.\n")
            continue
        print_table(
            ("law", "parameters", "r2", "peak"),
            [
                (row["law"], ", ".join(f"{key} {value:.4g}" for key, value in row["parameters"].items()), row["r2"],
                 row["peak"])
                for row in fit["laws"]
            ],
            title=f"{curve.optimizer}: laws fitted to the exact gold, best first (the paper reads '{fit['law']}')",
        )  # fmt: skip
