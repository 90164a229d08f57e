"""Random Hugging Face models with tokenizers of three families, written as folders: a hub that fits a test."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.decoders import ByteLevel, Metaspace
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

TEXT = [
    "what is the best film of the year?",
    "a fine, moving, terrible picture",
    "say one word about rain",
    "0123456789",
]

CHATML = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)


def chatml() -> PreTrainedTokenizerFast:
    """Byte-level BPE whose post-processor adds a begin token; turns end with another token than texts."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), ByteLevel()
    special = ["<|begin|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        TEXT * 4,
        trainers.BpeTrainer(vocab_size=330, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    bpe.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<|begin|>", eos_token="<|endoftext|>",
        extra_special_tokens=["<|im_start|>", "<|im_end|>"], chat_template=CHATML,
    )  # fmt: skip


def inst() -> PreTrainedTokenizerFast:
    """Unigram pieces with a template in the manner of Llama 2: turns end with the text's end token."""
    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer, unigram.decoder = pre_tokenizers.Metaspace(), Metaspace()
    letters = sorted(set("".join(TEXT)) | set("abcdefghijklmnopqrstuvwxyz[]/INST.!,'\n"))
    unigram.train_from_iterator(
        [*TEXT * 4, *letters],
        trainers.UnigramTrainer(
            vocab_size=120, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", initial_alphabet=letters,
            show_progress=False,
        ),
    )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=unigram, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=INST
    )


def word_pieces() -> PreTrainedTokenizerFast:
    """Lower-cased word pieces between [CLS] and [SEP]; no chat template."""
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer, pieces.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pieces.train_from_iterator(
        TEXT * 4, trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    )
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def _llama(tokenizer: PreTrainedTokenizerFast, layers: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=128, initializer_range=0.4,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=None,
    )  # fmt: skip


def write_policy(folder: Path, tokenizer: PreTrainedTokenizerFast, layers: int = 2, seed: int = 0) -> str:
    """A random Llama language model."""
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(_llama(tokenizer, layers)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def write_model(folder: Path, tokenizer: PreTrainedTokenizerFast, kind: str, **settings: object) -> str:
    """A random language model of another kind, as :class:`transformers.AutoConfig` names it."""
    torch.manual_seed(0)
    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32}
    config = AutoConfig.for_model(kind, **{"hidden_size": 16, **shape, **settings}, vocab_size=len(tokenizer))
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, name, getattr(tokenizer, name))
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def write_gpt2(folder: Path, tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> str:
    """A random GPT-2 language model: learned positions, another body than Llama's."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=96, initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def write_gold(folder: Path, tokenizer: PreTrainedTokenizerFast, labels: int = 1, seed: int = 1) -> str:
    """A random Llama reward model."""
    torch.manual_seed(seed)
    config = _llama(tokenizer, 2)
    config.num_labels, config.pad_token_id = labels, tokenizer.eos_token_id
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def write_encoder(folder: Path, tokenizer: PreTrainedTokenizerFast, seed: int = 2) -> str:
    """A random BERT with one label."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=96, num_labels=1, initializer_range=0.4, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
