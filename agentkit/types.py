"""The values everything else passes around: frozen, keyword-only, standard library only.

What a task is made of, what a tool may do, what a model's step came to, and how a run ends.
Messages are LangChain's (`langchain_core.messages`); these are the things it has no word for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

JsonSchema = Mapping[str, Any]


class Trust(StrEnum):
    """Whose words these are: may they name a destination?"""

    TRUSTED = "trusted"  # the user's, or configuration's
    UNTRUSTED = "untrusted"  # a stranger's: a web page, a file's text, a ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a value comes from: `user`, `config`, `tool:read_file`, `image:photo.jpg`."""

    source: str
    trust: Trust


USER = Provenance(source="user", trust=Trust.TRUSTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Words."""

    text: str
    provenance: Provenance = USER


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """A picture, by path, by `http(s)` URL, or as bytes; exactly one of them is set."""

    path: Path | None = None
    url: str | None = None
    data: bytes | None = None
    provenance: Provenance = USER


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A file the task is about; its text counts as untrusted unless said otherwise."""

    path: Path
    provenance: Provenance = Provenance(source="file", trust=Trust.UNTRUSTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPart:
    """A sound, by path or as bytes."""

    path: Path | None = None
    data: bytes | None = None
    provenance: Provenance = USER


Part = TextPart | ImagePart | FilePart | AudioPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be done: parts, each with its source and its trust."""

    parts: tuple[Part, ...]
    check: str | None = None  # a shell command; exit status 0 means the task is achieved
    output_schema: JsonSchema | None = None  # the answer is data of this JSON Schema

    @classmethod
    def of(cls, task: str | Task, *, check: str | None = None) -> Task:
        """Return `task` as a Task; a string is one trusted text part."""
        if isinstance(task, Task):
            return task
        return cls(parts=(TextPart(text=task),), check=check)

    @property
    def text(self) -> str:
        """All text parts, one a line."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))


class Effect(StrEnum):
    """What a tool does to the world, from harmless to final."""

    PURE = "pure"  # same arguments, same result, nothing touched
    READ = "read"  # looks, changes nothing
    WRITE = "write"  # changes something that can be changed back
    IRREVERSIBLE = "irreversible"  # cannot be taken back


Isolation = Literal["process", "worker"]
Grounding = Literal[
    "context",  # a whole literal of any text seen: a path, a URL, an identifier, a number, a quoted string
    "trusted",  # a whole literal of the user's words or configuration's
    "words",  # a run of whole words of those
    "clause",  # a whole clause of those
    "numbers",  # free, but with no number that was not seen
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerSettings:
    """How far a planner may look ahead before each step."""

    width: int = 4  # distinct next steps to ask the model for
    simulations: int = 32  # ways that are tried, or steps that are opened
    calls: int | None = None  # times the model is asked how probable next steps are
    tool_calls: int | None = 64  # steps that are tried, in copies or where they only look
    tokens: int | None = 20_000  # that the model reads and writes for it
    timeout_s: float | None = 60.0


LOOKAHEAD = PlannerSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """How tools in processes of their own are held. None means no limit."""

    memory_mb: int | None = 4_096  # of address space, where the kernel limits it (Linux)
    file_mb: int | None = 1_024  # of one file that is written
    processes: int | None = 256  # more than the user has running; root is not limited
    cpu_s: float | None = 600.0  # of one call
    start_s: float = 30.0  # for a worker to start and to import its tool
    sandbox: Literal["auto", "off", "require"] = "auto"  # bubblewrap: where it works, never, or nothing without it


CONFINED = Confinement()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRules:
    """What a tool does, can and needs. A tool that says nothing is irreversible with egress."""

    effect: Effect = Effect.IRREVERSIBLE
    egress: bool = True  # touches the network
    idempotent: bool = False  # twice is the same as once
    accepts_key: bool = False  # takes `context.effect_id` as an idempotency key
    predict: bool = False  # has a dry run
    fork: bool = False  # can run on a copy of the world
    undo: bool = False  # can take back what it did
    reconcile: bool = False  # can ask the world whether an effect took place
    timeout_s: float = 30.0
    idle_s: float | None = None  # of saying nothing, in a worker: then it counts as hanging; None: as long as it takes
    max_output_chars: int = 20_000
    polls: bool = False  # calling it again and again is how it is meant to be used
    failure_is_data: bool = False  # a failing result is information (test runners, grep)
    volatile: tuple[str, ...] = ()  # argument names that do not make a call different
    cost: bool = False  # a long job: plan first
    isolation: Isolation = "process"  # in this process, or in a warm spawned worker
    trust: Trust = Trust.UNTRUSTED  # of its output
    sinks: tuple[str, ...] = ()  # arguments that are destinations
    grounded: Mapping[str, Grounding] = field(default_factory=dict)  # argument -> where from
    keywords: tuple[
        str, ...
    ] = ()  # for the ranker alone: what people say for it; `#` any number, `#file` a file's name, `#picture` a picture's
    references: tuple[str, ...] = ()  # arguments in which `$N` means the text of result N


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as models and policy see it: no code."""

    name: str
    description: str
    parameters: JsonSchema  # a JSON Schema of type object
    rules: ToolRules = ToolRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call a model asked for."""

    id: str
    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The tool did it."""

    text: str
    data: Any = None  # JSON-serialisable, for programs
    artifacts: tuple[str, ...] = ()  # paths
    state: Mapping[str, str] = field(
        default_factory=dict
    )  # what stands where now: a place -> a digest of what is there
    brief: str = ""  # what a model that quotes results by reference reads of a long text; a reference is all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The tool could not; the model may read why and try something else."""

    text: str
    kind: str = "error"  # "error" | "timeout" | "invalid" | "denied" | "unknown_tool" | "unknown_outcome"
    data: Any = None  # JSON-serialisable, for programs
    brief: str = ""  # as that of `Done`


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The result comes later: a job is running, or a person must decide."""

    kind: Literal["job", "approval"]
    handle: str  # of an approval its id; of a job its run folder, or whatever the tool knows it by
    text: str = ""
    retry_after_s: float | None = None  # when to ask again; None: nobody knows
    brief: str = ""  # as that of `Done`


Outcome = Done | Failed | Pending

StepKind = Literal["calls", "final", "ask", "decline"]
Assurance = Literal["enforced", "validated", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a model: what it said, or which calls it wants made."""

    kind: StepKind
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    plan: str = ""
    token_ids: tuple[int, ...] = ()  # as decoded; history is token-exact
    data: Any = None  # the answer, where an output schema was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens spent. `prompt` counts all prompt tokens, `reused` those found in the cache."""

    prompt: int = 0
    reused: int = 0
    forced: int = 0  # tokens of the reply that the grammar left no choice about
    decoded: int = 0  # tokens of the reply that were sampled
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Return the sum, field by field."""
        return Usage(
            prompt=self.prompt + other.prompt,
            reused=self.reused + other.reused,
            forced=self.forced + other.forced,
            decoded=self.decoded + other.decoded,
            seconds=self.seconds + other.seconds,
        )


class StopReason(StrEnum):
    """How a run ended, and the exit code a script sees."""

    DONE = "done"
    UNVERIFIED = "unverified"
    MODEL = "model"
    BLOCKED = "blocked"
    LOOP = "loop"
    CONTEXT = "context"
    NEEDS_INPUT = "needs_input"
    BUDGET = "budget"
    CANCELLED = "cancelled"
    ERROR = "error"

    @property
    def exit_code(self) -> int:
        """The process exit status for this end."""
        return _EXIT_CODES[self]


# How a run ends that can be gone on with.
UNFINISHED = frozenset({StopReason.CANCELLED, StopReason.MODEL, StopReason.ERROR, StopReason.NEEDS_INPUT})
_EXIT_CODES: dict[StopReason, int] = {
    StopReason.DONE: 0,
    StopReason.UNVERIFIED: 1,
    StopReason.MODEL: 4,
    StopReason.BLOCKED: 5,
    StopReason.LOOP: 6,
    StopReason.CONTEXT: 7,
    StopReason.NEEDS_INPUT: 8,
    StopReason.BUDGET: 124,
    StopReason.CANCELLED: 130,
    StopReason.ERROR: 70,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One tool call of a run as the user sees it."""

    tool: str
    arguments: Mapping[str, Any]
    ok: bool
    result: str
    seconds: float
    call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a task has come, for a heuristic that says how good that is."""

    goal: str
    steps: tuple[StepRecord, ...]  # calls so far, in order, with what they gave
    workspace: Path  # as they would leave it


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to."""

    run_id: str
    thread_id: str
    stop_reason: StopReason
    answer: str
    steps: tuple[StepRecord, ...] = ()
    usage: Usage = Usage()
    detail: str = ""  # one sentence on why it ended, where it was not simply done
    data: Any = None
    blocked_calls: tuple[Mapping[str, Any], ...] = ()
    model: str = ""

    @property
    def exit_code(self) -> int:
        """The process exit status for this run."""
        return self.stop_reason.exit_code

    @property
    def ok(self) -> bool:
        """Whether the run was done, and its check passed if it had one."""
        return self.stop_reason is StopReason.DONE
