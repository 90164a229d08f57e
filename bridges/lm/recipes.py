"""Recipes of the language-model pipeline: what a run measures, with which numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from overopt.bridges.lm.ppo import PPOConfig
from overopt.bridges.lm.reward_model import RewardTraining
from overopt.theory.errors import InputError

__all__ = ["RECIPES", "Proxy", "ProxySize", "Recipe", "recipe_named"]


@dataclass(frozen=True)
class ProxySize:
    """A size of proxy reward model: a small pretrained backbone of the embedded world, or the policy's own weights."""

    name: str
    """Short name, used in stage and column names."""
    width: int | None = None
    """Hidden size; None starts from the policy's weights."""
    layers: int = 1
    """Number of layers, where `width` is given."""
    training: RewardTraining = field(default_factory=RewardTraining)
    """How reward models of this size are trained."""


@dataclass(frozen=True)
class Proxy:
    """One proxy reward model: a size and a number of labels."""

    size: str
    labels: int

    @property
    def name(self) -> str:
        """Stage and column name, for example ``41k-4000``."""
        return f"{self.size}-{self.labels}"


SMALL = ProxySize("41k", width=10, layers=1, training=RewardTraining(learning_rate=3e-3))
MIDDLE = ProxySize("252k", width=48, layers=2, training=RewardTraining(learning_rate=1e-3))
LARGE = ProxySize("1.4m", training=RewardTraining(learning_rate=3e-4))


@dataclass(frozen=True)
class Recipe:
    """Every number of a run that is not the seed."""

    name: str
    measures: str
    """What the run measures, one sentence."""
    healthy: str
    """The numbers that a healthy run shows."""
    sizes: tuple[ProxySize, ...] = (SMALL, MIDDLE, LARGE)
    """Sizes of proxy reward models."""
    labels: tuple[int, ...] = (250, 1000, 4000)
    """Numbers of training comparisons; each set contains the smaller ones."""
    held_out_share: float = 0.1
    """Share of the labelled comparisons that no proxy is trained on."""
    prompts: int = 64
    """Held-out prompts for best-of-n and for measuring PPO."""
    samples: int = 1024
    """Base-policy samples per held-out prompt."""
    bank_chunk: int = 1024
    """Samples of one prompt drawn at once."""
    bank_parts: int = 16
    """The bank is drawn in this many pieces that an interruption does not lose."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """PPO's own numbers."""
    ppo_proxies: tuple[Proxy, ...] = (Proxy("41k", 4000),)
    """Proxies that PPO optimizes."""
    ppo_seeds: int = 2
    """PPO runs per proxy."""
    gold_control_seeds: int = 1
    """PPO runs that optimize gold itself: the control arm."""
    rloo_seeds: int = 0
    """Runs of TRL's RLOOTrainer per proxy that PPO optimizes: the cross-check of PPO."""
    evaluate_every: int = 4
    """PPO updates between two measurements on the held-out prompts."""
    evaluation_samples: int = 4
    """Completions per held-out prompt at each measurement."""

    @property
    def chunks(self) -> tuple[tuple[int, int, int], ...]:
        """The bank as (prompt number, first sample, number of samples), in order."""
        starts = range(0, self.samples, self.bank_chunk)
        sizes = [(start, min(self.bank_chunk, self.samples - start)) for start in starts]
        return tuple((prompt, start, size) for prompt in range(self.prompts) for start, size in sizes)

    def part(self, number: int) -> tuple[tuple[int, int, int], ...]:
        """The chunks of one of the ``bank_parts`` pieces."""
        cuts = [round(i * len(self.chunks) / self.bank_parts) for i in range(self.bank_parts + 1)]
        return self.chunks[cuts[number] : cuts[number + 1]]

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """Every proxy of the run, smallest first."""
        return tuple(Proxy(size.name, labels) for size in self.sizes for labels in self.labels)

    def size_named(self, name: str) -> ProxySize:
        """The proxy size called ``name``."""
        return next(size for size in self.sizes if size.name == name)


TINY = Recipe(
    name="tiny",
    measures="Overoptimization on human-rated text: best-of-1024 against nine proxies, PPO against a weak one.",
    healthy=(
        "On the embedded world, gains in gold SD, eight PPO runs: gold peaks at +.9 to +1.5 between KL 13 and 28, "
        "then falls by .7 to 3.2 by KL 43 to 64 while the proxy keeps rising. Optimizing gold itself: +2.0 and stays. "
        "Best-of-1024 with 4,000 labels: +1.0 (41k), +1.6 (252k), +1.4 (1.4m); with 250 labels +.3 to +.7."
    ),
)

SMOKE = replace(
    TINY,
    name="smoke",
    measures="Every stage of `tiny` with too little of everything to show anything: does it run?",
    sizes=(SMALL, LARGE),
    labels=(40, 120),
    prompts=16,
    samples=32,
    bank_chunk=16,
    bank_parts=2,
    ppo=PPOConfig(steps=4, prompts_per_step=4, samples_per_prompt=4),
    ppo_proxies=(Proxy("41k", 120),),
    ppo_seeds=1,
    evaluate_every=2,
    evaluation_samples=2,
)

LARGE_N = replace(
    TINY,
    name="large-n",
    measures="Best-of-60,000 for eight prompts, the reference experiment's largest n, against two proxies and gold.",
    sizes=(SMALL, LARGE),
    labels=(4000,),
    prompts=8,
    samples=60_000,
    bank_chunk=2_000,
    bank_parts=60,
    ppo_proxies=(),
    gold_control_seeds=0,
)

CROSS_CHECK = replace(
    TINY,
    name="cross-check",
    measures="Our PPO, three seeds, beside TRL's RLOOTrainer on the same reward: proxy gain at equal d.",
    sizes=(SMALL,),
    labels=(4000,),
    samples=256,
    ppo_seeds=3,
    gold_control_seeds=0,
    rloo_seeds=1,
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (TINY, SMOKE, LARGE_N, CROSS_CHECK)}


def recipe_named(name: str) -> Recipe:
    """The recipe called ``name``.

    Raises
    ------
    InputError
        If there is none, with the closest name.
    """
    if name not in RECIPES:
        close = get_close_matches(name, RECIPES, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise InputError(f"unknown recipe '{name}'; expected one of {', '.join(RECIPES)}.{hint}")
    return RECIPES[name]
