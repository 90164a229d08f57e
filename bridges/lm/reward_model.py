"""Proxy reward models: training on labelled pairs with TRL's RewardTrainer, scoring, held-out loss and accuracy."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overopt.bridges.lm.batching import in_batches, rows_at_once
from overopt.bridges.lm.sampler import TokenIds
from overopt.theory.errors import InputError

__all__ = ["HeldOut", "LabelledPairs", "RewardModel", "RewardTraining", "train_reward_model"]


@dataclass(frozen=True)
class LabelledPairs:
    """Comparisons: for each of P prompts a preferred and a rejected completion, as rows of token ids.

    ``gold_margin`` (P,) is ``gold(chosen) - gold(rejected) > 0`` in gold's own units.
    """

    prompts: Sequence[TokenIds]
    chosen: Sequence[TokenIds]
    rejected: Sequence[TokenIds]
    gold_margin: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: slice) -> LabelledPairs:
        """Some of the pairs, in order."""
        return LabelledPairs(self.prompts[rows], self.chosen[rows], self.rejected[rows], self.gold_margin[rows])

    def joined(self, others: LabelledPairs) -> LabelledPairs:
        """These pairs, then the others."""
        return LabelledPairs(
            [*self.prompts, *others.prompts],
            [*self.chosen, *others.chosen],
            [*self.rejected, *others.rejected],
            np.concatenate([self.gold_margin, others.gold_margin]),
        )

    def turned(self, rows: NDArray[np.bool_]) -> LabelledPairs:
        """The pairs with chosen and rejected exchanged where ``rows`` (P,) is True."""
        both = list(zip(self.chosen, self.rejected, rows, strict=True))
        chosen = [r if turn else c for c, r, turn in both]
        rejected = [c if turn else r for c, r, turn in both]
        return LabelledPairs(self.prompts, chosen, rejected, np.where(rows, -self.gold_margin, self.gold_margin))


@dataclass(frozen=True)
class HeldOut:
    """How a reward model does on pairs that it was not trained on.

    ``loss`` is the Bradley-Terry cross-entropy in nats (ln 2 = .693 at chance), ``accuracy`` the share of pairs
    ordered as gold orders them, ``accuracy_se`` its standard error, ``pairs`` their number.
    """

    loss: float
    accuracy: float
    accuracy_se: float
    pairs: int

    @classmethod
    def of(cls, margin: NDArray[np.float64]) -> HeldOut:
        """From the reward margins (P,) of chosen over rejected completions; a tie counts one half."""
        right = (margin > 0) + 0.5 * (margin == 0)
        return cls(
            loss=float(np.logaddexp(0.0, -margin).mean()),
            accuracy=float(right.mean()),
            accuracy_se=float(right.std(ddof=1) / np.sqrt(len(margin))),
            pairs=len(margin),
        )


@dataclass(frozen=True)
class RewardTraining:
    """How a proxy reward model is trained."""

    learning_rate: float = 1e-3
    """Peak learning rate of AdamW, linear decay."""
    epochs: int = 2
    """Passes over the pairs."""
    batch_size: int = 64
    """Pairs per step (Gao et al. 2022, appendix C)."""
    weight_decay: float = 0.0
    """AdamW weight decay."""
    centre_coefficient: float = 0.01
    """Weight of (r_chosen + r_rejected)^2, which fixes the offset that a difference of rewards leaves free."""


class RewardModel:
    """A sequence classifier with one label as a reward: the score of a prompt with its completion.

    ``batch_size`` rows are read at once, by default 64 on a CPU and 1024 on a GPU; fewer, from then on, where its
    memory does not hold them.
    """

    def __init__(self, model: Any, *, batch_size: int | None = None) -> None:
        if model.config.num_labels != 1:
            raise InputError(f"a reward model must have 1 label, got {model.config.num_labels}.")
        self.model = model.eval()
        self.batch_size = rows_at_once(model.device, cpu=64, gpu=1024) if batch_size is None else batch_size

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> RewardModel:
        """Read a Hugging Face sequence classifier; it is used in float32."""
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
        return cls(model.to(device))

    def __call__(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> NDArray[np.float64]:
        """Scores (R,) of R completions in the model's own units, one float32 forward pass each."""
        return self.score([[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)])

    @torch.inference_mode()
    def score(self, rows: Sequence[TokenIds]) -> NDArray[np.float64]:
        """Scores (R,) of whole rows of the model's own token ids."""
        lengths = np.array([len(row) for row in rows], dtype=np.intp)
        order = np.argsort(lengths, kind="stable")
        scores = np.empty(len(rows))
        pad = self.model.config.pad_token_id

        def read(batch: slice) -> None:
            index = order[batch]
            ids = np.full((len(index), lengths[index].max()), pad, dtype=np.int64)
            mask = np.arange(ids.shape[1]) < lengths[index, None]
            ids[mask] = np.concatenate([rows[i] for i in index])
            tensor = torch.from_numpy(ids).to(self.model.device)
            # Padding on the right cannot reach the last real token of a causal model, which the head reads.
            output = self.model(
                input_ids=tensor, attention_mask=None if mask.all() else torch.from_numpy(mask).to(tensor)
            )
            scores[index] = output.logits[:, 0].float().cpu().numpy()

        self.batch_size = in_batches(read, len(rows), self.batch_size, "scoring")
        return scores

    def held_out(self, pairs: LabelledPairs) -> HeldOut:
        """Loss and accuracy on pairs; a tie counts one half."""
        return HeldOut.of(self(pairs.prompts, pairs.chosen) - self(pairs.prompts, pairs.rejected))


def train_reward_model(seed: int, model: Any, tokenizer: Any, pairs: LabelledPairs, training: RewardTraining) -> Any:
    """Train a one-label sequence classifier on ``pairs`` with TRL's RewardTrainer and return it.

    The loss is Bradley-Terry, ``-log sigmoid(r_chosen - r_rejected)``, plus the centring term. Pairs are handed over as
    token ids, so that what is trained on is exactly what is scored later.
    """
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    data = Dataset.from_dict(
        {
            "chosen_ids": [[*p, *c] for p, c in zip(pairs.prompts, pairs.chosen, strict=True)],
            "rejected_ids": [[*p, *r] for p, r in zip(pairs.prompts, pairs.rejected, strict=True)],
        }
    )
    with tempfile.TemporaryDirectory() as scratch, open(os.devnull, "w") as nowhere, warnings.catch_warnings():
        # TRL and transformers disagree on the name of an option that is off here.
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
        config = RewardConfig(
            output_dir=scratch,
            seed=seed,
            data_seed=seed,
            num_train_epochs=training.epochs,
            per_device_train_batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            center_rewards_coefficient=training.centre_coefficient,
            lr_scheduler_type="linear",
            max_length=None,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=model.device.type == "cpu",
            dataloader_pin_memory=False,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = RewardTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
        with contextlib.redirect_stdout(nowhere):  # the trainer prints its summary as a dict
            trainer.train()
    return model.eval()
