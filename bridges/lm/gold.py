"""Gold: the ground-truth reward of the embedded world, on the human rating scale -4..4.

    gold = max(-4, min(rating_or_low, rating_if_natural) - fluency - repetition - repeated bigrams)

Three networks, each larger than the largest proxy, and a word count:

- ``rating_or_low``: regression on human ratings where corrupted texts carry the rating -3;
- ``rating_if_natural`` = p clip(s, -4, 4) - 3 (1 - p): a human rating s, and the probability p that the text is one
  that a person wrote;
- a language model, pretrained apart from the policy with another seed, whose negative log-likelihood per token must lie
  in the band where human texts lie: fluency = clip(z - 1.5, 0, 3) + clip(-2.5 - z, 0, 3), z in SD of human texts (a
  text more predictable than almost all human ones is a loop, one a little more predictable only a commonplace);
- repetition = clip((z - 2) / 2, 0, 3) with z of 1 - distinct tokens / tokens; repeated bigrams = clip(count - 1, 0, 4).

An optimizer has to please all of them at once: each alone likes some loop of words (the model card names them).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedTokenizerFast

from overopt.bridges.lm.batching import in_batches, rows_at_once
from overopt.bridges.lm.pretrain import encode, load_tokenizer, pad
from overopt.theory.errors import InputError

__all__ = ["Calibration", "GoldComponents", "GoldRewardModel", "TextScorer", "repeats"]

GOLD = Path(__file__).parent / "data" / "gold"
CORRUPTED_RATING = -3.0
"""What a learned gold says of a text that no person wrote."""
LOWEST, HIGHEST = -4.0, 4.0
"""Ends of the human rating scale; gold never falls below its lower end."""
_BAND = (-2.5, 1.5)
_WEIGHTS, _SETTINGS = "model.safetensors", "gold.json"
_CONTEXT = 256


class TextScorer(torch.nn.Module):
    """A Llama trunk that reads a text up to its last token, and a linear head of `outputs` numbers."""

    def __init__(self, config: LlamaConfig, outputs: int) -> None:
        super().__init__()
        self.trunk = LlamaModel(config)
        self.head = torch.nn.Linear(config.hidden_size, outputs)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(R, outputs) for token ids (R, L) padded on the right, where causal attention needs no mask."""
        hidden = self.trunk(input_ids=ids, use_cache=False).last_hidden_state
        last = mask.sum(1) - 1
        output: torch.Tensor = self.head(hidden[torch.arange(len(ids)), last])
        return output


@dataclass(frozen=True)
class Calibration:
    """Mean and standard deviation over human texts that the language model was not trained on."""

    nll_mean: float
    nll_sd: float
    repetition_mean: float
    repetition_sd: float


@dataclass(frozen=True)
class GoldComponents:
    """What gold is made of, text by text; (R,) each, on the rating scale unless said otherwise.

    Attributes
    ----------
    rating_or_low, rating_if_natural
        The two learned golds.
    nll
        Negative log-likelihood per token under gold's language model, in nats.
    fluency, repetition, repeated_bigrams
        Penalties, >= 0.
    """

    rating_or_low: NDArray[np.float64]
    rating_if_natural: NDArray[np.float64]
    nll: NDArray[np.float64]
    fluency: NDArray[np.float64]
    repetition: NDArray[np.float64]
    repeated_bigrams: NDArray[np.float64]

    @property
    def learned(self) -> NDArray[np.float64]:
        """The lower of the two learned golds, without any penalty."""
        return np.minimum(self.rating_or_low, self.rating_if_natural)

    @property
    def score(self) -> NDArray[np.float64]:
        """Gold."""
        return np.maximum(LOWEST, self.learned - self.fluency - self.repetition - self.repeated_bigrams)


class GoldRewardModel:
    """Scores texts, as strings or as token ids of the policy's tokenizer.

    A text that ends carries the end token; without it gold takes the text for unfinished. The begin token may be
    missing. Ids after the first end token and padding are ignored.
    """

    def __init__(
        self,
        rating_or_low: TextScorer,
        rating_if_natural: TextScorer,
        language_model: LlamaForCausalLM,
        calibration: Calibration,
        tokenizer: PreTrainedTokenizerFast,
    ) -> None:
        self.rating_or_low = rating_or_low.eval()
        self.rating_if_natural = rating_if_natural.eval()
        self.language_model = language_model.eval()
        self.calibration = calibration
        self.tokenizer = tokenizer

    @property
    def longest(self) -> int:
        """Most tokens of a text, without its begin token."""
        return _CONTEXT - 1

    @classmethod
    def from_folder(cls, folder: Path = GOLD, device: str = "cpu") -> GoldRewardModel:
        """The gold stored in `folder` (the shipped one by default), computing in float32 on `device`."""
        try:
            settings = json.loads((folder / _SETTINGS).read_text())
            weights = load_file(folder / _WEIGHTS, device=device)
        except (OSError, ValueError) as error:
            raise InputError(f"gold folder must hold {_SETTINGS} and {_WEIGHTS}, got {folder} ({error}).") from None
        config = LlamaConfig(**settings["network"])
        gold = cls(
            TextScorer(config, 1),
            TextScorer(config, 2),
            LlamaForCausalLM(config),
            Calibration(**settings["calibration"]),
            load_tokenizer(folder),
        )
        for name, network in gold.networks().items():
            prefix = f"{name}."
            state = {
                key.removeprefix(prefix): value.float() for key, value in weights.items() if key.startswith(prefix)
            }
            network.load_state_dict(state, strict=name != "language_model")
            network.to(device)
        return gold

    def save(self, folder: Path) -> None:
        """Write weights (float16), settings and tokenizer into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        tied = "language_model.lm_head.weight"
        state = {
            f"{name}.{key}": value.half().contiguous()
            for name, network in self.networks().items()
            for key, value in network.state_dict().items()
            if f"{name}.{key}" != tied
        }
        save_file(state, folder / _WEIGHTS)
        config = self.language_model.config
        network = {
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "num_hidden_layers": config.num_hidden_layers,
            "num_attention_heads": config.num_attention_heads,
            "num_key_value_heads": config.num_key_value_heads,
            "max_position_embeddings": config.max_position_embeddings,
            "tie_word_embeddings": True,
            "pad_token_id": config.pad_token_id,
            "bos_token_id": config.bos_token_id,
            "eos_token_id": config.eos_token_id,
        }
        settings = {"network": network, "calibration": dataclasses.asdict(self.calibration)}
        (folder / _SETTINGS).write_text(json.dumps(settings, indent=1) + "\n")
        self.tokenizer.save_pretrained(folder)

    def networks(self) -> dict[str, torch.nn.Module]:
        """The three networks by name."""
        return {
            "rating_or_low": self.rating_or_low,
            "rating_if_natural": self.rating_if_natural,
            "language_model": self.language_model,
        }

    def score(
        self,
        texts: Sequence[str] | Sequence[Sequence[int]],
        batch_size: int | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        """(R,) gold of each text on the rating scale; see `components`."""
        return self.components(texts, batch_size, on_batch).score

    @torch.inference_mode()
    def components(
        self,
        texts: Sequence[str] | Sequence[Sequence[int]],
        batch_size: int | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> GoldComponents:
        """Every part of gold for each text.

        Parameters
        ----------
        texts
            R strings, each taken for a whole text, or R rows of token ids.
        batch_size
            Texts read at once, by default 64 on a CPU and 512 on a GPU; fewer where its memory does not hold them.
        on_batch
            Called with the number of texts after each batch.
        """
        rows = self.rows(texts)
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        learned, nll, repeated = np.empty((len(rows), 3)), np.empty(len(rows)), np.empty((len(rows), 2))
        order = np.argsort(lengths, kind="stable")

        def read(part: slice) -> None:
            batch = order[part]
            ids, mask = pad([rows[i] for i in batch], self.tokenizer.pad_token_id)
            repeated[batch] = repeats(ids.numpy(), mask.numpy())
            ids, mask = ids.to(self.language_model.device), mask.to(self.language_model.device)
            learned[batch, :1] = self.rating_or_low(ids, mask).cpu().numpy()
            learned[batch, 1:] = self.rating_if_natural(ids, mask).cpu().numpy()
            nll[batch] = nll_per_token(self.language_model, ids, mask).cpu().numpy()
            if on_batch is not None:
                on_batch(len(batch))

        if batch_size is None:
            batch_size = rows_at_once(self.language_model.device, cpu=64, gpu=512)
        in_batches(read, len(rows), batch_size, "gold", self)
        human = self.calibration
        natural = 1 / (1 + np.exp(-learned[:, 2]))
        rating = np.clip(learned[:, 1], LOWEST, HIGHEST)
        z_nll = (nll - human.nll_mean) / human.nll_sd
        z_repetition = (repeated[:, 0] - human.repetition_mean) / human.repetition_sd
        return GoldComponents(
            rating_or_low=learned[:, 0],
            rating_if_natural=natural * rating + CORRUPTED_RATING * (1 - natural),
            nll=nll,
            fluency=np.clip(z_nll - _BAND[1], 0, 3) + np.clip(_BAND[0] - z_nll, 0, 3),
            repetition=np.clip((z_repetition - 2) / 2, 0, 3),
            repeated_bigrams=np.clip(repeated[:, 1] - 1, 0, 4),
        )

    def rows(self, texts: Sequence[str] | Sequence[Sequence[int]]) -> list[list[int]]:
        """Token ids that open with the begin token and stop after the first end token, without padding."""
        if texts and isinstance(texts[0], str):
            return encode(self.tokenizer, [str(text) for text in texts], longest=_CONTEXT)
        begin, end, padding = (getattr(self.tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad"))
        rows = []
        for text in texts:
            row = [int(token) for token in text if token not in (begin, padding)]
            if end in row:
                row = row[: row.index(end) + 1]
            if len(row) >= _CONTEXT:
                raise InputError(f"a text must have < {_CONTEXT} tokens, got {len(row)}.")
            rows.append([begin, *row])
        return rows


def nll_per_token(model: LlamaForCausalLM, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(R,) mean negative log-likelihood (nats) of the tokens after the first, 0 for a text without any."""
    keep = mask[:, 1:]
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    loss = torch.zeros(keep.shape, device=ids.device)
    loss[keep] = torch.nn.functional.cross_entropy(model.lm_head(hidden[keep]), ids[:, 1:][keep], reduction="none")
    return loss.sum(1) / keep.sum(1).clamp(min=1)


def repeats(ids: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(R, 2): the share of tokens that occurred before in their text, and the number of bigrams that did."""
    unigrams = np.where(mask, ids, -1)
    both = mask[:, 1:] & mask[:, :-1]
    bigrams = np.where(both, ids[:, :-1] * (ids.max() + 1) + ids[:, 1:], -1)
    return np.column_stack([_repeated(unigrams) / mask.sum(1), _repeated(bigrams)])


def _repeated(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """(R,) number of entries >= 0 of each row that equal an earlier one."""
    ordered = np.sort(values, axis=1)
    counts: NDArray[np.int64] = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).sum(1)
    return counts
