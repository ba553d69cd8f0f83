"""The inside of a worker: takes orders from a pipe, runs them one by one, and goes when its parent does."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agentkit.protocols import Tool, ToolContext
from agentkit.tools import printed
from agentkit.tools.outcomes import from_dict, to_dict
from agentkit.tools.output import one_line
from agentkit.types import Confinement, Failed, Outcome, Pending

SIGN_OF_LIFE_S = 0.25


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as bytes of JSON."""
    return json.dumps(message, default=str).encode("ascii")


@dataclass(slots=True)
class _Line:
    """The two pipes, and what came in by which door."""

    receive: Connection
    send: Connection
    orders: queue.SimpleQueue[dict[str, Any]] = field(default_factory=queue.SimpleQueue)
    answers: queue.SimpleQueue[dict[str, Any]] = field(default_factory=queue.SimpleQueue)
    stop: threading.Event = field(default_factory=threading.Event)
    current: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, message: Mapping[str, Any]) -> None:
        """Send one message about the current call."""
        with self.lock:
            self.send.send_bytes(encode({"id": self.current, **message}))

    def listen(self) -> None:
        """Sort what comes in; when the parent is gone, end this process and its children, also while a tool hangs."""
        while True:
            try:
                message = json.loads(self.receive.recv_bytes())
            except (EOFError, OSError):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(0, signal.SIGKILL)
                os._exit(0)
            if "target" in message:
                self.orders.put(message)
            elif message.get("stop") == self.current:
                self.stop.set()
            elif "outcome" in message and message.get("id") == self.current:
                self.answers.put(message)


def serve() -> None:
    """Run calls until the parent goes away; stdout is kept for messages, what else is written goes to stderr."""
    line = _Line(receive=Connection(os.dup(0), writable=False), send=Connection(os.dup(1), readable=False))
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    threading.Thread(target=line.listen, daemon=True).start()
    while True:
        order = line.orders.get()
        line.current = order["id"]
        line.stop.clear()
        outcome = _obey(order, line)
        line.say({"outcome": to_dict(outcome), "left_behind": _has_children()})


def _obey(order: Mapping[str, Any], line: _Line) -> Outcome:
    from agentkit.tools.run import perform  # noqa: PLC0415  run imports the worker's outside, and that this

    _limit_cpu(order["cpu_s"])
    known = order["context"]
    try:
        tool = _find(order["target"])
    except (Exception, SystemExit) as error:  # noqa: BLE001  a tool may raise anything
        return Failed(text=f"the worker cannot import the tool: {one_line(error)}")
    context = ToolContext(
        run_id=known["run_id"],
        effect_id=known["effect_id"],
        workspace=Path(known["workspace"]),
        cancel=line.stop,
        deadline=time.monotonic() + order["seconds"],
        emit=lambda kind, data: line.say({"emit": kind, "data": dict(data)}),
        call=lambda name, arguments: _nested(line, name, arguments),
        settings=known["settings"],
        results=tuple(known["results"]),
        confine=Confinement(**known["confine"]),
        waiting=Pending(**known["waiting"]) if known["waiting"] else None,
    )
    line.say({"began": True})
    printed.on_write = _sign_of_life(line)
    return perform(tool, order["arguments"], context, order["room"])


def _nested(line: _Line, name: str, arguments: Mapping[str, Any]) -> Outcome:
    line.say({"call": name, "arguments": dict(arguments)})
    return from_dict(line.answers.get()["outcome"])


def _sign_of_life(line: _Line) -> Any:
    last = [0.0]

    def written() -> None:
        now = time.monotonic()
        if now - last[0] > SIGN_OF_LIFE_S:
            last[0] = now
            line.say({"alive": True})

    return written


def _limit_cpu(seconds: float | None) -> None:
    """Allow so many seconds on the processor from now on: a warm worker has used some before."""
    if seconds is None:
        return
    import resource  # noqa: PLC0415  not on every system

    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime + seconds) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _has_children() -> bool:
    """Whether the tool left processes behind: such a worker is not used again (seen on Linux only)."""
    with contextlib.suppress(OSError):
        return any(file.read_text().strip() for file in Path("/proc/self/task").glob("*/children"))
    return False


def _find(target: str) -> Tool:
    module, _, qualname = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    if isinstance(found, Tool):
        return found
    from agentkit.types import ToolSpec  # noqa: PLC0415

    spec = ToolSpec(name=qualname, description="", parameters={"type": "object"})
    return Tool(spec=spec, run=found, validate=lambda arguments: arguments)
