"""Run one tool call so that whatever the tool does, the run goes on.

Arguments are checked, references resolved, time is limited, output is bounded and cleaned, and what the tool
raises becomes a `Failed` in one line. A tool that hangs is left behind in a daemon thread, or killed if it
runs in a worker. Nothing is raised but `Cancelled` and the user's own Ctrl-C.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentkit.errors import AgentkitError, Cancelled, DeadlineExceeded
from agentkit.protocols import CancelFlag, Tool, ToolContext
from agentkit.tools.output import cap, clean, one_line, outcome_of
from agentkit.tools.printed import captured
from agentkit.tools.references import resolve_references
from agentkit.types import Done, Effect, Failed, Outcome, ToolCall

_POLL_S = 0.05
TOO_LATE = Failed(text="nobody waits for this tool any more; nothing was done", kind="timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a call may go, beside the tool's own rules; the tighter of two limits holds."""

    timeout_s: float | None = None
    max_output_chars: int | None = None
    grace_s: float = 1.5  # for a tool to stop by itself once time is up or somebody cancelled


def run_call(tool: Tool, call: ToolCall, context: ToolContext, *, limits: Limits = Limits()) -> Outcome:
    """Run `call` and return its outcome.

    Args:
        tool: the tool that the call names.
        call: as the model asked for it.
        context: its `deadline` and `cancel` hold; `results` are what `$N` refers to.
        limits: tighter bounds than the tool's rules.

    Raises:
        Cancelled: `context.cancel` was set, and the tool had not finished.
    """
    rules = tool.spec.rules
    room = min(rules.max_output_chars, limits.max_output_chars or rules.max_output_chars)
    if context.cancel.is_set():
        raise Cancelled(f"cancelled before '{tool.name}' began; nothing was done")
    seconds = min(rules.timeout_s, limits.timeout_s or rules.timeout_s)
    deadline = min(time.monotonic() + seconds, context.deadline or float("inf"))
    arguments = prepare(tool, call.arguments, context)
    if isinstance(arguments, Failed):
        return arguments
    if time.monotonic() >= deadline:
        return Failed(text=f"there was no time left to run '{tool.name}'; it was not started", kind="timeout")
    if rules.isolation == "worker":
        from agentkit.tools.worker import run_in_worker  # noqa: PLC0415  few runs have one

        return run_in_worker(tool, arguments, context, seconds=seconds, room=room, grace_s=limits.grace_s)
    return _run_in_thread(tool, arguments, context, deadline, room, limits.grace_s)


def prepare(tool: Tool, arguments: Mapping[str, Any], context: ToolContext) -> Mapping[str, Any] | Failed:
    """Return the arguments as the tool will get them: validated, with references resolved."""
    return resolved(tool, arguments, context.results)


def resolved(tool: Tool, arguments: Mapping[str, Any], results: Sequence[str]) -> Mapping[str, Any] | Failed:
    """Return arguments validated, and with `$N` standing for no. N of `results`; or what is wrong with them."""
    try:
        checked = tool.validate(arguments)
        resolved = resolve_references(checked, tool.spec, results)
        return checked if resolved == checked else tool.validate(resolved)
    except ValueError as error:
        return Failed(text=" ".join(clean(str(error)).split())[:1_000], kind="invalid")
    except (Exception, SystemExit) as error:  # noqa: BLE001  a tool may raise anything
        return Failed(text=f"the arguments of '{tool.name}' could not be checked: {one_line(error)}", kind="invalid")


def perform(tool: Tool, arguments: Mapping[str, Any], context: ToolContext, room: int) -> Outcome:
    """Call the tool here and now; whatever it raises, prints or returns becomes an outcome."""
    with captured() as printed:
        try:
            value: Any = tool.run(arguments, context)
            outcome = outcome_of(value, limit=room, printed=printed.text)
        except (DeadlineExceeded, TimeoutError) as error:
            outcome = Failed(text=one_line(error), kind="timeout")
        except AgentkitError as error:
            outcome = Failed(text=cap(" ".join(str(error).split()), 1_000))
        except KeyboardInterrupt:
            outcome = Failed(text="KeyboardInterrupt: the tool interrupted itself")
        except BaseException as error:  # noqa: BLE001  a tool may raise anything, and only its own thread hears it
            outcome = Failed(text=one_line(error))
    said = printed.text
    if said and not (isinstance(outcome, Done) and outcome.text == said.strip()):
        _tell(context, tool.name, said)
    return outcome


class _AnyOf:
    """Set when the caller's flag is, or when nobody waits for the tool any more."""

    def __init__(self, other: CancelFlag) -> None:
        self._other, self.own = other, threading.Event()

    def is_set(self) -> bool:
        return self.own.is_set() or self._other.is_set()


def _run_in_thread(
    tool: Tool, arguments: Mapping[str, Any], context: ToolContext, deadline: float, room: int, grace_s: float
) -> Outcome:
    stop = _AnyOf(context.cancel)
    inner = replace(
        context,
        cancel=stop,
        deadline=deadline,
        emit=lambda kind, data: None if stop.own.is_set() else context.emit(kind, data),
        call=lambda name, given: TOO_LATE if stop.own.is_set() else context.call(name, given),
    )
    box: list[Outcome] = []
    done = threading.Event()

    def work() -> None:
        try:
            box.append(perform(tool, arguments, inner, room))
        finally:
            done.set()

    threading.Thread(
        target=contextvars.copy_context().run, args=(work,), name=f"agentkit-tool-{tool.name}", daemon=True
    ).start()
    try:
        ended = _wait(done, deadline, context.cancel)
    finally:
        stop.own.set()  # also when Ctrl-C ends the waiting
    if not ended:
        done.wait(grace_s)
    outcome = box[0] if box else None
    if context.cancel.is_set() and not isinstance(outcome, Done):
        raise Cancelled(f"cancelled while '{tool.name}' was running{_doubt(tool)}")
    if outcome is not None:
        return outcome
    if done.is_set():
        return Failed(text=f"'{tool.name}' ended without a result{_doubt(tool)}")
    return too_late(tool, "it hangs, and was left behind")


def too_late(tool: Tool, how: str) -> Failed:
    """Return what a call comes to whose time ran out."""
    return Failed(text=f"'{tool.name}' did not finish in time; {how}{_doubt(tool)}", kind="timeout")


def _wait(done: threading.Event, deadline: float, cancel: CancelFlag) -> bool:
    while not done.wait(min(_POLL_S, max(deadline - time.monotonic(), 0.0))):
        if cancel.is_set() or time.monotonic() >= deadline:
            return done.is_set()
    return True


def _doubt(tool: Tool) -> str:
    if tool.spec.rules.effect in (Effect.PURE, Effect.READ):
        return ""
    return "; whether it took effect is not known"


def _tell(context: ToolContext, name: str, text: str) -> None:
    try:
        context.emit("tool_progress", {"tool": name, "text": cap(text, 2_000)})
    except Exception:  # noqa: BLE001  a listener's fault is not the tool's
        return
