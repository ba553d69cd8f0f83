"""Reads what a chat model says, token by token: text, and calls in its family's form."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping

from agentkit.engine.dialects import Vocabulary
from agentkit.engine.dialects.chat_contents import Controls
from agentkit.engine.dialects.chat_families import Family
from agentkit.engine.dialects.chat_grammar import frames_of
from agentkit.engine.dialects.plain import arguments_json, call_of
from agentkit.protocols import ArgumentsDelta, Delta, TextDelta, ThinkingDelta
from agentkit.types import Step, StepKind, ToolCall, ToolSpec

__all__ = ["ChatReader"]


class ChatReader:
    """Reads one step. Text shows as it comes, but for white space that calls may follow; so do JSON arguments."""

    is_done = False

    def __init__(
        self,
        vocabulary: Vocabulary,
        controls: Controls,
        family: Family,
        tools: Mapping[str, ToolSpec],
        *,
        first: int,
        gap: str,
        thought: tuple[str, str] | None = None,
    ) -> None:
        """Keep what the step may say.

        Args:
            vocabulary: of the model.
            controls: its control tokens.
            family: how calls are written.
            tools: those that may be called, by name; none: all is text.
            first: how many calls the conversation has had.
            gap: what stands between text and calls, and belongs to neither.
            thought: what stands around the thinking that comes first; None: there is none.
        """
        self._vocabulary, self._controls, self._family, self._tools = vocabulary, controls, family, tools
        self._first, self._gap = first, gap
        self._begins = [begin for begin, _ in frames_of(family, controls)]
        self._openers = {controls.opening(begin + family.head) for begin in self._begins}
        self._ends = {*vocabulary.end_ids, vocabulary.turn_end_id}
        self._ids: list[int] = []
        self._follows_control = False
        self._thought = thought or ("", "")
        self._thinking = ""
        self._part = "thought" if thought else "start"  # then "text", "head" before a call's arguments, or "arguments"
        self._said = ""
        self._waiting = ""  # read, and not known yet what it is; or the arguments so far
        self._tool = ""
        self._calls: list[ToolCall] = []
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> list[Delta]:
        """Take one token; return what it showed."""
        self._ids.append(token)
        if token in self._ends:
            is_call = self._calls or self._part == "arguments"
            return [] if is_call else self._say(len(self._waiting))
        shown: list[Delta] = []
        if token in self._openers and self._part == "text" and self._tools:
            shown = self._say(len(self._waiting.removesuffix(self._gap)))
            self._part, self._waiting = "head", ""
        text = self._text(token)
        self._follows_control = token in self._controls.ids or (self._follows_control and not text)
        self._waiting += text
        if self._part == "thought":
            shown = self._think()
        if self._part in ("start", "head"):
            text = self._find_head()
        if self._part == "arguments":
            shown += self._argue(text)
        elif self._part == "text":
            held = self._waiting if not self._tools else self._waiting.rstrip()
            shown += self._say(len(held))
        return shown

    def tools_ahead(self, allowed: Iterable[int]) -> dict[int, tuple[str, ...]]:
        """Return the tools that each of `allowed` still leads to; nothing where none is being chosen."""
        if self._part not in ("start", "head") or not self._waiting.strip():
            return {}
        heads, ahead = self._heads(), {}
        for token in allowed:
            piece = self._vocabulary.pieces[token].decode("utf-8", "replace")
            text = (self._waiting + (piece.lstrip(" ") if self._follows_control else piece)).lstrip()
            found = [name for head, name in heads if head.startswith(text) or text.startswith(head)]
            if not found:
                return {}
            ahead[token] = tuple(dict.fromkeys(found))
        return ahead

    def finish(self, *, whole: bool) -> Step:
        """Return the step; a call that was cut off is left out of it."""
        is_cut = self._part in ("thought", "head", "arguments") and not whole
        text = self._said if self._calls or is_cut else self._said + self._waiting
        kind: StepKind = "calls" if self._calls else "final"
        ids = () if is_cut else tuple(self._ids)
        return Step(kind=kind, text=text, calls=tuple(self._calls), thinking=self._thinking.strip(), token_ids=ids)

    def _think(self) -> list[Delta]:
        """Take what waits as thinking, but for what may be its end; after that the step begins."""
        before, after = (mark.strip() for mark in self._thought)
        waiting = self._waiting.lstrip() if not self._thinking else self._waiting
        if not self._thinking and before.startswith(waiting[: len(before)]):
            waiting = waiting[len(before) :]
            if not waiting.strip():
                return []
        text, closed, rest = waiting.partition(after)
        if closed:
            self._part, self._waiting = "start", rest.lstrip()
        else:
            held = next((n for n in range(len(after) - 1, 0, -1) if waiting.endswith(after[:n])), 0)
            text, self._waiting = waiting[: len(waiting) - held], waiting[len(waiting) - held :]
        self._thinking += text
        return [ThinkingDelta(text=text)] if text else []

    def _find_head(self) -> str:
        """Look for what stands before a call's arguments; return what is written of those."""
        text, heads = self._waiting.lstrip(), self._heads()
        for head, name in heads:
            if text.startswith(head):
                self._part, self._tool, self._waiting = "arguments", name, text[len(head) :]
                return self._waiting
        if self._part == "start" and text and not any(head.startswith(text) for head, _ in heads):
            self._part, self._waiting = "text", text  # white space before an answer is the template's
        return ""

    def _heads(self) -> list[tuple[str, str]]:
        """Return what may stand before arguments, and the tool that it names."""
        number = self._first + len(self._calls)
        befores = self._begins
        if self._calls:
            befores = [self._family.tail_of(number - 1) + self._family.between]
        heads = [(before + self._family.head_of(name, number), name) for before in befores for name in self._tools]
        return [(self._controls.without_spaces(head).lstrip(), name) for head, name in heads]

    def _text(self, token: int) -> str:
        """Return what `token` says; the space that some vocabularies put after a control token is none of it."""
        text = self._utf8.decode(self._vocabulary.pieces[token])
        return text.lstrip(" ") if self._follows_control else text

    def _argue(self, text: str) -> list[Delta]:
        """Take some more of the arguments."""
        way, index = self._family.arguments, len(self._calls)
        found = way.read(self._waiting, self._tools[self._tool]) if way.ends_with in text else None
        if found is None:
            return [ArgumentsDelta(index=index, tool=self._tool, text=text)] if way.streams and text else []
        arguments, length = found
        self._calls.append(call_of(index, self._tool, arguments))
        after = len(self._waiting) - length
        shown = text[: len(text) - after] if way.streams else arguments_json(arguments)
        delta = ArgumentsDelta(index=index, tool=self._tool, text=shown)
        self._part, self._waiting = "head", self._waiting[length:]
        begun = self._find_head()  # a token may end one call and begin another
        return [delta, *(self._argue(begun) if begun else [])]

    def _say(self, length: int) -> list[Delta]:
        """Show that much of what waits as text."""
        text, self._waiting = self._waiting[:length], self._waiting[length:]
        self._said += text
        return [TextDelta(text=text)] if text else []
