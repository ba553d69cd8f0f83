"""Child processes that end when they should, and get no more than they should.

A child has a process group of its own, a bare environment, limits of the kernel's, and it dies with its parent. With
bubblewrap it also sees a read-only file system without the user's home, and, if it is to have none, no network. Without
bubblewrap none of this is a boundary: it keeps accidents small, not an attacker.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from agentkit.errors import ToolError
from agentkit.types import Confinement

KEPT = 200_000  # bytes of the beginning of the output, and as many of its end
TERM_GRACE_S = 1.0
_MB = 1 << 20
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TERM", "TZ")
NO_BOUNDARY = (
    "a tool in a worker has limits and a bare environment, but that is no boundary: "
    "it can read every file that you can, and reach the network"
)

# Linux kills the child when the thread that started it ends, however it ends. The wrapper asks for that, sets the limits
# and becomes the program; a function between fork and exec would do the same, and may deadlock in a process with threads.
_WRAPPER = """
import os, resource, sys
parent, limits, program = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if parent and sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
    os.getppid() == parent or sys.exit(1)
for item in limits.split(","):
    name, _, value = item.partition("=")
    if value:
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        want = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
        try:
            resource.setrlimit(kind, (want, hard if name == "RLIMIT_CPU" else want))
        except (OSError, ValueError):
            pass
os.execv(program, sys.argv[4:])
"""


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the few variables that a program needs; no keys, no tokens."""
    kept = {name: environ[name] for name in _KEPT_VARIABLES if name in environ}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", **kept}


def wrapped(
    program: str, arguments: Sequence[str], confine: Confinement, *, name: str | None = None, dies: bool = True
) -> list[str]:
    """Return the command line that runs `program` under limits, and on Linux ends it with the thread that started it.

    Args:
        program: an absolute path.
        arguments: without the program's own name.
        confine: the limits; those of the kernel only, see `sandboxed` for the rest.
        name: what the program is called for itself; None: its file's name.
        dies: whether the kernel is asked to end it; its own children would go on, so a worker sees to that itself.
    """
    own = name or Path(program).name
    if os.name != "posix" or not sys.executable:
        return [program, *arguments]
    limits = ",".join(f"{key}={value}" for key, value in _limits(confine).items())
    return [
        sys.executable,
        "-I",
        "-S",
        "-c",
        _WRAPPER,
        str(os.getpid() if dies else 0),
        limits,
        program,
        own,
        *arguments,
    ]


def _limits(confine: Confinement) -> dict[str, int]:
    """Return the kernel's limits; macOS knows no limit of the address space."""
    limits: dict[str, int] = {"RLIMIT_CORE": 0}
    if confine.memory_mb is not None and sys.platform == "linux":
        limits["RLIMIT_AS"] = confine.memory_mb * _MB
    if confine.file_mb is not None:
        limits["RLIMIT_FSIZE"] = confine.file_mb * _MB
    if confine.processes is not None and sys.platform == "linux":
        limits["RLIMIT_NPROC"] = _running() + confine.processes
    if confine.cpu_s is not None:
        limits["RLIMIT_CPU"] = max(1, int(confine.cpu_s))
    return limits


def _running() -> int:
    """Return how many threads this user has: the kernel counts them all against its limit."""
    user, count = os.getuid(), 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == user:
                count += sum(1 for _ in (folder / "task").iterdir())
    return count


@lru_cache(maxsize=1)
def bubblewrap() -> str | None:
    """Return the path of bubblewrap where it is installed and works; in many containers it may not."""
    found = shutil.which("bwrap") if sys.platform == "linux" else None
    if found is None:
        return None
    try:
        trial = subprocess.run(
            [found, *_ROOT, "--unshare-net", "--", "/bin/sh", "-c", ":"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found if trial.returncode == 0 else None


_ROOT = (
    "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
    "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
)  # fmt: skip


def sandboxed(
    command: Sequence[str], confine: Confinement, *, workspace: Path, writes: bool, network: bool, reads: Sequence[str]
) -> list[str]:
    """Return `command` inside bubblewrap, or as it is where that is not to be had.

    Args:
        command: what to run; its first word is a path.
        confine: `sandbox` says whether bubblewrap is used: "auto", "off" or "require".
        workspace: is there in any case.
        writes: whether the workspace may be written.
        network: whether it is left the network.
        reads: paths that must stay readable though they are in the home or a temporary folder.

    Raises:
        ToolError: it is required, and there is none that works.
    """
    if confine.sandbox == "off":
        return list(command)
    found = bubblewrap()
    if found is None:
        if confine.sandbox == "require":
            raise ToolError(
                "tools.sandbox is 'require', and there is no bubblewrap that works here; install it (bwrap), or set 'auto'"
            )
        return list(command)
    hidden = [Path(place).resolve() for place in (str(Path.home()), tempfile.gettempdir())]
    options = [*_ROOT, *(word for place in hidden if place != Path("/") for word in ("--tmpfs", str(place)))]
    for needed in dict.fromkeys(str(Path(path).absolute()) for path in reads if path):
        under = any(
            Path(needed).is_relative_to(place) or Path(needed).resolve().is_relative_to(place) for place in hidden
        )
        if under and not any(str(place) == needed for place in hidden) and Path(needed).exists():
            options += ["--ro-bind", needed, needed]
    root = str(workspace.resolve())
    options += ["--bind" if writes else "--ro-bind", root, root, "--chdir", root]
    if not network:
        options.append("--unshare-net")
    return [found, *options, "--", *command]


def stop_group(process: subprocess.Popen[bytes], grace_s: float = TERM_GRACE_S) -> None:
    """End the process and its group: TERM, and KILL for what is still there `grace_s` seconds later."""
    until = time.monotonic() + grace_s
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


class Kept:
    """The beginning and the end of an output, in bytes; of its middle, size and digest."""

    def __init__(self, room: int = KEPT) -> None:
        self._head, self._tail, self.size, self._room = b"", b"", 0, room
        self._digest = hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        """Keep what there is room for."""
        self.size += len(chunk)
        self._digest.update(chunk)
        room = self._room - len(self._head)
        self._head += chunk[:room]
        self._tail = (self._tail + chunk[max(room, 0) :])[-self._room :]

    @property
    def output(self) -> bytes:
        """All of it, or head, note and tail."""
        if self.size == len(self._head) + len(self._tail):
            return self._head + self._tail
        note = f"\n[... cut: {self.size:,} bytes in all; SHA-256 {self._digest.hexdigest()} ...]\n"
        return self._head + note.encode("ascii") + self._tail
