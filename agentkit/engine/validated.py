"""Make a step of what a model said that nobody constrained: check it, have it repaired once, or fail.

A reply that is not usable never reaches the run. The model is told once what was wrong with it; the
faulty call goes back to it as words, so that no later request can trip over it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from agentkit.engine.checks import TEXT_KINDS
from agentkit.errors import EngineError, ProviderError
from agentkit.protocols import ArgumentsDelta, Delta, Reply, Request, TextDelta, ThinkingDelta
from agentkit.schema import located_problems, problems
from agentkit.types import Step, ToolCall, ToolSpec, Usage

_PIECE = 16  # characters of an arguments delta
_SHOWN = 3  # problems told to the model


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCall:
    """A call as a model wrote it; nothing about it is known to be right."""

    id: str
    tool: str
    arguments: str  # JSON text, one hopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A whole reply as a model gave it."""

    text: str
    calls: tuple[RawCall, ...] = ()
    thinking: str = ""
    cut: bool = False  # it ended because max_tokens were reached
    usage: Usage = field(default_factory=Usage)


Attempt = Callable[[Sequence[BaseMessage]], Iterator[TextDelta | ThinkingDelta | Draft]]


def replies(attempt: Attempt, request: Request, model: str) -> Iterator[Delta]:
    """Yield the deltas of a reply and then its `Reply`, asking the model a second time if need be.

    Text is streamed as it comes where it needs no check; arguments are streamed once they are known to
    be valid. `attempt` is given the messages, and ends with a `Draft`.

    Raises:
        ProviderError: the second reply is not usable either.
        EngineError: the reply was cut by `max_tokens` where half of it is of no use.
        CannotEnforce: the output schema is none.
    """
    if request.output is not None:
        problems(None, request.output)
    messages, usage, streamed = list(request.messages), Usage(), ""
    live = request.output is None and any(kind in request.allow for kind in TEXT_KINDS)
    wrong: list[str] = []
    for _ in range(2):
        draft = Draft(text="")
        if streamed:
            streamed += "\n"
            yield TextDelta(text="\n")
        before = streamed
        for item in attempt(messages):
            if isinstance(item, Draft):
                draft = item
            elif isinstance(item, ThinkingDelta):
                yield item
            elif live and item.text:
                streamed += item.text
                yield item
        usage += draft.usage
        step, wrong = read(draft, request)
        if step is not None:
            text = before + step.text
            if not live and text:
                yield TextDelta(text=text)
            yield from _argument_deltas(step.calls)
            yield _reply(step, text, usage, cut=draft.cut)
            return
        if draft.cut:
            raise EngineError(
                f"{model}: the reply was cut at {request.max_tokens} tokens and is of no use ({wrong[0]}); "
                "raise max_tokens"
            )
        messages = [*messages, *_complaint(draft, wrong)]
    raise ProviderError(f"{model}: the reply was not usable, nor was the second ({wrong[0]}); try a more able model")


def read(draft: Draft, request: Request) -> tuple[Step | None, list[str]]:
    """Return the step that a draft comes to, or None and what is wrong with it."""
    if draft.calls:
        return _read_calls(draft, request)
    kind = next((kind for kind in TEXT_KINDS if kind in request.allow), None)
    if kind is None:
        return None, [f"a tool must be called now, one of: {', '.join(spec.name for spec in request.tools)}"]
    if not draft.text.strip():
        return None, ["the reply was empty"]
    if request.output is None or kind != "final":
        return Step(kind=kind, text=draft.text, thinking=draft.thinking), []
    text = _unfenced(draft.text)
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return None, [f"the answer must be JSON and nothing else, and is not ({error})"]
    wrong = problems(data, request.output)
    return (None, wrong) if wrong else (Step(kind=kind, text=text, thinking=draft.thinking, data=data), [])


def call_problems(spec: ToolSpec, arguments: dict[str, Any]) -> list[str]:
    """Return what is wrong with a call's arguments; `$N`, where it is a reference, fits any type."""

    def is_reference(path: tuple[str | int, ...]) -> bool:
        value = arguments.get(str(path[0])) if len(path) == 1 else None
        return isinstance(value, str) and path[0] in spec.rules.references and value.startswith("$")

    found = located_problems(arguments, spec.parameters)
    return [f"{spec.name}: {text}" for path, text in found if not is_reference(path)]


def _read_calls(draft: Draft, request: Request) -> tuple[Step | None, list[str]]:
    if "calls" not in request.allow:
        return None, ["no tool may be called now; answer in words"]
    specs = {spec.name: spec for spec in request.tools}
    wrong: list[str] = []
    calls: list[ToolCall] = []
    ids: set[str] = set()
    for raw in draft.calls:
        arguments, problem = _arguments(raw)
        if raw.tool not in specs:
            wrong.append(_unknown_tool(raw.tool, list(specs)))
        elif arguments is None:
            wrong.append(problem)
        else:
            wrong += call_problems(specs[raw.tool], arguments)
            call_id = raw.id if raw.id and raw.id not in ids else f"call_{len(request.messages)}_{len(calls)}"
            ids.add(call_id)
            calls.append(ToolCall(id=call_id, tool=raw.tool, arguments=arguments))
    if wrong:
        return None, wrong
    return Step(kind="calls", text=draft.text, calls=tuple(calls), thinking=draft.thinking), []


def _arguments(raw: RawCall) -> tuple[dict[str, Any] | None, str]:
    try:
        arguments = json.loads(raw.arguments, parse_constant=_no_constant) if raw.arguments.strip() else {}
    except (ValueError, RecursionError) as error:
        return None, f"{raw.tool}: the arguments are not valid JSON ({error})"
    if not isinstance(arguments, dict):
        return None, f"{raw.tool}: the arguments must be a JSON object"
    return arguments, ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unknown_tool(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"there is no tool '{name[:60]}'{hint} There are: {', '.join(known) or 'none'}"


def _complaint(draft: Draft, wrong: Sequence[str]) -> list[BaseMessage]:
    said = [draft.text] if draft.text.strip() else []
    said += [f"(I tried to call {call.tool} with {call.arguments[:500]})" for call in draft.calls]
    return [
        AIMessage(content="\n".join(said) or "(I said nothing.)"),
        HumanMessage(content=f"That reply could not be used: {'; '.join(wrong[:_SHOWN])}. Reply again, correctly."),
    ]


def _unfenced(text: str) -> str:
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text.split("\n", 1)[1][:-3].strip()
    return text


def _argument_deltas(calls: Sequence[ToolCall]) -> Iterator[Delta]:
    for index, call in enumerate(calls):
        text = json.dumps(dict(call.arguments), ensure_ascii=False)
        for start in range(0, len(text), _PIECE):
            yield ArgumentsDelta(index=index, tool=call.tool, text=text[start : start + _PIECE])


def _reply(step: Step, text: str, usage: Usage, *, cut: bool) -> Reply:
    whole = Step(kind=step.kind, text=text, calls=step.calls, thinking=step.thinking, data=step.data)
    return Reply(step=whole, usage=usage, finish="length" if cut else "stop", assurance="validated")
