"""The stages of a language-model run: each fills one folder from the finished ones it needs, from seeds of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from overopt.bridges.lm.dpo import DPOConfig, train_with_dpo
from overopt.bridges.lm.expert_iteration import ExpertIterationConfig, train_with_expert_iteration
from overopt.bridges.lm.gradients import avoid_cudnn_attention
from overopt.bridges.lm.guided_decoding import GuidedDecodingConfig, guided_decoding
from overopt.bridges.lm.iterated import IteratedConfig, train_iterated
from overopt.bridges.lm.measurement import CompletionWriter, HeldOutMeasurement, read_completions
from overopt.bridges.lm.optimized_samples import OptimizedSamples
from overopt.bridges.lm.planted import PlantedReward
from overopt.bridges.lm.ppo import PPOConfig, Scorer, ppo
from overopt.bridges.lm.preferences import label_pairs, write_pairs
from overopt.bridges.lm.proxies import GOLD, fit_proxy, load_reward, make_proxy, write_json
from overopt.bridges.lm.proxy_base import load_proxy
from overopt.bridges.lm.recipe import AnyProxy, Arm, Optimizer, Proxy, Recipe
from overopt.bridges.lm.reward_conditioned import RewardConditionedConfig, train_reward_conditioned
from overopt.bridges.lm.reward_model import LabelledPairs
from overopt.bridges.lm.sampler import TokenIds, sample_completions
from overopt.bridges.lm.tilt_mcmc import TiltMCMCConfig, tilt_mcmc
from overopt.bridges.lm.trl_online import train_with_grpo, train_with_rloo
from overopt.bridges.lm.world import Policy, WorldSource, load_base, load_gold, load_policy, prompt_rows
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.task_graph import Advance
from overopt.theory.errors import InputError

__all__ = [
    "DRAWN",
    "GOLD",
    "TRAINED",
    "WORLD_UNITS",
    "bank_part",
    "bank_scores",
    "build_embedded_world",
    "collect_bank",
    "held_out_pairs",
    "optimizer_config",
    "optimizer_units",
    "policy_run",
    "preferences",
    "prepare_process",
    "proxy_stage",
    "stage_rng",
]

WORLD_UNITS = 100
"""Units of progress of building the embedded world."""

WORLD_PARTS = 7
"""Networks of the embedded world: policy, three backbones, and gold's three."""


def build_embedded_world(seed: int, folder: Path, run: Path, advance: Advance) -> None:
    """``policy/``, ``gold/`` and ``backbone-*/``: the embedded world trained from its text, as the shipped one was."""
    from overopt.bridges.lm.build_world import build_world

    shares: dict[str, float] = {}
    done = 0

    def progress(part: str, steps: int, total: int) -> None:
        nonlocal done
        shares[part] = steps / total
        units = int(WORLD_UNITS * sum(shares.values()) / WORLD_PARTS) - done
        if units > 0:
            done += units
            advance(units)

    build_world(folder, seed=seed, progress=progress)


def prepare_process() -> None:
    """One thread, no progress bars of libraries: runs in every worker before its first stage.

    CUDA stays untouched: a worker chooses its GPU after its imports.
    """
    from transformers.utils import logging

    torch.set_num_threads(1)
    avoid_cudnn_attention()
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def stage_rng(seed: int, stage: str) -> np.random.Generator:
    """A generator of its own for every stage, so that the order in which stages run decides nothing."""
    return np.random.default_rng([seed, *stage.encode()])


def torch_seed(rng: np.random.Generator) -> int:
    """A seed for libraries that keep a global generator."""
    return int(rng.integers(2**31))


