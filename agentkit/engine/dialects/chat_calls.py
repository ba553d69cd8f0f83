"""How families of chat models write tool calls, and how to read them back."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.engine.dialects import Vocabulary
from agentkit.engine.dialects.plain import arguments_json, call_of
from agentkit.engine.grammar import json_rule
from agentkit.protocols import ArgumentsDelta, Delta, TextDelta
from agentkit.types import Step, ToolCall, ToolSpec

__all__ = ["CHATML", "FAMILIES", "ChatReader", "Family", "call_grammar", "call_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One way of writing calls, as `{"name": ..., <key>: {...}}` between fixed texts."""

    name: str
    key: str = "arguments"
    begin: str = ""  # before the first call
    before: str = ""  # before each call
    after: str = ""
    between: str = ""
    finish: str = ""  # after the last
    max_calls: int = 16
    has_calls: bool = True
    alternates: bool = False  # templates refuse two turns of one side in a row

    @property
    def opening(self) -> str:
        """What a step with calls begins with."""
        return f"{self.begin}{self.before}{{"


CHATML = Family(name="chatml", has_calls=False)
FAMILIES = {
    "llama3": Family(name="llama3", key="parameters", max_calls=1),
    "hermes": Family(name="hermes", before="<tool_call>\n", after="\n</tool_call>", between="\n"),
    "mistral": Family(name="mistral", begin="[TOOL_CALLS][", between=", ", finish="]", alternates=True),
    "chatml": CHATML,
}


def call_text(family: Family, calls: Sequence[ToolCall]) -> str:
    """Return `calls` as the model writes them; nothing for none."""
    if not calls:
        return ""
    texts = [f"{_head(family, call.tool)}{arguments_json(call.arguments)}}}" for call in calls]
    return family.begin + family.between.join(family.before + text + family.after for text in texts) + family.finish


def call_grammar(family: Family, tools: Sequence[ToolSpec], vocabulary: Vocabulary) -> tuple[list[str], bool]:
    """Return the Lark rules of `calls`, and whether they begin with a control token."""

    def literal(text: str) -> str:
        return _literal(text, vocabulary)

    one = f"{literal(family.before)} tool {literal(family.after)}".strip()
    more = f" ({literal(family.between)} {one}){{0,{family.max_calls - 1}}}" if family.max_calls > 1 else ""
    rules = [
        f"calls: {literal(family.begin)} {one}{more} {literal(family.finish)}",
        f"tool: {' | '.join(f'tool{n}' for n in range(len(tools)))}",
    ]
    for n, spec in enumerate(tools):
        rules.append(f'tool{n}: {literal(_head(family, spec.name))} {json_rule(spec.parameters)} "}}"')
    return rules, _literal(family.opening, vocabulary).startswith("<[")


class ChatReader:
    """Reads one step: text, or calls in the family's form, after some text where the form allows it."""

    def __init__(self, vocabulary: Vocabulary, family: Family, names: Sequence[str], *, expects_json: bool) -> None:
        self._vocabulary, self._family, self._names = vocabulary, family, names
        self._expects_json = expects_json
        self._ids: list[int] = []
        self._said = ""
        self._written = ""  # the calls, as written so far
        self._calling = False
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> list[Delta]:
        """Take one token; return what it showed. Calls show when the step is whole."""
        self._ids.append(token)
        if token in self._vocabulary.end_ids:
            texts = [(call.tool, arguments_json(call.arguments)) for call in self._calls()]
            return [ArgumentsDelta(index=n, tool=tool, text=text) for n, (tool, text) in enumerate(texts)]
        text = self._utf8.decode(self._vocabulary.pieces[token])
        if not self._calling and self._names:
            is_opening = self._vocabulary.control_ids.get(self._vocabulary.pieces[token]) == token
            begins = not self._said and text[:1] == self._family.opening[0]
            self._calling = is_opening or begins
        if self._calling:
            self._written += text
            return []
        self._said += text
        return [TextDelta(text=text)] if text else []

    def tools_ahead(self, allowed: Iterable[int]) -> dict[int, tuple[str, ...]]:
        """Return the tools that each of `allowed` still leads to; nothing where none is being chosen."""
        if not self._calling:
            return {}
        written = self._rest(self._written)[1]
        heads = {name: _head(self._family, name) for name in self._names}
        if not written or not any(len(written) < len(head) and head.startswith(written) for head in heads.values()):
            return {}
        ahead = {}
        for token in allowed:
            text = written + self._vocabulary.pieces[token].decode("utf-8", "replace")
            ahead[token] = tuple(name for name, head in heads.items() if head.startswith(text) or text.startswith(head))
        return ahead if all(ahead.values()) else {}

    def finish(self, *, whole: bool) -> Step:
        """Return the step; what was cut off is left out of calls."""
        calls = self._calls()
        if not calls and self._calling and self._expects_json:  # an answer that only looked like a call
            return Step(kind="final", text=self._written, token_ids=tuple(self._ids))
        kept = tuple(self._ids) if whole or not self._calling else ()
        return Step(kind="calls" if calls else "final", text=self._said, calls=calls, token_ids=kept)

    def _calls(self) -> tuple[ToolCall, ...]:
        found, _ = self._rest(self._written)
        return tuple(call_of(n, call["name"], call[self._family.key]) for n, call in enumerate(found))

    def _rest(self, text: str) -> tuple[list[dict[str, Any]], str]:
        """Return the whole calls in `text`, and what is written of the next one."""
        found: list[dict[str, Any]] = []
        decoder = json.JSONDecoder()
        start = text.find("{")
        while start >= 0:
            try:
                call, end = decoder.raw_decode(text, start)
            except json.JSONDecodeError:
                return found, text[start:]
            if call.get("name") in self._names and isinstance(call.get(self._family.key), dict):
                found.append(call)
            start = text.find("{", end)
        return found, ""


def _head(family: Family, name: str) -> str:
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "{family.key}": '


def _literal(text: str, vocabulary: Vocabulary) -> str:
    """Return `text` in Lark, its control tokens as themselves."""
    parts: list[str | bytes] = []
    for token in vocabulary.tokenise(text, special=True):
        piece = vocabulary.pieces[token]
        if vocabulary.control_ids.get(piece) == token:
            parts.append(f"<[{token}]>")
        elif parts and isinstance(parts[-1], bytes):
            parts[-1] += piece
        else:
            parts.append(piece)
    return " ".join(part if isinstance(part, str) else json.dumps(part.decode(), ensure_ascii=False) for part in parts)
