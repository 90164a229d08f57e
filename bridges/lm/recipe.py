"""What a run of the language-model pipeline is made of: proxies, optimizers, sizes of samples. Plain frozen data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any, Literal

from overopt.bridges.lm.ppo import PPOConfig
from overopt.bridges.lm.reward_model import RewardTraining
from overopt.theory.errors import InputError

__all__ = [
    "AnyProxy",
    "Arm",
    "EnsembleProxy",
    "Optimizer",
    "PlantedProxy",
    "PrivateProxy",
    "Proxy",
    "ProxySize",
    "Recipe",
    "grid",
]


SMOKE_COMPARISONS = 200
"""The same for every recipe's smoke, so that they share labels and samples."""


@dataclass(frozen=True)
class ProxySize:
    """A size of proxy reward model: a small pretrained backbone of the embedded world, or the policy's own weights."""

    name: str
    """Short name, used in stage and column names."""
    width: int | None = None
    """Hidden size; None starts from the policy's weights."""
    layers: int | None = None
    """Number of layers; with the policy's weights, its first ones (None: all)."""
    training: RewardTraining = field(default_factory=RewardTraining)
    """How reward models of this size are trained."""


@dataclass(frozen=True)
class Proxy:
    """A trained proxy reward model: a size, a number of labels, and what sets it apart from others of that kind."""

    size: str
    labels: int
    replicate: int = 0
    """Repetition with its own head, its own order of the labels and, with label noise, its own wrong labels."""
    variant: str = ""
    """Name of what differs in the fields below; part of the proxy's name."""
    training: RewardTraining | None = None
    """Training numbers; None takes those of the size."""
    label_noise: float = 0.0
    """Share of the training labels that are turned around."""
    annotator: Proxy | None = None
    """Who labels the training pairs; None is gold."""

    @property
    def name(self) -> str:
        """Stage and column name, for example ``41k-4000`` or ``252k-1000-epochs4-r1``."""
        parts = (self.size, str(self.labels), self.variant, f"r{self.replicate}" if self.replicate else "")
        return "-".join(part for part in parts if part)


@dataclass(frozen=True)
class PrivateProxy(Proxy):
    """A trained proxy whose body is its own too: random weights in place of the backbone that the others start from.

    Members of this kind share no initialisation, and none of theirs is pretrained.
    """

    initialisation: Literal["private"] = "private"


@dataclass(frozen=True)
class PlantedProxy:
    """Gold with a fault that is known exactly; ``strength`` in gold SD (within prompts, base policy).

    - ``noise``: plus a standard normal number that is fixed for each text (hashed), times ``strength``.
    - ``bend``: the proxy *is* gold; what counts as gold is bent: above its ``quantile`` within the prompt's base
      samples it goes down ``strength`` times as steeply as it would go up.
    - ``length``: plus ``strength`` times the completion's length in SD of the base policy's lengths.
    - ``exploit``: plus ``strength`` for a completion that contains one token, which is rare in base completions.
    """

    fault: Literal["noise", "bend", "length", "exploit"]
    strength: float
    quantile: float = 0.95

    @property
    def name(self) -> str:
        """Stage and column name."""
        return f"planted-{self.fault}"


@dataclass(frozen=True)
class EnsembleProxy:
    """Several trained proxies as one, each first brought to mean 0 and within-prompt SD 1 on base completions.

    ``mean`` and ``min`` over the members; ``uncertainty``: the mean minus ``weight`` times the members' variance
    (Coste et al. 2023, uncertainty-weighted optimization).
    """

    members: tuple[Proxy, ...]
    combine: Literal["mean", "min", "uncertainty"]
    variant: str = ""
    weight: float = 0.5

    @property
    def name(self) -> str:
        """Stage and column name."""
        return "-".join(part for part in ("ensemble", self.combine, self.variant) if part)


AnyProxy = Proxy | PlantedProxy | EnsembleProxy


@dataclass(frozen=True)
class Optimizer:
    """How policies are trained, or texts found, against a proxy."""

    name: str = "ppo"
    """Stage name and name in pictures, for example ``ppo-kl0.05``."""
    kind: str = "ppo"
    """The algorithm: a key of ``stages.TRAINED`` or ``stages.DRAWN``."""
    changes: tuple[tuple[str, Any], ...] = ()
    """Fields of the algorithm's configuration that differ from its own default (PPO and its like: the recipe's)."""
    evaluate_every: int | None = None
    """Updates between two measurements; None takes the recipe's."""


@dataclass(frozen=True)
class Arm:
    """One policy to be trained: by what, against what, which repetition."""

    optimizer: Optimizer
    proxy: str
    """Name of the proxy, or "gold": the control arm."""
    index: int

    @property
    def stage(self) -> str:
        """Its folder below the run."""
        return f"{self.optimizer.name}/{self.proxy}-{self.index}"


def grid(sizes: Sequence[str], labels: Sequence[int], replicates: int = 1) -> tuple[Proxy, ...]:
    """Every size with every number of labels, each ``replicates`` times."""
    return tuple(Proxy(s, n, r) for s in sizes for n in labels for r in range(replicates))


