"""``overopt run``: the real pipeline, from labels to report."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from overopt.reports.options import parse_options
from overopt.reports.output import format_number, print_json, print_table, progress
from overopt.theory.errors import InputError

if TYPE_CHECKING:
    from overopt.bridges.lm.pipeline import Pipeline
    from overopt.bridges.run_summary import RunSummary

__all__ = ["RunOptions", "main"]

DESCRIPTION = """Measure reward-model overoptimization on real models: a gold reward model labels pairs of completions,
proxy reward models of several sizes are trained on them, best-of-n and PPO optimize the proxies, and gold is measured
all along. Recipes: `tiny` (the demo: two cores, minutes, nothing to download) and `smoke` (seconds, too small to show
anything). The same command resumes an interrupted run."""


@dataclass(frozen=True)
class RunOptions:
    """Options of ``overopt run``."""

    recipe: tyro.conf.Positional[str] = "tiny"
    """What to run."""
    out: str = ""
    """Run folder; default runs/RECIPE."""
    size: Literal["full", "smoke"] = "full"
    """`smoke`: every stage with too little of everything to show anything, in under a minute."""
    seed: int = 0
    """Decides every table: the same seed on the same machine gives the same bytes."""
    policy: str = ""
    """Causal language model to optimize, folder or hub name; default: the embedded one."""
    gold: str = ""
    """Gold reward model, folder or hub name; default: the embedded one."""
    prompts: str = ""
    """Text file, one prompt per line; default: openings of movie reviews."""
    from_scratch: bool = False
    """Train the embedded policy and gold first instead of using the shipped ones."""
    ppo_steps: int | None = None
    """PPO updates; default: the recipe's."""
    ppo_seeds: int | None = None
    """PPO runs per proxy; default: the recipe's."""
    kl_coefficient: float | None = None
    """Weight of the KL penalty in PPO's reward, proxy units per nat; default: the recipe's, 0."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where models run."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the policy; reward models always use float32."""
    workers: int = 0
    """Processes, one thread each; default: one per core, one on a GPU."""
    no_store: bool = False
    """Compute every stage, even one that another run beside this one has computed (they share `.store`)."""
    json: bool = False
    """Print the summary as one JSON object instead of text."""


def main(argv: Sequence[str]) -> int:
    """Run or resume a recipe; print where the report is, last."""
    options = parse_options(RunOptions, argv, prog="overopt run", description=DESCRIPTION)
    for package in ("torch", "transformers", "trl"):
        if find_spec(package) is None:
            raise InputError(f"`overopt run` needs {package}, which is not installed: pip install 'overopt[lm]'.")
    # Read before torch is imported: one thread per process, as in the workers, and no look-ups at a hub's address.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    pipeline = _pipeline(options)
    out = Path(options.out or f"runs/{options.recipe}{'-smoke' if options.size == 'smoke' else ''}")
    summary = _run(pipeline, out, options)
    if options.json:
        print_json(summary)
    else:
        _print(summary)
        print(out / "report.html")
    return 0


def _pipeline(options: RunOptions) -> Pipeline:
    from overopt.bridges.lm.pipeline import Pipeline
    from overopt.bridges.lm.recipes import recipe_named
    from overopt.bridges.lm.world import WorldSource

    if options.from_scratch and (options.policy or options.gold):
        raise InputError("`--from-scratch` trains the embedded policy and gold; it excludes `--policy` and `--gold`.")
    recipe = recipe_named(options.recipe)
    if options.size == "smoke":
        recipe = recipe.smoke()
    ppo = recipe.ppo
    if options.ppo_steps is not None:
        ppo = replace(ppo, steps=options.ppo_steps)
    if options.kl_coefficient is not None:
        ppo = replace(ppo, kl_coefficient=options.kl_coefficient)
    seeds = recipe.seeds if options.ppo_seeds is None else options.ppo_seeds
    if seeds < 1:
        raise InputError(f"`--ppo-seeds` must be >= 1, got {seeds}.")
    if options.workers < 0:
        raise InputError(f"`--workers` must be >= 0, got {options.workers}.")
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("`--device` must be a device that torch can use here, got 'cuda' (no CUDA device found).")
    source = WorldSource(options.policy, options.gold, options.prompts, "", options.device, options.dtype)
    return Pipeline(replace(recipe, ppo=ppo, seeds=seeds), source, options.seed, options.from_scratch)


def _run(pipeline: Pipeline, out: Path, options: RunOptions) -> RunSummary:
    from overopt.bridges.lm.stages import prepare_process
    from overopt.bridges.provenance import provenance
    from overopt.bridges.run_analysis import analyse
    from overopt.bridges.run_directory import RunDirectory
    from overopt.bridges.task_store import TaskStore
    from overopt.reports.pages.page import write_page
    from overopt.reports.pages.run_page import run_page

    began = time.perf_counter()
    prepare_process()
    pipeline.check()
    config = pipeline.config()
    directory = RunDirectory.open(out, config)
    origin = provenance()
    with directory.locked():
        directory.record(config, vars(options), origin)
        workers = options.workers or (1 if options.device == "cuda" else os.cpu_count() or 1)
        sizes: dict[str, int] = {}
        for task in pipeline.tasks(directory.path):
            sizes[task.group] = sizes.get(task.group, 0) + task.size
        with progress() as display:
            bars = {group: display.add_task(group, total=size) for group, size in sizes.items()}
            store = None if options.no_store else TaskStore.beside(directory.path)
            pipeline.run(
                directory, workers=workers, on_progress=lambda group, n: display.advance(bars[group], n), store=store
            )
            bar = display.add_task("analysis", total=None)
            summary = analyse(
                directory.path,
                world=pipeline.source.description(),
                limits=pipeline.limits(),
                provenance=origin,
                timings=directory.timings(),
                advance=lambda n: display.advance(bar, n),
            )
        summary.write(directory.path)
        write_page(directory.path / "report.html", run_page(summary))
        directory.log({"finished": True, "seconds": round(time.perf_counter() - began, 3)})
    return summary


def _print(summary: RunSummary) -> None:
    print_table(
        ["proxy", "parameters", "labels", "held-out accuracy", "gold peak, best-of-n", "at n"],
        [
            [p.name, p.parameters, p.labels, p.heldout_accuracy, p.gold_peak, int(p.gold_peak_n or 0)]
            for p in summary.proxies
        ],
        title="Proxy reward models (gold in SD of the base policy)",
    )
    print_table(
        ["PPO on", "seed", "gold at peak", "KL there", "gold at end", "KL there", "proxy at end"],
        [
            [
                p.proxy_name,
                p.seed,
                format_number(p.rise),
                p.peak_kl,
                format_number(p.rise - p.fall),
                p.end_kl,
                p.proxy_end,
            ]
            for p in summary.peaks
        ],
        title="PPO: gold gain over the base policy (peak chosen on half of the prompts, measured on the other half)",
    )
    for trend in summary.trends:
        print(f"{trend.verdict:>14}  {trend.statement} {trend.evidence}.")
    print()
    for sentence in summary.verdicts:
        print(f"- {sentence}")
    print()
