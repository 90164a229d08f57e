"""What the embedded world measures about itself: the numbers of the model card, and the card written from them.

    python -m overopt.bridges.lm.measure_world FOLDER

measures a built world again and rewrites its ``metrics.json`` and ``MODEL_CARD.md`` (a minute or two).
"""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from overopt.bridges.lm.controls import gold_controls
from overopt.bridges.lm.gold import LOWEST, GoldComponents, GoldRewardModel, nll_per_token
from overopt.bridges.lm.pretrain import count_parameters, encode, load_tokenizer, pad
from overopt.bridges.lm.sampler import sample_completions
from overopt.bridges.lm.text import load_rated_text, prompts_from

__all__ = ["base_completions", "measure_world", "remeasure", "write_model_card"]

MAX_NEW_TOKENS = 28
_VERSIONS = ("torch", "transformers", "tokenizers", "numpy")
GOLDS: Mapping[str, Callable[[GoldComponents], NDArray[np.float64]]] = {
    "gold": lambda parts: parts.score,
    "learned golds only (the lower)": lambda parts: parts.learned,
    "rating_or_low only": lambda parts: parts.rating_or_low,
    "rating_if_natural only": lambda parts: parts.rating_if_natural,
}


def base_completions(
    rng: np.random.Generator, policy: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, per_prompt: int = 2
) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts (openings of the held-out snippets, each `per_prompt` times) and the policy's completions of them."""
    openings = list(tokenizer(list(prompts_from(load_rated_text("held-out").text)))["input_ids"])
    prompts = openings * per_prompt
    completions = sample_completions(
        rng, policy, prompts, max_new_tokens=MAX_NEW_TOKENS, eos=tokenizer.eos_token_id, pad=tokenizer.pad_token_id
    )
    return prompts, completions.rows()


@torch.inference_mode()
def measure_world(folder: Path, seed: int = 5, texts: int = 150) -> dict[str, Any]:
    """Sizes, versions, the policy's fluency and every control (`texts` of a kind) of gold and its parts: plain data."""
    rng = np.random.default_rng(seed)
    tokenizer = load_tokenizer(folder / "policy")
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=torch.float32).eval()
    gold = GoldRewardModel.from_folder(folder / "gold")
    held_out = load_rated_text("held-out")
    prompts, completions = base_completions(rng, policy, tokenizer)
    base = [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]
    rows = encode(tokenizer, held_out.text)
    known: dict[int, GoldComponents] = {}

    def components(rows: Sequence[Sequence[int]]) -> GoldComponents:
        """Scored once for all readings of gold: the controls of each draw the same texts."""
        key = hash(tuple(map(tuple, rows)))
        if key not in known:
            known[key] = gold.components(rows)
        return known[key]

    def controls(read: Callable[[GoldComponents], NDArray[np.float64]]) -> dict[str, Any]:
        def score(rows: Sequence[Sequence[int]]) -> NDArray[np.float64]:
            return read(components(rows))

        result = gold_controls(np.random.default_rng(seed), score, tokenizer, held_out, base, texts)
        return dataclasses.asdict(result) | {"failures": list(result.failures)}

    return {
        "parameters": {
            "policy": count_parameters(policy),
            "gold": {name: count_parameters(network) for name, network in gold.networks().items()},
            "proxy backbones": {
                path.name: count_parameters(AutoModelForCausalLM.from_pretrained(path))
                for path in sorted(folder.glob("backbone-*"))
            },
        },
        "bytes": {
            name: sum(file.stat().st_size for file in folder.glob(f"{name}/*.safetensors"))
            for name in ("policy", "gold", "backbone-*")
        },
        "policy": {
            "held-out nll per token": _mean_nll(policy, rows, tokenizer.pad_token_id),
            "completions that end": float(np.mean([row[-1] == tokenizer.eos_token_id for row in completions])),
            "tokens per completion": float(np.mean([len(row) for row in completions])),
        },
        "gold language model": {"held-out nll per token": _mean_nll(gold.language_model, rows, tokenizer.pad_token_id)},
        "calibration": dataclasses.asdict(gold.calibration),
        "base completions at the floor": float((components(base).score <= LOWEST).mean()),
        "controls": {name: controls(read) for name, read in GOLDS.items()},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in _VERSIONS},
    }


def _mean_nll(model: LlamaForCausalLM, rows: Sequence[Sequence[int]], padding: int) -> float:
    ids, mask = pad(rows, padding)
    return float(nll_per_token(model, ids, mask).mean())


