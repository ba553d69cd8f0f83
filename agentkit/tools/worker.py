"""Tools that run in a process of their own: spawned, kept warm, killed when they hang, started again.

The worker is a fresh interpreter (never a fork: a loaded model's threads do not survive one) that imports the tool
by name. Both sides speak JSON over two pipes, so a worker cannot make this process run anything.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agentkit.errors import Cancelled
from agentkit.protocols import Tool, ToolContext
from agentkit.tools.output import one_line, outcome_of
from agentkit.types import Done, Failed, Outcome, Pending

MAX_IDLE = 2
_POLL_S = 0.05
_CODE = "from agentkit.tools.worker import serve; serve()"


class Worker:
    """One warm process; runs one call at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,
        )
        assert self._process.stdin is not None  # both are pipes
        assert self._process.stdout is not None
        self._send = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self._receive = Connection(os.dup(self._process.stdout.fileno()), writable=False)
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
        self._send.send_bytes(_encode(message))

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next message, or None when none came in time; raises EOFError when it died."""
        if not self._receive.poll(timeout_s):
            return None
        message: dict[str, Any] = json.loads(self._receive.recv_bytes())
        return message

    def kill(self) -> None:
        """End it and its children at once; idempotent."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for connection in (self._send, self._receive):
            if not connection.closed:
                connection.close()


_idle: list[Worker] = []
_busy: set[Worker] = set()
_lock = threading.Lock()


def run_in_worker(
    tool: Tool, arguments: Mapping[str, Any], context: ToolContext, *, room: int, grace_s: float
) -> Outcome:
    """Run the call in a worker; on timeout or cancel the worker is killed, and the next call gets a new one.

    Raises:
        Cancelled: `context.cancel` was set.
    """
    target = getattr(tool.run, "target", None) or f"{tool.run.__module__}:{tool.run.__qualname__}"
    worker = _take()
    kept = False
    try:
        with context.child(worker.pid) if context.child is not None else contextlib.nullcontext():
            outcome = _talk(worker, _order(target, arguments, context, context.deadline, room), tool, context, grace_s)
        if outcome is None:
            return Failed(text=f"'{tool.name}' did not finish in time; its worker was stopped", kind="timeout")
        kept = True
        return _outcome_from(outcome, room)
    except (EOFError, OSError, ValueError) as error:
        worker.kill()
        return Failed(text=f"the worker of '{tool.name}' broke off ({_exit(worker)}; {one_line(error)})")
    finally:
        _give_back(worker, keep=kept)


def _talk(
    worker: Worker, order: Mapping[str, Any], tool: Tool, context: ToolContext, grace_s: float
) -> dict[str, Any] | None:
    """Give the worker its order, serve it, and return the outcome; None: time ran out."""
    end = (context.deadline or float("inf")) + grace_s
    worker.send(order)
    while True:
        message = worker.receive(min(_POLL_S, max(end - time.monotonic(), 0.0)))
        if message is not None and "outcome" in message:
            outcome: dict[str, Any] = message["outcome"]
            return outcome
        if message is not None:
            _serve_child(worker, message, context)
        if context.cancel.is_set():
            raise Cancelled(f"cancelled while '{tool.name}' was running; its worker was stopped")
        if time.monotonic() >= end:
            return None


def close_workers() -> None:
    """Kill all workers; the next call starts a new one."""
    with _lock:
        workers = [*_idle, *_busy]
        _idle.clear()
    for worker in workers:
        worker.kill()


atexit.register(close_workers)


def _take() -> Worker:
    with _lock:
        while _idle:
            worker = _idle.pop()
            if worker.alive:
                break
            worker.kill()
        else:
            worker = Worker()
        _busy.add(worker)
        return worker


def _give_back(worker: Worker, *, keep: bool) -> None:
    with _lock:
        _busy.discard(worker)
        if keep and worker.alive and len(_idle) < MAX_IDLE:
            _idle.append(worker)
            return
    worker.kill()


def _exit(worker: Worker) -> str:
    status = worker._process.returncode  # same module
    return f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"


def _order(
    target: str, arguments: Mapping[str, Any], context: ToolContext, deadline: float | None, room: int
) -> dict[str, Any]:
    left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
    return {
        "target": target,
        "arguments": dict(arguments),
        "room": room,
        "left_s": left,
        "context": {
            "run_id": context.run_id,
            "effect_id": context.effect_id,
            "workspace": str(context.workspace),
            "settings": dict(context.settings),
            "results": list(context.results),
        },
    }


def _serve_child(worker: Worker, message: Mapping[str, Any], context: ToolContext) -> None:
    if "emit" in message:
        context.emit(str(message["emit"]), message["data"])
    elif "call" in message:
        worker.send({"outcome": _outcome_json(context.call(str(message["call"]), message["arguments"]))})


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    return {"type": type(outcome).__name__, **asdict(outcome)}


def _outcome_from(message: Mapping[str, Any], room: int) -> Outcome:
    fields = {key: value for key, value in message.items() if key != "type"}
    kinds: dict[str, type[Done] | type[Failed] | type[Pending]] = {"Done": Done, "Failed": Failed, "Pending": Pending}
    return outcome_of(kinds[message["type"]](**fields), limit=room)


def _encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, default=str).encode("ascii")


# ── in the worker ────────────────────────────────────────────────────────────────────────────────


def serve() -> None:
    """Run calls until the parent goes away; stdout is kept for messages, prints go to stderr."""
    receive = Connection(os.dup(0), writable=False)
    send = Connection(os.dup(1), readable=False)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    while True:
        try:
            order = json.loads(receive.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)
        send.send_bytes(_encode({"outcome": _outcome_json(_obey(order, receive, send))}))


def _watch(parent: int) -> None:
    """End this process and its children once the parent is gone, also while a tool hangs."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


def _obey(order: Mapping[str, Any], receive: Connection, send: Connection) -> Outcome:
    from agentkit.tools.run import perform  # noqa: PLC0415  run imports this module late

    def emit(kind: str, data: Mapping[str, Any]) -> None:
        send.send_bytes(_encode({"emit": kind, "data": dict(data)}))

    def call(name: str, arguments: Mapping[str, Any]) -> Outcome:
        send.send_bytes(_encode({"call": name, "arguments": dict(arguments)}))
        return _outcome_from(json.loads(receive.recv_bytes())["outcome"], order["room"])

    known = order["context"]
    context = ToolContext(
        run_id=known["run_id"],
        effect_id=known["effect_id"],
        workspace=Path(known["workspace"]),
        cancel=threading.Event(),
        deadline=None if order["left_s"] is None else time.monotonic() + order["left_s"],
        emit=emit,
        call=call,
        settings=known["settings"],
        results=tuple(known["results"]),
    )
    try:
        tool = _find(order["target"])
    except (Exception, SystemExit) as error:  # noqa: BLE001  a tool may raise anything
        return Failed(text=f"the worker cannot import the tool: {one_line(error)}")
    return perform(tool, order["arguments"], context, order["room"])


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
