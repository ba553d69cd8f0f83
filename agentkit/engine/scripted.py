"""An engine that says what it was told to say: for tests, examples and `-m scripted:FILE`.

Steps come in order, one a request; requests are recorded; cancel and deadline are honoured between the
small pieces it streams. It is deterministic and loads nothing. It checks what a request allows, but not
the arguments of calls, so that a script can hold a model's mistakes. A token is a word, here.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentkit.engine.checks import refuse_parts, refuse_unknown, stop_if_over, text_of
from agentkit.engine.script import Branches, Entry, Failure, Slowly, read_script
from agentkit.errors import CannotEnforce, ContextFull, EngineError
from agentkit.protocols import ArgumentsDelta, Capabilities, Delta, Reply, Request, Score, TextDelta, ThinkingDelta
from agentkit.schema import problems
from agentkit.types import Step, ToolCall, Usage

DEFAULT = Capabilities(model="scripted", context=8192, branches=True, scores=True)
_PIECE = 8  # characters of a delta
_POLL_S = 0.01


class ScriptedEngine:
    """Replies with the entries of a script, in order, whatever it is asked."""

    def __init__(self, steps: Sequence[Entry], *, capabilities: Capabilities = DEFAULT) -> None:
        self._entries = tuple(steps)
        self._capabilities = capabilities
        self._next = 0
        self._lock = threading.Lock()
        self.requests: list[Request] = []

    @classmethod
    def from_file(cls, path: Path | str) -> ScriptedEngine:
        """Read a script: a JSON array of steps, or one step a line (JSON Lines).

        A step is `{"call": {"tool": ..., "arguments": {...}}}`, `{"calls": [...]}`, `{"final": "..."}`,
        `{"ask": "..."}`, `{"decline": "..."}`, `{"fail": "message"}` or `{"branch": [step, ...]}`; `"thinking"`,
        `"plan"` and `"seconds"` (how long it takes) may stand beside.

        Raises:
            ModelNotFound: there is no such file.
            ModelFileError: it is not a script; names file and line.
        """
        path = Path(path)
        name = replace(DEFAULT, model=f"scripted:{path.name}")
        return cls(read_script(path), capabilities=name)

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return self._capabilities

    def stream(self, request: Request) -> Iterator[Delta]:
        """Yield the next entry in small pieces, then its `Reply`.

        Raises:
            EngineError: the script is at its end, or the entry is not what the request allows.
        """
        entry = self._take(request)
        if isinstance(entry, Branches):
            entry = entry.steps[0]
        seconds = entry.seconds if isinstance(entry, Slowly) else 0.0
        reply = self._reply(request, entry.step if isinstance(entry, Slowly) else _played(entry, request))
        pieces = list(_pieces(reply.step))
        for piece in pieces:
            _wait(request, seconds / len(pieces))
            yield piece
        stop_if_over(request)
        yield reply

    def branch(self, request: Request, n: int) -> list[Reply]:
        """Return the first `n` distinct steps of the next entry."""
        if not self._capabilities.branches:
            raise CannotEnforce(f"{self._capabilities.model} cannot branch; use a model that can")
        entry = self._take(request)
        if isinstance(entry, Slowly):
            _wait(request, entry.seconds)
            entry = entry.step
        steps = entry.steps if isinstance(entry, Branches) else (_played(entry, request),)
        distinct: dict[str, Step] = {}
        for step in steps:
            distinct.setdefault(_canonical(step), step)
        return [self._reply(request, step) for step in list(distinct.values())[:n]]

    def score(self, request: Request, candidates: Sequence[Step]) -> list[Score]:
        """Return a figure that depends on the candidate alone, between -8 and 0 a word."""
        if not self._capabilities.scores:
            raise CannotEnforce(f"{self._capabilities.model} cannot score; use a model that can")
        stop_if_over(request)
        return [_score(step) for step in candidates]

    def count(self, request: Request) -> int:
        """Return the number of words in the messages and tools: an approximation of tokens."""
        said = sum(len(text_of(message).split()) for message in request.messages)
        called = sum(
            _words(json.dumps(call["args"]))
            for message in request.messages
            for call in getattr(message, "tool_calls", ())
        )
        tools = sum(len(f"{spec.name} {spec.description}".split()) for spec in request.tools)
        return said + called + tools + len(request.messages)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Refuse: a script has no vectors."""
        raise CannotEnforce(f"{self._capabilities.model} cannot embed; use a model that can")

    def close(self) -> None:
        """Do nothing; there is nothing to free."""

    def assert_complete(self) -> None:
        """Raise `AssertionError` if entries of the script were never asked for."""
        left = len(self._entries) - self._next
        if left:
            raise AssertionError(f"{left} of the script's {len(self._entries)} steps were never asked for")

    def _take(self, request: Request) -> Entry:
        stop_if_over(request)
        refuse_parts(request, self._capabilities)
        refuse_unknown(request, self._capabilities, honours=("tool_prior", "top_k", "min_p", "repeat_penalty"))
        needed = self.count(request)
        if needed > self._capabilities.context:
            raise ContextFull(
                f"the prompt has {needed} words, {self._capabilities.model} takes {self._capabilities.context}; "
                "shorten it, or use a larger context"
            )
        with self._lock:
            self.requests.append(request)
            if self._next >= len(self._entries):
                raise EngineError(
                    f"{self._capabilities.model}: the script has {len(self._entries)} steps, and a further one was "
                    "asked for; add a step"
                )
            entry = self._entries[self._next]
            self._next += 1
        if isinstance(entry, Failure):
            raise entry.error
        return entry

    def _reply(self, request: Request, step: Step) -> Reply:
        model, prompt = self._capabilities.model, self.count(request)
        if step.kind not in request.allow:
            raise EngineError(
                f"{model}: step {self._next} of the script is '{step.kind}', "
                f"but only {', '.join(sorted(request.allow))} was allowed; change the script"
            )
        if request.output is not None and step.kind == "final":
            step = replace(step, data=_data(step, request.output, f"{model}: step {self._next}"))
        size = _words(step.text) + sum(_words(_arguments(call)) for call in step.calls)
        finish = "length" if size > request.max_tokens else "stop"
        if finish == "length":
            if step.calls or request.output is not None:
                raise EngineError(f"{model}: step {self._next} has {size} words, max_tokens is {request.max_tokens}")
            step = replace(step, text=_first_words(step.text, request.max_tokens))
            size = request.max_tokens
        usage = Usage(prompt=prompt, decoded=size)
        return Reply(step=step, usage=usage, finish="length" if finish == "length" else "stop", assurance="none")


def _played(entry: Entry, request: Request) -> Step:
    step = entry if isinstance(entry, Step) else entry(request) if callable(entry) else None
    if not isinstance(step, Step):
        raise EngineError(f"an entry of the script gave {type(step).__name__}, not a Step; return a Step")
    return step


def _pieces(step: Step) -> Iterator[Delta]:
    for text in _cut(step.thinking):
        yield ThinkingDelta(text=text)
    for text in _cut(step.text):
        yield TextDelta(text=text)
    for index, call in enumerate(step.calls):
        for text in _cut(_arguments(call)):
            yield ArgumentsDelta(index=index, tool=call.tool, text=text)


def _cut(text: str) -> Iterator[str]:
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def _wait(request: Request, seconds: float) -> None:
    end = time.monotonic() + seconds
    stop_if_over(request)
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _POLL_S))
        stop_if_over(request)


def _arguments(call: ToolCall) -> str:
    return json.dumps(dict(call.arguments), ensure_ascii=False)


def _canonical(step: Step) -> str:
    calls = [(call.tool, json.dumps(dict(call.arguments), sort_keys=True)) for call in step.calls]
    return json.dumps([step.kind, step.text, calls])


def _score(step: Step) -> Score:
    text = _canonical(step)
    tokens = max(1, _words(text))
    return Score(logprob=-8.0 * tokens * (zlib.crc32(text.encode()) / 2**32), tokens=tokens)


def _words(text: str) -> int:
    return len(text.split())


def _first_words(text: str, n: int) -> str:
    return " ".join(text.split()[:n])


def _data(step: Step, schema: Mapping[str, Any], where: str) -> Any:
    try:
        data = json.loads(step.text)
    except json.JSONDecodeError as error:
        raise EngineError(f"{where} is not JSON, which the output schema asks for ({error}); change it") from error
    if wrong := problems(data, schema):
        raise EngineError(f"{where} does not fit the output schema ({wrong[0]}); change the script")
    return data
