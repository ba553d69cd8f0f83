"""One writer a collection: a lock that the system gives back when its owner ends, however it ends.

Not enforced on Windows, nor on file systems without locks.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from agentkit.errors import StoreError
from agentkit_vision.search.errors import CollectionBusy

__all__ = ["writing_alone"]

LOCK = "writer.lock"
PAUSE_S = 0.05


@contextlib.contextmanager
def writing_alone(home: Path, *, wait_s: float) -> Iterator[None]:
    """Be the only writer of a collection.

    Args:
        home: the collection's folder.
        wait_s: how long to wait for another writer to end.

    Raises:
        CollectionBusy: there is still another one; tells its process.
        StoreError: the folder cannot be written.
    """
    try:
        file = (home / LOCK).open("a+b")
    except OSError as error:
        raise StoreError(f"{home}: cannot be written ({error.strerror}); make it writable, or use another") from error
    with file:
        until = time.monotonic() + wait_s
        while not _take(file.fileno()):
            if time.monotonic() >= until:
                file.seek(0)
                who = file.read(20).decode("ascii", "replace").strip() or "unknown"
                raise CollectionBusy(f"{home}: process {who} is writing to this collection; wait for it, or stop it")
            time.sleep(PAUSE_S)
        with contextlib.suppress(OSError):  # a full disk: the lock holds, its owner's name is missing
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()
        yield


def _take(number: int) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl  # noqa: PLC0415  not everywhere

    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True
