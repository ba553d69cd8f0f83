"""Run a program so that it, and whatever it starts, ends when it should.

It gets a process group of its own, no stdin, a bare environment and limits; its output is counted and capped while it is
read. On timeout or cancel the group is asked to end (TERM) and a second later made to (KILL).
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from agentkit.protocols import CancelFlag
from agentkit.tools import Kept, scrubbed, stop_group, wrapped
from agentkit.types import CONFINED, Confinement

_POLL_S = 0.05


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
    confine: Confinement = CONFINED,
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
        confine: the kernel's limits for it.
    """
    process = subprocess.Popen(
        wrapped(program, arguments, confine),
        cwd=cwd,
        env=scrubbed(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None  # a pipe
    kept = Kept()
    try:
        with child(process.pid) if child is not None else contextlib.nullcontext():
            ended = _read(process, process.stdout, kept, deadline, cancel, max_bytes)
    finally:
        stop_group(process)
        process.stdout.close()
    return Completed(status=process.returncode, output=kept.output, ended=ended)


def _read(
    process: subprocess.Popen[bytes],
    stream: IO[bytes],
    kept: Kept,
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
