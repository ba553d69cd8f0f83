"""Wait for a stream that may be silent, and still hear a cancel or a deadline.

The source runs in a thread of its own; what it yields is handed over in order, and what it raises is
raised here. When the caller goes away, `release` must make the source end.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from typing import Generic, TypeVar

from agentkit.engine.checks import stop_if_over
from agentkit.protocols import Request

T = TypeVar("T")
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


def watched(source: Callable[[], Iterator[T]], request: Request, *, release: Callable[[], None]) -> Iterator[T]:
    """Yield what `source()` yields, looking at the request's cancel flag and deadline meanwhile.

    Raises:
        Cancelled, DeadlineExceeded: within some hundredths of a second, however silent the source is.
    """
    items: queue.SimpleQueue[_Item[T] | _End] = queue.SimpleQueue()
    abandoned = threading.Event()

    def run() -> None:
        try:
            for value in source():
                if abandoned.is_set():
                    break
                items.put(_Item(value))
            items.put(_End(None))
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            items.put(_End(error))

    stop_if_over(request)
    threading.Thread(target=copy_context().run, args=(run,), name="agentkit-stream", daemon=True).start()
    try:
        while True:
            stop_if_over(request)
            try:
                item = items.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if isinstance(item, _Item):
                yield item.value
                continue
            if item.error is not None:
                raise item.error
            return
    finally:
        abandoned.set()
        release()
