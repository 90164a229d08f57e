"""A causal language model with what is needed to sample from it and to say in words what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from overopt.bridges.lm.chat import Chat
from overopt.bridges.lm.sampler import TokenIds

__all__ = ["Policy"]


@dataclass(frozen=True)
class Policy:
    """A causal language model, its tokenizer, and its chat template where it answers in turns."""

    model: Any
    tokenizer: Any
    chat: Chat | None = None

    @property
    def eos(self) -> int:
        """Id of the token that ends a completion: the end of a turn, or of a text."""
        return self.chat.end if self.chat is not None else int(self.tokenizer.eos_token_id)

    @property
    def pad(self) -> int:
        """Id of the padding token."""
        return int(self.tokenizer.pad_token_id)

    def text(self, rows: Sequence[TokenIds]) -> list[str]:
        """Token ids as text without special tokens."""
        return list(self.tokenizer.batch_decode([list(row) for row in rows], skip_special_tokens=True))

    def prompt_text(self, prompts: Sequence[TokenIds]) -> list[str]:
        """What a person wrote: the prompts without the template around them."""
        return self.text(prompts) if self.chat is None else self.chat.words(prompts)

    def whole_text(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> list[str]:
        """Prompt and completion as one plain text; the words of two turns are joined by a space."""
        if self.chat is None:
            return self.text([[*p, *c] for p, c in zip(prompts, completions, strict=True)])
        turns = zip(self.chat.words(prompts), self.text(completions), strict=True)
        return [f"{prompt} {completion}" for prompt, completion in turns]

    def ended(self, completions: Sequence[TokenIds]) -> list[bool]:
        """Whether each completion drew the end token, rather than being cut."""
        return [row[-1] == self.eos for row in completions]
