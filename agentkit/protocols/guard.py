"""The guard seam: the history so far, and the verdict on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from agentkit.types import Effect, Outcome, StopReason, ToolCall

Rung = Literal["nudge", "replan", "ask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryItem:
    """One finished step of a run as guards see it; `agentkit.guards.recorded` fills in what is derived.

    `call`: a tool was called. `text`: a reply came to nothing (`text` holds what there was of it). `user`: the
    user spoke. `nudge`: a guard did.
    """

    kind: Literal["call", "text", "user", "nudge"]
    call: ToolCall | None = None
    outcome: Outcome | None = None
    effect: Effect = Effect.READ
    polls: bool = False
    failure_is_data: bool = False
    output_digest: str = ""  # of the untruncated output
    text: str = ""
    seconds: float = 0.0
    key: str = ""  # what calls of one class share; derived
    outcome_key: str = ""  # what outcomes of one class share; derived
    state: str = ""  # digest of all that tools said stands somewhere, after this call; derived
    cost: float = 1.0  # how little progress it was: 0 to 1; derived
    detector: str = ""  # of a nudge: whose it is; of a text: what was wrong with the reply
    episode: str = ""  # of a nudge: what it was about
    rung: Rung = "nudge"  # of a nudge: how grave it was
    ban: tuple[str, ...] = ()  # of a nudge: the classes of calls it ruled out


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a run has used so far, and what it may use. None means no limit."""

    model_calls: int = 0
    tool_calls: int = 0
    effects: int = 0  # calls of tools that change something
    tokens: int = 0
    seconds: float = 0.0
    next_tokens: int = 0  # the next model call takes at least so many: its prompt, and a short reply
    max_model_calls: int | None = None
    max_tool_calls: int | None = None
    max_effects: int | None = None
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
    episode: str = ""  # what it is about: the next word on the same thing is a graver one


@dataclass(frozen=True, slots=True, kw_only=True)
class Replan:
    """Go back to before the loop, and do not make these calls again. `ban` holds classes of calls."""

    ban: tuple[str, ...]
    text: str = ""
    detector: str = ""
    episode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskUser:
    """Only a person can help; where there is none, the run ends as a loop for the reason in `detail`."""

    question: str
    detail: str = ""
    detector: str = ""
    episode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End the run with this reason, and the best answer so far."""

    reason: StopReason
    detail: str
    detector: str = ""
    episode: str = ""


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
