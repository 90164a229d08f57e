"""The named recipes: what each measures, what it costs, which numbers a healthy run shows."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

from overopt.bridges.lm.gpu_recipe import GPU_10MIN
from overopt.bridges.lm.ppo import PPOConfig
from overopt.bridges.lm.recipe import (
    EnsembleProxy,
    Optimizer,
    PlantedProxy,
    PrivateProxy,
    Proxy,
    ProxySize,
    Recipe,
    grid,
)
from overopt.bridges.lm.reward_model import RewardTraining
from overopt.theory.errors import InputError

__all__ = ["RECIPES", "recipe_named"]

SIZES = (
    ProxySize("41k", width=10, layers=1, training=RewardTraining(learning_rate=3e-3)),
    ProxySize("67k", width=16, layers=1, training=RewardTraining(learning_rate=3e-3)),
    ProxySize("252k", width=48, layers=2, training=RewardTraining(learning_rate=1e-3)),
    ProxySize("725k", layers=1, training=RewardTraining(learning_rate=3e-4)),
    ProxySize("1.4m", training=RewardTraining(learning_rate=3e-4)),
)
"""Two of them start from the policy's weights: 725k from its first layer, 1.4m from all four."""

WEAK = Proxy("41k", 4000)
"""The proxy of the demo: weak enough to be overoptimized within minutes, good enough for gold to rise first."""

TINY = Recipe(
    name="tiny",
    measures="Overoptimization on human-rated text: best-of-1024 against nine proxies, PPO against a weak one.",
    healthy=(
        "On the embedded world, gains in gold SD, eight PPO runs: gold peaks at +.9 to +1.5 between KL 13 and 28, "
        "then falls by .7 to 3.2 by KL 43 to 64 while the proxy keeps rising. Optimizing gold itself: +2.0 and "
        "stays. Best-of-1024 with 4,000 labels: +1.0 (41k), +1.6 (252k), +1.4 (1.4m); with 250 labels +.3 to +.7."
    ),
    cost="8 minutes",
    sizes=SIZES,
    trained=grid(("41k", "252k", "1.4m"), (250, 1000, 4000)),
    optimized=(WEAK,),
)

SMOKE = replace(
    TINY,
    name="smoke",
    measures="Every stage of `tiny` with too little of everything to show anything: does it run?",
    cost="20 seconds",
    trained=grid(("41k", "1.4m"), (40, 120)),
    comparisons=120,
    prompts=16,
    samples=32,
    bank_chunk=16,
    bank_parts=2,
    ppo=PPOConfig(steps=4, prompts_per_step=4, samples_per_prompt=4),
    optimized=(Proxy("41k", 120),),
    seeds=1,
    evaluate_every=2,
    evaluation_samples=2,
)

LARGE_N = replace(
    TINY,
    name="large-n",
    measures="Best-of-60,000 for eight prompts, the reference experiment's largest n, against two proxies and gold.",
    cost="20 minutes",
    trained=grid(("41k", "1.4m"), (4000,)),
    prompts=8,
    samples=60_000,
    bank_chunk=2_000,
    bank_parts=60,
    optimized=(),
    gold_control_seeds=0,
)

CROSS_CHECK = replace(
    TINY,
    name="cross-check",
    measures="Our PPO, three seeds, beside TRL's RLOOTrainer on the same reward: proxy gain at equal d.",
    cost="9 minutes",
    trained=(WEAK,),
    samples=256,
    optimizers=(Optimizer(), Optimizer("rloo", "rloo")),
    seeds=3,
    gold_control_seeds=0,
)

_FAULTS = (
    PlantedProxy("noise", 1.0),
    PlantedProxy("bend", 10.0),
    PlantedProxy("length", 1.0),
    PlantedProxy("exploit", 4.0),
)

