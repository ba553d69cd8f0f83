"""Tiny mmproj files with random weights, which see as a LLaVA, a Gemma 3 and a Qwen2-VL do; and a Qwen2-VL to read them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import gguf
import numpy as np

from agentkit.engine.dialects import plain
from benchmarks.random_llama import byte_characters

SIDE, PATCH, VIEW, HIDDEN, LAYERS = 32, 8, 32, 64, 2


def png(colour: tuple[int, int, int], side: int = 40) -> bytes:
    """Return a PNG of one colour."""
    rows = b"".join(b"\x00" + bytes(colour) * side for _ in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write_mmproj(path: Path, *, width: int, kind: str = "mlp", seed: int = 0) -> Path:
    """Write an mmproj for a model of this width; `kind` is llama.cpp's name for what leads to it."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_file_type(0)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", kind)
    patch = 14 if kind == "qwen2vl_merger" else PATCH
    side = 56 if kind == "qwen2vl_merger" else 64 if kind == "gemma3" else SIDE
    for key, value in {
        "image_size": side, "patch_size": patch, "embedding_length": VIEW, "feed_forward_length": HIDDEN,
        "block_count": LAYERS, "projection_dim": width, "attention.head_count": 2,
    }.items():  # fmt: skip
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    writer.add_bool("clip.use_gelu", True)

    def put(name: str, *shape: int, bias: bool = True) -> None:
        values = rng.standard_normal(shape) / np.sqrt(shape[-1])
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))
        if bias:
            writer.add_tensor(f"{name}.bias", np.zeros(shape[0], np.float32))

    def norm(name: str, size: int = VIEW, *, bias: bool = True) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(size, np.float32))
        if bias:
            writer.add_tensor(f"{name}.bias", np.zeros(size, np.float32))

    writer.add_tensor("v.patch_embd.weight", rng.standard_normal((VIEW, 3, patch, patch)).astype(np.float32))
    for n in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            put(f"v.blk.{n}.{name}", VIEW, VIEW)
        put(f"v.blk.{n}.ffn_up", HIDDEN, VIEW)
        put(f"v.blk.{n}.ffn_down", VIEW, HIDDEN)
        norm(f"v.blk.{n}.ln1")
        norm(f"v.blk.{n}.ln2")
    {"mlp": _llava, "gemma3": _gemma, "qwen2vl_merger": _qwen}[kind](
        writer, put, norm, rng, width, (side // patch) ** 2
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _llava(writer, put, norm, rng, width, patches) -> None:
    writer.add_tensor("v.class_embd", rng.standard_normal(VIEW).astype(np.float32))
    writer.add_tensor("v.position_embd.weight", rng.standard_normal((patches + 1, VIEW)).astype(np.float32))
    norm("v.pre_ln")
    put("mm.0", width, VIEW)
    put("mm.2", width, width)


def _gemma(writer, put, norm, rng, width, patches) -> None:
    writer.add_tensor("v.position_embd.weight", rng.standard_normal((patches, VIEW)).astype(np.float32))
    writer.add_tensor("v.patch_embd.bias", np.zeros(VIEW, np.float32))
    norm("v.post_ln")
    writer.add_tensor("mm.input_projection.weight", (rng.standard_normal((VIEW, width)) / 6).astype(np.float32))
    writer.add_tensor("mm.soft_emb_norm.weight", np.ones(VIEW, np.float32))


def _qwen(writer, put, norm, rng, width, patches) -> None:
    writer.add_tensor("v.patch_embd.weight.1", rng.standard_normal((VIEW, 3, 14, 14)).astype(np.float32))
    norm("v.post_ln")
    put("mm.0", 4 * VIEW, 4 * VIEW)
    put("mm.2", width, 4 * VIEW)


def write_qwen(path: Path, *, width: int = 64, seed: int = 0) -> Path:
    """Write a random Qwen2-VL that speaks plain/1: its pictures have several dimensions of positions."""
    rng = np.random.default_rng(seed)
    characters = byte_characters()
    tokens = [*plain.CONTROL_TOKENS, *characters]
    writer = gguf.GGUFWriter(str(path), "qwen2vl")
    writer.add_context_length(2048)
    writer.add_embedding_length(width)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_array("qwen2vl.rope.dimension_sections", [4, 2, 2, 0])
    writer.add_file_type(0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(plain.CONTROL_TOKENS) + [1] * len(characters))
    writer.add_token_merges(["h e"])
    writer.add_uint32("tokenizer.ggml.bos_token_id", 1)
    writer.add_uint32("tokenizer.ggml.eos_token_id", 2)
    writer.add_add_bos_token(False)
    writer.add_string("agentkit.dialect", plain.NAME)

    def put(name: str, *shape: int) -> None:
        values = rng.standard_normal(shape) * (1.5 / np.sqrt(shape[-1]))
        writer.add_tensor(name, values.astype(np.float32))

    put("token_embd.weight", len(tokens), width)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for n in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{n}.{name}.weight", np.ones(width, np.float32))
        for name in ("attn_q", "attn_k", "attn_v"):
            put(f"blk.{n}.{name}.weight", width, width)
            put(f"blk.{n}.{name}.bias", width)
        put(f"blk.{n}.attn_output.weight", width, width)
        put(f"blk.{n}.ffn_gate.weight", 2 * width, width)
        put(f"blk.{n}.ffn_up.weight", 2 * width, width)
        put(f"blk.{n}.ffn_down.weight", width, 2 * width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_ears(path: Path, *, width: int, seed: int = 0) -> Path:
    """Write an mmproj that hears, as that of a Qwen2-Audio."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_file_type(0)
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_string("clip.projector_type", "qwen2a")
    for key, value in {
        "num_mel_bins": 80, "embedding_length": VIEW, "feed_forward_length": HIDDEN, "block_count": 1,
        "projection_dim": width, "attention.head_count": 2,
    }.items():  # fmt: skip
        writer.add_uint32(f"clip.audio.{key}", value)
    writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-5)
    writer.add_bool("clip.use_gelu", True)

    def put(name: str, *shape: int) -> None:
        values = rng.standard_normal(shape) / np.sqrt(shape[-1])
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))
        if not name.endswith("attn_k"):  # as in Whisper
            writer.add_tensor(f"{name}.bias", np.zeros(shape[0], np.float32))

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(VIEW, np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(VIEW, np.float32))

    for n, size in ((1, 80), (2, VIEW)):
        kernel = rng.standard_normal((VIEW, size, 3)).astype(np.float16)
        writer.add_tensor(f"a.conv1d.{n}.weight", kernel / np.float16(16))
        writer.add_tensor(f"a.conv1d.{n}.bias", np.zeros((VIEW, 1), np.float32))
    writer.add_tensor("a.position_embd.weight", rng.standard_normal((1500, VIEW)).astype(np.float32))
    norm("a.post_ln")
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        put(f"a.blk.0.{name}", VIEW, VIEW)
    put("a.blk.0.ffn_up", HIDDEN, VIEW)
    put("a.blk.0.ffn_down", VIEW, HIDDEN)
    norm("a.blk.0.ln1")
    norm("a.blk.0.ln2")
    put("mm.a.fc", width, VIEW)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
