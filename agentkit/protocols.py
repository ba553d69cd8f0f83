"""The seams: what an engine, a planner, a guard and a store must be able to do.

Whoever implements one of these imports this module and nothing else of the core. Each protocol has a
contract suite in `agentkit.testing` that any implementation can run against itself.
Messages are LangChain's; what agentkit adds to one stands in `message.additional_kwargs["agentkit"]`,
a `MessageMeta`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypedDict, TypeVar, runtime_checkable

from agentkit.types import (
    Assurance,
    Effect,
    JsonSchema,
    Outcome,
    Step,
    StopReason,
    ToolCall,
    ToolSpec,
    Usage,
)

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


class MessageMeta(TypedDict, total=False):
    """What agentkit knows about a message; under `additional_kwargs["agentkit"]`."""

    kind: Literal["final", "ask", "decline", "calls", "nudge", "note"]
    source: str  # provenance: "user", "config", "tool:read_file", "image:photo.jpg"
    trust: Literal["trusted", "untrusted"]
    token_ids: list[int]  # what the engine decoded for this message; history is token-exact
    result: int  # a tool result's number in the conversation, from 1
    thinking: str
    plan: str


# ── engine ───────────────────────────────────────────────────────────────────────────────────────


class CancelFlag(Protocol):
    """Anything like `threading.Event`: set means stop."""

    def is_set(self) -> bool:
        """Whether somebody asked to stop."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy."""

    temperature: float = 0.0  # >= 0
    top_k: int = 0  # 0: all
    top_p: float = 1.0  # (0, 1]
    min_p: float = 0.0  # [0, 1)
    repeat_penalty: float = 1.0  # 1: none
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to an engine. Everything that is set is honoured, or refused by an error."""

    messages: Sequence[BaseMessage]
    tools: Sequence[ToolSpec] = ()
    output: JsonSchema | None = None  # the final answer is JSON of this schema
    allow: frozenset[str] = frozenset({"calls", "final", "ask", "decline"})  # step kinds
    sampling: Sampling = Sampling()
    max_tokens: int = 1024
    deadline: float | None = None  # `time.monotonic()` seconds
    cancel: CancelFlag | None = None
    adapter: str | None = None  # a LoRA adapter's name
    logprobs: int = 0  # alternatives to report for each decoded token
    tool_prior: Mapping[str, float] = field(default_factory=dict)  # added to log P(tool)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """Some more of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingDelta:
    """Some more of the model's thinking; not part of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsDelta:
    """Some more of the arguments of call `index` (from 0), as JSON text."""

    index: int
    tool: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """A decoded token with its log-probability (nats, raw softmax) and the best alternatives."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an engine gave: always the last item of a stream."""

    step: Step
    usage: Usage
    finish: Literal["stop", "length"]
    assurance: Assurance  # who made sure that the step is well formed
    logprobs: tuple[TokenLogprob, ...] = ()
    tool_logprobs: Mapping[str, float] = field(default_factory=dict)  # at the choice of the tool


Delta = TextDelta | ThinkingDelta | ArgumentsDelta | Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A candidate's log-probability in nats, and over how many tokens it was summed."""

    logprob: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do; what it cannot is refused, never dropped."""

    model: str  # a name people recognise
    context: int  # tokens
    fingerprint: str = ""  # SHA-256 of the model file, or of the server's identity
    dialect: str = ""
    constrained: bool = False  # decoding obeys grammars
    branches: bool = False
    scores: bool = False
    embeds: bool = False
    images: bool = False
    audio: bool = False
    adapters: tuple[str, ...] = ()
    tool_prior_weight: float = 0.0  # how much the lexical ranker adds to log P(tool); fitted per model


@runtime_checkable
class Engine(Protocol):
    """Turns messages into steps. Thread-safe: callers queue."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        ...

    def stream(self, request: Request) -> Iterator[Delta]:
        """Yield deltas as they come, then exactly one `Reply`.

        Raises:
            ContextFull: the prompt does not fit; nothing was cut.
            Cancelled, DeadlineExceeded: within one token of the flag or the deadline.
            CannotEnforce, UnsupportedPart: something asked for cannot be had here.
        """
        ...

    def branch(self, request: Request, n: int) -> list[Reply]:
        """Return up to `n` distinct steps, without replacement, most probable first."""
        ...

    def score(self, request: Request, candidates: Sequence[Step]) -> list[Score]:
        """Return each candidate step's log-probability after the request's messages."""
        ...

    def count(self, request: Request) -> int:
        """Return the exact number of prompt tokens, tools and template included."""
        ...

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector a text, each of length 1."""
        ...

    def close(self) -> None:
        """Free the model; idempotent."""
        ...


# ── planner ──────────────────────────────────────────────────────────────────────────────────────

S = TypeVar("S")
Mode = Literal["simulate", "predict", "real"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that could be done next: a step with a key that equal actions share."""

    key: str
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition(Generic[S]):
    """What an action led to."""

    state: S
    observation: str
    reward: float = 0.0  # in [0, 1]
    terminal: bool = False
    verified: bool = False  # a task check, not an opinion, says so


class SearchProblem(Protocol[S]):
    """A task as a search core sees it: no model, no tools."""

    def key(self, state: S) -> bytes:
        """Return a canonical hash: equal states, equal keys."""
        ...

    def actions(self, state: S) -> Sequence[Action]:
        """Return the distinct actions worth considering; policy is asked before any is tried."""
        ...

    def effect(self, state: S, action: Action) -> Effect:
        """Return the worst effect among the action's calls."""
        ...

    def fork(self, state: S) -> S | None:
        """Return a copy of the world that may be changed, or None if it cannot be copied."""
        ...

    def step(self, state: S, action: Action, mode: Mode) -> Transition[S]:
        """Take the action; `simulate` and `predict` change nothing outside `state`."""
        ...


