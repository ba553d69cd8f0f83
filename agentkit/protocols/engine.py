"""The engine seam: what is asked of a model, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict, runtime_checkable

from agentkit.types import Assurance, Grounding, JsonSchema, Step, ToolSpec, Usage

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.messages import BaseMessage
    from numpy.typing import NDArray


class MessageMeta(TypedDict, total=False):
    """What agentkit knows about a message; under `additional_kwargs["agentkit"]`."""

    kind: Literal["final", "ask", "decline", "calls", "nudge", "note"]
    source: str  # provenance: "user", "config", "tool:read_file", "image:photo.jpg"
    trust: Literal["trusted", "untrusted"]
    own: list[str]  # the user's words in a message that holds a stranger's too
    token_ids: list[int]  # what the engine decoded for this message; history is token-exact
    result: int  # a tool result's number in the conversation, from 1
    brief: str  # what a model that quotes by reference reads of the result
    thinking: str
    plan: str


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
    allowed: Mapping[tuple[str, str], tuple[str, ...]] = field(
        default_factory=dict
    )  # (tool, argument) -> patterns that a destination may fit besides being named by trusted words
    thinking: int = 0  # tokens, of four characters, that the model may think before its step; 0: it begins at once


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
class Ground:
    """What a grounded argument could be when the model chose it."""

    source: Grounding
    alternatives: int  # "context", "trusted", "clause": values; "words": lines; "numbers": numbers
    trusted: int  # of these, in the words of the user or of the configuration
    texts: int  # that were looked through
    cut: bool  # whether only the newest part of them was


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an engine gave: always the last item of a stream."""

    step: Step
    usage: Usage
    finish: Literal["stop", "length"]
    assurance: Assurance  # who made sure that the step is well formed
    logprobs: tuple[TokenLogprob, ...] = ()
    tool_logprobs: Mapping[str, float] = field(default_factory=dict)  # at the choice of the tool
    grounds: Mapping[str, Mapping[str, Ground]] = field(default_factory=dict)  # tool -> argument -> what it could be


Delta = TextDelta | ThinkingDelta | ArgumentsDelta | Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A candidate's log-probability in nats, and over how many tokens it was summed."""

    logprob: float
    tokens: int
    read: int = 0  # tokens that the model had to read for it; what several share counts for the first of them


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
    samples: bool = True  # at the temperature and from the seed that a request names
    embeds: bool = False
    images: bool = False
    audio: bool = False
    adapters: tuple[str, ...] = ()
    tool_prior_weight: float = 0.0  # how much the lexical ranker adds to log P(tool); fitted per model


@runtime_checkable
class Eye(Protocol):
    """Turns a picture into rows that a language model reads as if they were embeddings of tokens."""

    @property
    def fingerprint(self) -> str:
        """A hash of its weights and of what it does before and after them: equal ones give equal rows."""
        ...

    @property
    def reads_words(self) -> bool:
        """Whether the rows depend on what is said beside the picture."""
        ...

    def see(self, image: bytes, words: str) -> NDArray[np.float32]:
        """Return the rows of a picture, (n, width of the model's embeddings), n at least 1.

        Callers take turns.

        Args:
            image: the file's bytes.
            words: the text of the same message.

        Raises:
            UnsupportedPart: it is no picture, or one that cannot be shown.
        """
        ...


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
        """Return up to `n` distinct steps, without replacement, most probable first.

        All but the model's own may be cut off before `max_tokens` (their `finish` is then `length`): they lead astray.
        """
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