@dataclass(frozen=True)
class Recipe:
    """Every number of a run that is not the seed."""

    name: str
    measures: str
    """What the run measures, one sentence."""
    healthy: str
    """The numbers that a healthy run shows."""
    sizes: tuple[ProxySize, ...]
    """Sizes that the trained proxies may have."""
    trained: tuple[Proxy, ...]
    """Trained proxies, smallest first."""
    cost: str = ""
    """Wall time on two CPU cores, measured."""
    planted: tuple[PlantedProxy, ...] = ()
    """Proxies with a known fault."""
    ensembles: tuple[EnsembleProxy, ...] = ()
    """Proxies made of trained ones."""
    acting: str = ""
    """An embedded backbone, ``252k`` for example, that is optimized in place of the policy; labels and proxies stay
    those of the policy, so that only the optimized model differs."""
    comparisons: int = 4000
    """Labelled comparisons to train on; a proxy with fewer labels gets the first ones."""
    held_out_share: float = 0.1
    """Share of all labelled comparisons that no proxy is trained on."""
    prompts: int = 64
    """Held-out prompts for best-of-n and for measuring policies."""
    samples: int = 1024
    """Base-policy samples per held-out prompt."""
    bank_chunk: int = 1024
    """Samples of one prompt drawn at once."""
    bank_parts: int = 16
    """The bank is drawn in this many pieces that an interruption does not lose."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """PPO's own numbers; its length and temperature hold for everything that is drawn."""
    optimizers: tuple[Optimizer, ...] = (Optimizer(),)
    """Optimizers, each against every one of ``optimized``."""
    optimized: tuple[AnyProxy, ...] = ()
    """Proxies that policies are trained against."""
    seeds: int = 2
    """Runs per optimizer and proxy."""
    reweighted: tuple[str, ...] = ()
    """Further optimizers of ``optimized`` that only choose among the bank's samples: ``best-of-poisson``."""
    fresh_proxy_per_seed: bool = False
    """Run ``i`` optimizes the proxy's replicate ``i``, so that the spread is that of labels' order, head and policy."""
    gold_control_seeds: int = 1
    """PPO runs that optimize gold itself: the control arm."""
    evaluate_every: int = 4
    """Updates between two measurements on the held-out prompts."""
    evaluation_samples: int = 4
    """Completions per held-out prompt at each measurement."""
    quick: bool = False
    """Cut the counts of every algorithm: does it run?"""

    def __post_init__(self) -> None:
        for name in ("prompts", "samples", "bank_chunk", "bank_parts", "evaluate_every", "evaluation_samples"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be >= 1, got {getattr(self, name)}.")
        most = max((proxy.labels for proxy in self.trained), default=0)
        if most > self.comparisons:
            raise InputError(f"`comparisons` must be >= {most}, the labels of a proxy, got {self.comparisons}.")
        if self.most_seeds is not None and self.seeds > self.most_seeds:
            raise InputError(
                f"`seeds` must be <= {self.most_seeds}, the replicates of the proxies that recipe '{self.name}' takes "
                f"afresh for every seed, got {self.seeds}."
            )

    @cached_property
    def most_seeds(self) -> int | None:
        """The most ``seeds`` for which every optimized proxy has a replicate of its own; None without such a limit."""
        if not self.fresh_proxy_per_seed:
            return None
        names = {proxy.name for proxy in self.trained}

        def replicates(proxy: Proxy) -> int:
            return next(r for r in count() if replace(proxy, replicate=r).name not in names)

        return min((replicates(proxy) for proxy in self.optimized if isinstance(proxy, Proxy)), default=None)

    @cached_property
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
    def proxies(self) -> tuple[AnyProxy, ...]:
        """Every proxy of the run."""
        return (*self.trained, *self.planted, *self.ensembles)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Every policy to be trained, first repetitions first."""
        arms = []
        for index in range(self.seeds):
            for proxy in self.optimized:
                fresh = self.fresh_proxy_per_seed and isinstance(proxy, Proxy)
                name = replace(proxy, replicate=index).name if fresh and isinstance(proxy, Proxy) else proxy.name
                arms += [Arm(optimizer, name, index) for optimizer in self.optimizers]
        control = Optimizer()
        arms += [Arm(control, "gold", index) for index in range(self.gold_control_seeds)]
        return tuple(sorted(arms, key=lambda arm: arm.index))

    def size_named(self, name: str) -> ProxySize:
        """The proxy size called ``name``."""
        return next(size for size in self.sizes if size.name == name)

    def proxy_named(self, name: str) -> AnyProxy:
        """The proxy called ``name``."""
        return next(proxy for proxy in self.proxies if proxy.name == name)

    def smoke(self) -> Recipe:
        """The same stages with too little of everything to show anything: does it run?"""
        counts = sorted({p.labels for p in self.trained} | {m.labels for e in self.ensembles for m in e.members})
        fewer = {labels: SMOKE_COMPARISONS * (i + 1) // len(counts) for i, labels in enumerate(counts)}

        def small(proxy: Any) -> Any:
            if isinstance(proxy, Proxy):
                return replace(proxy, labels=fewer[proxy.labels], annotator=proxy.annotator and small(proxy.annotator))
            if isinstance(proxy, EnsembleProxy):
                return replace(proxy, members=tuple(small(member) for member in proxy.members))
            return proxy

        members = [member for ensemble in self.ensembles for member in ensemble.members]

        def few(proxies: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(small(proxy) for proxy in proxies)

        return replace(
            self,
            trained=few([p for p in self.trained if not p.replicate or p in members]),
            ensembles=few(self.ensembles),
            optimized=few(self.optimized),
            comparisons=SMOKE_COMPARISONS,
            prompts=min(self.prompts, 16),
            samples=min(self.samples, 32),
            bank_chunk=16,
            bank_parts=2,
            ppo=replace(self.ppo, steps=4, prompts_per_step=4, samples_per_prompt=4),
            seeds=1,
            gold_control_seeds=min(self.gold_control_seeds, 1),
            evaluate_every=2,
            evaluation_samples=2,
            quick=True,
        )

    def plain(self) -> dict[str, Any]:
        """Every number of the recipe as plain data; what is only said about it left out."""
        said = ("measures", "healthy", "cost")
        return {key: value for key, value in asdict(self).items() if key not in said}
