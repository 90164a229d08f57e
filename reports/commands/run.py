"""``overopt run``: the real pipeline, from labels to report."""

from __future__ import annotations

import os
import sys
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
all along. `tiny` is the demo: two cores, minutes, nothing to download; `--list` names the other recipes, `--size smoke`
tries one in seconds. The same command resumes an interrupted run."""

MOST_SEEDS, MOST_WORKERS = 1000, 1024


@dataclass(frozen=True)
class RunOptions:
    """Options of ``overopt run``."""

    recipe: tyro.conf.Positional[str] = "tiny"
    """What to run."""
    list: bool = False
    """Print the recipes, what each measures and what it costs, and stop."""
    out: str = ""
    """Run folder; default runs/RECIPE."""
    size: Literal["full", "smoke"] = "full"
    """`smoke`: every stage with too little of everything to show anything, in under a minute."""
    seed: int = 0
    """Decides every table: on the CPU the same seed on the same machine gives the same bytes."""
    policy: str = ""
    """Causal language model to optimize: folder, hub name or GGUF file; default: the embedded one."""
    gold: str = ""
    """Gold reward model of one label: folder or hub name; default: the embedded one, which reads plain text."""
    proxy_base: tuple[str, ...] = ()
    """Models that proxies start from, folders or hub names: one per proxy size of the recipe, or one that is cut to its
    first layers; default: the embedded ones, or `--policy`."""
    prompts: str = ""
    """Text file, one prompt per line; default: openings of movie reviews."""
    chat: Literal["auto", "on", "off"] = "auto"
    """Chat templates of policy, gold and proxies: used where there is one, required, or ignored."""
    from_scratch: bool = False
    """Train the embedded policy and gold first instead of using the shipped ones."""
    ppo_steps: int | None = None
    """PPO updates; default: the recipe's."""
    ppo_seeds: int | None = None
    """PPO runs per proxy; default: the recipe's, which is the most where every run has a proxy of its own."""
    learning_rate: float | None = None
    """PPO's learning rate; default: the recipe's, times 128 / width for a policy wider than the embedded one."""
    kl_coefficient: float | None = None
    """Weight of the KL penalty in the reward of PPO, RLOO and GRPO, proxy units per nat; default: the recipe's, 0."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where models run."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the policy's matrix products; weights and reward models are float32."""
    workers: int = 0
    """Processes, one thread each; default: one per core, or one per GPU."""
    no_store: bool = False
    """Compute every stage, even one that another run beside this one has computed (they share `.store`)."""
    json: bool = False
    """Print the summary as one JSON object instead of text."""


def main(argv: Sequence[str]) -> int:
    """Run or resume a recipe; print where the report is, last."""
    options = parse_options(RunOptions, argv, prog="overopt run", description=DESCRIPTION)
    for package in ("torch", "transformers", "trl", "datasets", "accelerate"):
        if find_spec(package) is None:
            raise InputError(f"`overopt run` needs {package}, which is not installed: pip install 'overopt[lm]'.")
    # Read before torch is imported: one thread per process, as in the workers, and no look-ups at a hub's address.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if options.list:
        _print_recipes()
        return 0
    pipeline = _pipeline(options)
    out = Path(options.out or f"runs/{options.recipe}{'-smoke' if options.size == 'smoke' else ''}")
    summary = _run(pipeline, out, options)
    if options.json:
        print_json(summary)
    else:
        _print(summary)
        print(out / "report.html")
    return 0


def _print_recipes() -> None:
    from overopt.bridges.lm.recipes import RECIPES

    rows = [[recipe.name, recipe.measures, recipe.cost or "not timed"] for recipe in RECIPES.values()]
    print_table(["recipe", "measures", "two CPU cores"], rows)


