"""agentkit's guards for LangChain's `create_agent`.

    from langchain.agents import create_agent
    from agentkit.guards.middleware import LoopGuardMiddleware

    agent = create_agent(model, tools, middleware=[LoopGuardMiddleware()])

Everything is read from the messages, so a resumed thread is judged like an uninterrupted one, with any checkpointer. What
a guard says stands at the end of the last tool result: never a user's words, and providers take it. Text that
streams is not watched: LangChain hands a middleware whole replies.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from langchain.agents.middleware import AgentMiddleware, AgentState, hook_config
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import Command

from agentkit.errors import BudgetExceeded
from agentkit.guards.budgets import Budgets
from agentkit.guards.canonical import BANNED
from agentkit.guards.ladder import gravest
from agentkit.guards.loops import Loops
from agentkit.guards.recorded import banned, nothing, recorded, said, same_call
from agentkit.protocols import AskUser, Go, Guard, HistoryItem, Nudge, Replan, Spent, Stop
from agentkit.types import Done, Failed, Outcome, ToolCall, ToolRules, ToolSpec

KEY = "agentkit_guard"  # in `additional_kwargs`: what a guard said at the end of this message


class LoopGuardMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Tells the model when it goes in circles, then rules the calls out, then ends the run.

    Args:
        rules: what the tools do, by name; without it a tool counts as irreversible, and polling as a loop.
        guards: None means the default ones.
        max_model_calls: of one run, None for no limit.
        max_tool_calls: of one run, None for no limit.
        on_stop: "end" adds a last message that says why; "error" raises `agentkit.errors.BudgetExceeded`.
    """

    def __init__(
        self,
        rules: Mapping[str, ToolRules] | None = None,
        *,
        guards: Sequence[Guard] | None = None,
        max_model_calls: int | None = None,
        max_tool_calls: int | None = None,
        on_stop: Literal["end", "error"] = "end",
    ) -> None:
        super().__init__()
        self.tools = []
        self._specs = {
            name: ToolSpec(name=name, description="", parameters={}, rules=rule) for name, rule in (rules or {}).items()
        }
        self._guards: tuple[Guard, ...] = (Budgets(), Loops()) if guards is None else tuple(guards)
        self._max_model_calls, self._max_tool_calls = max_model_calls, max_tool_calls
        self._on_stop = on_stop

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Take the guards' verdict on the conversation, before the model is asked again."""
        return self._judge(state["messages"])

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Do as `before_model` does."""
        return self._judge(state["messages"])

    @hook_config(can_jump_to=["model", "end"])
    def after_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Ask again where the model said nothing at all."""
        return self._empty(state["messages"])

    @hook_config(can_jump_to=["model", "end"])
    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Do as `after_model` does."""
        return self._empty(state["messages"])

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Answer a call that was ruled out; hand on every other."""
        return self._held_back(request) or handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Do as `wrap_tool_call` does."""
        return self._held_back(request) or await handler(request)

    def history(self, messages: Sequence[AnyMessage]) -> list[HistoryItem]:
        """Return the conversation as guards read it."""
        items: list[HistoryItem] = []
        calls: dict[str, ToolCall] = {}
        for message in messages:
            if isinstance(message, HumanMessage):
                items.append(HistoryItem(kind="user"))
            elif isinstance(message, AIMessage):
                calls |= {
                    str(c["id"]): ToolCall(id=str(c["id"]), tool=c["name"], arguments=c["args"])
                    for c in message.tool_calls
                }
                if _says_nothing(message):
                    items.append(nothing("", "empty"))
            elif isinstance(message, ToolMessage) and message.tool_call_id in calls:
                call = calls[message.tool_call_id]
                items.append(recorded(items, call, _outcome(message), self._specs.get(call.tool)))
            if word := message.additional_kwargs.get(KEY):
                items.append(HistoryItem(**{**word["item"], "ban": tuple(word["item"]["ban"])}))
        return items

    def _judge(self, messages: Sequence[AnyMessage]) -> dict[str, Any] | None:
        items, spent = self.history(messages), self._spent(messages)
        verdict = gravest(guard.check(items, spent) for guard in self._guards)
        if isinstance(verdict, Go):
            return None
        if isinstance(verdict, AskUser | Stop):
            return self._end(verdict.detail)
        changes: list[AnyMessage | RemoveMessage] = []
        if isinstance(verdict, Replan):
            changes = list(_without_the_loop(messages, items, frozenset(verdict.ban)))
        return {"messages": [*changes, _told(messages[-1], verdict)]}

    def _end(self, why: str) -> dict[str, Any]:
        if self._on_stop == "error":
            raise BudgetExceeded(f"the run was ended by a guard: {why}; change the task, or the guards' limits")
        return {"messages": [AIMessage(content=f"I stopped: {why}.")], "jump_to": "end"}

    def _empty(self, messages: Sequence[AnyMessage]) -> dict[str, Any] | None:
        last = messages[-1]
        if not isinstance(last, AIMessage) or not _says_nothing(last):
            return None
        change = self._judge(messages)
        return None if change is None else {"jump_to": "model", **change}

    def _held_back(self, request: ToolCallRequest) -> ToolMessage | None:
        asked = request.tool_call
        items = self.history(request.state["messages"])
        call = ToolCall(id=str(asked["id"]), tool=asked["name"], arguments=asked["args"])
        if same_call(items, call, self._specs.get(call.tool)) not in banned(items):
            return None
        text = f"{call.tool} with these arguments is ruled out: it had led nowhere. Do something else, or answer."
        return ToolMessage(
            content=text,
            tool_call_id=call.id,
            name=call.tool,
            status="error",
            additional_kwargs={"agentkit_kind": BANNED},
        )

    def _spent(self, messages: Sequence[AnyMessage]) -> Spent:
        start = max((n for n, message in enumerate(messages) if isinstance(message, HumanMessage)), default=-1)
        replies = [message for message in messages[start + 1 :] if isinstance(message, AIMessage)]
        return Spent(
            model_calls=len(replies),
            tool_calls=sum(len(message.tool_calls) for message in replies),
            max_model_calls=self._max_model_calls,
            max_tool_calls=self._max_tool_calls,
        )


def _says_nothing(message: AIMessage) -> bool:
    return not message.tool_calls and not message.invalid_tool_calls and not str(message.text).strip()


def _outcome(message: ToolMessage) -> Outcome:
    word = message.additional_kwargs.get(KEY)
    text = str(message.text)
    text = text.removesuffix(word["suffix"]) if word else text
    if message.status == "error":
        return Failed(text=text, kind=message.additional_kwargs.get("agentkit_kind", "error"))
    return Done(text=text)


def _told(last: AnyMessage, verdict: Nudge | Replan) -> AnyMessage:
    """Return the last message with a guard's word at its end, or a note after it where it is no tool result."""
    item = said(verdict)
    plain = {
        key: value
        for key, value in asdict(item).items()
        if key in {"kind", "text", "detector", "episode", "rung", "ban"}
    }
    if not isinstance(last, ToolMessage) or not isinstance(last.content, str):
        return SystemMessage(content=item.text, additional_kwargs={KEY: {"item": plain, "suffix": ""}})
    suffix = f"\n\n[guard] {item.text}"
    word = {"item": {**plain, "ban": list(plain["ban"])}, "suffix": suffix}
    known = {**last.additional_kwargs, KEY: word}
    return last.model_copy(update={"content": last.content + suffix, "additional_kwargs": known})


def _without_the_loop(
    messages: Sequence[AnyMessage], items: Sequence[HistoryItem], ban: frozenset[str]
) -> Sequence[RemoveMessage]:
    """Return what takes a loop out of the conversation, but for its first round and its last."""
    keys = {item.call.id: item.key for item in items if item.call is not None}
    steps = [message for message in messages if isinstance(message, AIMessage) and message.tool_calls]
    looping = [step for step in steps if {keys.get(str(call["id"]), "") for call in step.tool_calls} <= ban]
    gone = looping[1:-1]
    ids = {str(call["id"]) for step in gone for call in step.tool_calls}
    results = [message for message in messages if isinstance(message, ToolMessage) and message.tool_call_id in ids]
    return [RemoveMessage(id=str(message.id)) for message in (*gone, *results)]
