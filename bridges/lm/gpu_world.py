"""The world of recipe `gpu-10min`: a policy of 100 million parameters or more and gold on the same backbone.

    python -m overopt.bridges.lm.gpu_world FOLDER [--base MODEL] [--device cuda]

``MODEL`` is a folder, hub name or GGUF file of a language model (SmolLM2-135M: see
:mod:`overopt.bridges.lm.pretrained`); without one, a Llama of 110 million parameters is trained on the spot from
nothing but the rated text, which makes a policy that knows the text by heart and little else. The policy learns to
write movie snippets and to end them (the reference experiment's policy was fine-tuned likewise); gold starts from it
and learns the human ratings. Then, in calls that may each be cut short and repeated::

    overopt run gpu-10min --policy FOLDER/policy --gold FOLDER/gold --chat off --device cuda --dtype bfloat16
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from overopt.bridges.lm.gradients import avoid_cudnn_attention, clip_gradients
from overopt.bridges.lm.pretrain import LanguageModel, Progress, batches, encode, pad, train_tokenizer
from overopt.bridges.lm.pretrained import read_causal_model, read_classifier, read_tokenizer
from overopt.bridges.lm.text import load_rated_text
from overopt.bridges.lm.train_backbone_gold import BackboneGold, measure_backbone_gold, train_backbone_gold
from overopt.bridges.provenance import gpus
from overopt.theory.errors import InputError

__all__ = ["FROM_NOTHING", "GpuWorld", "build_gpu_world"]

FROM_NOTHING = LanguageModel(width=768, layers=15, heads=12, feed_forward=2048, learning_rate=6e-4)
"""The policy where no weights can be had: 110 million parameters with the embedded tokenizer's 4,000 tokens."""


@dataclass(frozen=True)
class GpuWorld:
    """How policy and gold are made."""

    backbone: LanguageModel = FROM_NOTHING
    """Architecture where there is no base."""
    steps: int = 600
    """Optimizer steps of the policy on movie snippets, about four passes."""
    batch: int = 64
    """Snippets per step."""
    learning_rate: float = 5e-5
    """Peak learning rate with a base; from nothing, the backbone's own."""
    gold: BackboneGold = field(default_factory=BackboneGold)
    """How gold is trained."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be >= 1, got {getattr(self, name)}.")


def build_gpu_world(
    folder: Path,
    base: str = "",
    *,
    seed: int = 0,
    device: str = "cpu",
    world: GpuWorld | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> None:
    """Fill ``folder`` with ``policy/``, ``gold/`` and ``metrics.json``.

    Raises
    ------
    InputError
        If ``base`` cannot be read, or a gradient is not finite.
    """
    world = world or GpuWorld()
    texts = load_rated_text("train")
    if base:
        tokenizer = read_tokenizer("base", base)
        model, rate = read_causal_model("base", base, tokenizer), world.learning_rate
    else:
        tokenizer = train_tokenizer(texts.text)
        model, rate = world.backbone.initialised(tokenizer, seed), world.backbone.learning_rate
    if tokenizer.eos_token_id is None:
        raise InputError(f"the base '{base}' has no end-of-sequence token; its texts could not end.")
    model.to(device)
    rows = encode(tokenizer, texts.of("movie").text)
    loss = _fit(model, rows, tokenizer.pad_token_id, world, rate, seed, progress)
    model.save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")
    del model
    torch.manual_seed(seed)  # initialises gold's head
    gold = read_classifier("policy", str(folder / "policy"), tokenizer, new_head=True).to(device)
    train_backbone_gold(world.gold, gold, tokenizer, texts, seed + 1, progress)
    gold.save_pretrained(folder / "gold")
    tokenizer.save_pretrained(folder / "gold")
    report = measure_backbone_gold(gold, tokenizer, load_rated_text("held-out"), seed + 2)
    record = {
        "base": base,
        "seed": seed,
        "device": device,
        "precision": "bfloat16 products, float32 weights" if device == "cuda" else "float32",
        **({"gpus": [name for name, _ in gpus()]} if device == "cuda" else {}),
        "parameters": sum(parameter.numel() for parameter in gold.parameters()),
        "policy_nll_per_token": loss,
        "gold": asdict(report),
    }
    (folder / "metrics.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _fit(
    model: Any, rows: list[list[int]], padding: int, world: GpuWorld, rate: float, seed: int, progress: Progress
) -> float:
    """Next-token cross-entropy on whole texts; returns its mean over the last tenth of the steps, nats per token."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.1, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=world.steps, pct_start=0.1)
    lengths = np.array([len(row) for row in rows])
    losses = []
    model.train()
    chosen = batches(np.random.default_rng(seed), lengths, world.batch, world.steps)
    for step, batch in enumerate(chosen, start=1):
        ids, mask = (tensor.to(model.device) for tensor in pad([rows[i] for i in batch], padding))
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.device.type == "cuda"):
            logits = model(input_ids=ids, attention_mask=mask.to(torch.int64)).logits
        keep = mask[:, 1:]
        loss = torch.nn.functional.cross_entropy(logits[:, :-1][keep].float(), ids[:, 1:][keep])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradients(model.parameters(), 1.0, f"the policy's training, step {step}")
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        progress("policy", step, world.steps)
    model.eval()
    return float(np.mean(losses[-max(1, world.steps // 10) :]))


def _printer() -> Callable[[str, int, int], None]:
    def show(stage: str, done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            print(f"{stage}: {done} of {total} steps", file=sys.stderr, flush=True)

    return show


def main() -> int:
    """The command of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base", default="")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=GpuWorld().steps, help="optimizer steps of the policy")
    options = parser.parse_args()
    avoid_cudnn_attention()
    try:
        if options.device == "cuda" and not torch.cuda.is_available():
            raise InputError("`--device` must be a device that torch can use here, got 'cuda' (no CUDA device found).")
        world = replace(GpuWorld(), steps=options.steps)
        build_gpu_world(
            options.folder, options.base, seed=options.seed, device=options.device, world=world, progress=_printer()
        )
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print((options.folder / "metrics.json").read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