class Evaluator(Protocol[S]):
    """What is known about states and actions before trying them; batched."""

    def priors(self, batch: Sequence[tuple[S, Sequence[Action]]]) -> list[list[float]]:
        """Return log-probabilities, one list a state in the order of its actions."""
        ...

    def values(self, batch: Sequence[S]) -> list[tuple[float, float]] | None:
        """Return (mean, variance) a state, or None when no trusted value source exists."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBudget:
    """What a planner may spend before it must answer."""

    simulations: int = 1
    tokens: int | None = None
    deadline: float | None = None  # `time.monotonic()` seconds
    cancel: CancelFlag | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The action chosen and why; `tree` is plain data that serialises to JSON."""

    action: Action
    strategy: str
    why: str
    tree: Mapping[str, Any] | None = None


@runtime_checkable
class Planner(Protocol):
    """Chooses the next action. Never runs a tool for real, never causes an effect."""

    name: str

    def plan(
        self,
        problem: SearchProblem[S],
        state: S,
        *,
        evaluator: Evaluator[S],
        budget: PlanBudget,
        rng: Random,
    ) -> Plan:
        """Return the action to take in `state`; valid from the first prior on (anytime)."""
        ...


# ── guard ────────────────────────────────────────────────────────────────────────────────────────


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

    name: str

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        """Return the verdict after the last item of `history`."""
        ...


# ── store ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRow:
    """One entry of the effects ledger."""

    effect_id: str
    run_id: str
    tool: str
    args_digest: str
    state: Literal["intent", "done", "unknown"]
    attempt: int
    result: str = ""  # JSON of the outcome, when done


@runtime_checkable
class Store(Protocol):
    """Where runs, events, effects and approvals are kept; one object a process, thread-safe."""

    def start_run(self, run_id: str, thread_id: str, row: Mapping[str, Any]) -> None:
        """Insert the run before its id is given to anybody."""
        ...

    def end_run(self, run_id: str, row: Mapping[str, Any]) -> None:
        """Write how it ended."""
        ...

    def run(self, run_id: str) -> Mapping[str, Any] | None:
        """Return one run's row."""
        ...

    def runs(self, *, limit: int = 50, thread_id: str | None = None) -> list[Mapping[str, Any]]:
        """Return runs, newest first."""
        ...

    def threads(self, *, limit: int = 50) -> list[Mapping[str, Any]]:
        """Return threads with their first words and last use, newest first."""
        ...

    def next_seq(self, run_id: str) -> int:
        """Return the sequence number after the run's last persisted event."""
        ...

    def append_event(self, run_id: str, seq: int, event: Mapping[str, Any]) -> None:
        """Persist one event."""
        ...

    def events(self, run_id: str) -> list[Mapping[str, Any]]:
        """Return a run's events in order."""
        ...

    def intend(self, row: EffectRow) -> EffectRow:
        """Durably write INTENT before an effect; return the row that is there already, if any."""
        ...

    def complete(self, effect_id: str, result: str) -> None:
        """Durably write DONE with the result."""
        ...

    def mark_unknown(self, effect_id: str) -> None:
        """Write that nobody knows whether the effect took place."""
        ...

    def request_approval(self, row: Mapping[str, Any]) -> str:
        """Insert a pending approval; return its id."""
        ...

    def approvals(self, *, state: str | None = None) -> list[Mapping[str, Any]]:
        """Return approvals, newest first."""
        ...

    def resolve_approval(self, approval_id: str, state: str, by: str) -> bool:
        """Move a pending approval to `approved`, `denied`, `expired` or `cancelled`, once."""
        ...

    def save_tree(self, run_id: str, turn: int, tree: Mapping[str, Any]) -> None:
        """Keep a search tree."""
        ...

    def close(self) -> None:
        """Close it; idempotent."""
        ...


# ── tool ─────────────────────────────────────────────────────────────────────────────────────────

Emit = Callable[[str, Mapping[str, Any]], None]  # event type, payload


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """What a tool is handed besides its arguments."""

    run_id: str
    effect_id: str  # the same after a crash and a resume: an idempotency key
    workspace: Path  # the root that file tools stay inside
    cancel: CancelFlag
    deadline: float | None  # `time.monotonic()` seconds
    emit: Emit  # for `tool_progress`
    call: Callable[[str, Mapping[str, Any]], Outcome]  # a nested call: passes policy and ledger
    engine: Engine | None = None
    store: Store | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # the plugin's settings section
    results: Sequence[str] = ()  # earlier results of the conversation, for `$N`; from result 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool with its code. Made by `agentkit.tool`, or from a LangChain tool."""

    spec: ToolSpec
    run: Callable[[Mapping[str, Any], ToolContext], Outcome]  # arguments have been validated
    validate: Callable[[Mapping[str, Any]], Mapping[str, Any]]  # raises ValueError with the mend
    predict: Callable[[Mapping[str, Any], ToolContext], Outcome] | None = None  # a dry run
    undo: Callable[[Mapping[str, Any], ToolContext], Outcome] | None = None
    reconcile: Callable[[str, ToolContext], Outcome | None] | None = None  # by effect id

    @property
    def name(self) -> str:
        """The name the model calls it by."""
        return self.spec.name
