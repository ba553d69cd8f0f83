"""Asking the model for the next step: what it says is passed on while it comes, and what it cost is counted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

from agentkit.errors import EngineError
from agentkit.graph.context import RunContext, unheard
from agentkit.guards import DegenerationWatch
from agentkit.protocols import ArgumentsDelta, Emit, Engine, Reply, Request, Sampling, Score, TextDelta
from agentkit.types import Step, Usage

CHARS_A_TOKEN = 4
WARM = 0.7  # temperature of replies that are to differ


class Degenerated(EngineError):
    """A reply repeated itself without end, and so did a second try; `text` is what there is of it."""

    def __init__(self, text: str) -> None:
        super().__init__("the reply repeated itself without end")
        self.text = text


def otherwise(sampling: Sampling, engine: Engine) -> Sampling:
    """Return sampling that leaves a rut: warmer, from another seed, and shy of repetition where the engine can."""
    warmer = replace(sampling, temperature=max(0.7, sampling.temperature), seed=sampling.seed + 1)
    return replace(warmer, repeat_penalty=1.3) if engine.capabilities.constrained else warmer


@dataclass(slots=True)
class Asking:
    """The model, for one node of the state machine."""

    context: RunContext
    usage: Usage = field(default_factory=Usage)
    model_calls: int = 0  # questions whose answer is the next step; what a search asks besides, its own budget bounds

    @property
    def tokens(self) -> int:
        """How many tokens the model has read and written, those found in its cache left out."""
        return self.usage.prompt - self.usage.reused + self.usage.decoded + self.usage.forced

    def one(self, request: Request, *, aloud: bool = True) -> Reply:
        """Return the reply; one that begins to repeat itself is ended at once, and once more asked for otherwise.

        `aloud`: it is the next step, so its words are passed on, and it counts as a model call.
        """
        emit = self.context.emit if aloud else unheard
        self.model_calls += aloud
        try:
            return self._counted(self._stream(request, emit))
        except Degenerated as first:
            self._lost(request, first.text)
            text = "the reply began to repeat itself; it was ended and is tried once more, sampled otherwise"
            emit("guard", {"detector": "degenerate", "verdict": "retry", "text": text})
        self.model_calls += aloud
        try:
            again = replace(request, sampling=otherwise(request.sampling, self.context.engine))
            return self._counted(self._stream(again, emit))
        except Degenerated as second:
            self._lost(request, second.text)
            raise

    def several(self, request: Request, count: int) -> list[Reply]:
        """Return up to `count` distinct replies, most probable first.

        An engine that cannot branch is asked that often, the first time as the request says, then warmer.
        """
        if count <= 1:
            return [self.one(request)]
        if self.context.engine.capabilities.branches:
            replies = self.context.engine.branch(request, count)
            for reply in replies:
                self.usage += reply.usage
            return replies
        replies = []
        for number in range(count):
            warmer = replace(
                request.sampling,
                temperature=max(WARM, request.sampling.temperature),
                seed=request.sampling.seed + number,
            )
            with suppress(Degenerated):
                replies.append(
                    self.one(replace(request, sampling=warmer) if number and self.warms else request, aloud=False)
                )
        if not replies:
            raise Degenerated("")
        return replies

    @property
    def warms(self) -> bool:
        """Whether the engine takes another temperature; a LangChain chat model has its own."""
        return self.context.engine.capabilities.samples

    def scored(self, request: Request, steps: list[Step]) -> list[Score] | None:
        """Return each step's log-probability; None where the engine cannot tell."""
        if not self.context.engine.capabilities.scores:
            return None
        scores = self.context.engine.score(request, steps)
        self.usage += Usage(forced=sum(score.read for score in scores))
        return scores

    def _counted(self, reply: Reply) -> Reply:
        self.usage += reply.usage
        return reply

    def _lost(self, request: Request, text: str) -> None:
        """Count what an ended reply has cost; it has no usage of its own, so a token is taken for four characters."""
        self.usage += Usage(prompt=self.context.engine.count(request), decoded=-(-len(text) // CHARS_A_TOKEN))

    def _stream(self, request: Request, emit: Emit) -> Reply:
        watches: dict[int, DegenerationWatch] = {}  # one for speech, and one for each call's arguments
        said = ""
        stream = self.context.engine.stream(request)
        for delta in stream:
            if isinstance(delta, Reply):
                return delta
            said += delta.text
            if isinstance(delta, TextDelta):
                emit("text_delta", {"text": delta.text})
            elif isinstance(delta, ArgumentsDelta):
                emit("arguments_delta", {"index": delta.index, "tool": delta.tool, "text": delta.text})
            index = delta.index if isinstance(delta, ArgumentsDelta) else -1
            watch = watches.setdefault(index, DegenerationWatch(arguments=index >= 0))
            if watch.feed(delta.text):
                close = getattr(stream, "close", None)  # ends the decoding
                if close is not None:
                    close()
                raise Degenerated(said)
        raise EngineError(f"{self.context.engine.capabilities.model}: the stream ended without a reply; try again")
