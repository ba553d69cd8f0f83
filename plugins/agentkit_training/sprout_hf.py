"""Sprout as a Hugging Face folder: the very weights and tokenizer that ship, for everything that trains such models.

Guarantees: transformers' logits are those of `llama.Llama` with the shipped float weights; its tokenizer gives the ids of
`plain/1`; the chat template writes what the dialect writes. Pairs that do not turn with position are transformers' rope type
`proportional`. The key `agentkit` of config.json holds what a GGUF made of the folder says of itself.
Does not keep text apart from control tokens: a Hugging Face tokenizer reads `<end>` in a text as the token.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models
from torch import Tensor

from agentkit import config as settings
from agentkit.engine.dialects.plain import CONTROL_TOKENS
from agentkit.engine.dialects.plain_template import TEMPLATE
from agentkit_training.gguf_writer import BOS, END, PAD, ModelCard
from agentkit_training.llama import LlamaConfig
from agentkit_training.tokenizer import TextTokenizer

__all__ = ["SPROUT", "sprout_folder", "write_folder"]

WEIGHTS = Path(__file__).with_name("weights")
SPROUT = LlamaConfig(layers=5, hidden=512)
NAMES = {
    "embedding.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "attention_norm.": "input_layernorm.",
    "feed_norm.": "post_attention_layernorm.",
    **{f"attention.{one}.": f"self_attn.{one}_proj." for one in "qkvo"},
    **{f"feed.{one}.": f"mlp.{one}_proj." for one in ("gate", "up", "down")},
}
MARKED = TEMPLATE.replace(
    "<assistant>\n{%- if message.tool_calls -%}", "<assistant>\n{%- generation -%}\n{%- if message.tool_calls -%}"
).replace(
    "<end>\n{%- elif message.role == 'tool' -%}", "<end>\n{%- endgeneration -%}\n{%- elif message.role == 'tool' -%}"
)
"""The template, saying what the assistant wrote: transformers' `generation` blocks, which other programs do not know."""
CARD = ModelCard(chat_template=MARKED, ranker_weight=0.5)


def sprout_folder() -> Path:
    """Return the folder of the shipped sprout, made in the cache the first time (10 MB)."""
    floats = WEIGHTS / "sprout-f16.safetensors"
    parts = (floats.read_bytes(), (WEIGHTS / "tokenizer.json").read_bytes(), repr((SPROUT, CARD)).encode())
    stamp = hashlib.sha256(b"".join(parts)).hexdigest()[:12]
    folder = settings.cache_dir() / "hf" / f"sprout-{stamp}"
    if not (folder / "config.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            write_folder(load_file(floats), TextTokenizer.load(WEIGHTS / "tokenizer.json"), Path(made) / "whole")
            try:
                (Path(made) / "whole").replace(folder)
            except OSError:
                if not (folder / "config.json").exists():  # another process was not quicker
                    raise
    return folder


def write_folder(
    weights: dict[str, Tensor],
    tokenizer: TextTokenizer,
    folder: Path,
    config: LlamaConfig = SPROUT,
    card: ModelCard = CARD,
) -> Path:
    """Write weights under `llama.Llama`'s names, and a tokenizer of `plain/1`, as a folder that transformers loads."""
    folder.mkdir(parents=True)
    save_file(
        {_name(name): one.contiguous() for name, one in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    _write_json(folder / "config.json", _config(config, card))
    _write_json(folder / "generation_config.json", {"bos_token_id": BOS, "eos_token_id": END, "pad_token_id": PAD})
    _tokenizer(tokenizer).save(str(folder / "tokenizer.json"))
    told = {"bos_token": "<bos>", "eos_token": "<end>", "pad_token": "<pad>"}
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config.context,
            "clean_up_tokenization_spaces": False,
            "chat_template": card.chat_template,
            **told,
        },
    )
    return folder


def _name(ours: str) -> str:
    """Return transformers' name of a weight."""
    place, rest = "", ours
    if ours.startswith("blocks."):
        _, number, rest = ours.split(".", 2)
        place = f"model.layers.{number}."
    for one, theirs in NAMES.items():
        if rest.startswith(one):
            return place + theirs + rest[len(one) :]
    raise KeyError(ours)


def _config(config: LlamaConfig, card: ModelCard) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab,
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "rope_parameters": {
            "rope_type": "proportional",
            "rope_theta": config.rope_base,
            "partial_rotary_factor": config.rotary_pairs / (config.head_width // 2),
        },
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": BOS,
        "eos_token_id": END,
        "pad_token_id": PAD,
        "dtype": "float32",
        "agentkit": {
            "name": card.name,
            "licence": card.licence,
            "dialect": card.dialect,
            "description": card.description,
            "quotes": card.quotes,
            "ranker_weight": card.ranker_weight,
        },
    }


def _tokenizer(tokenizer: TextTokenizer) -> Tokenizer:
    """Return the tokenizer with the control tokens in its vocabulary, before the words."""
    vocabulary = {word: index for index, word in enumerate(tokenizer.vocabulary())}
    merges = [(left, right) for left, right in (merge.split(" ") for merge in tokenizer.merges())]
    whole = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    whole.pre_tokenizer = tokenizer.inner.pre_tokenizer
    whole.decoder = decoders.ByteLevel()
    whole.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROL_TOKENS])
    return whole


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
