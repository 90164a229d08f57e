"""Chat templates: a prompt is a user's turn, a completion the assistant's, each model by the template of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from overopt.bridges.lm.sampler import TokenIds
from overopt.theory.errors import InputError

__all__ = ["Chat", "chat_of"]

_WORDS = "seventeen"
"""A user's words that occur in no template: they show what a template writes around them."""


@dataclass(frozen=True)
class Chat:
    """How one tokenizer's template writes turns.

    Attributes
    ----------
    tokenizer
        Its template writes every special token itself: nothing is added to it, so no begin token is doubled.
    before, after
        What stands around the user's words when the assistant speaks next.
    end
        Id of the token that ends the assistant's turn; many tokenizers' end-of-text token is another one.
    """

    tokenizer: Any
    before: str
    after: str
    end: int

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text as a user's turn, up to where the assistant begins."""
        return _rendered(self.tokenizer, [[_turn("user", text)] for text in texts], add_generation_prompt=True)

    def words(self, prompts: Sequence[TokenIds]) -> list[str]:
        """The user's words in what :meth:`prompts` returned."""
        texts = _decoded(self.tokenizer, prompts)
        for text in texts:
            if not (text.startswith(self.before) and text.endswith(self.after)):
                raise InputError(f"a prompt must be one user's turn of the policy's chat template, got {text[:80]!r}.")
        return [text[len(self.before) : len(text) - len(self.after)] for text in texts]

    def turns(self, prompts: Sequence[str], completions: Sequence[str], ended: Sequence[bool]) -> list[list[int]]:
        """Token ids of a user's and the assistant's turn; a completion that was cut leaves its turn open."""
        rows: list[list[int]] = [[] for _ in prompts]
        closed, open_, silent = {"add_generation_prompt": False}, {"continue_final_message": True}, {}
        groups: dict[str, tuple[dict[str, bool], list[int]]] = {"closed": (closed, []), "open": (open_, [])}
        for i, whole in enumerate(ended):
            if whole or completions[i].strip():
                groups["closed" if whole else "open"][1].append(i)
            else:
                silent[i] = prompts[i]
        for options, members in groups.values():
            conversations = [[_turn("user", prompts[i]), _turn("assistant", completions[i])] for i in members]
            for i, row in zip(members, _rendered(self.tokenizer, conversations, **options), strict=True):
                rows[i] = row
        # An open turn without a word in it is what the assistant sees before it speaks.
        for i, row in zip(silent, self.prompts(list(silent.values())), strict=True):
            rows[i] = row
        return rows


def chat_of(tokenizer: Any, name: str) -> Chat | None:
    """The template of ``tokenizer``, or None where it has none.

    Raises
    ------
    InputError
        If the template cannot write a user's and an assistant's turn; ``name`` says whose it is.
    """
    if getattr(tokenizer, "chat_template", None) is None:
        return None
    user, assistant = _turn("user", _WORDS), _turn("assistant", _WORDS)
    try:
        around = _decoded(tokenizer, _rendered(tokenizer, [[user]], add_generation_prompt=True))[0].split(_WORDS)
        (open_,) = _rendered(tokenizer, [[user, assistant]], continue_final_message=True)
        (closed,) = _rendered(tokenizer, [[user, assistant]], add_generation_prompt=False)
    except Exception as error:  # a template is a program: whatever it raises means that it cannot be used
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the chat template of {name} cannot write a user's and an assistant's turn: {reason}"
        ) from error
    if len(around) != 2:
        raise InputError(
            f"the chat template of {name} must write the user's words once, it does so {len(around) - 1} times."
        )
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    ends = [token for token in closed[len(open_) :] if token in special]
    end = ends[0] if ends else tokenizer.eos_token_id
    if end is None:
        raise InputError(f"the chat template of {name} ends no turn, and its tokenizer has no end token.")
    return Chat(tokenizer, around[0], around[1], int(end))


def _turn(role: str, words: str) -> dict[str, str]:
    return {"role": role, "content": words}


def _rendered(tokenizer: Any, conversations: list[list[dict[str, str]]], **options: bool) -> list[list[int]]:
    if not conversations:
        return []
    rows: list[list[int]] = tokenizer.apply_chat_template(conversations, return_dict=True, **options)["input_ids"]
    return rows


def _decoded(tokenizer: Any, rows: Sequence[TokenIds]) -> list[str]:
    return list(
        tokenizer.batch_decode(
            [list(row) for row in rows], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
    )