def preferences(source: WorldSource, recipe: Recipe, seed: int, folder: Path, run: Path, advance: Advance) -> None:
    """``pairs.parquet``: comparisons for the largest proxy set plus the held-out share, labelled by gold."""
    policy = load_base(source)
    training, _ = prompt_rows(source, policy.tokenizer, recipe.prompts)
    pairs = label_pairs(
        stage_rng(seed, "preferences"),
        policy.model,
        load_gold(source),
        training,
        held_out_pairs(recipe) + recipe.comparisons,
        max_new_tokens=recipe.ppo.max_new_tokens,
        eos=policy.eos,
        pad=policy.pad,
        temperature=recipe.ppo.temperature,
        on_batch=advance,
    )
    write_pairs(folder / "pairs.parquet", pairs)


def held_out_pairs(recipe: Recipe) -> int:
    """Number of labelled pairs that no proxy sees: the held-out share of all pairs."""
    return round(recipe.comparisons * recipe.held_out_share / (1 - recipe.held_out_share))


def proxy_stage(
    source: WorldSource, recipe: Recipe, proxy: AnyProxy, seed: int, folder: Path, run: Path, advance: Advance
) -> None:
    """One proxy and ``held_out.json``, from the labelled pairs."""
    make_proxy(stage_rng(seed, f"proxy {proxy.name}"), source, recipe, proxy, folder, run)


def bank_part(
    source: WorldSource, recipe: Recipe, seed: int, part: int, folder: Path, run: Path, advance: Advance
) -> None:
    """``completions.parquet``: base-policy samples of some of the held-out prompts, with gold."""
    policy = load_base(source)
    _, measured = prompt_rows(source, policy.tokenizer, recipe.prompts)
    gold = load_gold(source)
    with closing(CompletionWriter(folder / "completions.parquet", policy)) as writer:
        for k, start, count in recipe.part(part):
            rows = [measured[k]] * count
            completions = sample_completions(
                stage_rng(seed, f"bank prompt {k} from {start}"),
                policy.model,
                rows,
                max_new_tokens=recipe.ppo.max_new_tokens,
                eos=policy.eos,
                pad=policy.pad,
                temperature=recipe.ppo.temperature,
            ).rows()
            writer.write(k, measured[k], completions, gold(rows, completions), first=start)
            advance(count)


def bank_scores(
    source: WorldSource, recipe: Recipe, proxy: AnyProxy, folder: Path, run: Path, advance: Advance
) -> None:
    """``scores.parquet``: one proxy's scores of the whole bank, rows as in the parts one after another."""
    _, measured = prompt_rows(source, load_base(source).tokenizer, recipe.prompts)
    reward = load_reward(source, recipe, run, proxy.name)
    scores = []
    for part in range(recipe.bank_parts):
        table = read_completions(run / "samples" / f"{part:02d}")
        prompts = [measured[k] for k in table["prompt"].to_pylist()]
        completions = table["tokens"].to_pylist()
        if isinstance(reward, PlantedReward):
            scores.append(reward.from_gold(table["gold"].to_numpy(), prompts, completions))
        else:
            scores.append(np.asarray(reward(prompts, completions)))
        advance(len(prompts))
    pq.write_table(pa.table({"proxy": np.concatenate(scores)}), folder / "scores.parquet", compression="zstd")


def collect_bank(source: WorldSource, recipe: Recipe, folder: Path, run: Path, advance: Advance) -> None:
    """``bank.parquet``: the ScoreBank of all prompts, samples and proxies, prompts named by their text."""
    policy = load_base(source)
    _, measured = prompt_rows(source, policy.tokenizer, recipe.prompts)
    parts = pa.concat_tables(read_completions(run / "samples" / f"{part:02d}") for part in range(recipe.bank_parts))
    scores = {
        proxy.name: pq.read_table(run / "scores" / proxy.name / "scores.parquet")["proxy"].to_numpy()
        for proxy in recipe.proxies
    }
    codes = parts["prompt"].to_numpy()
    bank = ScoreBank.from_codes(
        codes=codes.astype(np.intp),
        prompts=tuple(policy.prompt_text(measured)),
        sample=parts["sample"].to_numpy(),
        gold=parts["gold"].to_numpy(),
        proxies=scores,
        length=parts["length"].to_numpy(),
    )
    bank.write(folder / "bank.parquet")