def _pipeline(options: RunOptions) -> Pipeline:
    from overopt.bridges.lm.own_models import recipe_and_source
    from overopt.bridges.lm.pipeline import Pipeline
    from overopt.bridges.lm.workers import check_device
    from overopt.bridges.lm.world import WorldSource

    own = [name for name in ("policy", "gold", "proxy_base") if getattr(options, name)]
    if options.from_scratch and own:
        named = f"--{own[0].replace('_', '-')}"
        raise InputError(f"`--from-scratch` trains the embedded policy, gold and proxy bases; it excludes `{named}`.")
    if options.seed < 0:
        raise InputError(f"`--seed` must be >= 0, got {options.seed}.")
    source = WorldSource(
        policy=options.policy, gold=options.gold, prompts=options.prompts,
        device=options.device, dtype=options.dtype, chat=options.chat,
    )  # fmt: skip
    recipe, source = recipe_and_source(options.recipe, source, options.proxy_base, smoke=options.size == "smoke")
    ppo = recipe.ppo
    if options.ppo_steps is not None:
        ppo = replace(ppo, steps=options.ppo_steps)
    if options.learning_rate is not None:
        ppo = replace(ppo, learning_rate=options.learning_rate)
    if options.kl_coefficient is not None:
        ppo = replace(ppo, kl_coefficient=options.kl_coefficient)
    seeds = recipe.seeds if options.ppo_seeds is None else options.ppo_seeds
    for name in ("learning_rate", "kl_coefficient"):
        if getattr(ppo, name) == float("inf"):
            raise InputError(f"`--{name.replace('_', '-')}` must be finite, got inf.")
    most = recipe.most_seeds or MOST_SEEDS
    if not 1 <= seeds <= most:
        why = "" if recipe.most_seeds is None else f", the replicates of each proxy of '{recipe.name}'"
        size = " at size smoke" if why and options.size == "smoke" else ""
        raise InputError(f"`--ppo-seeds` must be in 1..{most}{why}{size}, got {seeds}.")
    if not 0 <= options.workers <= MOST_WORKERS:
        raise InputError(f"`--workers` must be in 0..{MOST_WORKERS}, got {options.workers}.")
    check_device(options.device)
    return Pipeline(replace(recipe, ppo=ppo, seeds=seeds), source, options.seed, options.from_scratch)


def _run(pipeline: Pipeline, out: Path, options: RunOptions) -> RunSummary:
    from overopt.bridges.lm.stages import prepare_process
    from overopt.bridges.lm.world import how_it_reads
    from overopt.bridges.provenance import provenance
    from overopt.bridges.run_analysis import analyse
    from overopt.bridges.run_directory import RunDirectory
    from overopt.bridges.task_store import TaskStore
    from overopt.reports.pages.page import write_page
    from overopt.reports.pages.run_page import run_page

    began = time.perf_counter()
    prepare_process()
    # This process only checks: a policy and a gold of its own would take the workers' memory on a GPU.
    reader = replace(pipeline.source, device="cpu")
    replace(pipeline, source=reader).check()
    how = how_it_reads(reader)
    if how:
        print(how, file=sys.stderr)
    config = pipeline.config()
    directory = RunDirectory.open(out, config)
    origin = provenance()
    with directory.locked():
        directory.record(config, vars(options), origin)
        sizes: dict[str, int] = {}
        for task in pipeline.tasks(directory.path):
            sizes[task.group] = sizes.get(task.group, 0) + task.size
        with progress() as display:
            bars = {group: display.add_task(group, total=size) for group, size in sizes.items()}
            store = None if options.no_store else TaskStore.beside(directory.path)
            pipeline.run(
                directory,
                workers=options.workers,
                on_progress=lambda group, n: display.advance(bars[group], n),
                store=store,
            )
            bar = display.add_task("analysis", total=None)
            summary = analyse(
                directory.path,
                world=f"{pipeline.source.description()} {how}".strip(),
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
        ["optimizer", "on", "seed", "gold at peak", "KL there", "gold at end", "KL there", "proxy at end"],
        [
            [
                p.method,
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
        title="Trained policies: gold gain (peak chosen on half of the prompts, measured on the other half)",
    )
    for trend in summary.trends:
        print(f"{trend.verdict:>14}  {trend.statement} {trend.evidence}.")
    print()
    for sentence in summary.verdicts:
        print(f"- {sentence}")
    print()
