"""What a tool prints does not reach the program's stdout, which belongs to the answer.

While a tool runs in this process, `sys.stdout` tells the tool's thread (and what it awaits) from all others:
its words go to a bounded buffer, everybody else's pass through. Child processes and threads that a tool starts
itself write to the real stdout: such a tool belongs into a worker.
"""

from __future__ import annotations

import hashlib
import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from agentkit.tools.output import cut_note

_HEAD = 200_000  # more than a tool may give back
_TAIL = 100_000
_CHUNK = 1_000_000


class Printed:
    """The beginning and the end of what was written; of the middle of too much, size and digest only."""

    def __init__(self) -> None:
        self._head, self._tail = "", ""
        self._size = 0
        self._digest = hashlib.sha256()
        self._new: list[str] = []
        self._new_size = 0

    def write(self, text: str) -> int:
        """Keep what there is room for."""
        if on_write is not None:
            on_write()
        self._new.append(text)
        self._new_size += len(text)
        if self._new_size > _CHUNK:
            self._settle()
        return len(text)

    @property
    def text(self) -> str:
        """All of it, or head, note and tail."""
        self._settle()
        if self._size <= len(self._head):
            return self._head
        tail = self._tail[-(self._size - len(self._head)) :]
        if self._size == len(self._head) + len(tail):
            return self._head + tail
        return f"{self._head}{cut_note(self._size, self._digest.hexdigest())}{tail}"

    def _settle(self) -> None:
        text = "".join(self._new)
        self._new, self._new_size = [], 0
        self._size += len(text)
        self._digest.update(text.encode("utf-8", "surrogatepass"))
        if len(self._head) < _HEAD:
            self._head += text[: _HEAD - len(self._head)]
        self._tail = (self._tail + text)[-_TAIL:]


on_write: Callable[[], None] | None = None  # of a worker: somebody waits for a sign of life
_current: ContextVar[Printed | None] = ContextVar("printed", default=None)
_lock = threading.Lock()
_users = 0


class _Router(io.TextIOBase):
    def __init__(self, real: Any) -> None:
        self.real = real

    def write(self, text: str) -> int:
        printed = _current.get()
        return int(self.real.write(text)) if printed is None else printed.write(text)

    def flush(self) -> None:
        if _current.get() is None:
            self.real.flush()

    def isatty(self) -> bool:
        return bool(_current.get() is None and self.real.isatty())

    def fileno(self) -> int:
        return int(self.real.fileno())

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there
        return str(self.real.encoding or "utf-8")  # None where a live display stands in for the terminal

    @property
    def buffer(self) -> Any:
        return self.real.buffer


@contextmanager
def captured() -> Iterator[Printed]:
    """Catch what this thread prints, until the block is left."""
    global _users
    printed = Printed()
    with _lock:
        _users += 1
        if not isinstance(sys.stdout, _Router):
            sys.stdout = _Router(sys.stdout)
    token = _current.set(printed)
    try:
        yield printed
    finally:
        _current.reset(token)
        with _lock:
            _users -= 1
            if not _users and isinstance(sys.stdout, _Router):
                sys.stdout = sys.stdout.real
