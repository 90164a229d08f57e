"""What a run starts from: a policy with its tokenizer, a gold reward, and prompts; embedded, or somebody's own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from overopt.bridges.lm.gold import GoldRewardModel
from overopt.bridges.lm.policy import Policy
from overopt.bridges.lm.ppo import Scorer
from overopt.bridges.lm.pretrained import contents, read_causal_model, read_classifier, read_tokenizer, reading
from overopt.bridges.lm.reading import ForeignScorer, Reading, scorer_chat
from overopt.bridges.lm.recipe import ProxySize
from overopt.bridges.lm.reward_model import RewardModel
from overopt.bridges.lm.sampler import TokenIds
from overopt.bridges.lm.text import RATED_TEXT, load_rated_text, prompts_from
from overopt.bridges.provenance import gpus
from overopt.theory.errors import InputError

__all__ = [
    "EMBEDDED",
    "Policy",
    "WorldSource",
    "backbone",
    "check_prompt_lengths",
    "how_it_reads",
    "load_base",
    "load_gold",
    "load_policy",
    "prompt_rows",
    "same_vocabulary",
    "source_fingerprint",
]

EMBEDDED = Path(__file__).parent / "data"
"""The shipped policy, gold and small backbones."""


@dataclass(frozen=True)
class WorldSource:
    """Where policy, gold and prompts come from, and where models run. Plain data: it names a run's inputs."""

    policy: str = ""
    """Folder or hub name of a causal language model; empty = the embedded one."""
    gold: str = ""
    """Folder of a gold reward model, or folder or hub name of a one-label sequence classifier; empty = embedded."""
    prompts: str = ""
    """Text file with one prompt per line; empty = openings of movie snippets."""
    backbones: str = ""
    """Folder with the small backbones of proxy reward models; empty = embedded."""
    device: str = "cpu"
    dtype: str = "float32"
    """Precision of the policy's matrix products; weights, probabilities and reward models are float32."""
    chat: Literal["auto", "on", "off"] = "auto"
    """Chat templates of policy, gold and proxies: used where there is one, required, or ignored."""
    proxy_bases: tuple[tuple[str, str], ...] = ()
    """(Name of a proxy size, folder or hub name of the model that proxies of this size start from)."""

    def description(self) -> str:
        """One sentence: which policy, which gold, which text."""
        policy = self.policy or "the embedded 1.4-million-parameter policy"
        gold = self.gold or "the embedded gold reward model, trained on human ratings"
        text = f"prompts from {self.prompts}" if self.prompts else "openings of held-out movie reviews as prompts"
        return f"Policy: {policy}; gold: {gold}; {text}."

    def plain(self) -> dict[str, Any]:
        """The fields as plain data; the later ones only where they are used, so that kept runs can be resumed."""
        fields = asdict(self)
        return {k: v for k, v in fields.items() if k not in ("chat", "proxy_bases") or v != getattr(WorldSource, k)}


def load_policy(source: WorldSource) -> Policy:
    """A fresh copy of the policy, in evaluation mode, on the source's device.

    Raises
    ------
    InputError
        If the folder or name cannot be read as a causal language model with a tokenizer, or the two disagree.
    """
    where = source.policy or str(EMBEDDED / "policy")
    tokenizer = read_tokenizer("policy", where)
    model = read_causal_model("policy", where, tokenizer).to(source.device)
    chat = scorer_chat(source.chat, tokenizer, f"the policy '{where}'")
    if chat is None and tokenizer.eos_token_id is None:
        raise InputError(f"the policy '{where}' has no end-of-sequence token; its completions could not end.")
    if source.dtype == "bfloat16":
        # Weights stay float32: in bfloat16 an update of less than a 256th of a weight would be rounded away.
        # TRL's trainers call the body by itself, past the model's own forward.
        for module in {id(module): module for module in (model, model.base_model)}.values():
            _compute_in_bfloat16(module, source.device)
    return Policy(model, tokenizer, chat)


def _compute_in_bfloat16(module: Any, device: str) -> None:
    """Make ``module`` read in bfloat16: its class becomes one of the same name whose ``forward`` says so.

    A ``forward`` of its own would hold on to the module that holds it: a dropped policy would keep its memory.
    """
    own = type(module)

    @wraps(own.forward)
    def forward(self: Any, *arguments: Any, **options: Any) -> Any:
        with torch.autocast(device, torch.bfloat16):
            return own.forward(self, *arguments, **options)

    # Saved and looked up by these names, it is the class that it was.
    names = {name: getattr(own, name) for name in ("__module__", "__qualname__")}
    fields = {"forward": forward, "autocast_dtype": torch.bfloat16, **names}
    module.__class__ = type(own.__name__, (own,), fields)