def policy_run(
    source: WorldSource, recipe: Recipe, arm: Arm, seed: int, folder: Path, run: Path, advance: Advance
) -> None:
    """One arm of the recipe: a policy trained against a proxy, or against gold (the control arm).

    ``checkpoints.parquet`` and ``completions.parquet`` hold every measurement on the held-out prompts,
    ``metrics.json`` what the optimizer says of each update, ``arm.json`` what was optimized by what, ``policy/`` the
    final weights. Arms of one kind and index share their random numbers: they differ by their settings alone.
    """
    optimizer = arm.optimizer
    name = f"{optimizer.kind} {arm.proxy} {arm.index}"
    rng = stage_rng(seed, name)
    base, policy = load_base(source), load_policy(source)
    training, measured = prompt_rows(source, base.tokenizer, recipe.prompts)
    config = optimizer_config(recipe, optimizer)
    reward = load_reward(source, recipe, run, arm.proxy)
    every = optimizer.evaluate_every or recipe.evaluate_every
    metrics: list[dict[str, float]] = []
    measurement = HeldOutMeasurement(
        folder, base, measured, recipe.evaluation_samples, proxy_name=arm.proxy, proxy=reward,
        gold=load_gold(source), rng_of=lambda step: stage_rng(seed, f"{name} step {step}"),
        max_new_tokens=recipe.ppo.max_new_tokens, temperature=recipe.ppo.temperature,
    )  # fmt: skip

    def on_step(step: int, model: Any) -> None:
        advance(1 if step else 0)
        if step % every == 0 or step == config.steps:
            measurement.measure(step, model)

    def fit(iteration: int, pairs: LabelledPairs) -> Scorer:
        proxy = recipe.proxy_named(arm.proxy)
        if not isinstance(proxy, Proxy):
            raise InputError(f"iterated RLHF needs a trained proxy, got '{arm.proxy}'.")
        seeds = torch_seed(rng), torch_seed(rng)
        fit_proxy(seeds, source, recipe, proxy, pairs, folder / f"proxy-{iteration + 1}")
        return load_proxy(source, folder / f"proxy-{iteration + 1}")

    with measurement:
        if optimizer.kind == ITERATED:
            metrics = train_iterated(
                torch_seed(rng), policy, base, training, config, on_step, gold=load_gold(source), fit=fit
            )
            policy.model.half().save_pretrained(folder / "policy")
        elif optimizer.kind in TRAINED:
            metrics = TRAINED[optimizer.kind][1](torch_seed(rng), policy, base, training, reward, config, on_step)
            policy.model.half().save_pretrained(folder / "policy")
        else:
            draw = DRAWN[optimizer.kind][1]
            for drawn in draw(torch_seed(rng), base, measured, recipe.evaluation_samples, reward, config):
                measurement.record(drawn.strength, drawn.completions, drawn.kl, drawn.logratio)
                metrics.append({"strength": drawn.strength, **drawn.metrics})
                advance(1 if drawn.strength else 0)
    write_json(folder / "metrics.json", metrics)
    write_json(
        folder / "arm.json",
        {
            "optimizer": optimizer.name,
            "kind": optimizer.kind,
            "settings": dict(optimizer.changes),
            "proxy": arm.proxy,
            "index": arm.index,
        },
    )