PLANTED = replace(
    TINY,
    name="planted",
    measures="Whether the decomposition finds a fault that was put in: gold with noise, a bend, length, a rare token.",
    cost="16 minutes",
    healthy=(
        "Best-of-256: noise is regressional (+2.1 SD) and nothing else; the bend's largest term is extremal (+3.8). "
        "PPO: noise opens no gap; the bend's largest term is extremal (+1.9 to +2.1). A bonus for length or for a "
        "token does not depend on gold, so that both optimizers pay for it as for noise (+2 to +4 regressional); "
        "what PPO adds beyond the base policy's range is unattributed (+1.8 for the token)."
    ),
    trained=(),
    planted=_FAULTS,
    optimized=_FAULTS,
    seeds=3,
    gold_control_seeds=0,
)

_FIVE_SIZES = grid([size.name for size in SIZES], (4000,), replicates=3)

RM_SIZE = replace(
    TINY,
    name="rm-size",
    measures="alpha, beta and gold's peak against the proxy's size: five sizes, three proxies each, PPO on every one.",
    cost="30 minutes, with other jobs running",
    healthy=(
        "alpha of best-of-n rises by .026 per doubling of the parameters, beta falls by .009; gold at best-of-1024 "
        "+.85 (41k) to +1.5 (252k and more); PPO peaks at +.95 to +1.36 and loses gold to shift in 15 of 15 runs."
    ),
    trained=_FIVE_SIZES,
    optimized=tuple(proxy for proxy in _FIVE_SIZES if not proxy.replicate),
    seeds=3,
    fresh_proxy_per_seed=True,
    gold_control_seeds=0,
)

_MORE_EPOCHS = tuple(Proxy("252k", 1000, r, "epochs8", RewardTraining(learning_rate=1e-3, epochs=8)) for r in range(3))

DATA_SIZE = replace(
    TINY,
    name="data-size",
    measures="Gold against the number of labels, 250 to 4000, and against more epochs on the same 1000.",
    cost="12 minutes, with other jobs running",
    healthy=(
        "Gold at best-of-1024 +.3 with 250 and 500 labels, +.5 with 1000, +1.3 with 2000, +1.5 with 4000. Eight "
        "epochs on 1000 labels instead of two: +.13 [-.13, +.39]."
    ),
    trained=(*grid(("252k",), (250, 500, 1000, 2000, 4000), replicates=3), *_MORE_EPOCHS),
    optimized=(*grid(("252k",), (250, 1000, 4000)), _MORE_EPOCHS[0]),
    seeds=3,
    fresh_proxy_per_seed=True,
    gold_control_seeds=0,
)

KL_PENALTY = replace(
    TINY,
    name="kl-penalty",
    measures="A KL penalty against early stopping: three coefficients and none, PPO's clip on and off.",
    cost="16 minutes, with other jobs running",
    healthy=(
        "At equal KL a penalty of .01, .03, .1 holds +.17, +.26, +.21 SD more gold than PPO stopped early, and more "
        "proxy: another frontier. Without the clip -.13 [-.51, +.24]: whether it is a brake cannot be told."
    ),
    trained=(WEAK,),
    optimized=(WEAK,),
    optimizers=(
        Optimizer(),
        *(Optimizer(f"ppo-kl{c}", "ppo", (("kl_coefficient", c),)) for c in (0.01, 0.03, 0.1)),
        Optimizer("ppo-noclip", "ppo", (("clip", 0.0),)),
        Optimizer("ppo-noclip-kl0.03", "ppo", (("clip", 0.0), ("kl_coefficient", 0.03))),
    ),
    seeds=3,
    gold_control_seeds=0,
)

METHODS = replace(
    TINY,
    name="methods",
    measures="The same proxy under many optimizers, on one KL axis, gold itself as the control arm.",
    cost="22 minutes",
    healthy=(
        "Gold at its peak: best-of-1024 +1.0, best-of-Poisson +.9 (KL 3.8), PPO +.9 to +1.4, RLOO and GRPO +1.0 to "
        "+1.4, the tilt by MCMC +.6 to +.8 at KL 2, DPO +.2 to +.4, guided decoding none; PPO, GRPO and expert "
        "iteration then fall below the base policy, the tilt does not. Gold itself: +1.9 to +2.0 and stays."
    ),
    trained=(WEAK,),
    optimized=(WEAK,),
    optimizers=(
        Optimizer(),
        *(Optimizer(kind, kind) for kind in ("rloo", "grpo")),
        *(Optimizer(kind, kind, evaluate_every=2) for kind in ("expert-iteration", "reward-conditioned")),
        Optimizer("dpo", "dpo", evaluate_every=8),
        *(Optimizer(kind, kind) for kind in ("guided-decoding", "tilt-mcmc")),
    ),
    reweighted=("best-of-poisson",),
    seeds=3,
    gold_control_seeds=3,
)

