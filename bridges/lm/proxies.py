"""Proxies as stages of a run: made from the labelled pairs into a folder, and read back as rewards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overopt.bridges.lm.planted import EnsembleReward, PlantedReward, PlantedUnits
from overopt.bridges.lm.ppo import Scorer
from overopt.bridges.lm.preferences import read_pairs
from overopt.bridges.lm.proxy_base import load_proxy, save_proxy, start_proxy
from overopt.bridges.lm.recipe import AnyProxy, EnsembleProxy, PlantedProxy, PrivateProxy, Proxy, Recipe
from overopt.bridges.lm.reward_model import HeldOut, LabelledPairs, train_reward_model
from overopt.bridges.lm.world import WorldSource, load_base, load_gold

__all__ = ["GOLD", "fit_proxy", "load_reward", "make_proxy", "needed_proxies", "write_json"]

GOLD = "gold"
"""Name of the control arm's reward: gold itself."""


def needed_proxies(proxy: AnyProxy) -> tuple[AnyProxy, ...]:
    """The trained proxies that must be there before this one."""
    if isinstance(proxy, EnsembleProxy):
        return proxy.members
    if isinstance(proxy, Proxy) and proxy.annotator is not None:
        return (proxy.annotator,)
    return ()


def make_proxy(
    rng: np.random.Generator, source: WorldSource, recipe: Recipe, proxy: AnyProxy, folder: Path, run: Path
) -> None:
    """Fill ``folder`` with one proxy and ``held_out.json``: how it orders the pairs that no proxy was trained on."""
    pairs = read_pairs(run / "preferences" / "pairs.parquet")
    held_out = pairs.take(slice(recipe.comparisons, None))
    match proxy:
        case Proxy():
            parameters = _train(rng, source, recipe, proxy, pairs, folder, run)
        case PlantedProxy():
            policy = load_base(source)
            # Ends of turns are among the added tokens, and not always among the special ones.
            special = {policy.eos, *policy.tokenizer.all_special_ids, *policy.tokenizer.added_tokens_decoder}
            units = PlantedUnits.of([*pairs.chosen, *pairs.rejected], pairs.gold_margin, special)
            units.check(proxy.fault)
            write_json(folder / "planted.json", asdict(units))
            parameters = 0
        case EnsembleProxy():
            members = [load_reward(source, recipe, run, member.name) for member in proxy.members]
            write_json(folder / "ensemble.json", _member_units(members, held_out))
            parameters = sum(
                int(json.loads((run / "proxy" / member.name / "held_out.json").read_text())["parameters"])
                for member in proxy.members
            )
    reward = _read(source, recipe, run, proxy, folder)
    margin = _margin(reward, held_out)
    report = HeldOut.of(margin)
    record = {
        **_descriptors(proxy),
        "parameters": parameters,
        "labels": proxy.labels if isinstance(proxy, Proxy) else 0,
        "loss": report.loss,
        "accuracy": report.accuracy,
        "accuracy_se": report.accuracy_se,
        "pairs": report.pairs,
        "margin": margin.tolist(),
        "gold_margin": held_out.gold_margin.tolist(),
    }
    write_json(folder / "held_out.json", record)


def _descriptors(proxy: AnyProxy) -> dict[str, Any]:
    """What sets a proxy apart, as plain data."""
    kinds = {Proxy: "trained", PrivateProxy: "trained", PlantedProxy: "planted", EnsembleProxy: "ensemble"}
    return {
        "kind": kinds[type(proxy)],
        "size": getattr(proxy, "size", ""),
        "variant": getattr(proxy, "variant", ""),
        "replicate": getattr(proxy, "replicate", 0),
        "planted": asdict(proxy) if isinstance(proxy, PlantedProxy) else None,
    }


def load_reward(source: WorldSource, recipe: Recipe, run: Path, name: str) -> Scorer:
    """The reward called ``name`` of a run whose proxies are finished; :data:`GOLD` is gold."""
    if name == GOLD:
        return load_gold(source)
    return _read(source, recipe, run, recipe.proxy_named(name), run / "proxy" / name)


def _read(source: WorldSource, recipe: Recipe, run: Path, proxy: AnyProxy, folder: Path) -> Scorer:
    match proxy:
        case Proxy():
            return load_proxy(source, folder / "model")
        case PlantedProxy():
            units = PlantedUnits(**json.loads((folder / "planted.json").read_text(encoding="utf-8")))
            return PlantedReward(proxy, units, load_gold(source))
        case EnsembleProxy():
            members = [load_reward(source, recipe, run, member.name) for member in proxy.members]
            units = json.loads((folder / "ensemble.json").read_text(encoding="utf-8"))
            return EnsembleReward(proxy, members, units["offset"], units["scale"])


def _train(
    rng: np.random.Generator,
    source: WorldSource,
    recipe: Recipe,
    proxy: Proxy,
    pairs: LabelledPairs,
    folder: Path,
    run: Path,
) -> int:
    """Train a reward model on the proxy's labels into ``folder/model`` and return its number of parameters."""
    head_seed = int(rng.integers(2**31))
    training = pairs.take(slice(0, proxy.labels))
    if proxy.annotator is not None:
        annotator = load_reward(source, recipe, run, proxy.annotator.name)
        training = training.turned(_margin(annotator, training) < 0)
    if proxy.label_noise:
        training = training.turned(rng.random(len(training)) < proxy.label_noise)
    return fit_proxy((head_seed, int(rng.integers(2**31))), source, recipe, proxy, training, folder / "model")


def fit_proxy(
    seeds: tuple[int, int], source: WorldSource, recipe: Recipe, proxy: Proxy, pairs: LabelledPairs, folder: Path
) -> int:
    """Fit a fresh reward model of the proxy's size to ``pairs`` into ``folder``; return its number of parameters.

    ``seeds`` decide the new head, with a private proxy the whole body, and the order of the pairs.
    """
    size = recipe.size_named(proxy.size)
    torch.manual_seed(seeds[0])
    model, tokenizer, how = start_proxy(source, size, private=isinstance(proxy, PrivateProxy))
    if how is not None:
        pairs = how.pairs(pairs)
    model = train_reward_model(seeds[1], model, tokenizer, pairs, proxy.training or size.training)
    save_proxy(model, tokenizer, how, folder)
    return sum(parameter.numel() for parameter in model.parameters())


def _member_units(members: Sequence[Scorer], pairs: LabelledPairs) -> dict[str, list[float]]:
    """Mean and within-prompt SD of each member's scores over the base completions of ``pairs``, two per prompt."""
    offset, scale = [], []
    for member in members:
        chosen = np.asarray(member(pairs.prompts, pairs.chosen))
        rejected = np.asarray(member(pairs.prompts, pairs.rejected))
        offset.append(float((chosen.mean() + rejected.mean()) / 2))
        scale.append(float(np.sqrt(np.mean(np.square(chosen - rejected)) / 2)))
    return {"offset": offset, "scale": scale}


def _margin(reward: Scorer, pairs: LabelledPairs) -> NDArray[np.float64]:
    return np.asarray(reward(pairs.prompts, pairs.chosen)) - np.asarray(reward(pairs.prompts, pairs.rejected))


def write_json(path: Path, value: Any) -> None:
    """Write plain data as readable JSON."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
