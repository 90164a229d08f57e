"""Sampling speed: our sampler against ``model.generate`` as a user would call it; same model, prompts and lengths.

    python tests/benchmarks/sampling.py

One thread each, interleaved, so that a slow machine slows both. Tokens are completion tokens up to and including the
end token: what a user gets, not what was computed.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from overopt.bridges.lm.sampler import left_pad, sample_completions
from overopt.bridges.lm.stages import prepare_process
from overopt.bridges.lm.world import WorldSource, load_base, prompt_rows
from overopt.reports.output import print_table

ROUNDS, NEW_TOKENS = 5, 28
BATCHES = (64, 512)


def main() -> None:
    """Print tokens per second of both samplers and the time for 65,536 completions."""
    prepare_process()
    source = WorldSource()
    policy = load_base(source)
    _, prompts = prompt_rows(source, policy.tokenizer, 64)
    rng = np.random.default_rng(0)
    torch.manual_seed(0)

    def ours(rows: list[list[int]]) -> int:
        drawn = sample_completions(
            rng, policy.model, rows, max_new_tokens=NEW_TOKENS, eos=policy.eos, pad=policy.pad, batch_size=len(rows)
        )
        return int(drawn.mask.sum())

    def generate(rows: list[list[int]]) -> int:
        ids, mask = left_pad(rows, policy.pad)
        with torch.inference_mode():
            output = policy.model.generate(
                input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=NEW_TOKENS
            )
        return int((output[:, ids.shape[1] :] != policy.pad).sum())

    table = []
    for batch in BATCHES:
        rows = [prompts[i % len(prompts)] for i in range(batch)]
        speeds: dict[str, list[float]] = {"ours": [], "generate": []}
        for _ in range(ROUNDS):
            for name, draw in (("ours", ours), ("generate", generate)):
                begin = time.perf_counter()
                tokens = draw(rows)
                speeds[name].append(tokens / (time.perf_counter() - begin))
        ratios = [a / b for a, b in zip(speeds["ours"], speeds["generate"], strict=True)]
        medians = (statistics.median(speeds[name]) for name in ("ours", "generate"))
        table.append([batch, *medians, statistics.median(ratios), min(ratios)])
    print_table(
        ["batch", "ours, tokens/s", "generate, tokens/s", "ratio, median", "ratio, least"],
        table,
        title=f"{ROUNDS} rounds of 64 different prompts, one thread",
    )
    begin = time.perf_counter()
    for k in range(64):
        ours([prompts[k]] * 1024)
    print(f"65,536 completions (64 prompts x 1,024): {time.perf_counter() - begin:.1f} s on one thread")


if __name__ == "__main__":
    main()