_POLICIES = tuple(
    replace(
        TINY,
        name=f"policy-{size}",
        measures=f"A policy of {size} parameters in place of 1.4m, same proxy: is a larger one a better prior?",
        cost="3 minutes",
        healthy=(
            "The best policy is the largest: PPO's gold peaks at +.25 (67k), +.62 (252k), +1.17 (1.4m; the recipe "
            "methods, whose PPO arm has the same proxy), at KL 1, 2 and 17."
        ),
        acting=size,
        trained=(WEAK,),
        optimized=(WEAK,),
        seeds=3,
        gold_control_seeds=0,
    )
    for size in ("67k", "252k")
)

_MEMBERS = grid(("41k",), (4000,), replicates=3)
_NOISY_MEMBERS = tuple(Proxy("41k", 4000, r, "noise25", label_noise=0.25) for r in range(3))
_PRIVATE_MEMBERS = tuple(PrivateProxy("41k", 4000, r, "private") for r in range(3))
_ENSEMBLES = tuple(
    EnsembleProxy(members, combine, variant)
    for members, variant in ((_MEMBERS, ""), (_NOISY_MEMBERS, "noise25"), (_PRIVATE_MEMBERS, "private"))
    for combine in ("mean", "min", "uncertainty")
)

ENSEMBLES = replace(
    TINY,
    name="ensembles",
    measures=(
        "Three proxies as one (mean, min, uncertainty-weighted): on one backbone, with 25% wrong labels, each from "
        "random weights of its own."
    ),
    cost="56 minutes with other jobs running; 36 PPO runs of two minutes on an idle core, two at a time",
    healthy=(
        "Mean, min and uncertainty weighting do not move PPO's peak measurably; the mean ends +1.3 [+.5, +2.0] SD "
        "above a single proxy. 25% wrong labels cost -.8 [-1.6, -.05] at the peak, and no ensemble wins them back. "
        "Private members are the better best-of-256 (one +1.1, their mean +1.2; shared +.8, +1.0) and move PPO's "
        "peak no more than shared ones (+.1 to +.3 over one of them, within the seeds' error)."
    ),
    trained=(*_MEMBERS, *_NOISY_MEMBERS, *_PRIVATE_MEMBERS),
    ensembles=_ENSEMBLES,
    optimized=(_MEMBERS[0], _NOISY_MEMBERS[0], _PRIVATE_MEMBERS[0], *_ENSEMBLES),
    seeds=3,
    gold_control_seeds=0,
)

ITERATED = replace(
    TINY,
    name="iterated",
    measures="Iterated RLHF: 1 to 4 rounds of fresh labels, reward model and PPO, at equal labels and updates.",
    cost="27 minutes, with other jobs running",
    healthy=(
        "Gold at the end -.4 (1 round), -.9 (2), +.4 (3), +.8 (4); its highest is +1.0 to +1.2 whatever the rounds. "
        "The law's gain beta d log k over one round is not there: +.1, +.3, -.0 measured, +.5, +.9, +.8 foretold."
    ),
    trained=(WEAK,),
    optimized=(WEAK,),
    optimizers=(
        Optimizer(),
        *(Optimizer(f"iterated-k{k}", "iterated", (("iterations", k),)) for k in (1, 2, 3, 4)),
    ),
    seeds=3,
    gold_control_seeds=0,
)

_NOISES = tuple(
    Proxy("252k", 4000, r, f"noise{round(100 * share)}", label_noise=share)
    for share in (0.1, 0.25, 0.4)
    for r in range(3)
)