@lru_cache(maxsize=2)
def load_base(source: WorldSource) -> Policy:
    """The initial policy, shared within a process and never changed."""
    policy = load_policy(source)
    policy.model.requires_grad_(False)
    return policy


@lru_cache(maxsize=2)
def load_gold(source: WorldSource) -> Scorer:
    """The gold reward: scores of completions given as the *policy's* token ids.

    Raises
    ------
    InputError
        If the folder can be read neither as a gold reward model of this package nor as a sequence classifier.
    """
    policy = load_base(source)
    where = Path(source.gold) if source.gold else EMBEDDED / "gold"
    if (where / "gold.json").exists():
        own = reading("gold reward model", str(where), lambda: GoldRewardModel.from_folder(where, source.device))
        if same_vocabulary(policy.tokenizer, own.tokenizer) and policy.chat is None:
            return GoldScorer(own)
        return ForeignScorer(Reading(policy, own.tokenizer, None, own.longest), own.score)
    tokenizer = read_tokenizer("gold reward model", source.gold)
    model = read_classifier("gold reward model", source.gold, tokenizer).to(source.device)
    chat = scorer_chat(source.chat, tokenizer, f"the gold reward model '{source.gold}'")
    return ForeignScorer(Reading.of(policy, model, tokenizer, chat), RewardModel(model).score)


