"""Who drives a conversation: one run at a time, in whatever process; a killed process leaves nothing behind.

A lease is a lock on one byte of a file beside the database, which the system releases when its owner ends,
however it ends. Where there is no file (a database in memory, a system without such locks) it holds within
this process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from agentkit.errors import StoreError, UsageError

_mutex = threading.Lock()
_held: set[tuple[str, str]] = set()
_files: dict[tuple[str, int], int] = {}  # (path, process) -> descriptor, open for the life of the process


@contextlib.contextmanager
def lease(database: Path | None, thread_id: str) -> Iterator[None]:
    """Hold a conversation while inside.

    Args:
        database: the store's file; None: in memory.
        thread_id: the conversation.

    Raises:
        UsageError: another run is at work in it.
        StoreError: the file beside the database cannot be written.
    """
    key = (str(database or ""), thread_id)
    with _mutex:
        if key in _held or not _lock(database, thread_id, wanted=True):
            raise UsageError(
                f"another run is at work in thread '{thread_id}'; wait until it has ended, or start a new conversation"
            )
        _held.add(key)
    try:
        yield
    finally:
        with _mutex:
            _held.discard(key)
            _lock(database, thread_id, wanted=False)


def _lock(database: Path | None, thread_id: str, *, wanted: bool) -> bool:
    """Take or give back the byte that stands for a conversation; False if another process has it."""
    if sys.platform == "win32" or database is None:
        return True
    import fcntl  # noqa: PLC0415  not everywhere

    place = int.from_bytes(hashlib.sha256(thread_id.encode(errors="replace")).digest()[:7], "big")
    how = fcntl.LOCK_EX | fcntl.LOCK_NB if wanted else fcntl.LOCK_UN
    try:
        fcntl.lockf(_file(database.with_name(f"{database.name}.lock")), how, 1, place)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _file(path: Path) -> int:
    """Return the descriptor of the lock file; closing any other one on it would give all leases back."""
    key = (str(path), os.getpid())
    if key not in _files:
        try:
            _files[key] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written ({error.strerror}); make the folder writable") from error
    return _files[key]
