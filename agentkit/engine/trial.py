"""A model file that was not seen before is loaded in a child process first.

llama.cpp ends the process over what it does not expect in a file, and the system over memory that is not there. Here
that is the end of a child, and a typed error with its last words. The file that has passed once is not tried again:
the cache folder remembers it by size, time, both ends of its content, and the versions of what loads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from agentkit.config import EngineSettings, cache_dir
from agentkit.engine.children import environment
from agentkit.errors import ModelError, ModelFileError
from agentkit.models.mmproj import beside

MODULE = "agentkit.engine.llama.trial"
TIMEOUT_S = 900.0  # a big model on a slow disk takes minutes
_END = 1 << 20  # bytes of each end that count
_WORDS = 4_000  # bytes of the child's last words that are looked at


def try_model(path: Path, settings: EngineSettings, *, timeout_s: float = TIMEOUT_S) -> None:
    """Load `path` in a child and decode a token or two, unless that went well before.

    Args:
        path: a GGUF file.
        settings: the context, threads, GPU layers and dialect it will be loaded with.
        timeout_s: seconds for all of it.

    Raises:
        ModelFileError: it cannot be loaded; with the signal that ended the child, and its last words.
        ModelError: there was no memory or no time for it.
    """
    try:
        verdict = cache_dir() / "models" / f"{fingerprint(path, settings)}.json"
    except OSError:
        return  # there is no such file, or it cannot be read: whoever loads it says so better
    if verdict.exists():
        return
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        status, answer = _child(path, settings, said, timeout_s)
        words = _last_words(said)
    if answer.get("ok"):
        _remember(verdict, path, time.monotonic() - started)
        return
    eyes = _eyes(path, settings)
    raise _error(str(path) if eyes is None else f"{path} with {eyes}", status, answer, words, timeout_s)


def fingerprint(path: Path, settings: EngineSettings) -> str:
    """Return what tells one file, and one way of loading it, from another.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        head = file.read(_END)
        file.seek(max(0, status.st_size - _END))
        tail = file.read(_END)
    how: tuple[Any, ...] = (
        status.st_size,
        status.st_mtime_ns,
        settings.context,
        settings.gpu_layers,
        settings.dialect,
        settings.live,
    )
    if (eyes := _eyes(path, settings)) is not None:
        how += (str(eyes), eyes.stat().st_size, eyes.stat().st_mtime_ns)
    loaded_by = (version("agentkit-local"), version("llama-cpp-python"))
    told = repr((how, loaded_by)).encode() + hashlib.sha256(head).digest() + hashlib.sha256(tail).digest()
    return hashlib.sha256(told).hexdigest()[:32]


def _eyes(path: Path, settings: EngineSettings) -> Path | None:
    """Return the mmproj that a model is loaded with."""
    return Path(settings.mmproj) if settings.mmproj is not None else beside(path)


def _child(
    path: Path, settings: EngineSettings, said: IO[bytes], timeout_s: float
) -> tuple[int | None, dict[str, Any]]:
    """Return how the child ended, None where it had to be ended, and what it answered."""
    how = {"context": settings.context, "gpu_layers": settings.gpu_layers, "dialect": settings.dialect}
    how |= {"threads": settings.threads, "live": settings.live, "mmproj": settings.mmproj}
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE, os.fsencode(path), json.dumps(how)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=said,
        env=environment(),
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return None, {}
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # also on Ctrl-C
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    try:
        answer = json.loads(output[-100_000:].splitlines()[-1])
    except (ValueError, IndexError):
        answer = {}
    return process.returncode, answer if isinstance(answer, dict) else {}


def _error(path: str, status: int | None, answer: dict[str, Any], words: str, timeout_s: float) -> ModelError:
    if answer.get("error"):
        kind = ModelFileError if answer.get("kind") == "ModelFileError" else ModelError
        return kind(str(answer["error"]))
    told = f". Its last words: {words}" if words else ""
    if status is None:
        return ModelError(
            f"{path}: it was not loaded within {timeout_s:g} s; use a smaller model, or a faster disk{told}"
        )
    if status == -signal.SIGKILL:
        return ModelError(
            f"{path}: the system killed the process that loaded it (signal 9), as it does when memory runs out; "
            f"use a smaller context (engine.context) or a smaller model{told}"
        )
    how = f"exit status {status}"
    if status < 0:
        how = f"signal {-status}"
        with contextlib.suppress(ValueError):
            how = f"signal {-status}, {signal.Signals(-status).name}"
    return ModelFileError(
        f"{path}: loading it ends the process ({how}): the file is damaged, or the installed llama.cpp cannot run it; "
        f"fetch it again, or another conversion of it{told}"
    )


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - _WORDS))
    lines = [" ".join(line.split()) for line in said.read().decode("utf-8", "replace").splitlines()]
    kept = [line for line in lines if line]
    return " | ".join("".join(char for char in line if char.isprintable()) for line in kept[-4:])[:600]


def _remember(verdict: Path, path: Path, seconds: float) -> None:
    with contextlib.suppress(OSError):  # it is tried again next time
        verdict.parent.mkdir(parents=True, exist_ok=True)
        aside = verdict.with_suffix(f".{os.getpid()}")
        text = {"path": os.fsencode(path).decode("utf-8", "replace"), "seconds": round(seconds, 1), "at": time.time()}
        aside.write_text(json.dumps(text), encoding="utf-8")
        aside.replace(verdict)
