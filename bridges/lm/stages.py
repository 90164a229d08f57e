"""The stages of a language-model run: each fills one folder from the finished ones it needs, from seeds of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from overopt.bridges.checkpoints import Checkpoints
from overopt.bridges.kl import KL
from overopt.bridges.lm.completions import sequence_kl
from overopt.bridges.lm.ppo import Scorer, ppo
from overopt.bridges.lm.preferences import label_pairs, read_pairs, write_pairs
from overopt.bridges.lm.recipes import Proxy, Recipe
from overopt.bridges.lm.reward_model import RewardModel, train_reward_model
from overopt.bridges.lm.sampler import TokenIds, sample_completions
from overopt.bridges.lm.world import Policy, WorldSource, backbone, load_base, load_gold, load_policy, prompt_rows
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
    "prompts_of_part",
    "read_completions",
    "stage_rng",
    "train_policy",
    "train_proxy",
]

GOLD = "gold"
"""Name of the control arm's reward: gold itself."""


WORLD_UNITS = 100
"""Units of progress of building the embedded world."""

WORLD_PARTS = 6
"""Networks of the embedded world: policy, two backbones, and gold's three."""


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


def prompts_of_part(recipe: Recipe, part: int) -> range:
    """Numbers of the held-out prompts that one part of the bank samples."""
    return range(part, recipe.prompts, recipe.bank_parts)


def bank_part(
    source: WorldSource, recipe: Recipe, seed: int, part: int, folder: Path, run: Path, advance: Advance
) -> None:
    """``completions.parquet``: base-policy samples of some of the held-out prompts, with gold."""
    policy = load_base(source)
    _, measured = prompt_rows(source, policy.tokenizer, recipe.prompts)
    gold = load_gold(source)
    writer = CompletionWriter(folder / "completions.parquet", policy)
    with writer:
        for k in prompts_of_part(recipe, part):
            rows = [measured[k]] * recipe.samples
            completions = sample_completions(
                stage_rng(seed, f"bank prompt {k}"),
                policy.model,
                rows,
                max_new_tokens=recipe.ppo.max_new_tokens,
                eos=policy.eos,
                pad=policy.pad,
                temperature=recipe.ppo.temperature,
            ).rows()
            writer.write(k, measured[k], completions, gold(rows, completions))
            advance(recipe.samples)


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
    source: WorldSource, recipe: Recipe, proxy: str, index: int, seed: int, folder: Path, run: Path, advance: Advance
) -> None:
    """One PPO run: ``checkpoints.parquet``, ``completions.parquet`` (texts of every measurement), ``metrics.json``.

    ``proxy`` is a proxy's name, or :data:`GOLD` for the control arm. The run's measurements use the same held-out
    prompts at every checkpoint, with fresh samples.
    """
    name = f"ppo {proxy} {index}"
    rng = stage_rng(seed, name)
    base = load_base(source)
    policy = load_policy(source)
    training, measured = prompt_rows(source, base.tokenizer, recipe.prompts)
    gold = load_gold(source)
    reward: Scorer = gold if proxy == GOLD else RewardModel.load(run / "proxy" / proxy / "model", source.device)
    rows = [prompt for prompt in measured for _ in range(recipe.evaluation_samples)]
    codes = np.repeat(np.arange(len(measured)), recipe.evaluation_samples)
    banks: dict[float, ScoreBank] = {}
    kl: dict[float, KL] = {}
    logratio: dict[float, NDArray[np.float64]] = {}
    writer = CompletionWriter(folder / "completions.parquet", base)

    def measure(step: int, model: Any) -> None:
        advance(1 if step else 0)
        if step % recipe.evaluate_every and step != recipe.ppo.steps:
            return
        completions = sample_completions(
            stage_rng(seed, f"{name} step {step}"),
            model,
            rows,
            max_new_tokens=recipe.ppo.max_new_tokens,
            eos=base.eos,
            pad=base.pad,
            temperature=recipe.ppo.temperature,
        ).rows()
        divergence = sequence_kl(model, base.model, rows, completions, pad=base.pad, temperature=recipe.ppo.temperature)
        gold_score = gold(rows, completions)
        banks[float(step)] = ScoreBank.from_codes(
            codes=codes,
            prompts=tuple(base.text(measured)),
            gold=gold_score,
            proxies={proxy: gold_score if proxy == GOLD else reward(rows, completions)},
            length=np.array([len(row) for row in completions], dtype=np.float64),
        )
        kl[float(step)] = divergence.mean(codes, recipe.ppo.temperature)
        logratio[float(step)] = divergence.logratio
        for k, prompt in enumerate(measured):
            mine = slice(k * recipe.evaluation_samples, (k + 1) * recipe.evaluation_samples)
            writer.write(k, prompt, completions[mine], gold_score[mine], checkpoint=step)

    with writer:
        metrics = ppo(
            torch_seed(rng), policy.model, base.model, training, reward, recipe.ppo,
            eos=base.eos, pad=base.pad, on_step=measure,
        )  # fmt: skip
    Checkpoints(banks, kl, logratio).write(folder / "checkpoints.parquet")
    _write_json(folder / "metrics.json", metrics)
    policy.model.half().save_pretrained(folder / "policy")


class CompletionWriter:
    """Writes completions with their text and gold to Parquet, a row group per call."""

    SCHEMA = pa.schema(
        [
            ("checkpoint", pa.int32()),
            ("prompt", pa.int32()),
            ("sample", pa.int32()),
            ("gold", pa.float64()),
            ("length", pa.int32()),
            ("tokens", pa.list_(pa.int32())),
            ("text", pa.string()),
        ]
    )

    def __init__(self, path: Path, policy: Policy) -> None:
        self.policy = policy
        self.writer = pq.ParquetWriter(path, self.SCHEMA, compression="zstd")

    def __enter__(self) -> CompletionWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.writer.close()

    def write(
        self,
        prompt: int,
        prompt_ids: TokenIds,
        completions: Sequence[TokenIds],
        gold: NDArray[np.float64],
        checkpoint: int = 0,
    ) -> None:
        """Append the completions of one prompt (by its number) at one checkpoint."""
        count = len(completions)
        table = pa.table(
            {
                "checkpoint": pa.array([checkpoint] * count, pa.int32()),
                "prompt": pa.array([prompt] * count, pa.int32()),
                "sample": pa.array(range(count), pa.int32()),
                "gold": gold,
                "length": pa.array([len(row) for row in completions], pa.int32()),
                "tokens": pa.array([list(row) for row in completions], pa.list_(pa.int32())),
                "text": self.policy.text([[*prompt_ids, *row] for row in completions]),
            },
            schema=self.SCHEMA,
        )
        self.writer.write_table(table)


def read_completions(folder: Path) -> pa.Table:
    """The completions of a finished stage."""
    return pq.read_table(folder / "completions.parquet")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
