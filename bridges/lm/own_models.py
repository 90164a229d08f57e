"""What a command's options ask for: a recipe and its source, with anybody's models in place of the embedded ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from overopt.bridges.lm.ppo import PPOConfig
from overopt.bridges.lm.pretrained import text_shape
from overopt.bridges.lm.recipe import AnyProxy, EnsembleProxy, Optimizer, Proxy, ProxySize, Recipe
from overopt.bridges.lm.recipes import recipe_named
from overopt.bridges.lm.reward_model import RewardTraining
from overopt.bridges.lm.stages import optimizer_config
from overopt.bridges.lm.world import WorldSource
from overopt.theory.errors import InputError

__all__ = ["recipe_and_source", "with_own_models"]

WIDTH = 128
"""Hidden size of the embedded policy, for which recipes state their learning rates."""

RATES = ("learning_rate", "value_learning_rate")
"""Rates of matrices that read the whole width. The vectors of reward bins are inputs: theirs does not fall."""


def recipe_and_source(
    name: str, source: WorldSource, bases: Sequence[str] = (), *, smoke: bool = False
) -> tuple[Recipe, WorldSource]:
    """The recipe called ``name``, in full or as its smoke, made for the models of ``source`` and ``bases``.

    Raises
    ------
    InputError
        If there is no such recipe, or as :func:`with_own_models`.
    """
    recipe = recipe_named(name)
    return with_own_models(recipe.smoke() if smoke else recipe, source, bases)


def with_own_models(recipe: Recipe, source: WorldSource, bases: Sequence[str]) -> tuple[Recipe, WorldSource]:
    """The recipe and source with every proxy size started from one of ``bases``.

    Without bases, a recipe that uses the small backbones of the embedded policy starts from a given policy instead.
    As many bases as the recipe has sizes: one each, in order. A single base: cut to its first layers, in equal ratios,
    the largest size whole.

    Every learning rate, of proxies, PPO and all other optimizers, falls with the width of the model that it trains, as
    Adam's do under the maximal update parametrisation (Yang et al. 2022, table 3): a recipe's rates are meant for
    :data:`WIDTH`, or the width of the small backbone. A recipe without small backbones is made for the policy that it
    is given, whatever its width: its rates stay.

    Raises
    ------
    InputError
        If the number of bases does not fit the number of sizes, a single base has too few layers, or the recipe
        optimizes an embedded backbone and not the policy.
    """
    if not bases and not source.policy:
        return recipe, source
    if recipe.acting and source.policy:
        raise InputError(
            f"recipe '{recipe.name}' optimizes the embedded backbone {recipe.acting} in place of the policy; it "
            f"excludes `--policy`, got '{source.policy}'."
        )
    made_for_its_policy = all(size.width is None for size in recipe.sizes)
    if made_for_its_policy and not bases:
        return recipe, source
    used = _sizes(recipe)
    if bases and not used:
        raise InputError(f"recipe '{recipe.name}' trains no proxies; it excludes `--proxy-base`, got '{bases[0]}'.")
    if bases and len(bases) not in (1, len(used)):
        raise InputError(f"`--proxy-base` must name 1 model or {len(used)}, one per proxy size, got {len(bases)}.")

    def share(stated: int | None, width: int) -> float:
        return 1.0 if made_for_its_policy else min(1.0, (stated or WIDTH) / width)

    places = tuple(bases) or (source.policy,)
    given, names, shares = [], {}, {}
    for i, size in enumerate(used):
        place = places[i] if len(places) > 1 else places[0]
        depth, width = text_shape("proxy base" if bases else "policy", place)
        layers = depth if len(places) > 1 else round(depth ** ((i + 1) / len(used)))
        names[size.name] = f"{_slug(place)}-{layers}l"
        shares[size.name] = share(size.width, width)
        training = _slower_training(size.training, shares[size.name])
        given.append(replace(size, name=names[size.name], width=None, layers=layers, training=training))
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice and len(places) > 1:
        raise InputError(
            f"`--proxy-base` must name models that differ in folder name or layers, got several called '{twice[0]}'."
        )
    if twice:
        option = "`--proxy-base`" if bases else "`--policy`, where proxies start without `--proxy-base`,"
        raise InputError(f"{option} '{places[0]}' has too few layers to be cut to {len(used)} sizes, got {depth}.")
    of_policy = share(None, text_shape("policy", source.policy)[1] if source.policy else WIDTH)

    def all_changed(proxies: Sequence[AnyProxy]) -> tuple[Any, ...]:
        return tuple(_changed(proxy, names, shares) for proxy in proxies)

    changed = replace(
        recipe,
        sizes=tuple(given),
        trained=all_changed(recipe.trained),
        ensembles=all_changed(recipe.ensembles),
        optimized=all_changed(recipe.optimized),
        ppo=replace(recipe.ppo, **{name: getattr(recipe.ppo, name) * of_policy for name in RATES}),
        optimizers=tuple(_slower_optimizer(recipe, optimizer, of_policy) for optimizer in recipe.optimizers),
    )
    chosen = tuple((size.name, places[min(i, len(places) - 1)]) for i, size in enumerate(given))
    return changed, replace(source, proxy_bases=chosen)


def _changed(proxy: Any, names: Mapping[str, str], shares: Mapping[str, float]) -> Any:
    """The proxy with its size's new name, and its own training at the new rate."""
    if isinstance(proxy, Proxy):
        return replace(
            proxy,
            size=names[proxy.size],
            training=proxy.training and _slower_training(proxy.training, shares[proxy.size]),
            annotator=proxy.annotator and _changed(proxy.annotator, names, shares),
        )
    if isinstance(proxy, EnsembleProxy):
        return replace(proxy, members=tuple(_changed(member, names, shares) for member in proxy.members))
    return proxy


def _slower_training(training: RewardTraining, share: float) -> RewardTraining:
    return replace(training, learning_rate=training.learning_rate * share)


def _slower_optimizer(recipe: Recipe, optimizer: Optimizer, share: float) -> Optimizer:
    """The optimizer with its own rates, those that are not PPO's of the recipe, times ``share``."""
    if share == 1.0:
        return optimizer
    config, changes = optimizer_config(recipe, optimizer), dict(optimizer.changes)
    own = [name for name in RATES if name in changes or (hasattr(config, name) and not isinstance(config, PPOConfig))]
    return replace(optimizer, changes=tuple({**changes, **{n: getattr(config, n) * share for n in own}}.items()))


def _sizes(recipe: Recipe) -> tuple[ProxySize, ...]:
    """The sizes that the recipe's proxies have, in its order."""
    proxies = [*recipe.trained, *(member for ensemble in recipe.ensembles for member in ensemble.members)]
    names = {proxy.size for proxy in proxies} | {p.annotator.size for p in proxies if p.annotator is not None}
    return tuple(size for size in recipe.sizes if size.name in names)


def _slug(place: str) -> str:
    """A short name of a folder or hub model that may name a column and a folder."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", Path(place).stem if place.endswith(".gguf") else Path(place).name).strip("-")
