"""TRL's online trainers, RLOO and GRPO, on PPO's prompts, reward, policy, batch and updates, measured by our own code.

RLOO is the cross-check of our PPO. GRPO is that of Shao et al. 2024, equation 3, without its KL term: the advantage of
a completion is its reward, centred and divided by the standard deviation within its prompt's group, and each
completion's clipped surrogate is averaged over its own tokens.

Of PPO's numbers, ``kl_coefficient`` means the same in both: the reward is less ``log pi - log pi0`` of the completion
times it. RLOO's own ``beta`` is that very number; GRPO's is another one, of a term of its loss, and stays off. ``clip``
bounds a token's ratio in GRPO and the completion's in RLOO; 0 turns it off. ``warmup_steps`` and what belongs to the
value head (``value_learning_rate``, ``value_coefficient``, ``gae_lambda``) are not used: the rate is constant.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.lm.completions import sequence_kl
from overopt.bridges.lm.policy import Policy
from overopt.bridges.lm.ppo import PPOConfig, Scorer
from overopt.bridges.lm.sampler import TokenIds
from overopt.theory.errors import InputError

__all__ = ["train_with_grpo", "train_with_rloo"]


def train_with_rloo(
    seed: int,
    policy: Policy,
    base: Policy,
    prompts: Sequence[TokenIds],
    reward: Scorer,
    config: PPOConfig,
    on_step: Callable[[int, Any], None],
) -> None:
    """Train ``policy.model`` in place with TRL's RLOOTrainer (Ahmadian et al. 2024), ``base`` its initial policy.

    Batch, learning rate, KL penalty, clip range, temperature and completion length are PPO's; each batch is read
    ``epochs`` times in ``minibatches`` parts. ``on_step`` is called with (generated batches so far, model), 0 first, as
    PPO does.
    """
    from trl import RLOOConfig, RLOOTrainer

    settings = partial(RLOOConfig, normalize_advantages=True)
    _train(RLOOTrainer, settings, seed, policy, base, prompts, reward, config, on_step)


def train_with_grpo(
    seed: int,
    policy: Policy,
    base: Policy,
    prompts: Sequence[TokenIds],
    reward: Scorer,
    config: PPOConfig,
    on_step: Callable[[int, Any], None],
) -> None:
    """Train ``policy.model`` in place with TRL's GRPOTrainer (Shao et al. 2024), else as :func:`train_with_rloo`."""
    from trl import GRPOConfig, GRPOTrainer

    settings = partial(GRPOConfig, loss_type="grpo", scale_rewards="group")
    _train(GRPOTrainer, settings, seed, policy, base, prompts, reward, config, on_step)


def _train(
    trainer_class: Any,
    settings_of: Callable[..., Any],
    seed: int,
    policy: Policy,
    base: Policy,
    prompts: Sequence[TokenIds],
    reward: Scorer,
    config: PPOConfig,
    on_step: Callable[[int, Any], None],
) -> None:
    from datasets import Dataset
    from transformers import TrainerCallback

    if policy.chat is not None:
        raise InputError(
            "TRL's trainers are given prompts as plain text and cannot train a policy with a chat template here; "
            "use ppo or expert iteration."
        )
    batch = config.prompts_per_step * config.samples_per_prompt
    updates = config.epochs * config.minibatches
    texts = list(policy.tokenizer.batch_decode([list(row) for row in prompts], skip_special_tokens=True))
    ids = {text: list(row) for text, row in zip(texts, prompts, strict=True)}

    def score(prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        rows = [ids[text] for text in prompts]
        values = np.asarray(reward(rows, completion_ids), dtype=np.float64)
        if config.kl_coefficient:
            values = values - config.kl_coefficient * _logratio(policy, base, rows, completion_ids, config.temperature)
        return [float(value) for value in values]

    class Measure(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if state.global_step % updates == 0:
                on_step(state.global_step // updates, model.eval())
                model.train()

    on_step(0, policy.model)
    with tempfile.TemporaryDirectory() as scratch, open(os.devnull, "w") as nowhere, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        settings = settings_of(
            output_dir=scratch,
            seed=seed,
            max_steps=config.steps * updates,
            per_device_train_batch_size=batch // config.minibatches,
            steps_per_generation=config.minibatches,
            num_iterations=config.epochs,
            num_generations=config.samples_per_prompt,
            max_completion_length=config.max_new_tokens,
            temperature=config.temperature,
            top_k=0,
            beta=0.0,  # a penalty is part of `score`: TRL would read its own base policy from a folder
            epsilon=config.clip or math.inf,
            learning_rate=config.learning_rate,
            lr_scheduler_type="constant",
            max_grad_norm=config.max_gradient_norm,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=policy.model.device.type == "cpu",
            dataloader_pin_memory=False,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = trainer_class(
            model=policy.model,
            reward_funcs=score,
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": texts}),
            processing_class=policy.tokenizer,
            callbacks=[Measure()],
        )
        with contextlib.redirect_stdout(nowhere):
            trainer.train()


def _logratio(
    policy: Policy, base: Policy, prompts: Sequence[TokenIds], completions: Sequence[TokenIds], temperature: float
) -> NDArray[np.float64]:
    """``log pi - log pi0`` (R,) of whole completions, nats."""
    training = policy.model.training
    policy.model.eval()
    found = sequence_kl(policy.model, base.model, prompts, completions, pad=policy.pad, temperature=temperature)
    policy.model.train(training)
    return found.logratio