def optimizer_config(recipe: Recipe, optimizer: Optimizer) -> Any:
    """The configuration in force: the recipe's PPO numbers, or the algorithm's own, with the optimizer's changes.

    Every algorithm has the recipe's completion length and temperature; a quick recipe cuts all counts.

    Raises
    ------
    InputError
        If the kind is unknown or a changed field is.
    """
    known = {**TRAINED, ITERATED: (IteratedConfig, None), **DRAWN}
    if optimizer.kind not in known:
        raise InputError(f"unknown optimizer '{optimizer.kind}'; expected one of {', '.join(known)}.")
    kind = known[optimizer.kind][0]
    config: Any = recipe.ppo
    if kind is not PPOConfig:
        drawn = {"max_new_tokens": recipe.ppo.max_new_tokens, "temperature": recipe.ppo.temperature}
        config = kind(**(dataclasses.asdict(recipe.ppo) if issubclass(kind, PPOConfig) else drawn))
        if recipe.quick:
            least = {name: value for name, value in QUICK.items() if hasattr(config, name)}
            config = dataclasses.replace(config, **least)
    fields = {field.name for field in dataclasses.fields(config)}
    unknown = [name for name, _ in optimizer.changes if name not in fields]
    if unknown:
        raise InputError(f"'{optimizer.kind}' has no setting `{unknown[0]}`; it has {', '.join(sorted(fields))}.")
    return dataclasses.replace(config, **dict(optimizer.changes))


def optimizer_units(config: Any) -> int:
    """Units of work of one arm: updates, or strengths."""
    return int(config.steps) if hasattr(config, "steps") else len(config.strengths)


ITERATED = "iterated"
"""The kind that labels and fits reward models while it trains: it needs more than a reward."""

QUICK: dict[str, Any] = {
    "steps": 4, "comparisons": 40, "prompts_per_step": 4, "samples_per_prompt": 4, "pairs": 16,
    "pairs_per_step": 8, "batch_size": 8, "strengths": (1.0, 2.0), "burn_in": 1, "sweeps": 2, "candidates": 4,
}  # fmt: skip
"""Counts of the algorithms in a quick recipe, by the names that their configurations give them."""

Metrics = list[dict[str, float]]
OnStep = Callable[[int, Any], None]
Train = Callable[[int, Policy, Policy, Sequence[TokenIds], Scorer, Any, OnStep], Metrics]
"""(seed, policy to train in place, base policy, training prompts, reward, configuration, on_step) -> metrics."""
Draw = Callable[[int, Policy, Sequence[TokenIds], int, Scorer, Any], Iterator[OptimizedSamples]]
"""(seed, base policy, held-out prompts, samples per prompt, reward, configuration) -> samples at rising strength."""


def _ppo(
    seed: int, policy: Policy, base: Policy, prompts: Sequence[TokenIds], reward: Scorer, config: PPOConfig,
    on_step: OnStep,
) -> Metrics:  # fmt: skip
    return ppo(seed, policy.model, base.model, prompts, reward, config, eos=base.eos, pad=base.pad, on_step=on_step)


def _without_metrics(train: Callable[..., None]) -> Train:
    """An algorithm of another package, which says nothing of its updates."""

    def trained(*arguments: Any) -> Metrics:
        train(*arguments)
        return []

    return trained


def _without_base(train: Callable[..., Metrics]) -> Train:
    """An algorithm that needs no initial policy beside the one that it trains."""

    def trained(
        seed: int, policy: Policy, base: Policy, prompts: Sequence[TokenIds], reward: Scorer, config: Any,
        on_step: OnStep,
    ) -> Metrics:  # fmt: skip
        return train(seed, policy, prompts, reward, config, on_step)

    return trained


TRAINED: dict[str, tuple[Any, Train]] = {
    "ppo": (PPOConfig, _ppo),
    "rloo": (PPOConfig, _without_metrics(train_with_rloo)),
    "grpo": (PPOConfig, _without_metrics(train_with_grpo)),
    "expert-iteration": (ExpertIterationConfig, _without_base(train_with_expert_iteration)),
    "dpo": (DPOConfig, _without_base(train_with_dpo)),
    "reward-conditioned": (RewardConditionedConfig, _without_base(train_reward_conditioned)),
}
"""Algorithms that train a policy, with their configuration, by the kind that an :class:`Optimizer` names."""

DRAWN: dict[str, tuple[Any, Draw]] = {
    "guided-decoding": (GuidedDecodingConfig, guided_decoding),
    "tilt-mcmc": (TiltMCMCConfig, tilt_mcmc),
}
"""Methods without training, likewise: they draw completions of the held-out prompts themselves."""
