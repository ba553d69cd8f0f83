"""Whether llama.cpp's code for Intel's AMX can be trusted on this machine, as it was compiled here.

GCC 12, for one, compiles it into a crash: its `_tile_loadconfig` (amxtileintrin.h) tells the optimiser of 8 of the 64
bytes that the instruction reads, so the code that fills the others is left out, and `ldtilecfg` faults on what
happens to lie there (ggml-org/llama.cpp#20824 and many like it). A build cannot be asked how it was compiled; so a child
process decodes a few tokens, once for each build of the library and each processor, and the cache folder remembers.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

from agentkit.config import cache_dir
from agentkit.engine.children import environment
from agentkit.engine.llama.library import C, system_info

__all__ = ["works"]

TIMEOUT_S = 600.0  # a big model on a slow disk takes minutes
_LIBRARIES = Path(C.__file__).parent / "lib"
_TOKENS, _ROUNDS, _THREADS = 32, 4, 2
_log = logging.getLogger("agentkit.llama")


@cache
def works(path: Path) -> bool:
    """Whether weights may be laid out for AMX: true where this build has no AMX, or where a child decoded with it.

    Args:
        path: the GGUF to try it with, about to be loaded; the verdict holds for the build, not for the file.
    """
    if "AMX_INT8 = 1" not in system_info():
        return True
    verdict = cache_dir() / f"amx-{_build()}.txt"
    with contextlib.suppress(OSError):
        return verdict.read_text(encoding="utf-8") == "works"
    status = _tried(path)
    if status is None:
        return False  # no verdict: whether the file can be loaded at all is for the caller to find out
    with contextlib.suppress(OSError):  # it is tried again next time
        verdict.parent.mkdir(parents=True, exist_ok=True)
        aside = verdict.with_suffix(f".{os.getpid()}")
        aside.write_text("crashes" if status < 0 else "works", encoding="utf-8")
        aside.replace(verdict)
    if status < 0:
        _log.warning(
            "this build of llama.cpp crashes in its code for AMX (signal %d), so it is not used; a build without it is "
            "faster: CXXFLAGS='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16' pip install --force-reinstall --no-cache-dir "
            "--no-deps llama-cpp-python==<version>",
            -status,
        )
    return status == 0


def _build() -> str:
    """Return what tells one compiled library, on one kind of processor, from another."""
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(_LIBRARIES.glob("*"))]
    processor = ""
    with contextlib.suppress(OSError):
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("microcode")[0]
    return hashlib.sha256(repr((files, processor, system_info())).encode()).hexdigest()[:24]


def _tried(path: Path) -> int | None:
    """Return how a child ended that decoded with AMX: 0, or minus a signal; None if something else was wrong."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [sys.executable, "-m", __name__, os.fsencode(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            timeout=TIMEOUT_S,
            check=False,
        )
        return done.returncode if done.returncode <= 0 else None
    return None


def _decode(path: Path) -> None:
    """Read some tokens as the engine does, with whatever layouts llama.cpp likes."""
    from agentkit.engine.llama.context import Context, ContextOptions, Part  # noqa: PLC0415  they import this module
    from agentkit.engine.llama.model import Model  # noqa: PLC0415

    model = Model(path, gpu_layers="none", extra_buffers=True)
    context = Context(model, ContextOptions(tokens=_TOKENS * _ROUNDS, threads=_THREADS, live=1))
    for _ in range(_ROUNDS):
        context.decode([Part(0, [1] * _TOKENS, [_TOKENS - 1])])
        time.sleep(0.01)


if __name__ == "__main__":
    _decode(Path(sys.argv[1]))
    os._exit(0)  # nothing that is left to tidy up may change the verdict
