"""One driven run, three fronts: a blocking iterator, a coroutine and an asynchronous iterator.

`work` is anything that takes an event listener and a cancel flag and drives a run to its end. Leaving
a loop early, or cancelling the task around it, sets the flag and waits until the run has stopped.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator

from agentkit.events import Event
from agentkit.protocols import CancelFlag
from agentkit.types import RunResult

Work = Callable[[Callable[[Event], None], CancelFlag], RunResult]


def iterate(work: Work) -> Iterator[Event]:
    """Run `work` in a thread and yield its events; an exception in it is raised here."""
    events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
    cancel = threading.Event()

    def body() -> None:
        try:
            work(events.put, cancel)
        except BaseException as error:  # noqa: BLE001  handed to the reader, who raises it
            events.put(error)
        finally:
            events.put(None)

    thread = threading.Thread(target=body, name="agentkit-run", daemon=True)
    thread.start()
    try:
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        cancel.set()
        thread.join()


async def run(work: Work) -> RunResult:
    """Await the result of `work`, driven in a thread."""
    cancel = threading.Event()
    task = asyncio.ensure_future(asyncio.to_thread(work, lambda event: None, cancel))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        cancel.set()
        await _ended(task)
        raise


async def aiterate(work: Work) -> AsyncIterator[Event]:
    """Yield the events of `work`, driven in a thread."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    cancel = threading.Event()

    def put(event: Event | None) -> None:
        loop.call_soon_threadsafe(events.put_nowait, event)

    def body() -> RunResult:
        try:
            return work(put, cancel)
        finally:
            put(None)

    task = asyncio.ensure_future(asyncio.to_thread(body))
    try:
        while (event := await events.get()) is not None:
            yield event
        await task
    finally:
        cancel.set()
        await _ended(task)


async def _ended(task: asyncio.Future[RunResult]) -> None:
    """Wait until the run has stopped; what it raised because of that is nobody's business any more."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
