"""Small models of unlike shapes, whose weights are zeros: enough to see what llama.cpp allocates for each shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import numpy as np

from benchmarks.random_llama import byte_characters

WIDTH, HIDDEN, VOCAB, CONTEXT = 256, 1024, 3000, 4096
Sizes = Iterator[tuple[str, tuple[int, ...]]]  # a tensor's name and its shape, rows first


def write(path: Path, name: str) -> Path:
    """Write the shape called `name`."""
    architecture, describe = SHAPES[name]
    writer = gguf.GGUFWriter(str(path), architecture)
    _common(writer)
    for tensor, shape in describe(writer):
        kind = np.float32 if len(shape) == 1 or "conv" in tensor or tensor.endswith("ssm_a") else np.float16
        writer.add_tensor(tensor, np.zeros(shape, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _common(writer: gguf.GGUFWriter) -> None:
    writer.add_vocab_size(VOCAB)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(1)
    controls = ["<s>", "</s>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*controls, *byte_characters(), *(f"w{n}" for n in range(VOCAB - 258))])
    writer.add_token_types([3, 3] + [1] * (VOCAB - 2))
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)


def _ends(*, tied: bool = False, norm: str = "output_norm") -> Sizes:
    yield "token_embd.weight", (VOCAB, WIDTH)
    yield f"{norm}.weight", (WIDTH,)
    if not tied:
        yield "output.weight", (VOCAB, WIDTH)


def _attention(layer: int, heads: int, kv_heads: int, length: int) -> Sizes:
    yield f"blk.{layer}.attn_norm.weight", (WIDTH,)
    for part, rows in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
        yield f"blk.{layer}.attn_{part}.weight", (rows * length, WIDTH)
    yield f"blk.{layer}.attn_output.weight", (WIDTH, heads * length)


def _feed(layer: int, hidden: int = HIDDEN) -> Sizes:
    yield f"blk.{layer}.ffn_norm.weight", (WIDTH,)
    for part in ("gate", "up"):
        yield f"blk.{layer}.ffn_{part}.weight", (hidden, WIDTH)
    yield f"blk.{layer}.ffn_down.weight", (WIDTH, hidden)


def _describe(
    writer: gguf.GGUFWriter, layers: int, heads: int, kv_heads: int | list[int], hidden: int = HIDDEN
) -> None:
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_feed_forward_length(hidden)
    writer.add_rope_freq_base(10_000.0)


def _every_head(writer: gguf.GGUFWriter) -> Sizes:
    _describe(writer, 3, 4, 4)
    yield from _ends()
    for layer in range(3):
        yield from _attention(layer, 4, 4, 64)
        yield from _feed(layer)


def _long_heads(writer: gguf.GGUFWriter) -> Sizes:
    """Heads that are longer than the width divided by their number, and four of them a KV head."""
    _describe(writer, 2, 4, 1, 256)
    writer.add_key_length(128)
    writer.add_value_length(128)
    writer.add_rope_dimension_count(128)
    yield from _ends(tied=True)
    for layer in range(2):
        yield from _attention(layer, 4, 1, 128)
        yield from _feed(layer, 256)


def _experts(writer: gguf.GGUFWriter) -> Sizes:
    _describe(writer, 2, 4, 2)
    writer.add_expert_count(4)
    writer.add_expert_used_count(2)
    yield from _ends()
    for layer in range(2):
        yield from _attention(layer, 4, 2, 64)
        yield f"blk.{layer}.ffn_norm.weight", (WIDTH,)
        yield f"blk.{layer}.ffn_gate_inp.weight", (4, WIDTH)
        for part in ("gate", "up"):
            yield f"blk.{layer}.ffn_{part}_exps.weight", (4, HIDDEN, WIDTH)
        yield f"blk.{layer}.ffn_down_exps.weight", (4, WIDTH, HIDDEN)


def _window(writer: gguf.GGUFWriter) -> Sizes:
    """Gemma 3: five layers of six see a window only."""
    _describe(writer, 6, 4, 1)
    writer.add_key_length(64)
    writer.add_value_length(64)
    writer.add_sliding_window(512)
    yield from _ends(tied=True)
    for layer in range(6):
        yield from _attention(layer, 4, 1, 64)
        yield from _feed(layer)
        for part in ("post_attention_norm", "post_ffw_norm"):
            yield f"blk.{layer}.{part}.weight", (WIDTH,)
        for part in ("q", "k"):
            yield f"blk.{layer}.attn_{part}_norm.weight", (64,)


def _uneven(writer: gguf.GGUFWriter) -> Sizes:
    """Deci: each layer has its own number of KV heads, one has none."""
    counts = [4, 2, 0, 1]
    _describe(writer, 4, 4, counts)
    writer.add_rope_dimension_count(64)
    yield from _ends()
    for layer, count in enumerate(counts):
        if count:
            yield from _attention(layer, 4, count, 64)
        else:
            yield f"blk.{layer}.attn_norm.weight", (WIDTH,)
            yield f"blk.{layer}.attn_output.weight", (WIDTH, WIDTH)
        yield from _feed(layer)


def _recurrent(writer: gguf.GGUFWriter) -> Sizes:
    """Mamba: no attention at all."""
    inner, state, rank, kernel = 2 * WIDTH, 16, 16, 4
    writer.add_block_count(3)
    writer.add_head_count(0)
    writer.add_feed_forward_length(0)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    yield from _ends()
    for n in range(3):
        yield f"blk.{n}.attn_norm.weight", (WIDTH,)
        yield f"blk.{n}.ssm_in.weight", (2 * inner, WIDTH)
        yield f"blk.{n}.ssm_conv1d.weight", (inner, kernel)
        yield f"blk.{n}.ssm_conv1d.bias", (inner,)
        yield f"blk.{n}.ssm_x.weight", (rank + 2 * state, inner)
        yield f"blk.{n}.ssm_dt.weight", (inner, rank)
        yield f"blk.{n}.ssm_dt.bias", (inner,)
        yield f"blk.{n}.ssm_a", (inner, state)
        yield f"blk.{n}.ssm_d", (inner,)
        yield f"blk.{n}.ssm_out.weight", (WIDTH, inner)


def _hybrid(writer: gguf.GGUFWriter) -> Sizes:
    """LFM2: layers with attention, and layers with a short convolution."""
    counts = [0, 2, 0, 2]
    _describe(writer, 4, 4, counts)
    writer.add_shortconv_l_cache(3)
    yield from _ends(tied=True, norm="token_embd_norm")
    for layer, count in enumerate(counts):
        yield from _feed(layer)
        if count:
            yield from _attention(layer, 4, count, 64)
            for part in ("q", "k"):
                yield f"blk.{layer}.attn_{part}_norm.weight", (64,)
        else:
            yield f"blk.{layer}.attn_norm.weight", (WIDTH,)
            yield f"blk.{layer}.shortconv.conv.weight", (WIDTH, 3)
            yield f"blk.{layer}.shortconv.in_proj.weight", (3 * WIDTH, WIDTH)
            yield f"blk.{layer}.shortconv.out_proj.weight", (WIDTH, WIDTH)


SHAPES: dict[str, tuple[str, Callable[[gguf.GGUFWriter], Sizes]]] = {
    "every-head": ("llama", _every_head),
    "long-heads": ("llama", _long_heads),
    "experts": ("llama", _experts),
    "window": ("gemma3", _window),
    "uneven": ("deci", _uneven),
    "recurrent": ("mamba", _recurrent),
    "hybrid": ("lfm2", _hybrid),
}
