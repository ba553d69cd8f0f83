"""The agent as a search problem: what planners see of a conversation.

A state is the list of messages plus the request that would be sent next. Asking for actions asks the
model; the deltas of what it says are passed on as events while they come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from agentkit.errors import EngineError
from agentkit.graph.context import RunContext
from agentkit.guards import DegenerationWatch
from agentkit.protocols import (
    Action,
    ArgumentsDelta,
    Engine,
    Mode,
    Reply,
    Request,
    Sampling,
    TextDelta,
    Traits,
    Transition,
)
from agentkit.types import Effect, Step, ToolCall, Usage

_ORDER = tuple(Effect)
CHARS_A_TOKEN = 4
MOST_BRANCHES = 4  # asked for where calls are ruled out


class Degenerated(EngineError):
    """A reply repeated itself without end, and so did a second try; `text` is what there is of it."""

    def __init__(self, text: str) -> None:
        super().__init__("the reply repeated itself without end")
        self.text = text


def call_key(tool: str, arguments: object) -> str:
    """Return the key that equal calls share: the tool's name and its arguments in canonical order."""
    return f"{tool} {json.dumps(arguments, sort_keys=True, ensure_ascii=False, default=str)}"


def step_key(step: Step) -> str:
    """Return the key that equal steps share."""
    if step.kind != "calls":
        return f"{step.kind} {step.text}"
    return "; ".join(call_key(call.tool, dict(call.arguments)) for call in step.calls)


def otherwise(sampling: Sampling, engine: Engine) -> Sampling:
    """Return sampling that leaves a rut: warmer, from another seed, and shy of repetition where the engine can."""
    warmer = replace(sampling, temperature=max(0.7, sampling.temperature), seed=sampling.seed + 1)
    return replace(warmer, repeat_penalty=1.3) if engine.capabilities.constrained else warmer


@dataclass(slots=True)
class AgentProblem:
    """The next step of a run, for a planner to choose; keeps the replies it has seen."""

    context: RunContext
    banned: frozenset[str] = frozenset()  # classes of calls
    classify: Callable[[ToolCall], str] = lambda call: call_key(call.tool, dict(call.arguments))
    width: int = 1  # how many distinct actions to ask the engine for
    replies: dict[str, Reply] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    model_calls: int = 0

    @property
    def traits(self) -> Traits:
        """Return that nothing says which step is better."""
        return Traits(checked=False)

    def key(self, state: Request) -> bytes:
        """Return what tells two conversations apart."""
        return repr([(m.type, m.content) for m in state.messages]).encode()

    def actions(self, state: Request) -> Sequence[Action]:
        """Return distinct next steps, best first; banned calls are left out while there is another."""
        wanted = min(self.width + len(self.banned), max(self.width, MOST_BRANCHES))
        if wanted > 1 and self.context.engine.capabilities.branches:
            replies = self.context.engine.branch(state, wanted)
        else:
            replies = [self._one(state)]
        self.model_calls += 1
        for reply in replies:
            self.usage += reply.usage
            self.replies.setdefault(step_key(reply.step), reply)
        found = [Action(key=step_key(reply.step), step=reply.step) for reply in replies]
        return [action for action in found if not self._is_banned(action.step)] or found[:1]

    def effect(self, state: Request, action: Action) -> Effect:
        """Return the worst effect among the action's calls; unknown tools count as irreversible."""
        effects = [self._effect(call) for call in action.step.calls]
        return max(effects, key=_ORDER.index, default=Effect.PURE)

    def fork(self, state: Request) -> Request | None:
        """Return the state itself: requests are values, and the world is not part of them."""
        return state

    def step(self, state: Request, action: Action, mode: Mode) -> Transition[Request]:
        """Final steps end the run; calls are never run from here, so their outcome stays unknown."""
        terminal = action.step.kind != "calls"
        return Transition(state=state, observation=action.step.text, terminal=terminal)

    def priors(self, batch: Sequence[tuple[Request, Sequence[Action]]]) -> list[list[float]]:
        """Return each action's log-probability where the engine can tell, else its rank's."""
        engine = self.context.engine
        if engine.capabilities.scores:
            return [[s.logprob for s in engine.score(state, [a.step for a in acts])] for state, acts in batch]
        return [[-float(n) for n, _ in enumerate(acts)] for _, acts in batch]

    def values(self, batch: Sequence[Request]) -> list[tuple[float, float]] | None:
        """No value source has been measured yet, so none is offered."""
        return None

    def learn(self, proven: Sequence[tuple[Request, float]]) -> None:
        """Leave it: there is no source of values to be measured."""

    def tokens(self) -> int:
        """Return how many tokens the model has read and written for this step."""
        return self.usage.prompt - self.usage.reused + self.usage.decoded + self.usage.forced

    def _effect(self, call: ToolCall) -> Effect:
        tool = self.context.tools.get(call.tool)
        return Effect.IRREVERSIBLE if tool is None else tool.spec.rules.effect

    def _is_banned(self, step: Step) -> bool:
        return bool(self.banned) and any(self.classify(call) in self.banned for call in step.calls)

    def _one(self, request: Request) -> Reply:
        """Return the reply; one that begins to repeat itself is ended at once, and once more asked for otherwise."""
        try:
            return self._stream(request)
        except Degenerated as first:
            self._lost(request, first.text)
            text = "the reply began to repeat itself; it was ended and is tried once more, sampled otherwise"
            self.context.emit("guard", {"detector": "degenerate", "verdict": "retry", "text": text})
        try:
            return self._stream(replace(request, sampling=otherwise(request.sampling, self.context.engine)))
        except Degenerated as second:
            self._lost(request, second.text)
            raise

    def _lost(self, request: Request, text: str) -> None:
        """Count what an ended reply has cost; it has no usage of its own, so a token is taken for four characters."""
        self.usage += Usage(prompt=self.context.engine.count(request), decoded=-(-len(text) // CHARS_A_TOKEN))
        self.model_calls += 1

    def _stream(self, request: Request) -> Reply:
        watches: dict[int, DegenerationWatch] = {}  # one for speech, and one for each call's arguments
        said = ""
        stream = self.context.engine.stream(request)
        for delta in stream:
            if isinstance(delta, Reply):
                return delta
            said += delta.text
            if isinstance(delta, TextDelta):
                self.context.emit("text_delta", {"text": delta.text})
            elif isinstance(delta, ArgumentsDelta):
                self.context.emit("arguments_delta", {"index": delta.index, "tool": delta.tool, "text": delta.text})
            index = delta.index if isinstance(delta, ArgumentsDelta) else -1
            watch = watches.setdefault(index, DegenerationWatch(arguments=index >= 0))
            if watch.feed(delta.text):
                close = getattr(stream, "close", None)  # ends the decoding
                if close is not None:
                    close()
                raise Degenerated(said)
        raise EngineError(f"{self.context.engine.capabilities.model}: the stream ended without a reply; try again")
