"""Listening to a run from `agentkit run`: one listener for each output format.

text: the answer to stdout (as it comes where that is a terminal, whole at the end where it is a pipe, so
that nobody reads words that were taken back); calls and notes dim to stderr. stream-json: every event
as one line. json: nothing until the end.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

from agentkit.cli import output
from agentkit.cli.lines import call_text, note_text, result_text
from agentkit.events import Event
from agentkit.runs import envelope
from agentkit.types import RunResult, StopReason


class Listener(Protocol):
    """Hears a run's events, then its result."""

    def __call__(self, event: Event) -> None:
        """Take one event."""
        ...

    def ended(self, result: RunResult, code: int) -> None:
        """Take the result, and the status the process will have."""
        ...


class Text:
    """For people, and for scripts that want the answer alone."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._streams = sys.stdout.isatty()
        self._streamed = ""
        self._calls: dict[str, Mapping[str, Any]] = {}
        self._unfinished = False  # a line on the terminal that will be written over

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event.type:
            case "text_delta":
                self._delta(str(event.data.get("text", "")))
            case "tool_use":
                self._calls[str(event.data.get("id"))] = event.data.get("arguments") or {}
                self._begin(f"… {call_text(str(event.data.get('tool')), event.data.get('arguments') or {})}")
            case "tool_result":
                known = {"arguments": self._calls.get(str(event.data.get("id")), {})}
                self._line(event, result_text({**known, **event.data}))
            case _:
                note = note_text(event)
                if note:
                    self._line(event, note)

    def ended(self, result: RunResult, code: int) -> None:
        """Write the answer if it is not there yet, and on stderr why it is not simply done."""
        answer = output.clean(result.answer) if self._streams else result.answer
        if self._streamed and self._streamed.strip() == answer.strip():
            sys.stdout.write("\n")
        elif answer:
            sys.stdout.write(("\n" if self._streamed else "") + answer.rstrip("\n") + "\n")
        sys.stdout.flush()
        say_ending(result)

    def _delta(self, text: str) -> None:
        if self._streams:
            shown = output.clean(text)
            self._streamed += shown
            sys.stdout.write(shown)
            sys.stdout.flush()

    def _begin(self, text: str) -> None:
        """Show a call that has begun, where its line can be written over when it has ended."""
        if self._quiet or not output.colourful(sys.stderr):
            return
        self._end_stream()
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write("\r\x1b[K" + output.dim(text[:width], sys.stderr))
        sys.stderr.flush()
        self._unfinished = True

    def _end_stream(self) -> None:
        if self._streamed and not self._streamed.endswith("\n"):
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._streamed = ""

    def _line(self, event: Event, text: str) -> None:
        if self._quiet:
            return
        self._end_stream()
        if self._unfinished:
            sys.stderr.write("\r\x1b[K")
            self._unfinished = False
        clock = time.strftime("%H:%M:%S", time.localtime(event.ts))
        output.say(f"{clock} {text}", faint=True)


class Json:
    """One document at the end."""

    def __call__(self, event: Event) -> None:
        """Wait for the end."""

    def ended(self, result: RunResult, code: int) -> None:
        """Write the document."""
        output.document("run", payload(result, code))
        say_ending(result)


class StreamJson:
    """One line an event; the last is `run_ended` with the result."""

    def __init__(self) -> None:
        self._last: Event | None = None

    def __call__(self, event: Event) -> None:
        """Write it at once, but for the last one: how the process ends is not known yet."""
        if event.type == "run_ended":
            self._last = event
        else:
            output.line(event.to_json())

    def ended(self, result: RunResult, code: int) -> None:
        """Write the last event."""
        if self._last is not None:
            output.line({**self._last.to_json(), "exit_code": code})
        say_ending(result)


def listener(form: str, *, quiet: bool) -> Listener:
    """Return the listener for an output format."""
    match form:
        case "json":
            return Json()
        case "stream-json":
            return StreamJson()
        case _:
            return Text(quiet=quiet)


def payload(result: RunResult, code: int) -> dict[str, Any]:
    """Return a result as the JSON of `run`: steps without ids, and the status the process will have."""
    data = {**envelope(result), "exit_code": code}
    data["steps"] = [
        {key: step[key] for key in ("tool", "arguments", "result", "ok", "seconds")} for step in data["steps"]
    ]
    return data


def say_ending(result: RunResult) -> None:
    """Say on stderr why a run is not simply done."""
    if result.stop_reason is not StopReason.DONE:
        output.say(ending(result))


def ending(result: RunResult) -> str:
    """Return the line that says why a run is not simply done, and how to go on."""
    reason = result.stop_reason
    text = f"agentkit: {reason.value}: {result.detail}" if result.detail else f"agentkit: {reason.value}"
    text = " ".join(output.clean(text).split())
    if reason in {StopReason.CANCELLED, StopReason.NEEDS_INPUT, StopReason.MODEL}:
        text += f"; go on with: agentkit run --resume {result.run_id}"
    return text
