"""Tools that run in a process of their own: spawned, kept warm, ended when they hang, started again.

The worker is a fresh interpreter (never a fork: a loaded model's threads do not survive one) that imports the tool
by name. Both sides speak JSON over two pipes, so a worker cannot make this process run anything; what else it or its
children write is read as bytes, counted and capped. How it is confined stands in `agentkit.tools.children`; what the
worker itself does, in `agentkit.tools.serving`.

Four times are watched, each on its own: to start and import the tool (`tools.start_s`), of the call (`timeout_s`), of
saying nothing (`idle_s`), and the run's. Then, and on cancel, the worker is told; it is ended if that does not help.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from agentkit.errors import Cancelled, ToolError
from agentkit.protocols import Tool, ToolContext
from agentkit.tools.children import Kept, sandboxed, scrubbed, stop_group, wrapped
from agentkit.tools.outcomes import from_dict, to_dict
from agentkit.tools.output import decode, one_line, outcome_of
from agentkit.tools.serving import encode
from agentkit.types import Confinement, Done, Effect, Failed, Outcome

MAX_IDLE = 2
MAX_MESSAGE = 32_000_000  # bytes: more than any result may have
MAX_EVENTS = 1_000  # of one call; what a tool says beyond that is dropped
_POLL_S = 0.05
_CODE = "from agentkit.tools.serving import serve; serve()"


@dataclass(frozen=True, slots=True)
class Cell:
    """What a worker may do; one worker serves only calls that may do the same."""

    workspace: Path
    writes: bool
    network: bool
    confine: Confinement

    @classmethod
    def of(cls, tool: Tool, context: ToolContext) -> Cell:
        """Return the cell for a call of `tool`."""
        rules = tool.spec.rules
        writes = rules.effect not in {Effect.PURE, Effect.READ}
        return cls(context.workspace, writes, rules.egress, context.confine)


class Worker:
    """One warm process; runs one call at a time."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        python = [sys.executable, "-c", _CODE]
        paths = [path for path in sys.path if path]
        command = sandboxed(
            python,
            cell.confine,
            workspace=cell.workspace,
            writes=cell.writes,
            network=cell.network,
            reads=[*paths, sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)],
        )
        self.boxed = command != python
        name = Path(command[0]).name if self.boxed else command[0]  # Python finds its environment by its own name
        self._process = subprocess.Popen(
            wrapped(command[0], command[1:], _without_cpu(cell.confine), name=name, dies=self.boxed),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**scrubbed(os.environ), "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,
        )
        assert self._process.stdin is not None  # all three are pipes
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._send = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self._receive = Connection(os.dup(self._process.stdout.fileno()), writable=False)
        self._said = self._process.stderr
        self._process.stdin.close()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take another call."""
        return self._process.poll() is None

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message."""
        self._send.send_bytes(encode(message))

    def receive(self, timeout_s: float, said: Kept) -> dict[str, Any] | None:
        """Return the next message, or None when none came in time; what else it writes goes to `said`.

        Raises:
            EOFError, OSError, ValueError: it died, or sent what is no message.
        """
        streams: list[Any] = [self._receive] if self._said.closed else [self._receive, self._said]
        ready = wait(streams, timeout_s)
        if len(streams) > 1 and streams[1] in ready:
            self.drain(said)
        if self._receive not in ready:
            return None
        message: dict[str, Any] = json.loads(self._receive.recv_bytes(MAX_MESSAGE))
        return message

    def drain(self, said: Kept) -> None:
        """Read what there is of its output now."""
        while not self._said.closed and wait([self._said.fileno()], 0):
            chunk = os.read(self._said.fileno(), 65_536)
            if not chunk:
                self._said.close()
                return
            said.add(chunk)
            if len(chunk) < 65_536:
                return

    def stop(self, grace_s: float = 1.0) -> None:
        """End it and its children: asked first, then made to; idempotent."""
        stop_group(self._process, grace_s)
        for connection in (self._send, self._receive, self._said):
            if not connection.closed:
                connection.close()

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        status = self._process.wait()
        if status > 128 and self.boxed:  # bubblewrap says it as a shell does
            status = 128 - status
        if status >= 0:
            return f"exit status {status}"
        with contextlib.suppress(ValueError):
            return f"signal {-status}, {signal.Signals(-status).name}"
        return f"signal {-status}"


