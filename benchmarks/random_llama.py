"""A Llama of a real model's shape with random weights, for timing; useless for anything else.

python -m benchmarks.random_llama FILE      Llama 3.2 1B: 16 layers of 2048, 128,256 tokens, Q4_0, about 700 MB

Speed depends on shapes and types, not on what the weights are, so one random matrix a shape serves all layers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf import quants

NAME = "random"
Q4_0 = gguf.GGMLQuantizationType.Q4_0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a Llama."""

    layers: int = 16
    width: int = 2048
    hidden: int = 8192
    heads: int = 32
    kv_heads: int = 8
    vocab: int = 128_256
    context: int = 8192


LLAMA_1B = Shape()


def write(path: Path, shape: Shape = LLAMA_1B, seed: int = 0) -> Path:
    """Write the model; its tokens are the 256 bytes and words that no text is cut into."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(NAME)
    _describe(writer, shape)
    kv_width = shape.width * shape.kv_heads // shape.heads
    kinds = {
        "attn_q": (shape.width, shape.width), "attn_k": (kv_width, shape.width), "attn_v": (kv_width, shape.width),
        "attn_output": (shape.width, shape.width), "ffn_gate": (shape.hidden, shape.width),
        "ffn_up": (shape.hidden, shape.width), "ffn_down": (shape.width, shape.hidden),
    }  # fmt: skip
    made: dict[tuple[int, int], np.ndarray] = {}

    def add(name: str, size: tuple[int, int]) -> None:
        if size not in made:
            weights = rng.standard_normal(size, dtype=np.float32) / np.sqrt(size[1], dtype=np.float32)
            made[size] = quants.quantize(weights, Q4_0)
        writer.add_tensor(name, made[size], raw_dtype=Q4_0)

    add("token_embd.weight", (shape.vocab, shape.width))
    writer.add_tensor("output_norm.weight", np.ones(shape.width, np.float32))
    for layer in range(shape.layers):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(shape.width, np.float32))
        for name, size in kinds.items():
            add(f"blk.{layer}.{name}.weight", size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_vocab_size(shape.vocab)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(500_000.0)
    writer.add_file_type(2)  # mostly Q4_0
    controls = ["<s>", "</s>"]
    words = [f"w{n}" for n in range(shape.vocab - len(controls) - 256)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*controls, *byte_characters(), *words])
    writer.add_token_types([3] * len(controls) + [1] * (shape.vocab - len(controls)))
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: ")


def byte_characters() -> list[str]:
    """Return GPT-2's printable stand-in for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
