"""Recipe `gpu-10min`: one large GPU, a policy of 100 million parameters or more, best-of-4096, in ten-minute calls."""

from __future__ import annotations

from overopt.bridges.lm.ppo import PPOConfig
from overopt.bridges.lm.recipe import Proxy, ProxySize, Recipe, grid
from overopt.bridges.lm.reward_model import RewardTraining

__all__ = ["GPU_10MIN"]

_TRAINING = RewardTraining(learning_rate=5e-5, epochs=1)
_SIZES = tuple(ProxySize(f"{layers}-layers", layers=layers, training=_TRAINING) for layers in (2, 8, 15))

GPU_10MIN = Recipe(
    name="gpu-10min",
    measures="Best-of-4096 and PPO of a 100-million-parameter policy against proxies cut to 2, 8 and 15 layers.",
    healthy="Not measured: no GPU was at hand. Gold's own record is metrics.json beside the world's policy and gold.",
    cost="Not measured; cut into stages so that every call of ten minutes finishes some.",
    sizes=_SIZES,
    trained=grid([size.name for size in _SIZES], (1000, 16_000)),
    comparisons=16_000,
    prompts=32,
    samples=4096,
    bank_chunk=4096,
    bank_parts=32,
    ppo=PPOConfig(
        steps=120,
        prompts_per_step=64,
        samples_per_prompt=8,
        max_new_tokens=48,
        learning_rate=2e-5,
        value_learning_rate=1e-3,
        warmup_steps=5,
        minibatches=4,
    ),
    optimized=(Proxy("2-layers", 1000), Proxy("8-layers", 16_000)),
    seeds=2,
    evaluate_every=10,
    evaluation_samples=16,
)
"""Proxies start from the first layers of the policy, so none is larger than gold, which has all of them and the human
ratings. Make the world first: ``python -m overopt.bridges.lm.gpu_world``."""
