"""What a run starts from: a policy with its tokenizer, a gold reward, and prompts; embedded, or somebody's own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from overopt.bridges.lm.gold import GoldRewardModel
from overopt.bridges.lm.ppo import Scorer
from overopt.bridges.lm.recipes import ProxySize
from overopt.bridges.lm.sampler import TokenIds
from overopt.bridges.lm.text import RATED_TEXT, load_rated_text, prompts_from
from overopt.theory.errors import InputError

__all__ = [
    "EMBEDDED",
    "Policy",
    "WorldSource",
    "backbone",
    "load_base",
    "load_gold",
    "load_policy",
    "prompt_rows",
    "source_fingerprint",
]

EMBEDDED = Path(__file__).parent / "data"
"""The shipped policy, gold and small backbones."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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

    def description(self) -> str:
        """One sentence: which policy, which gold, which text."""
        policy = self.policy or "the embedded 1.4-million-parameter policy"
        gold = self.gold or "the embedded gold reward model, trained on human ratings"
        text = f"prompts from {self.prompts}" if self.prompts else "openings of held-out movie reviews as prompts"
        return f"Policy: {policy}; gold: {gold}; {text}."

    def plain(self) -> dict[str, str]:
        """The fields as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Policy:
    """A causal language model with what is needed to sample from it."""

    model: Any
    tokenizer: Any

    @property
    def eos(self) -> int:
        """Id of the end token."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad(self) -> int:
        """Id of the padding token."""
        return int(self.tokenizer.pad_token_id)

    def text(self, rows: Sequence[TokenIds]) -> list[str]:
        """Token ids as text without special tokens."""
        return list(self.tokenizer.batch_decode([list(row) for row in rows], skip_special_tokens=True))


def _read(kind: str, where: str, load: Any) -> Any:
    """``load()``, with every way in which a model folder can be unreadable turned into one line."""
    try:
        return load()
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the {kind} '{where}' cannot be read: {reason}") from error


def load_policy(source: WorldSource) -> Policy:
    """A fresh copy of the policy, in evaluation mode, on the source's device.

    Raises
    ------
    InputError
        If the folder or name cannot be read as a causal language model with a tokenizer, or the two disagree.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = source.policy or str(EMBEDDED / "policy")
    tokenizer = _read("policy's tokenizer", where, lambda: AutoTokenizer.from_pretrained(where))
    model = _read("policy", where, lambda: AutoModelForCausalLM.from_pretrained(where, dtype=DTYPES[source.dtype]))
    if tokenizer.eos_token_id is None:
        raise InputError(f"the policy '{where}' has no end-of-sequence token; its completions could not end.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise InputError(
            f"the policy '{where}' embeds {model.get_input_embeddings().num_embeddings} tokens, "
            f"its tokenizer has {len(tokenizer)}: they do not belong together."
        )
    return Policy(model.to(source.device).eval(), tokenizer)


@lru_cache(maxsize=2)
def load_base(source: WorldSource) -> Policy:
    """The initial policy, shared within a process and never changed."""
    policy = load_policy(source)
    policy.model.requires_grad_(False)
    return policy


@dataclass(frozen=True)
class ForeignScorer:
    """A reward model with a tokenizer of its own, scoring the text of prompt and completion."""

    policy: Policy
    model: Any
    tokenizer: Any

    def __call__(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> NDArray[np.float64]:
        texts = self.policy.text([[*p, *c] for p, c in zip(prompts, completions, strict=True)])
        rows = self.tokenizer(texts)["input_ids"]
        return np.asarray(self.model([[]] * len(rows), rows), dtype=np.float64)


@lru_cache(maxsize=2)
def load_gold(source: WorldSource) -> Scorer:
    """The gold reward: scores of completions given as the *policy's* token ids.

    Raises
    ------
    InputError
        If the folder can be read neither as a gold reward model of this package nor as a sequence classifier.
    """
    where = Path(source.gold) if source.gold else EMBEDDED / "gold"
    if (where / "gold.json").exists():
        gold = _read("gold reward model", str(where), lambda: GoldRewardModel.from_folder(where))
        return GoldScorer(load_base(source), gold)
    from transformers import AutoTokenizer

    from overopt.bridges.lm.reward_model import RewardModel

    tokenizer = _read("gold's tokenizer", source.gold, lambda: AutoTokenizer.from_pretrained(source.gold))
    model = _read("gold reward model", source.gold, lambda: RewardModel.load(source.gold, source.device))
    return ForeignScorer(load_base(source), model, tokenizer)


@dataclass(frozen=True)
class GoldScorer:
    """The embedded gold behind the interface of a reward."""

    policy: Policy
    gold: GoldRewardModel

    def __call__(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> NDArray[np.float64]:
        return np.asarray(
            self.gold.score([[*p, *c] for p, c in zip(prompts, completions, strict=True)]), dtype=np.float64
        )


def prompt_rows(source: WorldSource, tokenizer: Any, held_out: int) -> tuple[list[list[int]], list[list[int]]]:
    """Training prompts and ``held_out`` measurement prompts as token ids, without an end token.

    Embedded: openings of training snippets, and of held-out ones. From a file: the last ``held_out`` lines are held
    out, the rest train. No held-out prompt is also a training prompt.

    Raises
    ------
    InputError
        If the file cannot be read or has too few prompts.
    """
    if source.prompts:
        try:
            lines = Path(source.prompts).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the prompts file '{source.prompts}' cannot be read: {error}.") from error
        texts = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
        training, measured = texts[:-held_out], texts[-held_out:]
    else:
        measured = prompts_from(load_rated_text("held-out").text)
        taken = set(measured)
        training = tuple(t for t in prompts_from(load_rated_text("train").of("movie").text) if t not in taken)
        measured = measured[:held_out]
    if len(measured) < held_out or not training:
        raise InputError(
            f"{held_out} held-out prompts and at least 1 training prompt are needed, "
            f"got {len(measured) + len(training)} different ones from '{source.prompts or 'the embedded text'}'."
        )

    def encode(texts: Sequence[str]) -> list[list[int]]:
        rows: list[list[int]] = tokenizer(list(texts))["input_ids"]
        # Some tokenizers end every text with their end token: a prompt must not.
        return [row[:-1] if row[-1:] == [tokenizer.eos_token_id] else row for row in rows]

    return encode(training), encode(measured)


def backbone(source: WorldSource, size: ProxySize) -> str:
    """Folder or name of the pretrained model that a proxy of this size starts from.

    Raises
    ------
    InputError
        If ``size`` names a small backbone and there is none of its shape.
    """
    if size.width is None:
        return source.policy or str(EMBEDDED / "policy")
    folder = (Path(source.backbones) if source.backbones else EMBEDDED) / f"backbone-{size.name}"
    if not folder.is_dir():
        raise InputError(f"the proxy backbone '{folder}' is missing; build it with the world or choose other sizes.")
    return str(folder)


def source_fingerprint(source: WorldSource) -> dict[str, str]:
    """What decides the bytes that come out of ``source``: contents of local files, names of hub models, dtype."""
    places = {
        "policy": source.policy or str(EMBEDDED / "policy"),
        "gold": source.gold or str(EMBEDDED / "gold"),
        "prompts": source.prompts or str(RATED_TEXT),
        "backbones": source.backbones or str(EMBEDDED),
    }
    marks = {name: _contents(Path(place)) if Path(place).exists() else place for name, place in places.items()}
    return {**marks, "device": source.device, "dtype": source.dtype}


def _contents(path: Path) -> str:
    """SHA-256 over a file, or over the names and contents of a folder's model files."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in (".safetensors", ".json"))
    for file in files:
        digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
