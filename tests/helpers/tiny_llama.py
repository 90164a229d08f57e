"""A real transformer with a real tokenizer, so small that all its completions can be enumerated."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from overopt.bridges.lm.completions import completion_batch, completion_logits, completion_logprob
from overopt.bridges.lm.world import Policy

PAD, EOS = 0, 1
WORDS = ("<pad>", "</s>", "one", "two", "red", "blue")
LONGEST = 2
PROMPTS = [[4], [5, 4]]


def tiny_llama(seed: int) -> Policy:
    """A policy over six tokens; "red" and "blue" occur in prompts, all may occur in completions."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=16, initializer_range=0.5,
        pad_token_id=PAD, bos_token_id=None, eos_token_id=EOS,
    )  # fmt: skip
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>")
    return Policy(LlamaForCausalLM(config).eval(), tokenizer)


def every_completion() -> list[list[int]]:
    """All 31 completions: the end token at once, or two tokens of which the first is another."""
    return [[EOS], *([first, second] for first in range(6) if first != EOS for second in range(6))]


@torch.no_grad()
def probabilities(model, prompt: list[int]) -> torch.Tensor:
    """pi(y | prompt) of every completion, (31,)."""
    rows = every_completion()
    batch = completion_batch([prompt] * len(rows), rows, pad=PAD)
    logprob = completion_logprob(completion_logits(model, batch), batch.tokens)
    return (logprob * batch.mask).sum(1).exp()


def expected(model, value, prompts=PROMPTS) -> float:
    """E_pi[value(completion)], averaged over prompts."""
    values = torch.tensor([value(row) for row in every_completion()])
    return float(torch.stack([(probabilities(model, prompt) * values).sum() for prompt in prompts]).mean())
