"""The stages of a language-model run: each fills one folder from the finished ones it needs, from seeds of its own."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from overopt.bridges.lm.measurement import CompletionWriter, HeldOutMeasurement, read_completions
from overopt.bridges.lm.ppo import ppo
from overopt.bridges.lm.preferences import label_pairs, read_pairs, write_pairs
from overopt.bridges.lm.recipes import Proxy, Recipe
from overopt.bridges.lm.reward_model import RewardModel, train_reward_model
from overopt.bridges.lm.sampler import sample_completions
from overopt.bridges.lm.trl_rloo import train_with_rloo
from overopt.bridges.lm.world import WorldSource, backbone, load_base, load_gold, load_policy, prompt_rows
from overopt.bridges.score_bank import ScoreBank
from overopt.bridges.task_graph import Advance

__all__ = [
    "GOLD",
    "WORLD_UNITS",
    "bank_part",
    "bank_scores",
    "build_embedded_world",
    "collect_bank",
    "held_out_pairs",
    "preferences",
    "prepare_process",
    "stage_rng",
    "train_policy",
    "train_proxy",
]

GOLD = "gold"
"""Name of the control arm's reward: gold itself."""


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
    """One thread, no progress bars of libraries: runs in every worker before its first stage."""
    from transformers.utils import logging

    torch.set_num_threads(1)
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
        held_out_pairs(recipe) + max(recipe.labels),
        max_new_tokens=recipe.ppo.max_new_tokens,
        eos=policy.eos,
        pad=policy.pad,
        temperature=recipe.ppo.temperature,
        on_batch=advance,
    )
    write_pairs(folder / "pairs.parquet", pairs)


def held_out_pairs(recipe: Recipe) -> int:
    """Number of labelled pairs that no proxy sees: the held-out share of all pairs."""
    return round(max(recipe.labels) * recipe.held_out_share / (1 - recipe.held_out_share))


def train_proxy(
    source: WorldSource, recipe: Recipe, proxy: Proxy, seed: int, folder: Path, run: Path, advance: Advance
) -> None:
    """``model/`` and ``held_out.json``: one proxy reward model, trained on the first ``proxy.labels`` pairs."""
    from transformers import AutoModelForSequenceClassification

    rng = stage_rng(seed, f"proxy {proxy.name}")
    size = recipe.size_named(proxy.size)
    policy = load_base(source)
    torch.manual_seed(torch_seed(rng))  # initialises the new head
    model = AutoModelForSequenceClassification.from_pretrained(
        backbone(source, size), num_labels=1, dtype=torch.float32, pad_token_id=policy.pad
    ).to(source.device)
    pairs = read_pairs(run / "preferences" / "pairs.parquet")
    training, held_out = pairs.take(slice(0, proxy.labels)), pairs.take(slice(max(recipe.labels), None))
    trained = RewardModel(train_reward_model(torch_seed(rng), model, policy.tokenizer, training, size.training))
    margin = trained(held_out.prompts, held_out.chosen) - trained(held_out.prompts, held_out.rejected)
    report = trained.held_out(held_out)
    trained.model.save_pretrained(folder / "model")
    _write_json(
        folder / "held_out.json",
        {
            "parameters": sum(p.numel() for p in trained.model.parameters()),
            "labels": proxy.labels,
            "loss": report.loss,
            "accuracy": report.accuracy,
            "accuracy_se": report.accuracy_se,
            "pairs": report.pairs,
            "margin": [float(value) for value in margin],
            "gold_margin": [float(value) for value in held_out.gold_margin],
        },
    )


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


def bank_scores(source: WorldSource, recipe: Recipe, proxy: Proxy, folder: Path, run: Path, advance: Advance) -> None:
    """``scores.parquet``: one proxy's scores of the whole bank, rows as in the parts one after another."""
    _, measured = prompt_rows(source, load_base(source).tokenizer, recipe.prompts)
    model = RewardModel.load(run / "proxy" / proxy.name / "model", source.device)
    scores = []
    for part in range(recipe.bank_parts):
        table = read_completions(run / "samples" / f"{part:02d}")
        prompts = [measured[k] for k in table["prompt"].to_pylist()]
        scores.append(model(prompts, table["tokens"].to_pylist()))
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
        prompts=tuple(policy.text(measured)),
        sample=parts["sample"].to_numpy(),
        gold=parts["gold"].to_numpy(),
        proxies=scores,
        length=parts["length"].to_numpy(),
    )
    bank.write(folder / "bank.parquet")


def train_policy(
    source: WorldSource,
    recipe: Recipe,
    optimizer: str,
    proxy: str,
    index: int,
    seed: int,
    folder: Path,
    run: Path,
    advance: Advance,
) -> None:
    """One run of ``optimizer`` ("ppo" or "rloo") against a proxy, or against :data:`GOLD`: the control arm.

    ``checkpoints.parquet`` and ``completions.parquet`` hold every measurement on the held-out prompts,
    ``metrics.json`` what PPO says of each update, ``policy/`` the final weights.
    """
    name = f"{optimizer} {proxy} {index}"
    rng = stage_rng(seed, name)
    base, policy = load_base(source), load_policy(source)
    training, measured = prompt_rows(source, base.tokenizer, recipe.prompts)
    gold = load_gold(source)
    reward = gold if proxy == GOLD else RewardModel.load(run / "proxy" / proxy / "model", source.device)
    measurement = HeldOutMeasurement(
        folder, base, measured, recipe.evaluation_samples, proxy_name=proxy, proxy=reward, gold=gold,
        rng_of=lambda step: stage_rng(seed, f"{name} step {step}"),
        max_new_tokens=recipe.ppo.max_new_tokens, temperature=recipe.ppo.temperature,
    )  # fmt: skip

    def on_step(step: int, model: Any) -> None:
        advance(1 if step else 0)
        if step % recipe.evaluate_every == 0 or step == recipe.ppo.steps:
            measurement.measure(step, model)

    metrics: list[dict[str, float]] = []
    with measurement:
        if optimizer == "ppo":
            metrics = ppo(
                torch_seed(rng), policy.model, base.model, training, reward, recipe.ppo,
                eos=base.eos, pad=base.pad, on_step=on_step,
            )  # fmt: skip
        else:
            train_with_rloo(torch_seed(rng), policy, training, reward, recipe.ppo, on_step)
    _write_json(folder / "metrics.json", metrics)
    policy.model.half().save_pretrained(folder / "policy")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
