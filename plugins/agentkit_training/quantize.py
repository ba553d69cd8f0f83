"""Quantise a GGUF through llama.cpp.

Guarantees: the quantised file appears whole or not at all. Does not write GGUF itself: see `gguf_writer`.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from agentkit.engine.llama.library import C
from agentkit.errors import ModelFileError, UsageError

__all__ = ["QUANTS", "quantize"]

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
        UsageError: an unknown kind.
        ModelFileError: llama.cpp refused.
    """
    if kind not in QUANTS:
        raise UsageError(f"unknown quantisation '{kind}'; one of {', '.join(QUANTS)}")
    options = C.llama_model_quantize_default_params()
    options.ftype, options.nthread = QUANTS[kind], threads
    options.allow_requantize = True
    partial = target.with_name(target.name + ".partial")
    code = C.llama_model_quantize(os.fsencode(source), os.fsencode(partial), ctypes.byref(options))
    if code != 0:
        partial.unlink(missing_ok=True)
        raise ModelFileError(
            f"{source}: llama.cpp could not quantise it to {kind} (code {code}); give a GGUF in f16 or f32"
        )
    partial.replace(target)
    return target
