"""Locks on single bytes of a file, which the system gives back when their owner ends, however it ends.

POSIX locks belong to the process: this module also keeps the threads and stores of one process apart, and opens each
lock file once, since closing any descriptor of it would give all its locks back. Without such locks (Windows, some file
systems) they hold within this process only.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from agentkit.errors import StoreError

WRITER = 1 << 60  # the byte of whoever writes; those of conversations are below 2 ** 56
USER = WRITER + 1  # the byte of all who have the database open
_mutex = threading.Lock()
_held: set[tuple[str, int]] = set()
_users: dict[str, int] = {}
_files: dict[tuple[str, int], int] = {}  # (path, process) -> descriptor, open for the life of the process


def take(file: Path, place: int, *, patience_s: float = 0.0) -> bool:
    """Take a lock; False if somebody else has it and did not give it back in time."""
    end, pause, key = time.monotonic() + patience_s, 0.0005, (str(file), place)
    while True:
        with _mutex:
            if key not in _held and _ask(file, place, "exclusive"):
                _held.add(key)
                return True
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
        pause = min(0.02, 1.5 * pause)


def release(file: Path, place: int) -> None:
    """Give a lock back."""
    with _mutex:
        _held.discard((str(file), place))
        _ask(file, place, "none")


def enter(file: Path) -> bool:
    """Say that this process uses the database, and return whether nobody else did."""
    with _mutex:
        first = not _users.get(str(file))
        _users[str(file)] = _users.get(str(file), 0) + 1
        alone = first and _ask(file, USER, "exclusive")
        if first:
            _ask(file, USER, "shared")
        return alone


def leave(file: Path) -> None:
    """Say that a store of this process does not use the database any more."""
    with _mutex:
        _users[str(file)] = _users.get(str(file), 1) - 1
        if _users[str(file)] <= 0:
            _users.pop(str(file))
            _ask(file, USER, "none")


def _ask(file: Path, place: int, how: str) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl  # noqa: PLC0415  not everywhere

    wanted = {
        "exclusive": fcntl.LOCK_EX | fcntl.LOCK_NB,
        "shared": fcntl.LOCK_SH | fcntl.LOCK_NB,
        "none": fcntl.LOCK_UN,
    }
    try:
        fcntl.lockf(_descriptor(file), wanted[how], 1, place)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _descriptor(path: Path) -> int:
    key = (str(path), os.getpid())
    if key not in _files:
        try:
            _files[key] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written ({error.strerror}); make the folder writable") from error
    return _files[key]
