"""Throughput beside the libraries a user would take: sampling and one update of training, at equal work.

    python tests/benchmarks/throughput.py [--rounds 3] [--batch 512] [--updates 4] [--json FILE]

1. Completion tokens per second: our sampler against ``model.generate`` on batches of mixed prompts, same policy,
   temperature and longest completion.
2. Seconds per update: our PPO against TRL's RLOOTrainer, same policy, prompts, reward, batch, passes and minibatches.
   The reward counts tokens, so that its own cost is nothing. Tokens per second are those of the drawn completions.

Everything runs interleaved in one process, so that a busy machine slows both; times are CPU seconds of this process,
which counts one thread. The ratio of each round is taken within the round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from overopt.bridges.lm.ppo import PPOConfig, ppo
from overopt.bridges.lm.sampler import left_pad, sample_completions
from overopt.bridges.lm.stages import prepare_process
from overopt.bridges.lm.world import WorldSource, load_base, load_policy, prompt_rows
from overopt.reports.output import print_table

NEW_TOKENS = 28


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of one call, and what it returned."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def sampling(rounds: int, batch: int) -> dict[str, Any]:
    """Tokens per second of both samplers."""
    source = WorldSource()
    policy = load_base(source)
    prompts = prompt_rows(source, policy.tokenizer, 64)[1]
    rows = [prompts[i % len(prompts)] for i in range(batch)]
    rng = np.random.default_rng(0)
    torch.manual_seed(0)

    def ours() -> int:
        drawn = sample_completions(
            rng, policy.model, rows, max_new_tokens=NEW_TOKENS, eos=policy.eos, pad=policy.pad, batch_size=batch
        )
        return int(drawn.mask.sum())

    def generate() -> int:
        ids, mask = left_pad(rows, policy.pad)
        with torch.inference_mode():
            output = policy.model.generate(
                input_ids=ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=NEW_TOKENS
            )
        return int((output[:, ids.shape[1] :] != policy.pad).sum())

    speeds: dict[str, list[float]] = {"ours": [], "generate": []}
    for _ in range(rounds):
        for name, draw in (("ours", ours), ("generate", generate)):
            seconds, tokens = cpu_seconds(draw)
            speeds[name].append(tokens / seconds)
    return _compared(f"sampling, {batch} mixed prompts", "tokens/s", speeds["ours"], speeds["generate"])


def training(updates: int) -> dict[str, Any]:
    """Drawn completion tokens per second of whole updates: PPO and RLOO, after one update that warms up."""
    from overopt.bridges.lm.trl_online import train_with_rloo

    source = WorldSource()
    base = load_base(source)
    prompts = prompt_rows(source, base.tokenizer, 64)[0][:400]
    config = replace(PPOConfig(), steps=updates + 1, max_new_tokens=NEW_TOKENS)
    drawn: list[int] = []

    def length(_: Sequence[Any], completions: Sequence[Any]) -> np.ndarray:
        drawn.append(sum(map(len, completions)))
        return np.array([float(len(row)) for row in completions])

    def speed(train: Callable[[Callable[[int, Any], None]], Any]) -> list[float]:
        ends: list[float] = []
        drawn.clear()
        train(lambda step, model: ends.append(time.process_time()))
        seconds = np.diff(ends)[1:]
        return [tokens / t for tokens, t in zip(drawn[1 : len(seconds) + 1], seconds, strict=True)]

    ours, theirs = load_policy(source), load_policy(source)
    mine = speed(
        lambda on_step: ppo(
            0, ours.model, base.model, prompts, length, config, eos=base.eos, pad=base.pad, on_step=on_step
        )
    )
    trl = speed(lambda on_step: train_with_rloo(0, theirs, base, prompts, length, config, on_step))
    batch = config.prompts_per_step * config.samples_per_prompt
    return _compared(f"one update of {batch} completions, PPO | RLOO", "tokens/s", mine, trl)


def _compared(what: str, unit: str, ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "what": what,
        "unit": unit,
        "ours": statistics.median(ours),
        "theirs": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "rounds": len(ratios),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--updates", type=int, default=4)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    prepare_process()
    found = [sampling(options.rounds, options.batch), training(options.updates)]
    print_table(
        ["work", "unit", "ours", "generate | TRL", "ratio, median", "ratio, least", "rounds"],
        [[row[key] for key in ("what", "unit", "ours", "theirs", "ratio", "least", "rounds")] for row in found],
        title="One thread, processor time",
    )
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
