"""Read the stream of an OpenAI-compatible chat completion, and trust none of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agentkit.engine.validated import Draft, RawCall
from agentkit.errors import ProviderError
from agentkit.protocols import TextDelta, ThinkingDelta
from agentkit.types import Usage

_LONGEST = 16_000_000  # bytes of a whole reply
_SHOWN = 120


class Reading:
    """What has arrived of one reply so far."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._rest, self._size = b"", 0
        self._whole = False  # one JSON document instead of a stream
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[dict[str, str]] = []
        self._places: dict[Any, int] = {}  # the server's index -> place in `_calls`
        self._finish: str | None = None
        self._usage: Mapping[str, Any] = {}

    def begin(self, content_type: str) -> None:
        """Take note of what the server is going to send."""
        if "text/html" in content_type:
            raise ProviderError(f"{self._server}: answered with a web page; the address should end in /v1")
        self._whole = "application/json" in content_type

    def feed(self, chunk: bytes) -> Iterator[TextDelta | ThinkingDelta]:
        """Take some bytes; yield what they add to the reply.

        Raises:
            ProviderError: they are not what a server should send.
        """
        self._size += len(chunk)
        if self._size > _LONGEST:
            raise ProviderError(f"{self._server}: sent more than {_LONGEST} bytes; the server or its model is broken")
        if self._whole:
            self._rest += chunk
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            yield from self._line(line)

    def end(self) -> Iterator[TextDelta | ThinkingDelta]:
        """Yield what the last bytes add, now that no more will come."""
        yield from self._event(self._rest) if self._whole else self._line(self._rest)

    def draft(self, guess: Usage) -> Draft:
        """Return the whole reply; `guess` stands in for a usage that the server did not report.

        Raises:
            ProviderError: the reply is not whole.
        """
        if self._finish is None:
            raise ProviderError(f"{self._server}: the reply broke off in the middle; see the server's log, try again")
        if self._finish == "content_filter":
            raise ProviderError(f"{self._server}: the server's content filter withheld the reply; rephrase the task")
        calls = tuple(RawCall(id=call["id"], tool=call["name"], arguments=call["arguments"]) for call in self._calls)
        text = "".join(self._text)
        return Draft(
            text=text,
            calls=calls,
            thinking="".join(self._thinking),
            cut=self._finish == "length",
            usage=self._spent(guess, len(text) + sum(len(call.arguments) for call in calls)),
        )

    def _line(self, line: bytes) -> Iterator[TextDelta | ThinkingDelta]:
        name, separator, value = line.strip().partition(b":")
        if separator and name == b"data" and value.strip() != b"[DONE]":
            yield from self._event(value)

    def _event(self, data: bytes) -> Iterator[TextDelta | ThinkingDelta]:
        try:
            yield from self._chunk(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            shown = data[:_SHOWN].decode("utf-8", errors="replace").strip()
            raise ProviderError(f"{self._server}: sent something unreadable ({shown!r}); is it compatible?") from error

    def _chunk(self, chunk: Mapping[str, Any]) -> Iterator[TextDelta | ThinkingDelta]:
        if error := chunk.get("error"):
            message = error.get("message", error) if isinstance(error, Mapping) else error
            raise ProviderError(f"{self._server}: failed while answering ({str(message)[:_SHOWN]}); try again")
        if usage := chunk.get("usage"):
            self._usage = dict(usage)
        choices = chunk.get("choices") or []
        if not choices:
            return
        self._finish = choices[0].get("finish_reason") or self._finish
        delta = choices[0].get("message" if self._whole else "delta") or {}
        if thinking := delta.get("reasoning_content") or delta.get("reasoning"):
            self._thinking.append(str(thinking))
            yield ThinkingDelta(text=str(thinking))
        if text := delta.get("content"):
            self._text.append(str(text))
            yield TextDelta(text=str(text))
        for call in delta.get("tool_calls") or []:
            self._add(call)

    def _add(self, call: Mapping[str, Any]) -> None:
        function = call.get("function") or {}
        index, call_id = call.get("index", len(self._calls)), str(call.get("id") or "")
        place = self._places.get(index)
        # Some servers number every call 0; a new id with a name begins a new call.
        if place is None or (call_id and function.get("name") and self._calls[place]["id"] not in ("", call_id)):
            place = self._places[index] = len(self._calls)
            self._calls.append({"id": "", "name": "", "arguments": ""})
        known = self._calls[place]
        known["id"] = known["id"] or call_id
        known["name"] = known["name"] or str(function.get("name") or "")
        arguments = function.get("arguments") or ""
        known["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def _spent(self, guess: Usage, characters: int) -> Usage:
        details = self._usage.get("prompt_tokens_details")
        reused = details.get("cached_tokens") if isinstance(details, Mapping) else 0
        return Usage(
            prompt=_whole_number(self._usage.get("prompt_tokens"), guess.prompt),
            reused=_whole_number(reused, 0),
            decoded=_whole_number(self._usage.get("completion_tokens"), (characters + 3) // 4),
            seconds=guess.seconds,
        )


def _whole_number(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise
