"""Tokenizer and small Llama-type language models, pretrained from nothing on the rated text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from overopt.bridges.lm.gradients import clip_gradients
from overopt.bridges.lm.text import RatedText

__all__ = [
    "LanguageModel",
    "Progress",
    "batches",
    "count_parameters",
    "encode",
    "load_tokenizer",
    "pad",
    "pretrain",
    "save_half",
    "train_tokenizer",
]

Progress = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all)."""

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
LONGEST = 48


@dataclass(frozen=True)
class LanguageModel:
    """Architecture and training recipe of one Llama-type model with tied embeddings.

    Attributes
    ----------
    width, layers, heads, feed_forward
        Size of the model.
    steps_all, steps_movie, steps_short
        Optimizer steps on all rated text, then on movie snippets, then on movie snippets of at most `short` tokens: the
        last teach the model to end by itself within a completion.
    short
        Longest snippet of the last phase, in tokens, begin and end included.
    batch
        Texts per step.
    learning_rate
        Peak of the one-cycle schedule that spans all three phases (AdamW).
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 384
    steps_all: int = 1200
    steps_movie: int = 250
    steps_short: int = 150
    short: int = 28
    batch: int = 64
    learning_rate: float = 2e-3

    def initialised(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
        """The untrained model; `seed` decides its weights."""
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.width,
            intermediate_size=self.feed_forward,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return LlamaForCausalLM(config)


def train_tokenizer(texts: Sequence[str], vocabulary: int = 4000) -> PreTrainedTokenizerFast:
    """Byte-level BPE over lower-cased text with its own pad, begin and end tokens; encoding puts begin first."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.normalizer = tokenizers.normalizers.Sequence([tokenizers.normalizers.NFC(), tokenizers.normalizers.Lowercase()])
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, bpe.token_to_id(BOS))]
    )
    return _tokenizer(bpe)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder of this world; saved again it gives the same bytes, unlike one from `AutoTokenizer`."""
    return _tokenizer(tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")))


def _tokenizer(bpe: tokenizers.Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, bos_token=BOS, eos_token=EOS, clean_up_tokenization_spaces=False
    )


def encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], longest: int = LONGEST) -> list[list[int]]:
    """Token ids of whole texts, begin and end tokens included; a text over `longest` tokens is cut and does not end."""
    rows: list[list[int]] = tokenizer(list(texts))["input_ids"] if texts else []
    return [[*row, tokenizer.eos_token_id][:longest] for row in rows]


def pad(rows: Sequence[Sequence[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (R, L) padded on the right, and the mask (R, L) that is True on real tokens."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, padding, dtype=np.int64)
    ids[mask] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    return torch.from_numpy(ids), torch.from_numpy(mask)


def batches(
    rng: np.random.Generator, lengths: NDArray[np.int64], size: int, steps: int, pool: int = 16
) -> Iterator[NDArray[np.intp]]:
    """Yield `steps` batches of row numbers: whole epochs without replacement, rows of a batch similar in length."""
    done = 0
    while True:
        order = rng.permutation(lengths.size)
        groups = []
        for start in range(0, order.size, size * pool):
            block = order[start : start + size * pool]
            block = block[np.argsort(lengths[block], kind="stable")]
            groups += [block[i : i + size] for i in range(0, block.size, size)]
        for i in rng.permutation(len(groups)):
            if done == steps:
                return
            done += 1
            yield groups[i]


def pretrain(
    recipe: LanguageModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: RatedText,
    seed: int,
    progress: Progress,
    stage: str,
) -> LlamaForCausalLM:
    """A language model trained on `texts`: next-token cross-entropy in three phases under one one-cycle schedule."""
    rng = np.random.default_rng(seed)
    model = recipe.initialised(tokenizer, seed)
    everything, movies = encode(tokenizer, texts.text), encode(tokenizer, texts.of("movie").text)
    short = [row for row in movies if len(row) <= recipe.short]
    phases = [(everything, recipe.steps_all), (movies, recipe.steps_movie), (short, recipe.steps_short)]
    total = sum(steps for _, steps in phases)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.1, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=total, pct_start=0.1)
    done = 0
    for rows, steps in phases:
        lengths = np.array([len(row) for row in rows])
        for batch in batches(rng, lengths, recipe.batch, steps):
            ids, mask = pad([rows[i] for i in batch], tokenizer.pad_token_id)
            logits = model(input_ids=ids[:, :-1]).logits
            keep = mask[:, 1:]
            loss = torch.nn.functional.cross_entropy(logits[keep], ids[:, 1:][keep])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            clip_gradients(model.parameters(), 1.0, f"{stage}, step {done + 1}")
            optimizer.step()
            schedule.step()
            done += 1
            progress(stage, done, total)
    return model.eval()


def count_parameters(model: torch.nn.Module) -> int:
    """Number of parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def save_half(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model (float16) and tokenizer in the Hugging Face layout; `model` itself keeps its precision."""
    half = LlamaForCausalLM(model.config).half()
    half.load_state_dict(model.state_dict())
    half.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
