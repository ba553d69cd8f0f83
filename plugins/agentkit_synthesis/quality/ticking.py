"""Progress of a report, and its end when somebody asks for it."""

from __future__ import annotations

from agentkit.errors import Cancelled
from agentkit.jobs import JobContext

__all__ = ["TOTAL", "Ticker"]

TOTAL = 100  # steps of a report, whatever it reads
EVERY = 256  # ticks between looks at the clock


class Ticker:
    """Tells a job how far a stage is.

    Args:
        context: the job's.
        phase: what is done.
        first, last: steps of the job that the stage takes, of `TOTAL`.
        count: ticks that are expected; more are no harm.
    """

    def __init__(self, context: JobContext, phase: str, first: int, last: int, count: int) -> None:
        self._context, self._phase, self._first, self._last = context, phase, first, last
        self._count, self._seen = max(count, 1), 0
        self(0)

    def __call__(self, done: int | None = None) -> None:
        """Count one more, or take how many are done.

        Raises:
            Cancelled: the job is to stop.
        """
        self._seen = self._seen + 1 if done is None else done
        if self._seen % EVERY == 0:
            if self._context.should_stop():
                raise Cancelled("the report was stopped; the same command makes it anew")
            share = min(1.0, self._seen / self._count)
            self._context.step(
                min(int(self._first + share * (self._last - self._first)), TOTAL - 1), TOTAL, phase=self._phase
            )
