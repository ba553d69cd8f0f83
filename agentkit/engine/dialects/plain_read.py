"""Reading `plain/1` back: decoded tokens become a step, and `<rN>` becomes the text of result N."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentkit.engine.dialects import plain
from agentkit.protocols import ArgumentsDelta, Delta, TextDelta, ThinkingDelta
from agentkit.types import Step, StepKind

__all__ = ["PlainReader"]

_IDS = plain.CONTROL_IDS
_TEXT_PARTS: dict[int, str] = {_IDS[f"<{name}>"]: name for name in ("think", "plan", "final", "ask", "decline")}
_CALL, _END = _IDS["<call>"], _IDS["<end>"]
_REFERENCES = {_IDS[f"<r{n}>"]: n for n in range(1, plain.MAX_REFERENCES + 1)}


class PlainReader:
    """Reads one step. A token that cannot stand where it stands raises ValueError."""

    is_done = False

    def __init__(self, pieces: Sequence[bytes], tags: Mapping[int, str], results: Mapping[int, str]) -> None:
        """Keep what the step may refer to.

        Args:
            pieces: bytes of each token.
            tags: token of each tool's tag -> the tool's name.
            results: reference number, 1 to 16 -> text of the latest result of that number.
        """
        self._pieces, self._tags, self._results = pieces, tags, results
        self._ids: list[int] = []
        self._part = ""  # which part is being read; "tag" between <call> and the tool's tag
        self._texts: dict[str, str] = {}
        self._calls: list[tuple[str, str]] = []
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._ended = False

    def feed(self, token: int) -> list[Delta]:
        """Take one token; return what it showed."""
        if self._ended:
            raise ValueError("a token after <end>")
        self._ids.append(token)
        if self._part == "tag":
            self._calls.append((self._tags.get(token) or _wrong(token), ""))
            self._part = "call"
            return []
        if token >= len(plain.CONTROL_TOKENS):
            return self._show(self._utf8.decode(self._pieces[token]))
        if token in _REFERENCES:
            if self._part not in ("final", "ask", "decline"):
                _wrong(token)
            return self._show(self._results.get(_REFERENCES[token], ""))
        self._utf8.reset()
        if token == _END:
            self._ended = True
        elif token == _CALL:
            self._part = "tag"
        else:
            self._part = _TEXT_PARTS.get(token) or _wrong(token)
            self._texts.setdefault(self._part, "")
        return []

    def tools_ahead(self, allowed: Iterable[int]) -> dict[int, tuple[str, ...]]:
        """Return the tool of each of `allowed` where a tag must follow; nothing elsewhere."""
        return {token: (self._tags[token],) for token in allowed} if self._part == "tag" else {}

    def finish(self, *, whole: bool) -> Step:
        """Return the step; unless `whole`, a call that was cut off is left out of it."""
        calls = self._calls if whole or self._ended else self._calls[:-1]
        kind = next((part for part in ("final", "ask", "decline") if part in self._texts), "calls")
        if not self._ended and not whole and not self._calls and kind == "calls":
            kind = "final"  # cut off before anything was said
        cut_call = kind == "calls" and len(calls) < len(self._calls)
        return Step(
            kind=_kind(kind),
            text=self._texts.get(kind, ""),
            calls=tuple(plain.call_of(n, tool, _arguments(text)) for n, (tool, text) in enumerate(calls)),
            thinking=self._texts.get("think", ""),
            plan=self._texts.get("plan", ""),
            token_ids=() if cut_call else tuple(self._ids),
        )

    def _show(self, text: str) -> list[Delta]:
        if self._part == "call":
            tool, before = self._calls[-1]
            self._calls[-1] = (tool, before + text)
            return [ArgumentsDelta(index=len(self._calls) - 1, tool=tool, text=text)] if text else []
        if not self._part:
            raise ValueError("text before the kind of step")
        self._texts[self._part] += text
        if not text:
            return []
        return [ThinkingDelta(text=text) if self._part in ("think", "plan") else TextDelta(text=text)]


def _arguments(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"arguments are not an object: {text}")
    return found


def _kind(name: str) -> StepKind:
    kinds: dict[str, StepKind] = {"final": "final", "ask": "ask", "decline": "decline", "calls": "calls"}
    return kinds[name]


def _wrong(token: int) -> str:
    raise ValueError(f"{plain.CONTROL_TOKENS[token] if token < len(plain.CONTROL_TOKENS) else token} cannot stand here")
