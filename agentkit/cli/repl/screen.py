"""What a turn looks like while it happens.

Finished paragraphs are printed for good, as Markdown; only the one being written, and the call being
made, are redrawn. So nothing flickers, nothing is printed twice, and scrolling back shows everything.
Where the terminal cannot be redrawn, text comes as it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from agentkit.cli.lines import call_text, fold, note_text
from agentkit.cli.output import clean
from agentkit.events import Event
from agentkit.types import RunResult, StepRecord, StopReason

MIN_WIDTH = 30
REFRESH = 12.5  # redraws a second


class Screen:
    """Listens to runs and shows them on a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.results: list[StepRecord] = []  # of all calls shown, for /show
        self.answer = ""  # the last one, for /last and /copy
        self.tokens = 0  # in the context after the last model call
        self.reused = 0
        self._moves = console.is_terminal and not console.is_dumb_terminal and console.width >= MIN_WIDTH
        self._text, self._shown = "", 0  # this reply's text, and how much of it is printed for good
        self._call: tuple[str, float] | None = None
        self._arguments: dict[str, Mapping[str, Any]] = {}
        self._live: Live | None = None
        self._spinner = Spinner("dots")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Show what happens inside this block as one turn."""
        self._text, self._shown, self._call = "", 0, None
        self._start()
        try:
            yield
        finally:
            self.pause()

    def pause(self) -> None:
        """Print what is unfinished for good and leave the terminal alone, until the next event."""
        self._flush()
        self._call = None
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event.type:
            case "text_delta":
                self._write(clean(str(event.data.get("text", ""))))
            case "tool_use":
                arguments = event.data.get("arguments") or {}
                self._arguments[str(event.data.get("id"))] = arguments
                self._flush()
                self._call = (call_text(str(event.data.get("tool")), arguments), time.monotonic())
                self._start()
            case "tool_result":
                self._result(event.data)
            case "usage":
                data = event.data
                self.tokens = sum(int(data.get(name) or 0) for name in ("prompt", "forced", "decoded"))
                self.reused = int(data.get("reused") or 0)
            case _:
                note = note_text(event)
                if note and event.type != "approval_required":  # that one is asked in full
                    self.console.print(Text(note, style="yellow" if event.type == "guard" else "dim"))

    def ended(self, result: RunResult) -> None:
        """Print what the stream did not show: another answer, and why it is not simply done."""
        self.results[len(self.results) - len(result.steps) :] = result.steps  # whole, where events held them capped
        answer = clean(result.answer).strip()
        if answer and answer != self._text.strip():
            self.console.print(Markdown(answer) if self._moves else answer)
        self.answer = answer or self.answer
        match result.stop_reason:
            case StopReason.DONE:
                pass
            case StopReason.NEEDS_INPUT if answer:
                pass  # the model asked something: the next line answers it
            case StopReason.CANCELLED:
                self.console.print(Text(f"stopped; /resume {result.run_id[:8]} finishes it", style="yellow"))
            case reason:
                self.console.print(Text(f"{reason.value}: {clean(result.detail)}", style="yellow"))

    # ── the part that moves ──

    def _start(self) -> None:
        if self._moves and self._live is None:
            self._live = Live(
                get_renderable=self._moving,
                console=self.console,
                refresh_per_second=REFRESH,
                transient=True,
                vertical_overflow="crop",
            )
            self._live.start()

    def _moving(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._shown < len(self._text):
            if self._shown:
                parts.append(Text(""))
            parts.append(Tail(self._text[self._shown :]))
        if self._call is not None:
            call, began = self._call
            self._spinner.update(
                text=Text(f"{call}  {time.monotonic() - began:.1f}s", style="cyan", overflow="ellipsis")
            )
            parts.append(self._spinner)
        elif not self._text:
            self._spinner.update(text=Text("thinking", style="dim"))
            parts.append(self._spinner)
        return Group(*parts)

    def _write(self, text: str) -> None:
        self._text += text
        if not self._moves:
            self.console.out(text, end="", highlight=False)
            self._shown = len(self._text)
            return
        self._start()
        done = finished(self._text)
        if done > self._shown:
            self._block(done)

    def _flush(self) -> None:
        """Print what is left of the reply for good."""
        if self._text[self._shown :].strip():
            self._block(len(self._text))
        elif not self._moves and self._text and not self._text.endswith("\n"):
            self.console.out("")

    def _block(self, end: int) -> None:
        """Print the reply up to `end` for good, with a gap before all but its first part."""
        if self._shown:
            self.console.print()
        self.console.print(Markdown(self._text[self._shown : end]))
        self._shown = end

    def _result(self, data: Mapping[str, Any]) -> None:
        arguments = data.get("arguments") or self._arguments.get(str(data.get("id")), {})
        step = StepRecord(
            tool=str(data.get("tool", "?")),
            arguments=arguments,
            ok=bool(data.get("ok", True)),
            result=str(data.get("result", "")),
            seconds=float(data.get("seconds") or 0.0),
        )
        self.results.append(step)
        self._call = None
        self.console.print(self._step_line(step, len(self.results)))
        self._text, self._shown = "", 0  # what follows is a new reply

    def _step_line(self, step: StepRecord, number: int) -> Text:
        folded = fold(step.result)
        line = Text("● ", style="green" if step.ok else "red")
        line.append(call_text(step.tool, step.arguments), style="bold")
        line.append(f"  {step.seconds:.2f}s  ", style="dim")
        line.append(f"{'→' if step.ok else '✗'} {folded}", style="" if step.ok else "red")
        if folded != clean(step.result).strip():
            line.append(f"  /show {number}", style="dim")
        return line


class Tail:
    """The end of a Markdown text, as much of it as fits on the screen."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the last lines that fit."""
        lines = console.render_lines(Markdown(self._text), options, pad=False)
        for line in lines[-max(1, console.height - 4) :]:
            yield from line
            yield Segment.line()


def finished(text: str) -> int:
    """Return up to where a growing Markdown text will not change any more: the last gap outside a code fence."""
    position, end, fenced = 0, 0, False
    for line in text.splitlines(keepends=True):
        position += len(line)
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced and line.endswith("\n") and not line.strip():
            end = position
    return end
