"""How a scoring model reads what a policy wrote: the one place where text becomes a gold's or a proxy's token ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overopt.bridges.lm.chat import Chat, chat_of
from overopt.bridges.lm.policy import Policy
from overopt.bridges.lm.reward_model import LabelledPairs
from overopt.bridges.lm.sampler import TokenIds
from overopt.theory.errors import InputError

__all__ = ["ForeignScorer", "Reading", "scorer_chat"]


def scorer_chat(mode: str, tokenizer: Any, name: str) -> Chat | None:
    """The template by which a scoring model reads: its own, unless ``mode`` is ``"off"``.

    Raises
    ------
    InputError
        If ``mode`` is ``"on"`` and it has none.
    """
    chat = None if mode == "off" else chat_of(tokenizer, name)
    if mode == "on" and chat is None:
        raise InputError(f"`--chat on` needs chat templates, and {name} has none; give `--chat auto` or `--chat off`.")
    return chat


@dataclass(frozen=True)
class Reading:
    """A policy's prompts and completions as the token ids of another model.

    With a chat template: the user's turn and the assistant's, left open where the completion was cut. Without: prompt
    and completion as one text, by the tokenizer's own rule (its begin token included), and its end token where the
    policy drew the end.

    Attributes
    ----------
    longest
        Most tokens that the model reads; None where it does not say.
    """

    policy: Policy
    tokenizer: Any
    chat: Chat | None
    longest: int | None = None

    @classmethod
    def of(cls, policy: Policy, model: Any, tokenizer: Any, chat: Chat | None) -> Reading:
        """The reading of ``model``, whose positions and tokenizer both bound the text."""
        bounds = [getattr(model.config, "max_position_embeddings", None), tokenizer.model_max_length]
        # A tokenizer without a bound says 1e30.
        longest = min((bound for bound in bounds if bound is not None and 0 < bound < 10**9), default=None)
        return cls(policy, tokenizer, chat, longest)

    def rows(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> list[list[int]]:
        """One row of token ids, without padding, for each prompt with its completion.

        Raises
        ------
        InputError
            If a text is longer than the model reads.
        """
        if not len(prompts):
            return []
        ended = self.policy.ended(completions)
        if self.chat is not None:
            words = self.policy.prompt_text(prompts)
            rows = self.chat.turns(words, self.policy.text(completions), ended)
        else:
            rows = self.tokenizer(self.policy.whole_text(prompts, completions))["input_ids"]
            end = self.tokenizer.eos_token_id
            rows = [
                [*row, end] if whole and end is not None and row[-1:] != [end] else row
                for row, whole in zip(rows, ended, strict=True)
            ]
        most = max(map(len, rows))
        if self.longest is not None and most > self.longest:
            raise InputError(
                f"prompt and completion have {most} tokens for a reward model that reads {self.longest}; "
                "shorten the prompts or `max_new_tokens`."
            )
        return rows

    def pairs(self, pairs: LabelledPairs) -> LabelledPairs:
        """The comparisons as whole rows of the scoring model's token ids, with no prompt apart."""
        chosen, rejected = self.rows(pairs.prompts, pairs.chosen), self.rows(pairs.prompts, pairs.rejected)
        return LabelledPairs([[]] * len(pairs), chosen, rejected, pairs.gold_margin)


@dataclass(frozen=True)
class ForeignScorer:
    """A reward model behind the interface of a reward: the policy's token ids in, scores out.

    ``score`` takes rows of the reward model's own token ids.
    """

    reading: Reading
    score: Callable[[Sequence[TokenIds]], NDArray[np.float64]]

    def __call__(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> NDArray[np.float64]:
        return np.asarray(self.score(self.reading.rows(prompts, completions)), dtype=np.float64)
