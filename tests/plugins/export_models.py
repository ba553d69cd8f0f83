"""Tiny models and tokenizers of every kind that can be exported, made here and saved as transformers does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from agentkit_training.export.pretokenizers import GPT2, LLAMA3, QWEN2

SPECIAL = ["<|begin|>", "<|end|>", "<|pad|>"]
WORDS = Path(__file__).read_text(encoding="utf-8") + Path(torch.__file__).with_name("functional.py").read_text("utf-8")
OTHER = "Ça va où l'été, Zwölf Boxkämpfer, съешь ещё булок, 你好世界, こんにちは, I'm we've they'll don't 1234567 " * 20
TEXT = "def forward(self, x): return x + 1  # the sum of two tensors, and a value that isn't used"

TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"

SMALL: dict[str, Any] = {
    "vocab_size": 640,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 64}
PARTIAL = {"rope_type": "proportional", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
CONFIGS: dict[str, Any] = {
    "llama": LlamaConfig(**SMALL, tie_word_embeddings=False),
    "llama, tied, wide heads": LlamaConfig(**SMALL, head_dim=32, tie_word_embeddings=True, rms_norm_eps=1e-5),
    "llama, no groups": LlamaConfig(**SMALL | {"num_key_value_heads": 4}, rope_parameters={"rope_theta": 5e5}),
    "llama, biases": LlamaConfig(**SMALL, attention_bias=True, mlp_bias=True),
    "llama, rope of llama3": LlamaConfig(**SMALL, rope_parameters=LLAMA3_ROPE),
    "llama, linear rope": LlamaConfig(
        **SMALL, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
    ),
    "llama, dynamic rope": LlamaConfig(
        **SMALL, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    ),
    "llama, still pairs": LlamaConfig(**SMALL, head_dim=32, rope_parameters=PARTIAL),
    "llama, YaRN": LlamaConfig(
        **SMALL, rope_parameters={**YARN, "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.2}
    ),
    "llama, YaRN, a bound not rounded": LlamaConfig(**SMALL, rope_parameters={**YARN, "truncate": False}),
    "llama, plain YaRN": LlamaConfig(**SMALL, rope_parameters=YARN),
    "mistral": MistralConfig(**SMALL, head_dim=32, sliding_window=None),
    "mistral, window": MistralConfig(**SMALL, sliding_window=128),
    "qwen2": Qwen2Config(**SMALL, tie_word_embeddings=True),
    "qwen2, YaRN": Qwen2Config(**SMALL, rope_parameters={**YARN, "attention_factor": 1.3}),
    "qwen2, linear rope": Qwen2Config(
        **SMALL, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    ),
    "qwen3": Qwen3Config(**SMALL, head_dim=32, tie_word_embeddings=False),
    "qwen3, YaRN": Qwen3Config(**SMALL, head_dim=32, rope_parameters=YARN),
}


def byte_level(
    *cuts: str, size: int = 600, whole: bool = False, nfc: bool = False, special: Sequence[str] = SPECIAL
) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE learnt here that cuts by patterns, in order; `digits` is each digit by itself."""
    inner = Tokenizer(models.BPE(ignore_merges=whole))
    if nfc:
        inner.normalizer = normalizers.NFC()
    steps = [
        pre_tokenizers.Digits(individual_digits=True)
        if cut == "digits"
        else pre_tokenizers.Split(Regex(cut), "isolated")
        for cut in cuts
    ]
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    inner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    _train(inner, trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), initial_alphabet=alphabet))
    return wrapped(inner)


def sentencepiece(size: int = 620, *, scheme: str = "") -> PreTrainedTokenizerFast:
    """Return a BPE with byte fallback, as SentencePiece's; spaces by normalisation, or by Metaspace with a scheme."""
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if scheme:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    else:
        inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    learnt = Tokenizer(models.BPE(unk_token="<unk>"))
    learnt.normalizer = normalizers.Replace(" ", "▁")
    learnt.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    _train(learnt, trainers.BpeTrainer(vocab_size=size - 259, special_tokens=["<unk>"]))
    plain = json.loads(learnt.to_str())["model"]
    rest = [word for word, _ in sorted(plain["vocab"].items(), key=lambda item: item[1]) if word != "<unk>"]
    words = ["<unk>", *SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *rest]
    inner.model = models.BPE(
        vocab={word: n for n, word in enumerate(words)},
        merges=[tuple(pair) for pair in plain["merges"]],
        byte_fallback=True,
        unk_token="<unk>",
        fuse_unk=True,
    )
    inner.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in ("<unk>", *SPECIAL)])
    return wrapped(inner, unk_token="<unk>")


def unigram(size: int = 500) -> PreTrainedTokenizerFast:
    """Return a Unigram tokenizer."""
    inner = Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    _train(inner, trainers.UnigramTrainer(vocab_size=size, special_tokens=["<unk>", *SPECIAL], unk_token="<unk>"))
    return wrapped(inner, unk_token="<unk>")


TOKENIZERS = {
    "gpt-2": lambda: byte_level(GPT2),
    "llama-bpe": lambda: byte_level(LLAMA3, whole=True),
    "smaug-bpe": lambda: byte_level(LLAMA3),
    "qwen2": lambda: byte_level(QWEN2, nfc=True),
    "smollm": lambda: byte_level("digits", GPT2),
    "default": sentencepiece,
}


def save_model(config: Any, folder: Path, tokenizer: Any = None, *, seed: int = 0, **options: Any) -> Any:
    """Save a random model that prefers some tokens over others, and return it."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * 0.1 + (1.0 if weight.ndim == 1 and weight.mean() == 1.0 else 0.0))
    model.save_pretrained(folder, **options)
    (tokenizer or byte_level(GPT2)).save_pretrained(folder)
    model.name_or_path = str(folder)  # an adapter of it names its base so
    return model


def log_probabilities(model: Any, ids: Sequence[int]) -> Any:
    """Return ln P of each token after each, by PyTorch in 32 bits, [ids, vocabulary]."""
    with torch.no_grad():
        return torch.log_softmax(model.float()(torch.tensor([list(ids)])).logits[0], -1).numpy()


def _train(inner: Tokenizer, trainer: Any) -> None:
    trainer.show_progress = False
    inner.train_from_iterator([*WORDS.splitlines(keepends=True)[:3000], OTHER], trainer)


def wrapped(inner: Tokenizer, **more: Any) -> PreTrainedTokenizerFast:
    """Return a tokenizer with its special tokens and a chat template, as transformers has it."""
    begin, end, pad = SPECIAL
    found = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=begin, eos_token=end, pad_token=pad, **more)
    found.chat_template = TEMPLATE
    return found


def metadata(path: Path) -> dict[str, Any]:
    """Return a GGUF's keys, but for lists."""
    fields = gguf.GGUFReader(path).fields.values()
    return {field.name: field.contents() for field in fields if field.types[0] != gguf.GGUFValueType.ARRAY}
