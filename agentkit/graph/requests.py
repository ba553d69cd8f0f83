"""From the state to one question for the engine: which tools, which prior, and what fits.

Nothing is dropped in silence: old results are capped first, then old turns become a note, each time
with a `compaction` event; if the prompt still does not fit, `ContextFull` is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage

from agentkit.errors import ContextFull
from agentkit.graph.context import RunContext
from agentkit.graph.parts import in_parts
from agentkit.graph.state import RunState
from agentkit.guards import working_tokens
from agentkit.messages import media_of, meta, note_message, words_of
from agentkit.protocols import Request, Sampling
from agentkit.tools import rank, shortlist, without_idle_jobs
from agentkit.tools.paging import NAME as READ_RESULT
from agentkit.types import ToolSpec

REPLY_TOKENS = 512  # kept free for the step
SHORT_RESULT = 200  # characters an old result keeps
_EARLIER = "Earlier in this conversation: "
MAX_TOOLS = 32
MIN_TOOLS = 4  # so many are shown in any case
NOTE_CHARS = 2_000  # of what earlier turns are summarised to


def build_request(state: RunState, context: RunContext, *, wrap_up: bool = False) -> Request:
    """Return the request for the next step; `wrap_up` allows a final answer only."""
    engine = context.settings.engine
    messages = list(state["messages"])
    specs = (
        ()
        if wrap_up
        else choose_tools(messages, context, cut=any(result["path"] for result in state.get("results", [])))
    )
    room = max(32, context.engine.capabilities.context // 4)
    most = min(REPLY_TOKENS, room) if wrap_up else _tokens_left(state, context, room)
    weight = context.engine.capabilities.tool_prior_weight
    request = Request(
        messages=messages,
        tools=specs,
        output=state["task"].get("output_schema"),
        allow=frozenset({"final"}) if wrap_up else frozenset({"calls", "final", "ask", "decline"}),
        sampling=Sampling(temperature=engine.temperature, seed=engine.seed + state.get("turn", 0)),
        max_tokens=most,
        deadline=context.deadline(state["spent"]),
        cancel=context.cancel,
        allowed=context.policy.allowed(specs),
        tool_prior=prior(messages, specs, weight),
        thinking=0 if wrap_up else min(engine.thinking, most // 2),
    )
    return request if wrap_up else in_parts(request, weight)


def choose_tools(messages: Sequence[BaseMessage], context: RunContext, *, cut: bool = False) -> tuple[ToolSpec, ...]:
    """Return the tools to show, in their fixed order; a lexical shortlist when there are too many.

    A model that is helped by the ranker is small, and is not shown long jobs that the request is not about.

    Args:
        messages: the conversation.
        context: the run's.
        cut: whether a result was shown cut, so that there is something to read on in.
    """
    specs = context.tools.specs if cut else tuple(spec for spec in context.tools.specs if spec.name != READ_RESULT)
    if context.engine.capabilities.tool_prior_weight > 0:
        called = {call["name"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls}
        specs = tuple(without_idle_jobs(last_words(messages), specs, frozenset(called)))
    few = _tools_that_fit(specs, context)
    if len(specs) <= few:
        return specs
    kept = {spec.name for spec in shortlist(last_words(messages), specs, few)}
    return tuple(spec for spec in specs if spec.name in kept)


def _tools_that_fit(specs: Sequence[ToolSpec], context: RunContext) -> int:
    """Return how many tools to show, so that their signatures leave half of the context free."""
    room = context.engine.capabilities.context // 2
    few = min(len(specs), MAX_TOOLS)
    while few > MIN_TOOLS:
        tokens = context.engine.count(Request(messages=[HumanMessage(content="")], tools=specs[:few]))
        if tokens <= room:
            break
        few = max(MIN_TOOLS, min(few - 1, few * room // tokens))
    return few


def prior(messages: Sequence[BaseMessage], specs: Sequence[ToolSpec], weight: float) -> Mapping[str, float]:
    """Return what the lexical ranker adds to each tool's log-probability; only before the first call of a turn."""
    if weight <= 0.0 or not messages or not isinstance(messages[-1], HumanMessage):
        return {}
    return {name: weight * score for name, score in rank(last_words(messages), specs).items()}


def last_words(messages: Sequence[BaseMessage]) -> str:
    """Return what the user said last."""
    return next((words_of(m) for m in reversed(messages) if isinstance(m, HumanMessage)), "")


