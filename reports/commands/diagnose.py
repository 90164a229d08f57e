"""``overopt diagnose``: score tables of a real run -> curves, fits, decomposition, stopping advice, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from overopt.reports.arguments import check_outputs, generator
from overopt.reports.options import parse_options

__all__ = ["DiagnoseOptions", "gather_proxies", "main"]


@dataclass(frozen=True)
class DiagnoseOptions:
    """What ``overopt diagnose`` takes."""

    files: Annotated[tuple[str, ...], tyro.conf.Positional]
    """CSV, JSONL or Parquet, plain or gzipped: base samples, and checkpoints (a file with a checkpoint column)."""
    prompt: str | None = None
    """Column of the prompt; default prompt, and one pool where there is none."""
    sample: str | None = None
    """Column of the sample number; default sample, and counted where there is none."""
    gold: str | None = None
    """Column of the gold reward; default gold."""
    proxy: tuple[str, ...] = ()
    """Columns of the proxies, also as a pattern such as 'rm_*'; default proxy and every proxy_NAME."""
    checkpoint: str | None = None
    """Column of the checkpoint (step or beta); default checkpoint."""
    kl: str | None = None
    """Column of KL(policy || base), nats per completion; default kl."""
    logratio: str | None = None
    """Column of log pi(y|x) - log pi0(y|x), nats per completion; default logratio."""
    length: str | None = None
    """Column of the completion's length; default length."""
    kl_kind: Literal[
        "analytic", "ties-exact", "full-vocabulary", "k1", "k2", "k3", "thermodynamic-integration", "imported"
    ] = "imported"
    """What estimator the kl column is; a kl_kind column in the file says it better."""
    law: Literal["bon", "rl", "log1p", "power", "saturating", "linear", "best"] | None = None
    """The fitted law; default bon for best-of-n, rl for checkpoints."""
    scale: Literal["slope", "pooled-sd", "raw", "calibrated"] = "slope"
    """Measurement scale of the decomposition."""
    seed: int = 0
    """Of permutations, bootstrap and splits."""
    json: bool = False
    """Print one JSON object and nothing else."""
    out: str | None = None
    """Also write the JSON object to this file."""
    report: str | None = None
    """Write a self-contained HTML page to this file."""


def gather_proxies(argv: Sequence[str]) -> list[str]:
    """The arguments with all ``--proxy a b``, ``--proxy a --proxy b`` and ``--proxy a,b`` as one option at the end.

    A list option swallows what follows it; names of existing files are given back as tables.
    """
    rest: list[str] = []
    proxies: list[str] = []
    taking = False
    for argument in argv:
        if argument == "--proxy" or argument.startswith("--proxy="):
            taking = True
            proxies += [name for name in argument.removeprefix("--proxy").removeprefix("=").split(",") if name]
        elif argument.startswith("--"):
            taking = False
            rest.append(argument)
        elif taking and not Path(argument).is_file():
            proxies += [name for name in argument.split(",") if name]
        else:
            rest.append(argument)
    return [*rest, "--proxy", *proxies] if proxies else rest


def main(argv: Sequence[str]) -> int:
    """Run the command; the exit code."""
    options = parse_options(
        DiagnoseOptions,
        gather_proxies(argv),
        prog="overopt diagnose",
        description="Score tables of a real run -> curves, fits, decomposition, stopping advice, report.",
    )
    from overopt.bridges.diagnosis import diagnose
    from overopt.bridges.read_tables import TableColumns, read_tables
    from overopt.reports.diagnosis_record import diagnosis_record
    from overopt.reports.diagnosis_text import print_diagnosis
    from overopt.reports.output import plain, print_json, write_json

    check_outputs({"--out": options.out, "--report": options.report}, inputs=options.files)
    rng = generator(options.seed)
    columns = TableColumns(
        prompt=options.prompt,
        sample=options.sample,
        gold=options.gold,
        proxy=options.proxy,
        checkpoint=options.checkpoint,
        kl=options.kl,
        logratio=options.logratio,
        length=options.length,
    )
    tables = read_tables(options.files, columns, kl_kind=options.kl_kind)
    diagnosis = diagnose(
        tables.bank,
        tables.checkpoints,
        rng=rng,
        scale=options.scale,
        law=options.law,
        warnings=tables.warnings,
    )
    record = diagnosis_record(diagnosis)
    if options.out:
        write_json(options.out, record)
    if options.report:
        from overopt.reports.pages.diagnose_page import diagnose_page
        from overopt.reports.pages.page import write_page

        write_page(options.report, diagnose_page(plain(record), source=", ".join(options.files)))
    if options.json:
        print_json(record)
    else:
        print_diagnosis(diagnosis)
    return 0
