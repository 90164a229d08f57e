"""Rebuild the embedded world from the rated text: tokenizer, policy, proxy backbones and gold.

    python -m overopt.bridges.lm.build_world FOLDER

Every network is trained on one thread of a process of its own, so that the result does not depend on the number of
cores.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from overopt.bridges.lm.gold import GoldRewardModel, TextScorer
from overopt.bridges.lm.measure_world import remeasure
from overopt.bridges.lm.pretrain import (
    LanguageModel,
    Progress,
    encode,
    load_tokenizer,
    pretrain,
    save_half,
    train_tokenizer,
)
from overopt.bridges.lm.text import load_rated_text
from overopt.bridges.lm.train_gold import GoldTraining, calibrate, train_scorer

__all__ = ["BACKBONES", "GOLD_LANGUAGE_MODEL", "GOLD_TRAINING", "POLICY", "build_world"]

POLICY = LanguageModel()
GOLD_LANGUAGE_MODEL = LanguageModel(feed_forward=448)
GOLD_TRAINING = GoldTraining()
BACKBONES = {
    "67k": LanguageModel(width=16, layers=1, heads=2, feed_forward=48, steps_all=350, steps_movie=150, steps_short=0),
    "252k": LanguageModel(width=48, layers=2, heads=3, feed_forward=144, steps_all=350, steps_movie=150, steps_short=0),
    "41k": LanguageModel(width=10, layers=1, heads=1, feed_forward=32, steps_all=350, steps_movie=150, steps_short=0),
}
CALIBRATION_TEXTS = 800
"""Movie snippets that gold's language model is not trained on: they set the band of human text."""

_SEEDS = {"policy": 1, "gold language model": 2, "calibration": 7, "rating_or_low": 11, "rating_if_natural": 12}
_SEEDS |= {f"backbone-{name}": 21 + i for i, name in enumerate(BACKBONES)}
_OUTPUTS = {"rating_or_low": 1, "rating_if_natural": 2}


def build_world(
    out: Path, seed: int = 0, progress: Progress | None = None, processes: int = 2, effort: float = 1.0
) -> None:
    """Train the whole world into `out`, in the layout of the shipped one (``policy/ backbone-*/ gold/``).

    Parameters
    ----------
    out
        Folder to fill; made if missing.
    seed
        0 is the shipped world.
    progress
        Called with (network, steps done, steps in all).
    processes
        Networks trained at the same time.
    effort
        Every network's optimizer steps are multiplied by it; below 1 the world is a smoke test, not an instrument.
    """
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    work = out / "training"
    tokenizer = train_tokenizer(load_rated_text("train").text)
    tokenizer.save_pretrained(work)
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(messages,)) as pool:
        names = ["gold language model", "policy", *(f"backbone-{name}" for name in BACKBONES)]
        models = [pool.submit(_train_language_model, name, out, work, seed, effort) for name in names]
        # The scorers start from gold's language model alone: no core waits for the other models.
        _finish(models[:1], messages, progress)
        scorers = [pool.submit(_train_scorer, name, work, seed, effort) for name in _OUTPUTS]
        _finish([*models, *scorers], messages, progress)
    _assemble_gold(out, work, tokenizer, seed)
    for file in sorted(work.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    work.rmdir()
    record = {"seed": seed, "build seconds": round(time.monotonic() - started), "build processes": processes}
    (out / "metrics.json").write_text(json.dumps(record) + "\n")
    remeasure(out, texts=max(10, round(150 * min(1.0, effort))))


_messages: Any = None


def _start(messages: Any) -> None:
    global _messages
    _messages = messages
    torch.set_num_threads(1)
    logging.disable_progress_bar()


def _report(stage: str, done: int, total: int) -> None:
    _messages.put((stage, done, total))


def _finish(futures: Sequence[Future[None]], messages: Any, progress: Progress | None) -> None:
    """Pass on progress until every future is done; raise what any of them raised."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.3)
        while True:
            try:
                message = messages.get_nowait()
            except Empty:
                break
            if progress is not None:
                progress(*message)
        for future in done:
            future.result()


def _train_language_model(name: str, out: Path, work: Path, seed: int, effort: float) -> None:
    tokenizer = load_tokenizer(work)
    texts = load_rated_text("train")
    if name == "gold language model":
        texts = texts.take(np.setdiff1d(np.arange(len(texts)), _calibration_texts(seed)))
        recipe, folder = GOLD_LANGUAGE_MODEL, work / "language-model"
    elif name == "policy":
        recipe, folder = POLICY, out / "policy"
    else:
        recipe, folder = BACKBONES[name.removeprefix("backbone-")], out / name
    steps = {phase: round(effort * getattr(recipe, phase)) for phase in ("steps_all", "steps_movie", "steps_short")}
    recipe = dataclasses.replace(recipe, **steps)
    save_half(pretrain(recipe, tokenizer, texts, _seed(seed, name), _report, name), tokenizer, folder)


def _train_scorer(name: str, work: Path, seed: int, effort: float) -> None:
    scorer = train_scorer(
        dataclasses.replace(GOLD_TRAINING, steps=round(effort * GOLD_TRAINING.steps)),
        _gold_language_model(work),
        load_tokenizer(work),
        load_rated_text("train"),
        _OUTPUTS[name],
        _seed(seed, name),
        _report,
        name,
    )
    save_file(scorer.state_dict(), work / f"{name}.safetensors")


def _assemble_gold(out: Path, work: Path, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    language_model = _gold_language_model(work)
    texts = load_rated_text("train").take(_calibration_texts(seed))
    calibration = calibrate(language_model, encode(tokenizer, texts.text), tokenizer.pad_token_id)
    scorers = {name: TextScorer(language_model.config, outputs) for name, outputs in _OUTPUTS.items()}
    for name, scorer in scorers.items():
        scorer.load_state_dict(load_file(work / f"{name}.safetensors"))
    GoldRewardModel(
        scorers["rating_or_low"], scorers["rating_if_natural"], language_model, calibration, tokenizer
    ).save(out / "gold")


def _gold_language_model(work: Path) -> LlamaForCausalLM:
    model: LlamaForCausalLM = AutoModelForCausalLM.from_pretrained(work / "language-model", dtype=torch.float32)
    return model.eval()


def _calibration_texts(seed: int) -> np.ndarray:
    movies = np.flatnonzero(np.array(load_rated_text("train").dataset) == "movie")
    return np.random.default_rng(_seed(seed, "calibration")).permutation(movies)[:CALIBRATION_TEXTS]


def _seed(world: int, network: str) -> int:
    return 100 * world + _SEEDS[network]


def _print_progress(stage: str, done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        print(f"{stage}: {done} of {total} steps", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m overopt.bridges.lm.build_world FOLDER")
    build_world(Path(sys.argv[1]), progress=_print_progress)
