"""The user's own check: a command whose exit status says whether the task is achieved."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from agentkit.errors import Cancelled
from agentkit.protocols import CancelFlag
from agentkit.tools.output import clean

CHECK_S = 300.0


def run_check(check: str, answer: str, workspace: Path, cancel: CancelFlag, *, timeout_s: float | None = None) -> str:
    """Run a check; return why it failed, nothing where it passed: exit status 0.

    Args:
        check: a shell command.
        answer: what it finds on its standard input.
        workspace: where it runs.
        cancel: ends it, with an error.
        timeout_s: seconds until it has failed; None: `CHECK_S`.

    Raises:
        Cancelled: it was ended, with all that it had started.
    """
    timeout_s = CHECK_S if timeout_s is None else timeout_s
    end = time.monotonic() + timeout_s
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as given:
        given.write(answer.encode("utf-8", "replace"))
        given.seek(0)
        process = subprocess.Popen(
            check,
            shell=True,
            cwd=workspace,
            stdin=given,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while (status := _status(process)) is None:
                if cancel.is_set():
                    raise Cancelled("cancelled while the check was running")
                if time.monotonic() >= end:
                    return f"the check did not finish within {timeout_s:g} s: {check}"
        finally:
            _kill(process)
        printed.seek(max(0, printed.seek(0, os.SEEK_END) - 300))
        tail = clean(printed.read().decode(errors="replace")).strip()
    return "" if status == 0 else f"the check failed with status {status}: {check}; {tail}"


def _status(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(timeout=0.05)
    except subprocess.TimeoutExpired:
        return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the check if it is still running, with all that it started."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
