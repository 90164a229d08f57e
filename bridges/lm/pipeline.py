"""The real pipeline as tasks: labels, proxies, best-of-n bank and PPO runs, from one recipe and one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from overopt.bridges.lm import stages
from overopt.bridges.lm.recipes import Proxy, Recipe
from overopt.bridges.lm.world import WorldSource, load_base, load_gold, prompt_rows, source_fingerprint
from overopt.bridges.run_directory import RunDirectory
from overopt.bridges.task_graph import Task, run_tasks

__all__ = ["Pipeline"]


@dataclass(frozen=True)
class Pipeline:
    """One run: what is measured (recipe), on what (source), with which randomness (seed)."""

    recipe: Recipe
    source: WorldSource
    seed: int = 0
    from_scratch: bool = False

    def config(self) -> dict[str, Any]:
        """Everything that decides the run's tables, as plain data."""
        recipe = {key: value for key, value in asdict(self.recipe).items() if key not in ("measures", "healthy")}
        return {
            "recipe": recipe,
            "source": self.source.plain(),
            "seed": self.seed,
            "from_scratch": self.from_scratch,
            "overopt": version("overopt"),
        }

    def check(self) -> None:
        """Read every input once, before anything is written.

        Raises
        ------
        InputError
            If a model or the prompts cannot be read.
        """
        policy = load_base(self.source)
        load_gold(self.source)
        prompt_rows(self.source, policy.tokenizer, self.recipe.prompts)

    def limits(self) -> list[str]:
        """What a run of this kind cannot show, in sentences."""
        limits = [
            "One gold model, one policy and one set of labels: the spread between PPO seeds is shown, that between "
            "worlds is not.",
            f"Best-of-n ends at n = {self.recipe.samples}; PPO's held-out measurements rest on "
            f"{self.recipe.prompts} prompts with {self.recipe.evaluation_samples} samples each.",
        ]
        if not self.source.gold:
            limits.append(
                "Gold is a model too: part of its deep fall is its explicit penalty on text that its language model "
                "finds unlike human text, and it has a floor, which laws are not fitted to."
            )
        return limits

    def run(
        self, directory: RunDirectory, *, workers: int, on_progress: Callable[[str, int], None] | None = None
    ) -> dict[str, float]:
        """Finish every stage and return the seconds that each unfinished one took."""
        return run_tasks(
            directory,
            self.tasks(directory.path),
            workers=workers,
            on_progress=on_progress,
            prepare=stages.prepare_process,
        )

    @property
    def policy_runs(self) -> tuple[tuple[str, str, int], ...]:
        """(optimizer, proxy or "gold", index) of every policy that is trained, first repetitions first."""
        recipe = self.recipe
        runs = [("ppo", proxy.name, i) for proxy in recipe.ppo_proxies for i in range(recipe.ppo_seeds)]
        runs += [("rloo", proxy.name, i) for proxy in recipe.ppo_proxies for i in range(recipe.rloo_seeds)]
        runs += [("ppo", stages.GOLD, i) for i in range(recipe.gold_control_seeds)]
        return tuple(sorted(runs, key=lambda run: run[2]))

    def tasks(self, run: Path) -> list[Task]:
        """The stages, those that long ones wait for first."""
        recipe, source = self.recipe, self.source
        tasks: list[Task] = []
        common: dict[str, Any] = {"seed": self.seed, "source": source_fingerprint(source), "ppo": asdict(recipe.ppo)}
        world: tuple[str, ...] = ()
        if self.from_scratch:
            build = partial(stages.build_embedded_world, self.seed)
            tasks.append(Task("world", build, {"seed": self.seed}, (), "world", stages.WORLD_UNITS))
            world = ("world",)
            # Where the run lies is no input: what was built enters through the stage's own files.
            built = str(run / "world")
            source = replace(source, policy=f"{built}/policy", gold=f"{built}/gold", backbones=built)

        def add(
            stage: str, work: Callable[..., None], *bound: Any, inputs: Any, needs: tuple[str, ...] = (), size: int = 1
        ) -> None:
            group = stage.split("/")[0]
            task = partial(work, source, recipe, *bound)
            tasks.append(Task(stage, task, {**common, "stage": inputs}, (*world, *needs), group, size))

        seed = self.seed
        held_out = stages.held_out_pairs(recipe)
        pairs = held_out + max(recipe.labels)
        add("preferences", stages.preferences, seed, inputs=[pairs, recipe.prompts], size=2 * pairs)

        def add_proxy(proxy: Proxy) -> None:
            size = recipe.size_named(proxy.size)
            inputs = [asdict(proxy), asdict(size), max(recipe.labels)]
            add(f"proxy/{proxy.name}", stages.train_proxy, proxy, seed, inputs=inputs, needs=("preferences",))

        optimized = [proxy for proxy in recipe.proxies if proxy in recipe.ppo_proxies]
        for proxy in optimized:
            add_proxy(proxy)
        measurement = [recipe.evaluate_every, recipe.evaluation_samples, recipe.prompts]
        for optimizer, name, index in self.policy_runs:
            needs: tuple[str, ...] = () if name == stages.GOLD else (f"proxy/{name}",)
            inputs = [name, index, *measurement]
            add(
                f"{optimizer}/{name}-{index}", stages.train_policy, optimizer, name, index, seed,
                inputs=inputs, needs=needs, size=recipe.ppo.steps,
            )  # fmt: skip
        for part in range(recipe.bank_parts):
            count = sum(size for _, _, size in recipe.part(part))
            inputs = [recipe.prompts, recipe.part(part)]
            add(f"samples/{part:02d}", stages.bank_part, seed, part, inputs=inputs, size=count)
        parts = tuple(f"samples/{part:02d}" for part in range(recipe.bank_parts))
        # The longest tasks first, so that no process idles while the last one works.
        largest_first = recipe.proxies[::-1]
        for proxy in largest_first:
            if proxy not in optimized:
                add_proxy(proxy)
        for proxy in largest_first:
            needs = (f"proxy/{proxy.name}", *parts)
            size = recipe.prompts * recipe.samples
            add(f"scores/{proxy.name}", stages.bank_scores, proxy, inputs=proxy.name, needs=needs, size=size)
        names = [proxy.name for proxy in recipe.proxies]
        add("bank", stages.collect_bank, inputs=names, needs=(*parts, *(f"scores/{name}" for name in names)))
        return tasks