def fit(state: RunState, context: RunContext) -> tuple[list[AnyMessage | RemoveMessage], int]:
    """Return the changes to the messages that make the next prompt fit, usually none, and the tokens it then has.

    Raises:
        ContextFull: even the current turn alone does not fit.
    """
    request = build_request(state, context)
    limit = context.engine.capabilities.context - min(REPLY_TOKENS, context.engine.capabilities.context // 4)
    tokens = context.engine.count(request)
    if tokens <= limit:
        return [], tokens
    changes: dict[str | None, AnyMessage | RemoveMessage] = {}
    kept = list(state["messages"])
    for name, strategy in _STRATEGIES.items():
        more = strategy(kept)
        if not more:
            continue
        changes |= {change.id: change for change in more}
        kept = _apply(kept, more)
        tokens = context.engine.count(replace(request, messages=kept))
        if tokens <= limit:
            context.emit("compaction", {"strategy": name, "tokens": tokens, "limit": limit})
            return list(changes.values()), tokens
    tokens = context.engine.count(request)
    raise ContextFull(
        f"the prompt has {tokens} tokens, and {limit} fit with room for a reply; "
        "shorten the task, use fewer tools (-T), or a model with a longer context (-m, AGENTKIT_CTX)"
    )


def _tokens_left(state: RunState, context: RunContext, room: int) -> int:
    """Return how long the reply may be: what is left when the prompt, counted before, is paid for."""
    limit, spent = working_tokens(context.settings.run.max_tokens), state["spent"]
    if limit is None:
        return room
    return max(1, min(room, limit - int(spent.get("tokens", 0)) - int(spent.get("next_tokens", 0))))


def _shorten_results(messages: Sequence[AnyMessage]) -> list[AnyMessage | RemoveMessage]:
    """Cap all results but the last."""
    return _shortened([m for m in messages if isinstance(m, ToolMessage)][:-1])


def _shorten_all_results(messages: Sequence[AnyMessage]) -> list[AnyMessage | RemoveMessage]:
    """Cap the last result too; `$N` still stands for the whole of it."""
    return _shortened([m for m in messages if isinstance(m, ToolMessage)])


def _shortened(results: Sequence[ToolMessage]) -> list[AnyMessage | RemoveMessage]:
    return [
        m.model_copy(update={"content": f"{m.content[:SHORT_RESULT]} [… {len(m.content)} characters, shortened]"})
        for m in results
        if isinstance(m.content, str) and len(m.content) > SHORT_RESULT + 60
    ]


def _summarise_turns(messages: Sequence[AnyMessage]) -> list[AnyMessage | RemoveMessage]:
    """Replace all turns before the last user message by a note of what was asked and answered."""
    starts = [n for n, m in enumerate(messages) if isinstance(m, HumanMessage)]
    if len(starts) < 2:
        return []
    old = [m for m in messages[: starts[-1]] if not _is_instruction(m)]
    if not old or all(meta(m).get("kind") == "note" for m in old):
        return []
    lines = [line for m in old if (line := _line(m))]
    note = note_message(f"{_EARLIER}{' '.join(lines)[-NOTE_CHARS:]}")  # what was said last matters most
    note.id = old[0].id  # takes its place
    return [note, *(RemoveMessage(id=str(m.id)) for m in old[1:])]


def _shorten_note(messages: Sequence[AnyMessage]) -> list[AnyMessage | RemoveMessage]:
    """Keep only the end of the summary of earlier turns."""
    notes = [m for m in messages if meta(m).get("kind") == "note" and len(str(m.content)) > SHORT_RESULT * 2]
    return [m.model_copy(update={"content": f"{_EARLIER}… {str(m.content)[-SHORT_RESULT:]}"}) for m in notes]


_STRATEGIES: Mapping[str, Callable[[Sequence[AnyMessage]], list[AnyMessage | RemoveMessage]]] = {
    "shorten_results": _shorten_results,
    "summarise_turns": _summarise_turns,
    "shorten_all_results": _shorten_all_results,
    "shorten_note": _shorten_note,
}


def _is_instruction(message: BaseMessage) -> bool:
    return message.type == "system" and meta(message).get("kind") is None


def _line(message: BaseMessage) -> str:
    """Return what the summary says of a message; nothing of calls, results and nudges."""
    text = words_of(message)
    if meta(message).get("kind") == "note":
        return text.removeprefix(_EARLIER)
    text += "".join(f" [{name}]" for name in media_of(message))  # what was shown is no longer seen
    if not text or not isinstance(message, HumanMessage | AIMessage):
        return ""
    return f"{'User:' if isinstance(message, HumanMessage) else 'Answer:'} {text[:160]}"


def _apply(messages: Sequence[AnyMessage], changes: Sequence[Any]) -> list[AnyMessage]:
    by_id = {change.id: change for change in changes}
    kept = [by_id.get(m.id, m) for m in messages]
    return [m for m in kept if not isinstance(m, RemoveMessage)]