_idle: list[Worker] = []
_busy: set[Worker] = set()
_lock = threading.Lock()
# On Linux bubblewrap dies with the *thread* that started it, so one thread that stays starts them all.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="agentkit-workers")


@dataclass(slots=True)
class _Call:
    """One call on its way: what is known of it, and when it must be over."""

    tool: Tool
    context: ToolContext
    room: int
    seconds: float
    grace_s: float
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    said: Kept = field(default_factory=Kept)
    events: int = 0
    began: float | None = None  # when the tool itself did
    heard: float = field(default_factory=time.monotonic)  # when it last said anything
    started: float = field(default_factory=time.monotonic)

    def overdue(self, now: float) -> str:
        """Return which of its times is up, in words; empty while none is."""
        whole = self.context.deadline
        if whole is not None and now >= whole:
            return "the run's time is up"
        if self.began is None:
            limit = self.context.confine.start_s
            return f"its worker was not ready within {limit:g} s" if now >= self.started + limit else ""
        if now >= self.began + self.seconds:
            return "did not finish in time"
        idle = self.tool.spec.rules.idle_s
        return f"said nothing for {idle:g} s" if idle is not None and now >= self.heard + idle else ""


def run_in_worker(
    tool: Tool, arguments: Mapping[str, Any], context: ToolContext, *, seconds: float, room: int, grace_s: float
) -> Outcome:
    """Run the call in a worker; on timeout or cancel the worker is ended, and the next call gets a new one.

    Args:
        tool: which can be imported by name.
        arguments: checked already.
        context: `deadline` is the run's, `cancel` holds.
        seconds: for the call itself.
        room: characters of its result.
        grace_s: for the tool to end by itself, once it is told that its time is up.

    Raises:
        Cancelled: `context.cancel` was set, and the tool had not finished.
    """
    target = getattr(tool.run, "target", None) or f"{tool.run.__module__}:{tool.run.__qualname__}"
    call = _Call(tool, context, room, seconds, grace_s)
    try:
        worker = _take(Cell.of(tool, context))
    except (OSError, ToolError) as error:
        return Failed(text=f"no worker can be started for '{tool.name}': {error}")
    outcome: Outcome | None = None
    kept = False
    try:
        with context.child(worker.pid) if context.child is not None else contextlib.nullcontext():
            worker.send(_order(target, arguments, call))
            outcome, kept = _attend(worker, call)
    except (EOFError, OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        with contextlib.suppress(OSError, ValueError):
            worker.drain(call.said)
        worker.stop(0.2)
        outcome = Failed(text=f"the worker of '{tool.name}' broke off ({_cause(worker, error)}){_last_words(call)}")
    finally:
        _give_back(worker, keep=kept)
    if context.cancel.is_set() and not isinstance(outcome, Done):
        raise Cancelled(f"cancelled while '{tool.name}' was running; its worker was stopped")
    _tell(call)
    return outcome


def _attend(worker: Worker, call: _Call) -> tuple[Outcome, bool]:
    """Return the call's outcome, and whether the worker can be used again."""
    told: float | None = None  # when the tool was told to end
    why = ""
    while True:
        size = call.said.size
        message = worker.receive(_POLL_S, call.said)
        now = time.monotonic()
        if message is not None or call.said.size > size:
            call.heard = now
        if message is not None and message.get("id") == call.id:
            if "outcome" in message:
                return outcome_of(from_dict(message["outcome"]), limit=call.room), told is None and not message.get(
                    "left_behind"
                )
            if "began" in message:
                call.began = now
            else:
                _serve_child(worker, message, call)
        if told is None:
            why = call.overdue(now)
            if why or call.context.cancel.is_set():
                told = now
                worker.send({"stop": call.id})
        elif now >= told + call.grace_s:
            return Failed(
                text=f"'{call.tool.name}' {why or 'was cancelled'}; its worker was stopped", kind="timeout"
            ), False


def _serve_child(worker: Worker, message: Mapping[str, Any], call: _Call) -> None:
    if "emit" in message:
        call.events += 1
        if call.events <= MAX_EVENTS:
            call.context.emit(str(message["emit"]), message["data"])
    elif "call" in message:
        answer = call.context.call(str(message["call"]), message["arguments"])
        worker.send({"id": call.id, "outcome": to_dict(answer)})


def _order(target: str, arguments: Mapping[str, Any], call: _Call) -> dict[str, Any]:
    context, now = call.context, time.monotonic()
    left = None if context.deadline is None else max(context.deadline - now, 0.0)
    return {
        "id": call.id,
        "target": target,
        "arguments": dict(arguments),
        "room": call.room,
        "seconds": call.seconds if left is None else min(left, call.seconds),
        "cpu_s": context.confine.cpu_s,
        "context": {
            "run_id": context.run_id,
            "effect_id": context.effect_id,
            "workspace": str(context.workspace),
            "settings": dict(context.settings),
            "results": list(context.results),
            "confine": asdict(context.confine),
            "waiting": None if context.waiting is None else asdict(context.waiting),
        },
    }


def _cause(worker: Worker, error: BaseException) -> str:
    return worker.ending if isinstance(error, EOFError | OSError) else f"{worker.ending}; {one_line(error)}"


def _last_words(call: _Call) -> str:
    lines = decode(call.said.output).strip().splitlines()[-5:] if call.said.size else []
    return f"; its last words: {' | '.join(line.strip() for line in lines)[:500]}" if lines else ""


def _tell(call: _Call) -> None:
    """Pass on what the tool, or a program that it started, wrote past Python."""
    if call.said.size:
        text = outcome_of(decode(call.said.output), limit=2_000).text
        with contextlib.suppress(Exception):  # a listener's fault is not the tool's
            call.context.emit("tool_progress", {"tool": call.tool.name, "text": text})


def _without_cpu(confine: Confinement) -> Confinement:
    """Return the limits of a warm worker: its time on the processor is counted call by call, by itself."""
    return Confinement(**{**asdict(confine), "cpu_s": None})


def close_workers() -> None:
    """End all workers; the next call starts a new one."""
    with _lock:
        workers = [*_idle, *_busy]
        _idle.clear()
    for worker in workers:
        worker.stop(0.0)


atexit.register(close_workers)


def _begin_anew() -> None:
    """Forget the parent's workers and its thread, in a child that was forked."""
    global _lock, _spawner
    _lock, _spawner = threading.Lock(), ThreadPoolExecutor(1, thread_name_prefix="agentkit-workers")
    _idle.clear()
    _busy.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _take(cell: Cell) -> Worker:
    with _lock:
        for worker in [one for one in _idle if not one.alive]:
            _idle.remove(worker)
            worker.stop(0.0)
        found = next((one for one in _idle if one.cell == cell), None)
        if found is not None:
            _idle.remove(found)
            _busy.add(found)
            return found
    worker = _spawner.submit(Worker, cell).result()
    with _lock:
        _busy.add(worker)
    return worker


def _give_back(worker: Worker, *, keep: bool) -> None:
    spare: list[Worker] = []
    with _lock:
        _busy.discard(worker)
        if keep and worker.alive:
            _idle.append(worker)
            spare = [_idle.pop(0)] if len(_idle) > MAX_IDLE else []
        else:
            spare = [worker]
    for one in spare:
        one.stop(0.2)
