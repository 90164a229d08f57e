"""Models that proxies start from: the policy's own weights, embedded backbones, or anybody's, with any tokenizer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from overopt.bridges.lm.ppo import Scorer
from overopt.bridges.lm.pretrained import read_classifier, read_config, read_tokenizer
from overopt.bridges.lm.reading import ForeignScorer, Reading, scorer_chat
from overopt.bridges.lm.recipe import AnyProxy, EnsembleProxy, Proxy, ProxySize, Recipe
from overopt.bridges.lm.reward_model import RewardModel
from overopt.bridges.lm.world import WorldSource, backbone, load_base, same_vocabulary
from overopt.theory.errors import InputError

__all__ = ["load_proxy", "save_proxy", "start_proxy", "with_own_models"]

WIDTH = 128
"""Hidden size of the embedded policy, for which recipes state their learning rates."""


def start_proxy(source: WorldSource, size: ProxySize) -> tuple[Any, Any, Reading | None]:
    """An untrained reward model of this size, its tokenizer, and how it reads the policy's texts.

    The reading is None where the model shares the policy's tokens and reads prompt and completion as they are. The
    head is fresh: seed torch before.
    """
    where = backbone(source, size)
    tokenizer = read_tokenizer("proxy base", where)
    # A size without a width is cut from its model: the first `layers` layers.
    cut = {}
    if size.width is None and size.layers is not None:
        depth = read_config("proxy base", where).num_hidden_layers
        if size.layers > depth:
            raise InputError(f"the proxy base '{where}' must have >= {size.layers} layers, got {depth}.")
        cut = {"num_hidden_layers": size.layers}
    model = read_classifier("proxy base", where, tokenizer, new_head=True, **cut).to(source.device)
    return model, tokenizer, _reading(source, model, tokenizer, f"the proxy base '{where}'")


def save_proxy(model: Any, tokenizer: Any, how: Reading | None, folder: Path) -> None:
    """Write a trained proxy for :func:`load_proxy`: with its tokenizer where that is not the policy's."""
    model.save_pretrained(folder)
    if how is not None:
        tokenizer.save_pretrained(folder)


def load_proxy(source: WorldSource, folder: Path) -> Scorer:
    """The proxy that :func:`save_proxy` wrote, as a reward."""
    own = RewardModel.load(folder, source.device)
    if not (folder / "tokenizer_config.json").exists():
        return own
    tokenizer = read_tokenizer("proxy", str(folder))
    return ForeignScorer(Reading.of(load_base(source), own.model, tokenizer, _chat(source, tokenizer)), own.score)


def _reading(source: WorldSource, model: Any, tokenizer: Any, name: str) -> Reading | None:
    policy = load_base(source)
    if same_vocabulary(policy.tokenizer, tokenizer):
        model.config.pad_token_id = policy.pad
        return None
    return Reading.of(policy, model, tokenizer, _chat(source, tokenizer, name))


def _chat(source: WorldSource, tokenizer: Any, name: str = "a proxy") -> Any:
    # Bodies of proxies are often base models: a template is never required of them.
    return scorer_chat("off" if source.chat == "off" else "auto", tokenizer, name)


def with_own_models(recipe: Recipe, source: WorldSource, bases: Sequence[str]) -> tuple[Recipe, WorldSource]:
    """The recipe and source with every proxy size started from one of ``bases``.

    Without bases, a recipe that uses the small backbones of the embedded policy starts from a given policy instead.
    As many bases as the recipe has sizes: one each, in order. A single base: cut to its first layers, in equal ratios,
    the largest size whole. Learning rates fall with the width, as Adam's do under the maximal update parametrisation
    (Yang et al. 2022, table 3): the recipe's are meant for :data:`WIDTH`.

    Raises
    ------
    InputError
        If the number of bases does not fit the number of sizes, or a single base has too few layers.
    """
    used = _sizes(recipe)
    if not bases and not (source.policy and any(size.width is not None for size in used)):
        return recipe, source
    sizes = len(used)
    places = tuple(bases) or (source.policy,)
    policy_width = read_config("policy", source.policy).hidden_size if source.policy else WIDTH
    if len(places) not in (1, sizes):
        raise InputError(f"`--proxy-base` must name 1 model or {sizes}, one per proxy size, got {len(places)}.")
    given, names = [], {}
    for i, size in enumerate(used):
        place = places[i] if len(places) > 1 else places[0]
        config = read_config("proxy base", place)
        depth = config.num_hidden_layers
        layers = depth if len(places) > 1 else round(depth ** ((i + 1) / sizes))
        name = f"{_slug(place)}-{layers}l"
        names[size.name] = name
        rate = size.training.learning_rate * min(1.0, WIDTH / config.hidden_size)
        given.append(
            replace(size, name=name, width=None, layers=layers, training=replace(size.training, learning_rate=rate))
        )
    if len({size.name for size in given}) < sizes:
        raise InputError(f"`--proxy-base` '{places[0]}' has too few layers to be cut to {sizes} sizes.")
    ppo = replace(recipe.ppo, learning_rate=recipe.ppo.learning_rate * min(1.0, WIDTH / policy_width))

    def renamed(proxy: Any) -> Any:
        if isinstance(proxy, Proxy):
            return replace(proxy, size=names[proxy.size], annotator=proxy.annotator and renamed(proxy.annotator))
        if isinstance(proxy, EnsembleProxy):
            return replace(proxy, members=tuple(renamed(member) for member in proxy.members))
        return proxy

    def all_renamed(proxies: Sequence[AnyProxy]) -> tuple[Any, ...]:
        return tuple(renamed(proxy) for proxy in proxies)

    changed = replace(
        recipe,
        sizes=tuple(given),
        trained=all_renamed(recipe.trained),
        ensembles=all_renamed(recipe.ensembles),
        optimized=all_renamed(recipe.optimized),
        ppo=ppo,
    )
    chosen = tuple((size.name, places[min(i, len(places) - 1)]) for i, size in enumerate(given))
    return changed, replace(source, proxy_bases=chosen)


def _sizes(recipe: Recipe) -> tuple[ProxySize, ...]:
    """The sizes that the recipe's proxies have, in its order."""
    proxies = [*recipe.trained, *(member for ensemble in recipe.ensembles for member in ensemble.members)]
    names = {proxy.size for proxy in proxies} | {p.annotator.size for p in proxies if p.annotator is not None}
    return tuple(size for size in recipe.sizes if size.name in names)


def _slug(place: str) -> str:
    """A short name of a folder or hub model that may name a column and a folder."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", Path(place).stem if place.endswith(".gguf") else Path(place).name).strip("-")
