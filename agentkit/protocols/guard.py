"""The guard seam: the history so far, and the verdict on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from agentkit.types import Effect, Outcome, StopReason, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryItem:
    """One finished step of a run as guards see it."""

    kind: Literal["call", "text", "user", "nudge"]
    call: ToolCall | None = None
    outcome: Outcome | None = None
    effect: Effect = Effect.READ
    polls: bool = False
    failure_is_data: bool = False
    output_digest: str = ""  # of the untruncated output
    text: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a run has used so far, and what it may use. None means no limit."""

    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    max_model_calls: int | None = None
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """Nothing to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nudge:
    """Tell the model something, once."""

    text: str
    detector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replan:
    """Go back and do not do these again. `ban` holds call keys."""

    ban: tuple[str, ...]
    text: str = ""
    detector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskUser:
    """Only a person can help."""

    question: str
    detector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End the run with this reason, and the best answer so far."""

    reason: StopReason
    detail: str
    detector: str = ""


Verdict = Go | Nudge | Replan | AskUser | Stop


@runtime_checkable
class Guard(Protocol):
    """Reads the run so far and says whether to go on. Pure: same history, same verdict."""

    @property
    def name(self) -> str:
        """What events and stop reasons call it."""
        ...

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        """Return the verdict after the last item of `history`."""
        ...
