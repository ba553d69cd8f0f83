"""Quantise a GGUF through llama.cpp, and compare llama.cpp with PyTorch.

Guarantees: the quantised file appears whole or not at all; `parity` compares every logit of a
sequence, with keys and values in F32. Does not write GGUF itself: see `gguf_writer`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

import llama_cpp.llama_cpp as C
import numpy as np
import torch
from numpy.typing import NDArray

from agentkit_training.llama import Llama

__all__ = ["QUANTS", "parity", "quantize"]

QUANTS: dict[str, int] = {
    "q8_0": C.LLAMA_FTYPE_MOSTLY_Q8_0,
    "q6_k": C.LLAMA_FTYPE_MOSTLY_Q6_K,
    "q5_k_m": C.LLAMA_FTYPE_MOSTLY_Q5_K_M,
    "q4_k_m": C.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "q4_0": C.LLAMA_FTYPE_MOSTLY_Q4_0,
    "f16": C.LLAMA_FTYPE_MOSTLY_F16,
}


def quantize(source: Path, target: Path, *, kind: str = "q8_0", threads: int = 2) -> Path:
    """Quantise a GGUF through llama.cpp and return `target`, which appears whole or not at all.

    Raises:
        ValueError: an unknown kind.
        RuntimeError: llama.cpp refused.
    """
    if kind not in QUANTS:
        raise ValueError(f"unknown quantisation {kind!r}; one of {', '.join(QUANTS)}")
    options = C.llama_model_quantize_default_params()
    options.ftype, options.nthread = QUANTS[kind], threads
    partial = target.with_name(target.name + ".partial")
    code = C.llama_model_quantize(os.fsencode(source), os.fsencode(partial), ctypes.byref(options))
    if code != 0:
        partial.unlink(missing_ok=True)
        raise RuntimeError(f"llama.cpp could not quantise {source} to {kind} (code {code})")
    partial.replace(target)
    return target


def parity(model: Llama, path: Path, tokens: Sequence[int]) -> float:
    """Return the largest difference between llama.cpp's logits and PyTorch's over `tokens`."""
    with torch.no_grad():
        ours = model(torch.tensor([list(tokens)]))[0].float().numpy()
    theirs = _llama_logits(path, tokens)
    return float(np.abs(ours - theirs).max())


def _llama_logits(path: Path, tokens: Sequence[int]) -> NDArray[np.float32]:
    C.llama_backend_init()
    loaded = C.llama_model_load_from_file(os.fsencode(path), C.llama_model_default_params())
    if not loaded:
        raise RuntimeError(f"llama.cpp could not load {path}")
    options = C.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = max(256, -(-len(tokens) // 256) * 256)
    options.type_k = options.type_v = 0  # GGML_TYPE_F32
    options.flash_attn_type = 0  # disabled
    context = C.llama_init_from_model(loaded, options)
    batch = C.llama_batch_init(len(tokens), 0, 1)
    try:
        batch.n_tokens = len(tokens)
        for place, token in enumerate(tokens):
            batch.token[place], batch.pos[place] = token, place
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            batch.logits[place] = 1
        if C.llama_decode(context, batch) != 0:
            raise RuntimeError("llama.cpp could not decode")
        width = C.llama_vocab_n_tokens(C.llama_model_get_vocab(loaded))
        flat = np.ctypeslib.as_array(C.llama_get_logits(context), (len(tokens), width))
        return np.array(flat, dtype=np.float32)
    finally:
        C.llama_batch_free(batch)
        C.llama_free(context)
        C.llama_model_free(loaded)
