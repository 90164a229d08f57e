"""``overopt sweep``: a grid of runs, worked off together on this machine or on a Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from overopt.reports.options import parse_options
from overopt.reports.output import print_json, print_table, progress
from overopt.theory.errors import InputError

if TYPE_CHECKING:
    from overopt.bridges.sweep.grid import Cell
    from overopt.bridges.sweep.sweep import AnalysedRun, SweepResult
    from overopt.bridges.task_graph import Task
    from overopt.bridges.worker_processes import Engine

__all__ = ["SweepOptions", "main"]

DESCRIPTION = """Run a recipe for every combination of the grid's values and every seed. Equal stages are computed once,
whichever run or engine asks for them; the same command resumes after any interruption; a task that fails stops only
what needs it. The table has a row per run and optimizer. Clusters: reports/docs/sweep.md."""


@dataclass(frozen=True)
class SweepOptions:
    """Options of ``overopt sweep``."""

    recipe: tyro.conf.Positional[str]
    """What to run; the recipes of `overopt run`."""
    out: str = ""
    """Folder of the sweep: one run directory per cell and seed, and table.csv; default runs/sweep-RECIPE."""
    grid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="KEY=A,B,C")] = ()
    """Values of one number or word of the recipe, for example ppo-steps=20,40 or ppo.clip=0.1,0.2; give it once per
    key."""
    seeds: int = 1
    """Runs per cell, with seeds 0, 1, 2, ..."""
    size: Literal["full", "smoke"] = "full"
    """`smoke`: every stage with too little of everything to show anything."""
    engine: Literal["local", "ray"] = "local"
    """Where tasks are worked: processes with one thread each on this machine, or a Ray cluster."""
    workers: int = 0
    """Tasks at the same time; default: one per core or GPU, or what the cluster has room for."""
    gpus_per_task: float | None = None
    """Ray: share of a GPU that a task reserves, for example 0.5, at most 1; default: 1 with `--device cuda`, else 0."""
    ray_address: str = ""
    """Ray: the cluster to join, for example auto; default: RAY_ADDRESS, else a local one for this sweep."""
    policy: str = ""
    """Causal language model to optimize, folder or hub name; default: the embedded one."""
    gold: str = ""
    """Gold reward model, folder or hub name; default: the embedded one."""
    proxy_base: tuple[str, ...] = ()
    """Models that proxies start from, as in `overopt run`; default: the embedded ones, or `--policy`."""
    prompts: str = ""
    """Text file, one prompt per line; default: openings of movie reviews."""
    chat: Literal["auto", "on", "off"] = "auto"
    """Chat templates of policy, gold and proxies: used where there is one, required, or ignored."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where models run."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the policy; reward models always use float32."""
    json: bool = False
    """Print the table as one JSON object."""

    @property
    def folder(self) -> Path:
        """Where the sweep lies."""
        return Path(self.out or f"runs/sweep-{self.recipe}{'-smoke' if self.size == 'smoke' else ''}")


def main(argv: Sequence[str]) -> int:
    """Run or resume a sweep; 1 if a task failed."""
    options = parse_options(SweepOptions, argv, prog="overopt sweep", description=DESCRIPTION, repeatable=("--grid",))
    if options.seeds < 1:
        raise InputError(f"`--seeds` must be >= 1, got {options.seeds}.")
    if options.workers < 0:
        raise InputError(f"`--workers` must be >= 0, got {options.workers}.")
    if options.gpus_per_task is not None and (options.engine != "ray" or options.gpus_per_task < 0):
        raise InputError(f"`--gpus-per-task` must be >= 0 and needs `--engine ray`, got {options.gpus_per_task:g}.")
    if options.device == "cuda" and options.gpus_per_task is not None and not 0 < options.gpus_per_task <= 1:
        # 0 hides the GPUs from a task; a task uses one, and would keep the others from the rest.
        raise InputError(f"`--gpus-per-task` must be in (0, 1] with `--device cuda`, got {options.gpus_per_task:g}.")
    for package in ("torch", "transformers", "trl", *(["ray"] if options.engine == "ray" else [])):
        if find_spec(package) is None:
            extra = "ray" if package == "ray" else "lm"
            raise InputError(
                f"`overopt sweep` needs {package}, which is not installed: pip install 'overopt[{extra}]'."
            )
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    result = _run(options)
    _print(result, options)
    return 1 if result.failures else 0


def _run(options: SweepOptions) -> SweepResult:
    from overopt.bridges.sweep.sweep import run_sweep

    config, experiments = _plan(options)
    with progress() as display:
        overall = display.add_task("all runs", total=0)
        bars: dict[str, Any] = {}
        total = 0

        def plan(cell: Cell, size: int) -> None:
            nonlocal total
            total += size
            bars[cell.folder] = display.add_task(cell.folder, total=size, visible=False)
            display.update(overall, total=total)

        def advance(cell: Cell, task: Task, units: int) -> None:
            bar = bars[cell.folder]
            display.advance(overall, units)
            display.update(bar, advance=units, description=f"{cell.folder} {task.stage}", visible=True)

        result = run_sweep(
            options.folder, experiments, partial(_engine, options), config=config, on_plan=plan, on_progress=advance
        )
        pages = display.add_task("pages", total=len(result.finished))
        for cell in result.finished:
            _write_run_page(options.folder / cell.folder)
            display.advance(pages)
    return result


def _plan(options: SweepOptions) -> tuple[dict[str, Any], list[tuple[Cell, AnalysedRun]]]:
    """What decides the sweep, and its runs; every input is read once, before anything is written."""
    from overopt.bridges.lm.own_models import recipe_and_source
    from overopt.bridges.lm.pipeline import Pipeline
    from overopt.bridges.lm.stages import prepare_process
    from overopt.bridges.lm.workers import check_device
    from overopt.bridges.lm.world import WorldSource, how_it_reads
    from overopt.bridges.sweep.grid import cells, parse_grid, with_settings
    from overopt.bridges.sweep.sweep import AnalysedRun

    source = WorldSource(
        policy=options.policy, gold=options.gold, prompts=options.prompts,
        device=options.device, dtype=options.dtype, chat=options.chat,
    )  # fmt: skip
    recipe, source = recipe_and_source(options.recipe, source, options.proxy_base, smoke=options.size == "smoke")
    grid = parse_grid(recipe, options.grid, aliases={"ppo_seeds": "seeds"})
    prepare_process()
    if options.engine != "ray":  # a cluster's GPUs are not this machine's
        check_device(source.device)
    # This process only checks: a policy and a gold of its own would take the workers' memory on a GPU.
    reader = replace(source, device="cpu")
    how = how_it_reads(reader)
    if how:
        print(how, file=sys.stderr)
    world = f"{source.description()} {how}".strip()
    experiments = []
    for cell in cells(grid, range(options.seeds)):
        pipeline = Pipeline(with_settings(recipe, cell.settings), source, cell.seed)
        if cell.seed == 0:
            replace(pipeline, source=reader).check()
        experiments.append((cell, AnalysedRun(pipeline, world, tuple(pipeline.limits()))))
    config = {
        "recipe": options.recipe, "size": options.size, "grid": grid, "seeds": options.seeds, "source": source.plain(),
    }  # fmt: skip
    return config, experiments


def _engine(options: SweepOptions) -> Engine:
    from overopt.bridges.lm.stages import prepare_process
    from overopt.bridges.lm.workers import worker_processes

    if options.engine == "ray":
        from overopt.bridges.sweep.ray_cluster import RayCluster

        gpus = (1.0 if options.device == "cuda" else 0.0) if options.gpus_per_task is None else options.gpus_per_task
        return RayCluster(options.workers, gpus_per_task=gpus, prepare=prepare_process, address=options.ray_address)
    return worker_processes(options.workers, options.device)


def _write_run_page(run: Path) -> None:
    """Make a run of the sweep what ``overopt run`` leaves: its summary and its page."""
    from overopt.bridges.run_directory import RunDirectory
    from overopt.bridges.run_summary import RunSummary
    from overopt.bridges.sweep.results import RESULT
    from overopt.reports.pages.page import write_page
    from overopt.reports.pages.run_page import run_page

    directory = RunDirectory(run)
    summary = replace(RunSummary.read(run / RESULT), provenance=directory.provenance(), timings=directory.timings())
    summary.write(run)
    write_page(run / "report.html", run_page(summary))


def _print(result: SweepResult, options: SweepOptions) -> None:
    from overopt.bridges.sweep.results import records
    from overopt.bridges.sweep.sweep import TABLE
    from overopt.reports.pages.page import write_page
    from overopt.reports.pages.sweep_page import sweep_page

    page = write_page(options.folder / "report.html", sweep_page(result, options.recipe))
    failures = [
        {"run": task.cell.folder, "stage": task.stage, "error": task.error, "traceback": str(task.traceback_file)}
        for task in result.failures
    ]
    if options.json:
        print_json({"rows": records(result.table), "failures": failures, "table": str(options.folder / TABLE)})
        return
    trained = [(cell, row) for cell, row in result.table if row.method != "best-of-n"]
    shown = trained or result.table
    if shown:
        settings = list(shown[0][0].settings)
        print_table(
            [*settings, "seed", "optimizer", "proxy", "#", "gold at peak", "KL there", "gold at end", "proxy at end"],
            [
                [
                    *(record[name] for name in (*settings, "seed", "method", "proxy", "repetition")),
                    *(record[name] for name in ("gold_at_peak", "kl_at_peak", "gold_at_end", "proxy_at_end")),
                ]
                for record in records(shown)
            ],
            title="Gains over the base policy in gold SD, KL in nats" + (" (best-of-n: in the CSV)" if trained else ""),
        )
    print(f"{result.worked} tasks worked, {result.shared} taken from the store.")
    for failure in failures:
        print(f"failed: {failure['run']} {failure['stage']}: {failure['error']} Traceback: {failure['traceback']}")
    print(options.folder / TABLE)
    print(page)
