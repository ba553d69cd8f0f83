"""The agent as a search problem: what planners see of a conversation.

A state is the list of messages plus the request that would be sent next. Asking for actions asks the
model; the deltas of what it says are passed on as events while they come.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentkit.errors import EngineError
from agentkit.graph.context import RunContext
from agentkit.protocols import (
    Action,
    ArgumentsDelta,
    Mode,
    Reply,
    Request,
    TextDelta,
    Transition,
)
from agentkit.types import Effect, Step, ToolCall, Usage

_ORDER = tuple(Effect)


def call_key(tool: str, arguments: object) -> str:
    """Return the key that equal calls share: the tool's name and its arguments in canonical order."""
    return f"{tool} {json.dumps(arguments, sort_keys=True, ensure_ascii=False, default=str)}"


def step_key(step: Step) -> str:
    """Return the key that equal steps share."""
    if step.kind != "calls":
        return f"{step.kind} {step.text}"
    return "; ".join(call_key(call.tool, dict(call.arguments)) for call in step.calls)


@dataclass(slots=True)
class AgentProblem:
    """The next step of a run, for a planner to choose; keeps the replies it has seen."""

    context: RunContext
    banned: frozenset[str]
    width: int = 1  # how many distinct actions to ask the engine for
    replies: dict[str, Reply] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    model_calls: int = 0

    def key(self, state: Request) -> bytes:
        """Return what tells two conversations apart."""
        return repr([(m.type, m.content) for m in state.messages]).encode()

    def actions(self, state: Request) -> Sequence[Action]:
        """Return distinct next steps, best first; banned calls are left out while there is another."""
        wanted = self.width + len(self.banned)
        if wanted > 1 and self.context.engine.capabilities.branches:
            replies = self.context.engine.branch(state, wanted)
        else:
            replies = [self._stream(state)]
        self.model_calls += 1
        for reply in replies:
            self.usage += reply.usage
            self.replies.setdefault(step_key(reply.step), reply)
        found = [Action(key=step_key(reply.step), step=reply.step) for reply in replies]
        return [action for action in found if action.key not in self.banned] or found[:1]

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

    def _effect(self, call: ToolCall) -> Effect:
        tool = self.context.tools.get(call.tool)
        return Effect.IRREVERSIBLE if tool is None else tool.spec.rules.effect

    def _stream(self, request: Request) -> Reply:
        for delta in self.context.engine.stream(request):
            if isinstance(delta, Reply):
                return delta
            if isinstance(delta, TextDelta):
                self.context.emit("text_delta", {"text": delta.text})
            elif isinstance(delta, ArgumentsDelta):
                self.context.emit("arguments_delta", {"index": delta.index, "tool": delta.tool, "text": delta.text})
        raise EngineError(f"{self.context.engine.capabilities.model}: the stream ended without a reply; try again")
