"""The one thread that owns a loaded model's context, and the queue before it.

Guarantees: the context is touched by this thread only; a caller that is cancelled, out of time or gone never
holds up the next one: waiting, it leaves at once, and running, it is stopped inside the batch.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agentkit.engine.llama.context import Aborted
from agentkit.errors import Cancelled, DeadlineExceeded, EngineError
from agentkit.protocols import CancelFlag

__all__ = ["Job", "Owner"]

_POLL_S = 0.02  # how often a waiting caller looks at its cancel flag


@dataclass(frozen=True, slots=True)
class _Failure:
    error: BaseException


class _End:
    """Closes a job's output."""


class Job:
    """One piece of work: what to do, when to stop, and what it has given so far."""

    def __init__(self, deadline: float | None, cancel: CancelFlag | None) -> None:
        self._deadline, self._cancel = deadline, cancel
        self.out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.is_abandoned = False

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

    def wait_s(self) -> float | None:
        """Return how long a caller may wait before looking again."""
        if self._cancel is not None:
            return _POLL_S
        return None if self._deadline is None else max(0.001, self._deadline - time.monotonic())


class Owner:
    """Runs jobs one after the other, in the order they came."""

    def __init__(self, name: str, abort: Callable[[bool], None]) -> None:
        """Start the thread; `abort` sets or clears the flag that ends a running batch."""
        self._abort, self._lock = abort, threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Job, Callable[[], None]] | None] = queue.SimpleQueue()
        self._running: Job | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"agentkit-{name}", daemon=True)
        self._thread.start()

    def results(self, job: Job, run: Callable[[], None]) -> Iterator[Any]:
        """Queue `run`, which puts what it gives into `job.out`; yield that.

        Raises:
            Cancelled, DeadlineExceeded: also while the job still waits for its turn.
            EngineError: the engine has been closed.
        """
        job.check()
        with self._lock:
            if self._closed:
                raise EngineError("the engine is closed; open it again")
            self._jobs.put((job, run))
        try:
            while not isinstance(item := self._next(job), _End):
                if isinstance(item, _Failure):
                    raise item.error
                if job.is_cancelled:  # what was decoded before the flag is not shown after it
                    job.check()
                yield item
        finally:
            self._abandon(job)

    def close(self) -> None:
        """Stop what runs, refuse what waits, and end the thread; idempotent."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                self._running.is_abandoned = True
                self._abort(True)
        self._jobs.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _next(self, job: Job) -> Any:
        while True:
            try:
                return job.out.get(timeout=job.wait_s())
            except queue.Empty:
                if error := job.stop_error():
                    if not self._stop_running(job):
                        raise error from None
                    return job.out.get()  # it ends within the batch

    def _stop_running(self, job: Job) -> bool:
        """Stop `job` if it runs; whether it does."""
        with self._lock:
            if self._running is not job:
                return False
            self._abort(True)
            return True

    def _abandon(self, job: Job) -> None:
        with self._lock:
            job.is_abandoned = True
            if self._running is job:
                self._abort(True)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, run = item
            with self._lock:
                skip = job.is_abandoned or self._closed
                if not skip:
                    self._running = job
                    self._abort(False)
            if skip:
                job.out.put(_Failure(Cancelled("the engine was closed before its turn came; open it again")))
                continue
            try:
                run()
                done: _Failure | _End = _End()
            except Aborted:
                done = _Failure(job.stop_error() or Cancelled("stopped inside a batch; ask again"))
            except BaseException as error:  # noqa: BLE001  handed to the caller, who raises it
                done = _Failure(error)
            with self._lock:
                self._running = None
            job.out.put(done)