LABEL_NOISE = replace(
    TINY,
    name="label-noise",
    measures="Gold against the share of labels that are turned around: none, 10, 25, 40%.",
    cost="19 minutes",
    healthy=(
        "Best-of-256: +1.4 with right labels, +1.2, +1.1 and -.6 with 10, 25 and 40% turned around; held-out loss and "
        "gold have a rank correlation of -.98. PPO's peak against right labels: +.1, -.5, -.7, within the seeds' error."
    ),
    trained=(*grid(("252k",), (4000,), replicates=3), *_NOISES),
    optimized=(Proxy("252k", 4000), *(proxy for proxy in _NOISES if not proxy.replicate)),
    seeds=3,
    fresh_proxy_per_seed=True,
    gold_control_seeds=0,
)

_REGULARISED = (
    Proxy("252k", 4000),
    Proxy("252k", 4000, 0, "decay", RewardTraining(learning_rate=1e-3, weight_decay=1.0)),
    Proxy("252k", 4000, 0, "early", RewardTraining(learning_rate=1e-3, epochs=1)),
    Proxy("67k", 4000),
)

REGULARISED_RM = replace(
    TINY,
    name="regularised-rm",
    measures="A simpler proxy: weight decay, one epoch instead of two, a smaller model.",
    cost="17 minutes",
    healthy=(
        "No regularisation helps measurably: best-of-256 +1.37, weight decay +1.38, one epoch +1.13, 67k parameters "
        "+.94. PPO's peak against the plain proxy's: decay +.21 [-1.02, +1.44], one epoch -.35 [-1.13, +.42], 67k +.41 "
        "[-.36, +1.17]; three proxies each."
    ),
    trained=tuple(replace(proxy, replicate=r) for proxy in _REGULARISED for r in range(3)),
    optimized=_REGULARISED,
    seeds=3,
    fresh_proxy_per_seed=True,
    gold_control_seeds=0,
)

_ANNOTATED = tuple(Proxy("41k", 4000, r, "by-252k", annotator=Proxy("252k", 4000)) for r in range(3))

THREE_LEVELS = replace(
    TINY,
    name="three-levels",
    measures="A proxy trained on the labels of an annotator who is himself a proxy of gold.",
    cost="23 minutes, with other jobs running",
    healthy=(
        "The annotator's labels cost nothing that three proxies can show: best-of-1024 +.9 each against +.5 to +1.1 "
        "with gold's labels, PPO's peak -.11 [-.80, +.59], its end +.63 [+.28, +.98]."
    ),
    trained=(Proxy("252k", 4000), *grid(("41k",), (4000,), replicates=3), *_ANNOTATED),
    optimized=(WEAK, _ANNOTATED[0]),
    seeds=3,
    fresh_proxy_per_seed=True,
    gold_control_seeds=0,
)

_EXPLOITS = tuple(PlantedProxy("exploit", strength) for strength in (4.0,))

ADVERSARIAL = replace(
    PLANTED,
    name="adversarial",
    measures="Gold plus a bonus for a rare token: when does each optimizer find the exploit, and what does it cost?",
    cost="21 minutes, with other jobs running",
    healthy=(
        "PPO finds the exploit at step 20 to 24 in every run, with a KL penalty of .03 or .1 too (KL 7 to 18); gold "
        "still ends at +1.5, +1.5 and +1.1: a token that costs nothing is taken beside gold, not in its place."
    ),
    planted=_EXPLOITS,
    optimized=_EXPLOITS,
    optimizers=(Optimizer(), *(Optimizer(f"ppo-kl{c}", "ppo", (("kl_coefficient", c),)) for c in (0.03, 0.1))),
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        TINY, SMOKE, LARGE_N, CROSS_CHECK, PLANTED, RM_SIZE, DATA_SIZE, KL_PENALTY, METHODS, *_POLICIES,
        ENSEMBLES, ITERATED, LABEL_NOISE, REGULARISED_RM, THREE_LEVELS, ADVERSARIAL, GPU_10MIN,
    )
}  # fmt: skip


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
