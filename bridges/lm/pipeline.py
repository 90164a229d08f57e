"""The real pipeline as tasks: labels, proxies, best-of-n bank and PPO runs, from one recipe and one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from overopt.bridges.lm import stages
from overopt.bridges.lm.proxies import needed_proxies
from overopt.bridges.lm.proxy_base import check_proxy_bases
from overopt.bridges.lm.recipe import AnyProxy, EnsembleProxy, Proxy, Recipe
from overopt.bridges.lm.workers import worker_processes
from overopt.bridges.lm.world import (
    EMBEDDED,
    WorldSource,
    check_prompt_lengths,
    load_base,
    load_gold,
    prompt_rows,
    source_fingerprint,
)
from overopt.bridges.run_directory import RunDirectory
from overopt.bridges.task_graph import Task, run_tasks
from overopt.bridges.task_store import TaskStore

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
        return {
            "recipe": self.recipe.plain(),
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
            If a model or the prompts cannot be read, proxies cannot start from a given model, or a prompt and its
            completion do not fit the model's context.
        """
        policy = load_base(self.source)
        load_gold(self.source)
        if self.source.policy or self.source.proxy_bases:  # those of the embedded world may have to be trained first
            check_proxy_bases(self.source, self.recipe.sizes)
        prompt_rows(self.source, policy.tokenizer, self.recipe.prompts)
        check_prompt_lengths(self.source, self.recipe.prompts, self.recipe.ppo.max_new_tokens)

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
        self,
        directory: RunDirectory,
        *,
        workers: int,
        on_progress: Callable[[str, int], None] | None = None,
        store: TaskStore | None = None,
    ) -> dict[str, float]:
        """Finish every stage in ``workers`` processes (0: one per core or GPU).

        Returns the seconds that each took that was neither finished nor in ``store``.
        """
        return run_tasks(
            directory,
            self.tasks(directory.path),
            engine=worker_processes(workers, self.source.device),
            on_progress=on_progress,
            store=store,
        )

    def tasks(self, run: Path) -> list[Task]:
        """The stages, those that long ones wait for first."""
        recipe, source, seed = self.recipe, self.source, self.seed
        tasks: list[Task] = []
        drawn = {"max_new_tokens": recipe.ppo.max_new_tokens, "temperature": recipe.ppo.temperature}
        common: dict[str, Any] = {"seed": seed, "source": source_fingerprint(source), "drawn": drawn}
        world: tuple[str, ...] = ()
        if self.from_scratch:
            build = partial(stages.build_embedded_world, seed)
            tasks.append(Task("world", build, {"seed": seed}, (), "world", stages.WORLD_UNITS))
            world = ("world",)
            # Where the run lies is no input: what was built enters through the stage's own files.
            built = str(run / "world")
            source = replace(source, policy=f"{built}/policy", gold=f"{built}/gold", backbones=built)

        acting, acting_common = source, common
        if recipe.acting:
            acting = replace(source, policy=str(Path(source.backbones or EMBEDDED) / f"backbone-{recipe.acting}"))
            # What is built has no contents yet: it enters through the world's own files.
            built_one = {"acting": recipe.acting}
            acting_common = {**common, **(built_one if world else {"source": source_fingerprint(acting)})}

        def add(
            stage: str, work: Callable[..., None], *bound: Any, inputs: Any, needs: tuple[str, ...] = (), size: int = 1
        ) -> None:
            group = stage.split("/")[0]
            labels = group in ("preferences", "proxy")
            task = partial(work, source if labels else acting, recipe, *bound)
            own = {**(common if labels else acting_common), "stage": inputs}
            tasks.append(Task(stage, task, own, (*world, *needs), group, size))

        pairs = [stages.held_out_pairs(recipe), recipe.comparisons]
        add("preferences", stages.preferences, seed, inputs=[pairs, recipe.prompts], size=2 * sum(pairs))
        added: set[str] = set()

        def add_proxy(proxy: AnyProxy) -> None:
            if proxy.name in added:
                return
            added.add(proxy.name)
            members = needed_proxies(proxy)
            for member in members:
                add_proxy(member)
            inputs: list[Any] = [asdict(proxy), recipe.comparisons]
            if isinstance(proxy, Proxy):
                inputs.append(asdict(recipe.size_named(proxy.size)))
            needs = ("preferences", *(f"proxy/{member.name}" for member in members))
            add(f"proxy/{proxy.name}", stages.proxy_stage, proxy, seed, inputs=inputs, needs=needs)

        optimized = {arm.proxy for arm in recipe.arms}
        for proxy in recipe.proxies:
            if proxy.name in optimized:
                add_proxy(proxy)
        measurement = [recipe.evaluation_samples, recipe.prompts]
        for arm in recipe.arms:
            config = stages.optimizer_config(recipe, arm.optimizer)
            every = arm.optimizer.evaluate_every or recipe.evaluate_every
            add(
                arm.stage, stages.policy_run, arm, seed,
                inputs=[asdict(arm), asdict(config), every, *measurement],
                needs=() if arm.proxy == stages.GOLD else self._proxy_needs(recipe.proxy_named(arm.proxy)),
                size=stages.optimizer_units(config),
            )  # fmt: skip
        for part in range(recipe.bank_parts):
            count = sum(size for _, _, size in recipe.part(part))
            inputs = [recipe.prompts, recipe.part(part)]
            add(f"samples/{part:02d}", stages.bank_part, seed, part, inputs=inputs, size=count)
        parts = tuple(f"samples/{part:02d}" for part in range(recipe.bank_parts))
        # The longest tasks first, so that no process idles while the last one works.
        largest_first = recipe.proxies[::-1]
        for proxy in largest_first:
            add_proxy(proxy)
        for proxy in largest_first:
            needs = (*self._proxy_needs(proxy), *parts)
            size = recipe.prompts * recipe.samples
            add(f"scores/{proxy.name}", stages.bank_scores, proxy, inputs=asdict(proxy), needs=needs, size=size)
        names = [proxy.name for proxy in recipe.proxies]
        add("bank", stages.collect_bank, inputs=names, needs=(*parts, *(f"scores/{name}" for name in names)))
        return tasks

    @staticmethod
    def _proxy_needs(proxy: AnyProxy) -> tuple[str, ...]:
        """The stages that a reward is read from: its own, and those of its members."""
        members = proxy.members if isinstance(proxy, EnsembleProxy) else ()
        return tuple(f"proxy/{needed.name}" for needed in (proxy, *members))
