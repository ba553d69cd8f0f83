"""A request of several parts, for a model that is too small to keep two things in mind: one part after the other.

"what colour is the shoe in photo.png, and find three like it but blue" is about two tools. Such a model is shown one part at a
time, each standing on its own ("photo.png: find three like it but blue"), and makes a call for it; in the end it answers the last part,
and what the others came to is put before its answer. Only the words of the request and the lexical ranker decide what is a part: two
stretches beside a conjunction or a mark, each of which is clearly about a tool that only looks, and not about the same one. Requests of
one part are left alone, and so are those with a tool that takes earlier results: they are chains, not parts. Pure functions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentkit.clauses import clauses
from agentkit.messages import meta, step_of
from agentkit.protocols import Request
from agentkit.tools import rank
from agentkit.types import Effect, Step, ToolSpec

__all__ = ["Part", "in_parts", "parts_of", "whole_answer"]

LEAD = 0.25  # nats before the next tool
_MARKS = " ,;.:?!"
ABOUT = 1.0  # nats above an even choice from which on a stretch is about a tool; among few, half of what there can be
SURE = 8.0  # times as much as elsewhere: what the ranker adds for a part
_FILE = re.compile(r"(?<![\w@])[\w./~-]*\w\.[a-z]\w{1,4}\b(?![@.]\w)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of a request that is about one tool.

    Attributes:
        tool: its name.
        text: the stretch, with the file before it that an earlier one named, where it names none itself.
    """

    tool: str
    text: str


def parts_of(request: str, specs: Sequence[ToolSpec]) -> tuple[Part, ...]:
    """Return the parts of a request, in their order; none where it is about fewer than two tools."""
    found: list[Part] = []
    least = min(ABOUT, math.log(max(len(specs), 1)) / 2)
    waiting = ""  # what comes before anything is about a tool
    for chunk in clauses(request):
        tool = _about(rank(chunk, specs), least)
        if found and tool in ("", found[-1].tool):
            found[-1] = replace(found[-1], text=f"{found[-1].text.rstrip(_MARKS)} {chunk}")
        elif tool:
            found.append(Part(tool=tool, text=_led(waiting, chunk)))
            waiting = ""
        else:
            waiting += f"{chunk.rstrip(_MARKS)} "
    looks = {spec.name for spec in specs if _only_looks(spec)}
    return tuple(_standing(found)) if len(found) > 1 and all(part.tool in looks for part in found) else ()


def in_parts(request: Request, weight: float) -> Request:
    """Return the request for the next part, or for the answer to the last one; `request` itself where it has no parts.

    Args:
        request: for the whole.
        weight: how much the ranker adds to the log-probability of a tool.
    """
    start = _start(request.messages)
    if weight <= 0 or start is None or request.output is not None:
        return request
    asked = request.messages[start]
    parts = parts_of(str(asked.content), request.tools)
    if not parts:
        return request
    before, turn = request.messages[:start], request.messages[start + 1 :]
    ends = [n for n, message in enumerate(turn, 1) if isinstance(message, ToolMessage)]
    if len(ends) < len(parts):
        part = parts[len(ends)]
        prior = {name: SURE * weight * score for name, score in rank(part.text, request.tools).items()}
        shown = [*before, _said(asked, part.text)]
        return replace(request, messages=shown, allow=frozenset({"calls"}), tool_prior=prior)
    if len(ends) > len(parts):
        return request
    last = [*before, _said(asked, parts[-1].text), *turn[ends[-2] :]]
    return replace(request, messages=last, allow=frozenset({"final"}), tool_prior={})


def whole_answer(step: Step, messages: Sequence[BaseMessage], shown: Request) -> Step:
    """Return an answer to the last part with what the others came to before it."""
    start, at = _start(messages), _start(shown.messages)
    if step.kind != "final" or start is None or at is None:
        return step
    parts = parts_of(str(messages[start].content), shown.tools)
    if not parts or shown.messages[at].content != parts[-1].text:  # it answers the whole, as it was asked
        return step
    results = [str(message.content) for message in messages[start:] if isinstance(message, ToolMessage)][:-1]
    missing = [text for text in results if text not in step.text]
    return replace(step, text="\n".join([*missing, step.text]), token_ids=()) if missing else step


def _led(before: str, chunk: str) -> str:
    """Return a stretch after what leads up to it, of which only a file is kept, where it names one."""
    named = _FILE.findall(before)
    return f"{before}{chunk}" if not named or _FILE.search(chunk) else f"{named[-1]}: {chunk}"


def _about(scores: Mapping[str, float], least: float) -> str:
    """Return the tool that a stretch with these scores is clearly about; nothing where there is none."""
    first, second = sorted([*scores.values(), -math.inf, -math.inf], reverse=True)[:2]
    return max(scores, key=lambda name: scores[name]) if first >= max(least, second + LEAD) else ""


def _only_looks(spec: ToolSpec) -> bool:
    """Whether a tool may be called because of a stretch of words: it changes nothing, tells nobody, and needs no earlier result."""
    rules = spec.rules
    return rules.effect in {Effect.PURE, Effect.READ} and not (rules.egress or rules.cost or rules.references)


def _start(messages: Sequence[BaseMessage]) -> int | None:
    """Return where the last turn of the user begins; None where it holds more than the user's own text."""
    for n in range(len(messages) - 1, -1, -1):
        message = messages[n]
        if isinstance(message, HumanMessage):
            own = isinstance(message.content, str) and meta(message).get("trust", "trusted") == "trusted"
            return n if own else None
        if not isinstance(message, AIMessage | ToolMessage) or (
            isinstance(message, AIMessage) and not step_of(message).calls
        ):
            return None
    return None


def _said(message: BaseMessage, text: str) -> BaseMessage:
    return message.model_copy(update={"content": text})


def _standing(parts: Sequence[Part]) -> list[Part]:
    """Return the parts, each with a file that it is about."""
    told, file = [], ""
    for part in parts:
        named = _FILE.findall(part.text)
        told.append(part if named or not file else replace(part, text=f"{file}: {part.text}"))
        file = named[-1] if named else file
    return told
