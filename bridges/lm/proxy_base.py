"""Models that proxies start from: the policy's own weights, embedded backbones, or anybody's, with any tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overopt.bridges.lm.ppo import Scorer
from overopt.bridges.lm.pretrained import check_reward_body, first_layers, read_classifier, read_tokenizer
from overopt.bridges.lm.reading import ForeignScorer, Reading, scorer_chat
from overopt.bridges.lm.recipe import ProxySize
from overopt.bridges.lm.reward_model import RewardModel
from overopt.bridges.lm.world import WorldSource, backbone, load_base, same_vocabulary

__all__ = ["check_proxy_bases", "load_proxy", "save_proxy", "start_proxy"]


def start_proxy(source: WorldSource, size: ProxySize, *, private: bool = False) -> tuple[Any, Any, Reading | None]:
    """An untrained reward model of this size, its tokenizer, and how it reads the policy's texts.

    The reading is None where the model shares the policy's tokens and reads prompt and completion as they are. The
    head is fresh, and with ``private`` every other weight: seed torch before.
    """
    where = backbone(source, size)
    tokenizer = read_tokenizer("proxy base", where)
    model = read_classifier("proxy base", where, tokenizer, new_head=True, **_cut(where, size))
    if private:
        model = type(model)(model.config).eval()
    model = model.to(source.device)
    return model, tokenizer, _reading(source, model, tokenizer, f"the proxy base '{where}'")


def check_proxy_bases(source: WorldSource, sizes: Sequence[ProxySize]) -> None:
    """Refuse models that proxies of these sizes cannot start from, without reading their weights.

    Raises
    ------
    InputError
        As :func:`overopt.bridges.lm.pretrained.check_reward_body`, or if one has too few layers.
    """
    bases = {size: backbone(source, size) for size in sizes}
    tokenizers = {where: read_tokenizer("proxy base", where) for where in dict.fromkeys(bases.values())}
    for size, where in bases.items():
        check_reward_body("proxy base", where, tokenizers[where], **_cut(where, size))


def save_proxy(model: Any, tokenizer: Any, how: Reading | None, folder: Path) -> None:
    """Write a trained proxy for :func:`load_proxy`: with its tokenizer where that is not the policy's."""
    model.save_pretrained(folder)
    if how is not None:
        tokenizer.save_pretrained(folder)


def load_proxy(source: WorldSource, folder: Path) -> Scorer:
    """The proxy that :func:`save_proxy` wrote, as a reward."""
    own = RewardModel.load(folder, source.device)
    if not (folder / "tokenizer_config.json").exists():
        return own
    tokenizer = read_tokenizer("proxy", str(folder))
    return ForeignScorer(Reading.of(load_base(source), own.model, tokenizer, _chat(source, tokenizer)), own.score)


def _cut(where: str, size: ProxySize) -> dict[str, Any]:
    """A size without a width is cut from its model: the first ``size.layers`` layers."""
    if size.width is not None or size.layers is None:
        return {}
    return first_layers("proxy base", where, size.layers)


def _reading(source: WorldSource, model: Any, tokenizer: Any, name: str) -> Reading | None:
    policy = load_base(source)
    if same_vocabulary(policy.tokenizer, tokenizer):
        model.config.pad_token_id = policy.pad
        return None
    return Reading.of(policy, model, tokenizer, _chat(source, tokenizer, name))


def _chat(source: WorldSource, tokenizer: Any, name: str = "a proxy") -> Any:
    # Bodies of proxies are often base models: a template is never required of them.
    return scorer_chat("off" if source.chat == "off" else "auto", tokenizer, name)
