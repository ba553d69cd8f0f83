"""What a caller waits for: when to stop, what has been given so far, and the two ways of waiting for it."""

from __future__ import annotations

import asyncio
import os
import queue
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentkit.errors import Cancelled, DeadlineExceeded, EngineError
from agentkit.protocols import CancelFlag

if TYPE_CHECKING:
    from agentkit.engine.llama.schedule import Plan, Scheduler

__all__ = ["End", "Failure", "Job", "aresults", "results"]

_POLL_S = 0.02  # how often a waiting caller looks at its cancel flag


@dataclass(frozen=True, slots=True)
class Failure:
    """Ends a job's output: its caller raises this."""

    error: BaseException


class End:
    """Ends a job's output."""


class Job:
    """One caller's work: when to stop, and where its output goes."""

    def __init__(self, deadline: float | None, cancel: CancelFlag | None) -> None:
        self._deadline, self._cancel = deadline, cancel
        self.out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.put: Callable[[Any], None] = self.out.put
        self.is_abandoned = False
        self._process = os.getpid()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked to stop, or left."""
        return self.is_abandoned or (self._cancel is not None and self._cancel.is_set())

    def check(self) -> None:
        """Go on, or not.

        Raises:
            Cancelled, DeadlineExceeded: it is time to stop.
        """
        if error := self.stop_error():
            raise error

    def stop_error(self) -> EngineError | None:
        """Return why the job must stop, if it must."""
        if self.is_cancelled:
            return Cancelled("cancelled: somebody asked to stop; nothing was lost, ask again to go on")
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return DeadlineExceeded("the deadline passed before the step was whole; allow more time")
        return None

    def check_process(self) -> None:
        """Go on in the process that asked; in a forked child nobody would ever answer.

        Raises:
            EngineError: this is another one.
        """
        if os.getpid() != self._process:
            raise EngineError("the model was loaded before this process was forked; spawn workers, or open it here")

    def leave(self, scheduler: Scheduler) -> None:
        """Wait no longer. A forked child, where a copy of the caller goes, leaves the scheduler's lock alone."""
        if os.getpid() == self._process:
            scheduler.abandon(self)

    def wait_s(self) -> float | None:
        """Return how long a caller may wait before looking again."""
        if self._cancel is not None:
            return _POLL_S
        return None if self._deadline is None else max(0.001, self._deadline - time.monotonic())


def results(scheduler: Scheduler, job: Job, plan: Plan) -> Iterator[Any]:
    """Run `plan`; yield what it puts into the job, then what it returns.

    Raises:
        Cancelled, DeadlineExceeded: also while the job still waits for its turn.
        EngineError: the engine has been closed.
    """
    job.check()
    scheduler.submit(job, plan)
    try:
        while not isinstance(item := _next(scheduler, job), End):
            yield _checked(job, item)
    finally:
        job.leave(scheduler)


def _next(scheduler: Scheduler, job: Job) -> Any:
    job.check_process()
    while True:
        try:
            return job.out.get(timeout=job.wait_s())
        except queue.Empty:
            if error := job.stop_error():
                if not scheduler.stop_running(job) and job.out.empty():
                    raise error from None
                return job.out.get()  # it ends within the batch


async def aresults(scheduler: Scheduler, job: Job, plan: Plan) -> AsyncIterator[Any]:
    """Do as `results` does, without a thread that waits; cancelling the task around it stops the work."""
    loop = asyncio.get_running_loop()
    out: asyncio.Queue[Any] = asyncio.Queue()

    def put(item: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more, and the model's thread goes on
            loop.call_soon_threadsafe(out.put_nowait, item)

    job.put = put
    job.check()
    scheduler.submit(job, plan)
    try:
        while True:
            job.check_process()
            try:
                item = await asyncio.wait_for(out.get(), job.wait_s())
            except TimeoutError:
                error = job.stop_error()
                if error is None:
                    continue
                if not scheduler.stop_running(job) and out.empty():
                    raise error from None
                item = await out.get()
            if isinstance(item, End):
                return
            yield _checked(job, item)
    finally:
        job.leave(scheduler)


def _checked(job: Job, item: Any) -> Any:
    if isinstance(item, Failure):
        raise item.error
    if job.is_cancelled:  # what was decoded before the flag is not shown after it
        job.check()
    return item
