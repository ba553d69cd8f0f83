"""Processes told apart by more than their pid, which the system gives out again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path


def birth(pid: int) -> str:
    """Return a text that only this process of that pid has: when it was started; "" if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        with contextlib.suppress(OSError):
            after = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            return f"{boot}/{after[19]}" if after[0] != "Z" else ""
        return ""
    if os.name != "posix":
        return ""
    said = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return said.stdout.strip()


def end_group(pid: int, born: str) -> bool:
    """Kill the process group that `pid` leads, if it is still the process that was born then; whether it was."""
    if not born or birth(pid) != born:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
        return True
    return False