def write_model_card(folder: Path) -> None:
    """Write ``MODEL_CARD.md`` into `folder` from its ``metrics.json``: no number of the card is typed by hand."""
    metrics = json.loads((folder / "metrics.json").read_text())
    parameters, policy, controls = metrics["parameters"], metrics["policy"], metrics["controls"]
    gold = controls["gold"]
    kinds = "\n".join(
        f"| {kind['name']} | {'yes' if kind['seen'] else 'no'} | {kind['texts']} | {kind['mean']:.2f} | "
        + " | ".join(f"{controls[name]['kinds'][i]['share_below']:.1%}" for name in GOLDS)
        + " |"
        for i, kind in enumerate(gold["kinds"])
    )
    correlations = "\n".join(
        f"| {name} | {entry['pearson']:.3f} ({entry['pearson_low']:.3f} to {entry['pearson_high']:.3f}) | "
        f"{entry['human_mean']:.2f} | {entry['base_mean']:.2f} | {entry['base_sd']:.2f} |"
        for name, entry in controls.items()
    )
    networks = ", ".join(f"{name} {count:,}" for name, count in parameters["gold"].items())
    backbones = ", ".join(f"{name} {count:,}" for name, count in parameters["proxy backbones"].items())
    megabytes = {name: size / 1e6 for name, size in metrics["bytes"].items()}
    seconds, processes = metrics.get("build seconds"), metrics.get("build processes")
    took = f" ({seconds / 60:.0f} minutes for this copy, {processes} processes of one thread each)" if seconds else ""
    (folder / "MODEL_CARD.md").write_text(
        f"""# The embedded world: policy, proxy backbones and gold

Written by code from `metrics.json`; rebuild everything with
`python -m overopt.bridges.lm.build_world FOLDER`{took}.

**For** measuring reward-model overoptimization on two CPU cores. **Not for** judging real text: gold is a small model
of what raters of movie snippets said, made hard to exploit, and its sentences are known to be wrong one by one.

## Data

`rated_text.parquet` (see `NOTICE`): 23,703 snippets with 15 to 99 human ratings each on -4..4. 600 movie snippets are
held out of the tokenizer, the policy, the backbones and gold; their first three words are the prompts of every
measurement. Text is lower-cased by the tokenizer (byte-level BPE, 4,000 tokens, own pad, begin and end tokens).

## Models

| | parameters | float16 safetensors |
| --- | --- | --- |
| policy (Llama, tied embeddings) | {parameters["policy"]:,} | {megabytes["policy"]:.2f} MB |
| gold: {networks} | {sum(parameters["gold"].values()):,} | {megabytes["gold"]:.2f} MB |
| proxy backbones: {backbones} | | {megabytes["backbone-*"]:.2f} MB |

Policy: {policy["held-out nll per token"]:.2f} nats per token on held-out snippets; {policy["completions that end"]:.0%}
of its completions end within {MAX_NEW_TOKENS} tokens, {policy["tokens per completion"]:.1f} tokens on average.
Gold's language model: {metrics["gold language model"]["held-out nll per token"]:.2f} nats per token, pretrained with
another seed. How gold combines its parts is in `bridges/lm/gold.py`; its two learned golds start from that model and
train on human ratings and on the corruptions of `bridges/lm/corrupt.py`.

## Gold against people

Held-out snippets ({gold["human_texts"]}), correlation with their mean human rating (95% bootstrap interval over texts),
and scores on the rating scale.

| gold | Pearson | mean, human texts | mean, base policy | SD, base policy |
| --- | --- | --- | --- | --- |
{correlations}

{metrics["base completions at the floor"]:.1%} of the base policy's completions sit at gold's floor of {LOWEST:g}.

## Negative controls

Share of texts that score below the base policy's mean; at least 95% is asked of gold itself. "Trained" says whether
gold saw this kind of corruption (on other texts).

| kind | trained | texts | mean gold | {" | ".join(GOLDS)} |
| --- | --- | --- | --- | {" | ".join("---" for _ in GOLDS)} |
{kinds}

A held-out text cut short, without its end, scores {gold["truncation_drop"]:.2f} lower than the whole text
(standard error {gold["truncation_se"]:.2f}). Controls that failed: {"; ".join(gold["failures"]) or "none"}.

## Limits

- The penalties on fluency and repetition were designed after an optimizer had been seen to exploit the learned golds:
  the controls were not blind. Show a curve under the learned golds too (`GoldRewardModel.components`).
- Two kinds of corruption, texts with every word of another in turn and neighbouring words exchanged, were held out at
  first; a first version of gold failed on them, so they were moved into its training and two new kinds held out.
- Gold has a floor: optimized texts pile up on it, and a fit through floored points measures the floor.
- One gold. Its networks share one pretrained ancestor; no second, independently rated gold exists to check it.
- English movie snippets of a few words; ratings carry the raters' sampling error.

Versions: {", ".join(f"{name} {number}" for name, number in metrics["versions"].items())}; world seed {metrics["seed"]}.
"""
    )


def remeasure(folder: Path, texts: int = 150) -> None:
    """Measure the world in `folder` and write ``metrics.json`` and the card; what its build recorded stays."""
    file = folder / "metrics.json"
    recorded = json.loads(file.read_text()) if file.exists() else {}
    kept = {key: recorded[key] for key in ("seed", "build seconds", "build processes") if key in recorded}
    file.write_text(json.dumps(measure_world(folder, texts=texts) | kept, indent=1) + "\n")
    write_model_card(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m overopt.bridges.lm.measure_world FOLDER")
    remeasure(Path(sys.argv[1]))
