"""What a run tells the world, one stream for REPL, JSON, Python and servers.

Events are numbered without gaps through a run, also across a resume, and persisted as they are sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

SCHEMA_VERSION = 1

EventType = Literal[
    "run_started",
    "plan",
    "text_delta",
    "arguments_delta",
    "tool_use",
    "tool_progress",
    "tool_result",
    "approval_required",
    "guard",
    "compaction",
    "job",
    "usage",
    "message",
    "error",
    "run_ended",
]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened in a run."""

    type: str
    run_id: str
    thread_id: str
    seq: int  # from 1, monotone, across resume
    ts: float  # seconds since the epoch
    data: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the event as one flat JSON object."""
        return {
            "schema_version": SCHEMA_VERSION,
            "type": self.type,
            "run_id": self.run_id,
            "thread_id": self.thread_id,
            "seq": self.seq,
            "ts": round(self.ts, 3),
            **self.data,
        }


class Emitter:
    """Numbers events, and hands each to every sink in turn."""

    def __init__(
        self,
        run_id: str,
        thread_id: str,
        *,
        first_seq: int,
        sinks: tuple[Callable[[Event], None], ...],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._run_id, self._thread_id = run_id, thread_id
        self._seq, self._sinks, self._clock = first_seq, sinks, clock

    def __call__(self, type: str, data: Mapping[str, Any]) -> None:
        """Send one event; `type` is one of `EVENT_TYPES`."""
        if type not in EVENT_TYPES:
            raise ValueError(f"{type!r} is no event type; known: {', '.join(EVENT_TYPES)}")
        event = Event(
            type=type,
            run_id=self._run_id,
            thread_id=self._thread_id,
            seq=self._seq,
            ts=self._clock(),
            data=data,
        )
        self._seq += 1
        for sink in self._sinks:
            sink(event)
