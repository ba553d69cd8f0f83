"""Rows of texts, read one after the other: TRL's formats, and what explanation and tool-use traces add to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams

__all__ = ["Texts", "read_rows", "texts_of"]


@dataclass(frozen=True, slots=True)
class Texts:
    """What a row says, in parts. The system message is not among the prompt: it is shared by many rows."""

    system: str
    prompt: str
    answer: str

    @property
    def whole(self) -> str:
        """Prompt and answer."""
        return f"{self.prompt}\n{self.answer}".strip()


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers, from 1, and rows; blank lines are left out.

    Raises:
        InvalidParams: the file cannot be read, or a line is no JSON object; names the line.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _row(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidParams(f"/data: {path} cannot be read ({error}); give JSON Lines in UTF-8") from error


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InvalidParams(f"/data: {path.name}, line {number}: no JSON ({error}); mend or remove it") from error
    if not isinstance(row, dict):
        raise InvalidParams(
            f"/data: {path.name}, line {number}: {type(row).__name__}, not an object; mend or remove it"
        )
    return row


def texts_of(row: Mapping[str, Any]) -> Texts:
    """Return what a row says.

    Taken are `messages`; or `prompt` with `completion` or `chosen`; or `text`. Texts are strings or lists of messages.
    All that is not the assistant's or the system's is prompt: what users ask and what tools return.
    """
    if isinstance(row.get("messages"), list):
        return _of_messages(row["messages"])
    prompt = _said(row.get("prompt"))
    answer = _said(row.get("completion", row.get("chosen")))
    return Texts(prompt.system, prompt.prompt, answer.answer or answer.prompt) if row.get("prompt") else _plain(row)


def _plain(row: Mapping[str, Any]) -> Texts:
    text = row.get("text")
    return Texts("", "", text) if isinstance(text, str) else Texts("", "", "")


def _said(value: Any) -> Texts:
    return _of_messages(value) if isinstance(value, list) else Texts("", value if isinstance(value, str) else "", "")


def _of_messages(messages: list[Any]) -> Texts:
    parts: dict[str, list[str]] = {"system": [], "assistant": [], "prompt": []}
    for message in messages:
        if isinstance(message, Mapping):
            role = message.get("role")
            parts[role if role in ("system", "assistant") else "prompt"].append(_content(message))
    system, answer, prompt = ("\n".join(filter(None, parts[name])) for name in ("system", "assistant", "prompt"))
    return Texts(system, prompt, answer)


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    said = content if isinstance(content, str) else "" if content is None else json.dumps(content, sort_keys=True)
    calls = message.get("tool_calls")
    return f"{said}\n{json.dumps(calls, sort_keys=True)}".strip() if calls else said
