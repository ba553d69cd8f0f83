"""A conversation as a value, and its rendering in `plain/1` with a loss weight a piece.

The pieces joined are exactly what the dialect's own functions write; only the arguments' JSON is cut
finer, so that what the grammar forces weighs less than what the model chooses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agentkit.engine.dialects import plain
from agentkit.engine.dialects.plain import Piece
from agentkit.types import Step, ToolSpec

Split = Literal["train", "dev", "test"]
Weighted = tuple[Piece, float]

PROMPT = 0.01
CHOSEN = 1.0
KIND = 2.0
TAG = 8.0
FORCED = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a person says."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What a tool gave; `number` counts from 1 through the conversation."""

    number: int
    text: str
    failed: bool = False
    untrusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Nudged:
    """The framework's note to the model."""

    text: str


Turn = Said | Step | Returned | Nudged


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Tools, then turns. `tags_only` is for pure recall: nothing but the tags is learned."""

    tools: tuple[ToolSpec, ...]
    turns: tuple[Turn, ...]
    family: str
    split: Split
    system: str = ""
    tags_only: bool = False

    @property
    def decisions(self) -> int:
        """How many steps the model takes."""
        return sum(isinstance(turn, Step) for turn in self.turns)


def render(conversation: Conversation) -> list[Weighted]:
    """Return the pieces of `conversation`, each with its weight in the loss."""
    pieces = _light(plain.begin())
    if conversation.system:
        pieces += _light(plain.system(conversation.system))
    pieces += _light(plain.tools(conversation.tools))
    by_name = {spec.name: (index, spec) for index, spec in enumerate(conversation.tools)}
    for turn in conversation.turns:
        pieces += _turn(turn, by_name, tags_only=conversation.tags_only)
    return pieces


def _turn(turn: Turn, by_name: Mapping[str, tuple[int, ToolSpec]], *, tags_only: bool) -> list[Weighted]:
    match turn:
        case Said(text=text):
            return _light(plain.user(text))
        case Nudged(text=text):
            return _light(plain.nudge(text))
        case Returned(number=number, text=text, failed=failed, untrusted=untrusted):
            return _light(plain.result(number, text, failed=failed, untrusted=untrusted))
        case Step():
            step = list(_step(turn, by_name))
            if tags_only:
                step = [(piece, TAG if weight == TAG else PROMPT) for piece, weight in step]
            return [*_light(plain.ask_for_step()), *step]


def _step(step: Step, by_name: Mapping[str, tuple[int, ToolSpec]]) -> Iterator[Weighted]:
    tags = {name: index for name, (index, _) in by_name.items()}
    calls = iter(step.calls)
    after_tag = False
    for piece in plain.step(step, tags):
        if after_tag:
            call = next(calls)
            yield from _arguments(call.arguments, by_name[call.tool][1])
            after_tag = False
        elif piece.control and piece.text[:2] == "<t" and piece.text[2:-1].isdigit():
            after_tag = True
            yield piece, TAG
        elif piece.control and piece.text in {"<call>", "<final>", "<ask>", "<decline>"}:
            yield piece, KIND
        else:
            yield piece, CHOSEN


def _arguments(arguments: Mapping[str, Any], spec: ToolSpec) -> Iterator[Weighted]:
    """Cut the JSON at quotes: keys and punctuation apart from values, choices of optional keys heavy."""
    if not arguments:
        yield plain.words("{}"), CHOSEN if spec.parameters["properties"] else FORCED
        return
    required = set(spec.parameters["required"])
    names = list(spec.parameters["properties"])
    lead, position = "{", 0
    for name, value in arguments.items():
        index = names.index(name)
        free = name not in required or any(skipped not in required for skipped in names[position:index])
        position = index + 1
        text = json.dumps(value, ensure_ascii=False)
        quoted = isinstance(value, str)
        if quoted:
            text = text[1:-1]
        opening = '"' if quoted else ""
        yield plain.words(f'{lead}"{name}": {opening}'), CHOSEN if free else FORCED
        if text:
            yield plain.words(text), CHOSEN
        if quoted:
            yield plain.words('"'), CHOSEN
        lead = ", "
    yield plain.words("}"), CHOSEN if any(name not in required for name in names[position:]) else FORCED


def _light(pieces: Sequence[Piece]) -> list[Weighted]:
    return [(piece, PROMPT) for piece in pieces]
