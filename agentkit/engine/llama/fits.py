"""Will a model fit into the memory of this machine or its GPU? Asked before anything is loaded.

Guarantees: only what cannot be there is refused. On a CPU the weights that stay in their file do not count, since the
system can drop and read them again; swap counts as memory. Where the system does not say what there is, nothing is
refused.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agentkit.engine.llama.library import C, supports_gpu, system_info
from agentkit.engine.llama.model import inspect_file
from agentkit.errors import ModelError
from agentkit.models.gguf import GGUFInfo
from agentkit.models.machine import Memory, memory
from agentkit.models.memory import ALL_TYPES, LIVE, MemoryEstimate, default_context, estimate, largest_context

__all__ = ["Fit", "check_eyes_fit", "check_fits", "copied_types", "fit"]

_BUFFERS_WITHIN = 1.5  # the estimate of the buffers may be that much too large (`python -m benchmarks.memory`)
_GPU = 1  # enum ggml_backend_dev_type: a device with memory of its own
# Which matrices llama.cpp lays out anew in memory of its own (ggml-cpu/repack.cpp), by what the processor can do.
_REPACKED = {
    "AVX2": ("Q4_0", "Q4_K", "IQ4_NL", "MXFP4"),
    "AVX512": ("Q2_K",),
    "DOTPROD": ("Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4"),
    "MATMUL_INT8": ("Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q1_0"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a model needs, what there is, and what follows."""

    context: int  # tokens asked for
    estimate: MemoryEstimate
    memory: Memory | None  # None: the system does not say
    largest_context: int | None  # that fits, in tokens; 0: the model does not; None: not known
    on_gpu: bool

    @property
    def verdict(self) -> Literal["yes", "slowly", "no", "unknown"]:
        """Whether it fits; "slowly" is with parts that are read from the disk again and again."""
        if self.memory is None:
            return "unknown"
        least = self.estimate.needed - self.estimate.buffers + int(self.estimate.buffers / _BUFFERS_WITHIN)
        if (least if self.on_gpu else self.estimate.total) <= self.memory.free:
            return "yes"
        return "slowly" if least <= self.memory.most else "no"

    def __str__(self) -> str:
        need, there = self.estimate, self.memory
        text = f"{_size(need.total)} with a context of {self.context} tokens"
        if there is None:
            return text
        return f"{text}, and {_size(there.free)} of {_size(there.total)} is free on {there.place}"

    @property
    def advice(self) -> str:
        """What to do about a model that does not fit; empty for one that does."""
        if self.verdict in ("yes", "unknown"):
            return ""
        smaller = f"set engine.context to at most {self.largest_context}, " if self.largest_context else ""
        other = "set engine.gpu_layers to none" if self.on_gpu else "close other programs"
        return f"{smaller}take a smaller quantisation{'' if smaller else ' or a smaller model'}, or {other}"


def fit(
    info: GGUFInfo, context: int | None = None, *, live: int = LIVE, gpu_layers: str = "auto", exact: bool = False
) -> Fit:
    """Return whether the model of `info` fits with a context of `context` tokens (None: the engine's default).

    The others are the engine's options of the same names.
    """
    there = _gpu_memory() if gpu_layers != "none" else None
    on_gpu = there is not None
    copied = ALL_TYPES if on_gpu else copied_types()
    there = there or memory()
    context = context or default_context(info)
    options: dict[str, Any] = {"live": live, "exact": exact, "copied": copied}
    return Fit(
        context=context,
        estimate=estimate(info, context, **options),
        memory=there,
        largest_context=None if there is None else largest_context(info, there.free, **options),
        on_gpu=on_gpu,
    )


def check_fits(
    path: Path, context: int | None, *, live: int = LIVE, gpu_layers: str = "auto", exact: bool = False
) -> None:
    """Refuse a model that cannot fit, by its file's header alone. Takes milliseconds; the options are those of `fit`.

    Raises:
        ModelError: it needs more memory than there is; says how much, and what would fit.
        ModelNotFound, ModelFileError: there is no such file, or it is no model.
    """
    found = fit(inspect_file(path), context, live=live, gpu_layers=gpu_layers, exact=exact)
    if found.verdict == "no":
        need = found.estimate
        parts = f"{_size(need.kv)} of it for the context, {_size(need.buffers)} for buffers"
        raise ModelError(f"{path}: it does not fit: it takes {found} ({parts}); {found.advice}")


def check_eyes_fit(path: Path, weight_bytes: int) -> None:
    """Refuse an mmproj that cannot fit beside its model; its weights are copied into memory.

    Raises:
        ModelError: it needs more memory than there is.
    """
    there = memory()
    if there is not None and weight_bytes > there.most:
        raise ModelError(
            f"{path}: it does not fit: its weights take {_size(weight_bytes)}, and {_size(there.most)} can be had on "
            f"{there.place}; take a smaller quantisation of it, or close other programs"
        )


def copied_types() -> frozenset[str]:
    """Return the types of matrices that llama.cpp copies out of the file on this processor."""
    said = system_info()
    if "REPACK = 1" not in said:
        return frozenset()
    return frozenset(name for feature, names in _REPACKED.items() if f"{feature} = 1" in said for name in names)


def _gpu_memory() -> Memory | None:
    """Return the memory of all GPUs that have one of their own; None where there is none, or it is the machine's."""
    library, found = C._lib, list[tuple[str, int, int]]()
    if not supports_gpu() or not hasattr(library, "ggml_backend_dev_memory"):  # it is in a library beside this one
        return None
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    library.ggml_backend_dev_name.restype = ctypes.c_char_p
    for number in range(library.ggml_backend_dev_count()):
        device = ctypes.c_void_p(library.ggml_backend_dev_get(ctypes.c_size_t(number)))
        name = library.ggml_backend_dev_name(device).decode("utf-8", "replace")
        if library.ggml_backend_dev_type(device) != _GPU or name.startswith(("Metal", "MTL")):
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        library.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        found.append((name, free.value, total.value))
    if not found:
        return None
    place = ", ".join(name for name, _, _ in found)
    return Memory(place=place, total=sum(total for _, _, total in found), free=sum(free for _, free, _ in found))


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