@dataclass(frozen=True)
class GoldScorer:
    """The embedded gold behind the interface of a reward, for a policy that shares its tokens."""

    gold: GoldRewardModel

    def __call__(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> NDArray[np.float64]:
        return np.asarray(
            self.gold.score([[*p, *c] for p, c in zip(prompts, completions, strict=True)]), dtype=np.float64
        )


def same_vocabulary(first: Any, second: Any) -> bool:
    """Whether two tokenizers mean the same by every token id."""
    return bool(first.get_vocab() == second.get_vocab())


def prompt_rows(source: WorldSource, tokenizer: Any, held_out: int) -> tuple[list[list[int]], list[list[int]]]:
    """Training prompts and ``held_out`` measurement prompts as token ids, without an end token.

    With the policy's chat template each prompt is a user's turn, up to where the assistant begins.

    Embedded: openings of training snippets, and of held-out ones. From a file: the last ``held_out`` lines are held
    out, the rest train. No held-out prompt is also a training prompt, or another held-out one: lines that the
    tokenizer reads alike are one prompt.

    Raises
    ------
    InputError
        If the file cannot be read or has too few prompts.
    """
    training, measured = _prompts(source, tokenizer, held_out)
    return [prompt.row for prompt in training], [prompt.row for prompt in measured]


@dataclass(frozen=True)
class _Prompt:
    """A prompt as it was written, as token ids, and as these are decoded: the name that tables give it."""

    text: str
    row: list[int]
    name: str


def _prompts(source: WorldSource, tokenizer: Any, held_out: int) -> tuple[list[_Prompt], list[_Prompt]]:
    """Prompts to train on and to measure on, in the order of their file, the latter of different names."""
    where = source.policy or str(EMBEDDED / "policy")
    chat = scorer_chat(source.chat, tokenizer, f"the policy '{where}'")

    def encoded(texts: Sequence[str]) -> list[_Prompt]:
        if not texts:
            return []
        if chat is not None:
            rows = chat.prompts(texts)
        else:
            rows = tokenizer(list(texts))["input_ids"]
            # Some tokenizers end every text with their end token: a prompt must not.
            rows = [row[:-1] if row[-1:] == [tokenizer.eos_token_id] else row for row in rows]
        return list(map(_Prompt, texts, rows, Policy(None, tokenizer, chat).prompt_text(rows)))

    if source.prompts:
        lines = [line.strip() for line in _prompt_lines(source)]
        different = _of_different_names(encoded([line for line in lines if line]))
        training, measured = different[:-held_out], different[-held_out:]
    else:
        openings = dict.fromkeys(prompts_from(load_rated_text("held-out").text))
        measured = _of_different_names(encoded(tuple(openings)))[:held_out]
        taken = {prompt.name for prompt in measured}
        others = [text for text in prompts_from(load_rated_text("train").of("movie").text) if text not in openings]
        # Those that differ by their case alone train twice, as in the kept runs.
        training = [prompt for prompt in encoded(others) if prompt.name not in taken]
    if len(measured) < held_out or not training:
        raise InputError(
            f"{held_out} held-out prompts and at least 1 training prompt are needed, "
            f"got {len(measured) + len(training)} different ones from '{source.prompts or 'the embedded text'}'."
        )
    return training, measured


def _of_different_names(prompts: Sequence[_Prompt]) -> list[_Prompt]:
    first: dict[str, _Prompt] = {}
    for prompt in prompts:
        first.setdefault(prompt.name, prompt)
    return list(first.values())


def _prompt_lines(source: WorldSource) -> list[str]:
    try:
        return Path(source.prompts).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the prompts file '{source.prompts}' cannot be read: {error}.") from error


def check_prompt_lengths(source: WorldSource, held_out: int, max_new_tokens: int) -> None:
    """Make sure that every prompt leaves room for its completion.

    Raises
    ------
    InputError
        If one does not fit the policy's context, with its line and the numbers.
    """
    policy = load_base(source)
    context = getattr(policy.model.config, "max_position_embeddings", None)
    if context is None:
        return
    for prompt in (prompt for part in _prompts(source, policy.tokenizer, held_out) for prompt in part):
        if len(prompt.row) + max_new_tokens > context:
            place = "an embedded prompt"
            if source.prompts:
                line = 1 + [line.strip() for line in _prompt_lines(source)].index(prompt.text)
                place = f"line {line} of '{source.prompts}'"
            raise InputError(
                f"{place} must have <= {context - max_new_tokens} tokens, the policy's context of {context} less "
                f"{max_new_tokens} new ones, got {len(prompt.row)}."
            )


def how_it_reads(source: WorldSource) -> str:
    """One sentence: turns or plain text, for models that are not the embedded ones; else nothing."""
    if not source.policy and not source.gold:
        return ""
    policy, gold = load_base(source), load_gold(source)
    if policy.chat is None:
        why = "ignored, as asked" if source.chat == "off" else "it has none"
        said = f"The policy continues prompts as plain text (chat template: {why})"
    else:
        said = "The policy answers prompts as a user's turns, by its chat template"
    turns = isinstance(gold, ForeignScorer) and gold.reading.chat is not None
    return f"{said}; gold reads {'turns, by its own template' if turns else 'plain text'}."


def backbone(source: WorldSource, size: ProxySize) -> str:
    """Folder or name of the pretrained model that a proxy of this size starts from.

    Raises
    ------
    InputError
        If ``size`` names a small backbone and there is none of its shape.
    """
    given = dict(source.proxy_bases)
    if size.name in given:
        return given[size.name]
    if size.width is None:
        return source.policy or str(EMBEDDED / "policy")
    folder = (Path(source.backbones) if source.backbones else EMBEDDED) / f"backbone-{size.name}"
    if not folder.is_dir():
        raise InputError(f"the proxy backbone '{folder}' is missing; build it with the world or choose other sizes.")
    return str(folder)


def source_fingerprint(source: WorldSource) -> dict[str, str]:
    """What decides the bytes that come out of ``source``: contents of local files, names of hub models, dtype, GPU."""
    places = {
        "policy": source.policy or str(EMBEDDED / "policy"),
        "gold": source.gold or str(EMBEDDED / "gold"),
        "prompts": source.prompts or str(RATED_TEXT),
        "backbones": source.backbones or str(EMBEDDED),
    }
    marks = {name: _contents(Path(place)) if Path(place).exists() else place for name, place in places.items()}
    bases = {
        f"proxy base {size}": _contents(Path(place)) if Path(place).exists() else place
        for size, place in source.proxy_bases
    }
    chat = {} if source.chat == "auto" else {"chat": source.chat}
    # Kinds of GPU round differently; how many there are decides nothing.
    kinds = ", ".join(sorted({name for name, _ in gpus()})) if source.device == "cuda" else ""
    gpu = {"gpu": kinds} if kinds else {}
    return {**marks, **bases, **chat, "device": source.device, "dtype": source.dtype, **gpu}


def _contents(path: Path) -> str:
    """SHA-256 over a file, or over the names and contents of a folder's model files."""
    digest = hashlib.sha256()
    for file in contents(path):
        digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
