"""Run a program so that it, and whatever it starts, ends when it should.

It gets a process group of its own, no stdin and a bare environment; its output is counted and capped while it is
read. On timeout or cancel the group is asked to end (TERM) and a second later made to (KILL).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from agentkit.protocols import CancelFlag

_KEPT = 200_000  # bytes of the beginning, and as many of the end
_TERM_GRACE_S = 1.0
_POLL_S = 0.05
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TERM")

# Linux kills the child when the thread that started it ends, however it ends. The wrapper asks for that and becomes
# the program; a function between fork and exec would do the same, and may deadlock in a process with threads.
_WRAPPER = (
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9);"
    "os.getppid()==int(sys.argv[1]) or sys.exit(1);os.execv(sys.argv[2],sys.argv[3:])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a program ended, and what it wrote to stdout and stderr together."""

    status: int  # negative: the signal
    output: bytes
    ended: Literal["exit", "timeout", "cancelled", "flood"]


def run_program(
    program: str,
    arguments: Sequence[str],
    *,
    cwd: Path,
    deadline: float,
    cancel: CancelFlag,
    max_bytes: int,
    child: Callable[[int], AbstractContextManager[None]] | None = None,
) -> Completed:
    """Run `program` with `arguments` and return how it ended.

    Args:
        program: an absolute path.
        arguments: without the program's own name.
        cwd: the folder it runs in.
        deadline: `time.monotonic()` seconds.
        cancel: set means stop.
        max_bytes: of output; a program that writes more is stopped.
        child: held while the program runs, by its pid: `ToolContext.child`.
    """
    process = subprocess.Popen(
        _wrapped(program, arguments),
        cwd=cwd,
        env=scrubbed(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None  # a pipe
    kept = _Kept()
    try:
        with child(process.pid) if child is not None else contextlib.nullcontext():
            ended = _read(process, process.stdout, kept, deadline, cancel, max_bytes)
    finally:
        stop_group(process)
        process.stdout.close()
    return Completed(status=process.returncode, output=kept.output, ended=ended)


def scrubbed(environ: os._Environ[str] | dict[str, str]) -> dict[str, str]:
    """Return the few variables that a program needs; no keys, no tokens."""
    kept = {name: environ[name] for name in _KEPT_VARIABLES if name in environ}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", **kept}


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and its group: TERM, and KILL for what is still there a second later."""
    until = time.monotonic() + _TERM_GRACE_S
    if process.poll() is None and _signal(process.pid, signal.SIGTERM):
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
    _signal(process.pid, signal.SIGKILL)  # also children that outlived the program
    process.wait()


def _signal(group: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


def _wrapped(program: str, arguments: Sequence[str]) -> list[str]:
    if sys.platform != "linux" or not sys.executable:
        return [program, *arguments]
    name = Path(program).name
    return [sys.executable, "-I", "-S", "-c", _WRAPPER, str(os.getpid()), program, name, *arguments]


class _Kept:
    """The beginning and the end of the output; of its middle, size and digest."""

    def __init__(self) -> None:
        self._head, self._tail, self.size = b"", b"", 0
        self._digest = hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._digest.update(chunk)
        room = _KEPT - len(self._head)
        self._head += chunk[:room]
        self._tail = (self._tail + chunk[max(room, 0) :])[-_KEPT:]

    @property
    def output(self) -> bytes:
        if self.size == len(self._head) + len(self._tail):
            return self._head + self._tail
        note = f"\n[... cut: {self.size:,} bytes in all; SHA-256 {self._digest.hexdigest()} ...]\n"
        return self._head + note.encode("ascii") + self._tail


def _read(
    process: subprocess.Popen[bytes],
    stream: IO[bytes],
    kept: _Kept,
    deadline: float,
    cancel: CancelFlag,
    max_bytes: int,
) -> Literal["exit", "timeout", "cancelled", "flood"]:
    exited = False
    while True:
        ready, _, _ = select.select([stream], [], [], _POLL_S)
        if ready:
            chunk = os.read(stream.fileno(), 65_536)
            if not chunk:
                break
            kept.add(chunk)
        elif exited:
            return "exit"  # a child it left behind holds the pipe open
        exited = process.poll() is not None
        if time.monotonic() >= deadline:
            return "timeout"
        if cancel.is_set():
            return "cancelled"
        if kept.size > max_bytes:
            return "flood"
    while process.poll() is None:  # it closed its output, and goes on
        if time.monotonic() >= deadline:
            return "timeout"
        if cancel.is_set():
            return "cancelled"
        time.sleep(_POLL_S)
    return "exit"
