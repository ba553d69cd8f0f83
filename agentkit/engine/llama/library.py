"""llama.cpp through its C functions, checked once at import and silent on stdout and stderr.

Guarantees: the binding is the one whose struct layouts this package was written for; llama.cpp's own log
goes to the logger `agentkit.llama` (debug level and up; nothing is printed unless logging is configured so).
Everything else in this package reaches llama.cpp through `C` from here.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llama_cpp import llama_cpp as C

from agentkit.errors import ModelError

__all__ = [
    "C", "abort_callback", "log_callback", "logits_address", "overheard", "physical_cores", "supports_gpu", "system_info",
]  # fmt: skip

WRITTEN_FOR = "0.3.36"
_SIZES = {"llama_model_params": 80, "llama_context_params": 160, "llama_batch": 56}
_FUNCTIONS = (
    "llama_model_load_from_file", "llama_init_from_model", "llama_get_memory", "llama_memory_seq_rm", "llama_decode",
    "llama_get_logits_ith", "llama_tokenize", "llama_token_to_piece", "llama_vocab_get_attr", "llama_vocab_is_eog",
    "llama_set_abort_callback", "llama_log_set", "llama_model_meta_val_str_by_index",
)  # fmt: skip
_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}  # llama.cpp informs a lot
_EXPECTED = (  # what a full pool, a batch that was cut off and a state that does not fit have llama.cpp say; they are dealt with
    "failed to find a memory slot", "available cells in kv cache", "failed to restore kv cache",
    "graph_compute_async failed with error 1", "failed to compute graph, compute status: 1",
    "removing memory module entries", "failed to decode, ret = 2", "model default pooling_type is",
)  # fmt: skip
_ERROR = 4
_log = logging.getLogger("agentkit.llama")
_ears = threading.local()


def check() -> None:
    """Compare the binding with what this package was written for.

    Raises:
        ModelError: it is another release, or a struct or function differs; a call would corrupt memory.
    """
    found = version("llama-cpp-python")
    wrong = [f"version {found}"] if found != WRITTEN_FOR else []
    wrong += [
        f"{name} has {size} bytes, not {wanted}"
        for name, wanted in _SIZES.items()
        if (size := ctypes.sizeof(getattr(C, name))) != wanted
    ]
    wrong += [f"no {name}" for name in _FUNCTIONS if not hasattr(C, name)]
    if wrong:
        raise ModelError(
            f"llama-cpp-python: {', '.join(wrong)}; agentkit was written for {WRITTEN_FOR}: "
            f"pip install llama-cpp-python=={WRITTEN_FOR}"
        )


def supports_gpu() -> bool:
    """Whether this build of llama.cpp can put layers on a GPU."""
    return bool(C.llama_supports_gpu_offload())


def system_info() -> str:
    """Return what this build of llama.cpp uses: back ends and instruction sets."""
    return str(C.llama_print_system_info().decode("utf-8", "replace")).strip()


@cache
def abort_callback() -> tuple[Any, Callable[..., Any]]:
    """Return a callback for `llama_set_abort_callback` that runs no Python, and what keeps it alive.

    llama.cpp polls it at every graph node. It is libc's `strlen` over a buffer of ours: an empty
    buffer is 0 (go on), one written byte is not (stop).
    """
    libc = ctypes.CDLL("ucrtbase") if os.name == "nt" else ctypes.CDLL(None)
    address = ctypes.cast(libc.strlen, ctypes.c_void_p).value
    return C.ggml_abort_callback(address), libc.strlen


@cache
def physical_cores() -> int:
    """Return how many cores this process may use, hyper-threads not counted."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for cpu in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))


@contextmanager
def overheard() -> Iterator[list[str]]:
    """Yield the errors that llama.cpp logs on this thread meanwhile, a line each: where a function only says that it failed."""
    said: list[str] = []
    _ears.said = said
    try:
        yield said
    finally:
        _ears.said = None


@C.llama_log_callback  # type: ignore[untyped-decorator]
def log_callback(level: int, text: bytes, _: Any) -> None:
    """Hand one line of llama.cpp's log to `logging`; a continued line (level 5) is dropped with the dots."""
    if level == _ERROR and (said := getattr(_ears, "said", None)) is not None:
        said.append(" ".join(text.decode("utf-8", "replace").split())[:300])
    if (known := _LEVELS.get(level)) is None or not _log.isEnabledFor(known):
        return
    line = text.decode("utf-8", "replace").rstrip()
    if known > logging.DEBUG and any(part in line for part in _EXPECTED):
        known = logging.DEBUG
    _log.log(known, "%s", line)


logits_address = C._lib["llama_get_logits_ith"]  # the same function, giving a number instead of a pointer object
logits_address.argtypes, logits_address.restype = [ctypes.c_void_p, ctypes.c_int32], ctypes.c_void_p

_log.addHandler(logging.NullHandler())
check()
C.llama_log_set(log_callback, ctypes.c_void_p(0))
C.llama_backend_init()
