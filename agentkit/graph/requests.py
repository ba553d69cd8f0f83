"""From the state to one question for the engine: which tools, which prior, and what fits.

Nothing is dropped in silence: old results are capped first, then old turns become a note, each time
with a `compaction` event; if the prompt still does not fit, `ContextFull` is raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage

from agentkit.errors import ContextFull
from agentkit.graph.context import RunContext
from agentkit.graph.state import RunState
from agentkit.messages import meta, note_message
from agentkit.protocols import Request, Sampling
from agentkit.tools import rank, shortlist
from agentkit.types import ToolSpec

REPLY_TOKENS = 512  # kept free for the step
SHORT_RESULT = 200  # characters an old result keeps
MAX_TOOLS = 32


def build_request(state: RunState, context: RunContext, *, wrap_up: bool = False) -> Request:
    """Return the request for the next step; `wrap_up` allows a final answer only."""
    engine = context.settings.engine
    messages = list(state["messages"])
    specs = () if wrap_up else choose_tools(messages, context)
    room = max(32, context.engine.capabilities.context // 4)
    return Request(
        messages=messages,
        tools=specs,
        output=state["task"].get("output_schema"),
        allow=frozenset({"final"}) if wrap_up else frozenset({"calls", "final", "ask", "decline"}),
        sampling=Sampling(temperature=engine.temperature, seed=engine.seed + state.get("turn", 0)),
        max_tokens=min(REPLY_TOKENS, room) if wrap_up else _tokens_left(state, context, room),
        deadline=context.deadline(state["spent"]),
        cancel=context.cancel,
        tool_prior=prior(messages, specs, context.engine.capabilities.tool_prior_weight),
    )


def choose_tools(messages: Sequence[BaseMessage], context: RunContext) -> tuple[ToolSpec, ...]:
    """Return the tools to show, in their fixed order; a lexical shortlist when there are too many."""
    specs = context.tools.specs
    if len(specs) <= MAX_TOOLS:
        return specs
    kept = {spec.name for spec in shortlist(last_words(messages), specs, MAX_TOOLS)}
    return tuple(spec for spec in specs if spec.name in kept)


def prior(messages: Sequence[BaseMessage], specs: Sequence[ToolSpec], weight: float) -> Mapping[str, float]:
    """Return what the lexical ranker adds to each tool's log-probability; only before the first call of a turn."""
    if weight <= 0.0 or not messages or not isinstance(messages[-1], HumanMessage):
        return {}
    return {name: weight * score for name, score in rank(last_words(messages), specs).items()}


def last_words(messages: Sequence[BaseMessage]) -> str:
    """Return what the user said last."""
    return next((str(m.content) for m in reversed(messages) if isinstance(m, HumanMessage)), "")


def fit(state: RunState, context: RunContext) -> list[AnyMessage | RemoveMessage]:
    """Return the changes to the messages that make the next prompt fit; usually none.

    Raises:
        ContextFull: even the current turn alone does not fit.
    """
    request = build_request(state, context)
    limit = context.engine.capabilities.context - min(REPLY_TOKENS, context.engine.capabilities.context // 4)
    if context.engine.count(request) <= limit:
        return []
    for strategy in (_shorten_results, _summarise_turns):
        changes = strategy(state["messages"])
        kept = _apply(state["messages"], changes)
        tokens = context.engine.count(replace(request, messages=kept))
        if changes and tokens <= limit:
            context.emit("compaction", {"strategy": strategy.__name__.strip("_"), "tokens": tokens, "limit": limit})
            return changes
    tokens = context.engine.count(request)
    raise ContextFull(
        f"the prompt has {tokens} tokens, and {limit} fit with room for a reply; "
        "shorten the task, use fewer tools (-T), or a model with a longer context (-m, AGENTKIT_CTX)"
    )


def _tokens_left(state: RunState, context: RunContext, room: int) -> int:
    limit = context.settings.run.max_tokens
    if limit is None:
        return room
    return max(1, min(room, limit - int(state["spent"].get("tokens", 0))))


def _shorten_results(messages: Sequence[AnyMessage]) -> list[AnyMessage | RemoveMessage]:
    """Cap the results of earlier turns and all but the last result of this one."""
    old = [m for m in messages if isinstance(m, ToolMessage)][:-1]
    return [
        m.model_copy(update={"content": f"{m.content[:SHORT_RESULT]} [… {len(m.content)} characters, shortened]"})
        for m in old
        if isinstance(m.content, str) and len(m.content) > SHORT_RESULT + 60
    ]


def _summarise_turns(messages: Sequence[AnyMessage]) -> list[AnyMessage | RemoveMessage]:
    """Replace all turns before the last user message by a note of what was asked and answered."""
    starts = [n for n, m in enumerate(messages) if isinstance(m, HumanMessage)]
    if len(starts) < 2:
        return []
    old = [m for m in messages[: starts[-1]] if not _is_instruction(m)]
    lines = [_line(m) for m in old if isinstance(m, HumanMessage) or (isinstance(m, AIMessage) and m.content)]
    note = note_message(f"Earlier in this conversation: {' '.join(lines)}"[:2_000])
    note.id = old[0].id  # takes its place
    return [note, *(RemoveMessage(id=str(m.id)) for m in old[1:])]


def _is_instruction(message: BaseMessage) -> bool:
    return message.type == "system" and meta(message).get("kind") is None


def _line(message: BaseMessage) -> str:
    who = "User:" if isinstance(message, HumanMessage) else "Answer:"
    return f"{who} {str(message.content)[:160]}"


def _apply(messages: Sequence[AnyMessage], changes: Sequence[Any]) -> list[AnyMessage]:
    by_id = {change.id: change for change in changes}
    kept = [by_id.get(m.id, m) for m in messages]
    return [m for m in kept if not isinstance(m, RemoveMessage)]
