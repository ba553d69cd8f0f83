"""Ctrl-C once cancels the work, twice ends the process; SIGTERM cancels and is remembered.

Handlers are in force inside the `with` block only and the old ones come back after it. The second
Ctrl-C leaves at once, without waiting for threads: what was done is in the store already.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED, TERMINATED = 130, 143


class Flag:
    """Set once; without a lock, for a signal handler may not wait for one."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Ask for the work to stop."""
        self._set = True

    def is_set(self) -> bool:
        """Whether somebody asked."""
        return self._set


class Interrupts:
    """A cancel flag that the keyboard and `kill` can set."""

    def __init__(self, *, notice: str = "") -> None:
        self.flag = Flag()
        self.terminated = False
        self._notice = notice  # for stderr, at the first signal
        self._asking = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While a person is being asked, Ctrl-C also breaks off the question."""
        self._asking = True
        try:
            yield
        finally:
            self._asking = False

    @property
    def exit_code(self) -> int:
        """The status of a process that ends because of this."""
        return TERMINATED if self.terminated else INTERRUPTED

    def _caught(self, number: int, _: FrameType | None) -> None:
        self.terminated = self.terminated or number == signal.SIGTERM
        if self.flag.is_set():
            leave_now(self.exit_code)
        self.flag.set()
        if self._notice:
            os.write(2, f"\n{self._notice}\n".encode())  # not print: it may be what was interrupted
        if self._asking:
            raise KeyboardInterrupt


def leave_now(code: int) -> None:
    """End the process without waiting for anything, with the cursor visible."""
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h\r\n")
    os._exit(code)
