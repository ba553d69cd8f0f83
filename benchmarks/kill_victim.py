"""A run that may be killed: two steps of calls of one class, then an answer. Runs in a process of its own.

The model is a script that knows by the conversation where it is, so that it goes on alike in another process.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlite_utils  # noqa: F401  here, so that it is there before a run is forked off
from langchain_core.messages import AIMessage

from agentkit import extensions, failpoints, prompts, tool
from agentkit.agent import Agent
from agentkit.config import Settings
from agentkit.engine.script import Entry
from agentkit.errors import MissingDependency
from agentkit.graph import build  # noqa: F401  likewise
from agentkit.guards import default_guards
from agentkit.policy import Policy  # noqa: F401  likewise
from agentkit.protocols import Request, Tool, ToolContext
from agentkit.store import open_store, saver  # noqa: F401  likewise
from agentkit.testing import ScriptedEngine
from agentkit.types import Done, Outcome, Step, ToolCall
from agentkit_basics.files import write_file
from agentkit_basics.process import run_program
from benchmarks.kill_sink import Line

# What a run imports late, imported once, before runs are forked off.
default_guards()
prompts.versions()
extensions.load_planner("direct")
extensions.installed("agentkit.plugins")
with contextlib.suppress(ImportError, MissingDependency):
    importlib.import_module("agentkit.store.postgres.saver")

KINDS = ("read", "keyed", "reconcilable", "plain", "file", "program")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run: which calls, how many at once, where it is kept."""

    id: str
    kind: str
    fan: int  # calls in the first step; there is one in the second
    url: str
    port: int
    folder: str

    @property
    def calls(self) -> int:
        """Of the whole run."""
        return self.fan + 1


class Placed(ScriptedEngine):
    """A script that goes on at the place where the conversation is."""

    def _take(self, request: Request) -> Entry:
        self._next = sum(isinstance(message, AIMessage) for message in request.messages)
        return super()._take(request)


def drive(case: Case, run_id: str | None, failpoint: str, report: str) -> None:
    """Begin the run, or go on with `run_id`, and write what it came to into `report`, or why it failed; may be killed."""
    os.environ["AGENTKIT_HOME"] = case.folder
    failpoints.arm(failpoint)
    try:
        told = _come_to(case, run_id)
    except BaseException:
        Path(f"{report}.fault").write_text(traceback.format_exc())
        raise
    aside = Path(f"{report}.part")
    aside.write_text(json.dumps(told))
    aside.replace(report)


def _come_to(case: Case, run_id: str | None) -> dict[str, Any]:
    with closing(open_store(url=case.url)) as store:
        agent = _agent(case, store)
        result = agent.run(_task(case), thread_id=case.id) if run_id is None else agent.resume(run_id)
        values = agent.graph.get_state({"configurable": {"thread_id": case.id}}).values
        effects = store.effects(result.run_id)
        return {
            "run_id": result.run_id,
            "stop_reason": result.stop_reason.value,
            "answer": result.answer,
            "detail": result.detail,
            "steps": [step.result for step in result.steps],
            "effects": {row.effect_id: row.state for row in effects},
            "model_calls": values["spent"].get("model_calls"),
            "tool_calls": values["spent"].get("tool_calls"),
            "events": len(store.events(result.run_id)),
        }


def _agent(case: Case, store: Any) -> Agent:
    base = Settings()
    settings = replace(
        base, policy=replace(base.policy, mode="yolo"), run=replace(base.run, max_recoveries=None, timeout_s=None)
    )
    used = write_file if case.kind == "file" else _work(case)
    engine = Placed([_step(case, range(case.fan)), _step(case, [case.fan]), Step(kind="final", text="all worked")])
    return Agent(engine, [used], settings=settings, store=store, system="", workspace=Path(case.folder))


def _task(case: Case) -> str:
    return "write the files " + ", ".join(f"out-{n}.txt" for n in range(case.calls))  # destinations that are meant


def _step(case: Case, numbers: Any) -> Step:
    def call(n: int) -> ToolCall:
        if case.kind == "file":
            arguments = {"path": f"out-{n}.txt", "content": content(n)}
            return ToolCall(id=str(n), tool="write_file", arguments=arguments)
        return ToolCall(id=str(n), tool="work", arguments={"n": n})

    return Step(kind="calls", calls=tuple(call(n) for n in numbers))


def content(n: int) -> str:
    """Return what file `n` must hold in the end."""
    return "".join(f"{line} of text {n} is {line * line + n}\n" for line in range(60))


def _work(case: Case) -> Tool:
    rules: dict[str, dict[str, Any]] = {
        "read": {"effect": "read"},
        "keyed": {"effect": "write", "accepts_key": True},
        "reconcilable": {"effect": "write"},
        "plain": {"effect": "write"},
        "program": {"effect": "read"},
    }

    @tool(egress=False, **rules[case.kind])
    def work(n: int, context: ToolContext) -> str:
        """Work.

        Args:
            n: which piece of work.
        """
        if case.kind == "program":
            _program(case, context)
        else:
            _effect(case, n, context)
        return f"worked {n}"

    return replace(work, reconcile=lambda key, context: _found(case, key)) if case.kind == "reconcilable" else work


def _effect(case: Case, n: int, context: ToolContext) -> None:
    with closing(Line(case.port)) as line:
        if case.kind == "read":
            line.send(do="look", key=context.effect_id)
        else:
            line.send(do="apply", case=case.id, key=context.effect_id, n=n, once=case.kind == "keyed")
        failpoints.reach("mid_effect")
        line.answer()


def _found(case: Case, key: str) -> Outcome | None:
    with closing(Line(case.port)) as line:
        line.send(do="look", key=key)
        return Done(text="worked, as was found out afterwards") if line.answer() else None


def _program(case: Case, context: ToolContext) -> None:
    @contextmanager
    def child(pid: int) -> Iterator[None]:
        assert context.child is not None
        with context.child(pid):
            with Path(case.folder, "pids").open("a") as file:
                file.write(f"{pid}\n")
            failpoints.reach("mid_effect")
            yield

    run_program(
        "/bin/sh", ["-c", "sleep 0.05"], cwd=Path(case.folder), deadline=time.monotonic() + 20,
        cancel=context.cancel, max_bytes=1000, child=child,
    )  # fmt: skip
