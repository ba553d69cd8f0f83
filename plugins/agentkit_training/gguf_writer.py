"""Write the project's own Llama as GGUF; `export` does so for folders of transformers, with what is shared from here.

Guarantees: llama.cpp gives the logits of the PyTorch model (`quantize.parity` measures it) and the
ids of the tokenizer; contents are F32 or F16 as asked; the file says that it speaks `plain/1`, what
it is called and under which licence. The file appears whole or not at all.
Does not cover other architectures, nor quantising: see `quantize`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agentkit.engine.dialects.plain import CONTROL_TOKENS
from agentkit_training.llama import Llama, LlamaConfig, rope_factors
from agentkit_training.tokenizer import TextTokenizer

__all__ = ["ModelCard", "interleave", "write_card", "write_gguf"]

PAD, BOS, END = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What the file says of itself."""

    name: str = "sprout"
    licence: str = "apache-2.0"
    dialect: str = "plain/1"
    description: str = ""
    chat_template: str = ""
    quotes: bool = True  # free texts among arguments are decoded as words of the conversation
    ranker_weight: float = 0.0  # what the lexical ranker's score counts beside log P(tool)


def write_gguf(
    model: Llama,
    tokenizer: TextTokenizer,
    path: Path,
    *,
    card: ModelCard | None = None,
    dtype: Literal["f32", "f16"] = "f32",
) -> Path:
    """Write `model` and `tokenizer` to `path` and return it.

    Raises:
        ValueError: the tokenizer has more tokens than the model.
    """
    if tokenizer.size > model.config.vocab:
        raise ValueError(f"{tokenizer.size} tokens do not fit a vocabulary of {model.config.vocab}")
    partial = path.with_name(path.name + ".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    write_card(writer, card or ModelCard())
    _describe(writer, model.config, dtype)
    _add_tokenizer(writer, tokenizer, model.config.vocab)
    for name, tensor in _tensors(model):
        wide = tensor.ndim == 1 or dtype == "f32"
        writer.add_tensor(name, tensor.astype(np.float32 if wide else np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)
    return path


def write_card(writer: gguf.GGUFWriter, card: ModelCard) -> None:
    """Put what a file says of itself among its keys."""
    writer.add_name(card.name)
    writer.add_license(card.licence)
    if card.description:
        writer.add_description(card.description)
    writer.add_string("agentkit.dialect", card.dialect)
    writer.add_bool("agentkit.quotes", card.quotes)
    writer.add_float32("agentkit.ranker_weight", card.ranker_weight)
    if card.chat_template:
        writer.add_chat_template(card.chat_template)


def _describe(writer: gguf.GGUFWriter, config: LlamaConfig, dtype: Literal["f32", "f16"]) -> None:
    kinds = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16}
    writer.add_file_type(kinds[dtype])
    writer.add_vocab_size(config.vocab)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.hidden)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.rope_base)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: TextTokenizer, vocab: int) -> None:
    words = tokenizer.vocabulary()
    unused = vocab - len(words)
    kinds = [int(gguf.TokenType.CONTROL)] * len(CONTROL_TOKENS)
    kinds += [int(gguf.TokenType.NORMAL)] * (len(words) - len(CONTROL_TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*words, *(f"<unused{i}>" for i in range(unused))])
    writer.add_token_types([*kinds, *([int(gguf.TokenType.UNUSED)] * unused)])
    writer.add_token_merges(tokenizer.merges())
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(END)
    writer.add_eot_token_id(END)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(False)


def _tensors(model: Llama) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield tensors under llama.cpp's names, query and key rows in its order."""
    config = model.config
    state = {name: _array(tensor) for name, tensor in model.state_dict().items()}
    yield "token_embd.weight", state["embedding.weight"]
    yield "output_norm.weight", state["norm.weight"]
    if config.rotary_pairs < config.head_width // 2:
        yield "rope_freqs.weight", _array(rope_factors(config))
    for index in range(config.layers):
        ours, theirs = f"blocks.{index}.", f"blk.{index}."
        yield theirs + "attn_norm.weight", state[ours + "attention_norm.weight"]
        yield theirs + "ffn_norm.weight", state[ours + "feed_norm.weight"]
        queries = interleave(state[ours + "attention.q.weight"], config.heads)
        keys = interleave(state[ours + "attention.k.weight"], config.kv_heads)
        yield theirs + "attn_q.weight", queries
        yield theirs + "attn_k.weight", keys
        yield theirs + "attn_v.weight", state[ours + "attention.v.weight"]
        yield theirs + "attn_output.weight", state[ours + "attention.o.weight"]
        for part in ("gate", "up", "down"):
            yield f"{theirs}ffn_{part}.weight", state[f"{ours}feed.{part}.weight"]


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
    return array


def interleave(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undo the rotate-half layout of queries and keys: llama.cpp turns neighbouring rows.

    Args:
        rows: a weight, or a bias, [heads * head width, ...].
        heads: how many heads they are.
    """
    halves = rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))
