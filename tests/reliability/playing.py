"""Playing a script through the real agent by one of four paths.

plain      one call a step
parallel   the calls of two replies in one step
sub-run    the same in a run that another run delegated to
resumed    the process is lost after every third reply, and another one goes on
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from agentkit.agent import Agent
from agentkit.config import DelegateSettings, PolicySettings, RunSettings, Settings
from agentkit.engine.scripted import DEFAULT
from agentkit.errors import EngineError
from agentkit.events import Event
from agentkit.protocols import Guard, Reply, Request, Store
from agentkit.store import open_store
from agentkit.testing import ScriptedEngine
from agentkit.tools import delegate
from agentkit.types import (
    RunResult,
    Step,
    StopReason,
)
from tests.reliability.loop_parts import GOAL, PART, Script, call, final, said

Path_ = Literal["plain", "parallel", "sub-run", "resumed"]
PATHS: tuple[Path_, ...] = get_args(Path_)
SETTINGS = Settings(
    run=RunSettings(max_turns=90, max_tool_calls=400, max_tokens=None, timeout_s=None, poll_s=(0.0,)),
    policy=PolicySettings(mode="yolo"),
    delegate=DelegateSettings(enabled=True, max_depth=2, max_children=4, max_runs=8),
)
LOST_AFTER = 3  # replies, on the resumed path


@dataclass
class Played:
    """What came of a script. Figures count the model's replies that the script made, not the last answer."""

    script: str
    path: str
    result: RunResult
    replies: int  # of the model before the end
    seen_after: int | None = None  # replies before the first word of a guard
    detector: str = ""  # whose it was
    words: list[str] = field(default_factory=list)  # verdicts in order
    executed: int = 0  # calls that ran
    seconds: float = 0.0

    ended: str = ""  # how the run of the script ended, or the sub-run it was
    detail: str = ""

    @property
    def stopped(self) -> bool:
        """Whether a guard ended it."""
        return self.ended == StopReason.LOOP


class Cutting(ScriptedEngine):
    """Says of some replies that they were cut off."""

    def _reply(self, request: Request, step: Step) -> Reply:
        if step.calls and step.calls[0].arguments.get("path") == "cut off":
            whole = super()._reply(request, step)
            return replace(whole, finish="length")
        return super()._reply(request, step)


@dataclass
class Playing:
    """The model of one script on one path, as the entries of a scripted engine."""

    script: Script
    path: str
    heeds: bool = False  # whether it answers as soon as a guard has spoken
    n: int = 0
    replies: int = 0
    lost: int = 0

    def __call__(self, request: Request) -> Step:
        if request.allow == frozenset({"final"}):
            return final("the best so far")
        if self.path == "sub-run" and request.messages and _asked(request) == GOAL:
            return (
                final("handed on")
                if any(m.type == "tool" for m in request.messages)
                else call("delegate", goal="Go through it")
            )
        if _asked(request).startswith(PART):
            return final(said(_asked(request)))
        if self.path == "resumed" and self.replies >= LOST_AFTER * (self.lost + 1):
            self.lost += 1
            raise EngineError("the process is lost here")
        if self.heeds and any(m.additional_kwargs.get("agentkit", {}).get("kind") == "nudge" for m in request.messages):
            return final("heeded")
        self.replies += 1
        step = self._next()
        if self.path == "parallel" and step.calls and (more := self.script.model(self.n)).calls:
            self.n += 1
            return replace(step, calls=(*step.calls, *more.calls))
        return step

    def _next(self) -> Step:
        step = self.script.model(self.n)
        self.n += 1
        return step


def _asked(request: Request) -> str:
    return next((str(m.content) for m in reversed(request.messages) if m.type == "human"), "")


def play(
    script: Script,
    path: str = "plain",
    *,
    store: Store | None = None,
    heeds: bool = False,
    guards: Sequence[Guard] | None = None,
    workspace: Path | None = None,
) -> Played:
    """Run a script to its end and return what the guards did."""
    playing = Playing(script, path, heeds)
    engine = Cutting([playing] * 2_000, capabilities=replace(DEFAULT, context=10_000_000, branches=False))
    own = store if store is not None else open_store(url=":memory:")
    heard: list[tuple[Event, int]] = []
    tools = list(script.tools())
    if path == "sub-run" and delegate not in tools:
        tools.append(delegate)

    def agent() -> Agent:
        return Agent(engine, tools, settings=SETTINGS, store=own, guards=guards, system="", workspace=workspace)

    result = agent().run(GOAL, on_event=lambda event: heard.append((event, playing.replies)))
    while path == "resumed" and result.stop_reason is StopReason.MODEL and "lost here" in result.detail:
        result = agent().resume(result.run_id, on_event=lambda event: heard.append((event, playing.replies)))
    if store is None:
        own.close()
    return _played(playing, result, heard)


def _inner(event: Event) -> Event:
    """Return the event of a sub-run that a parent's event wraps; others as they are."""
    wrapped = event.data.get("event")
    return event if wrapped is None else replace(event, type=wrapped["type"], data=wrapped)


def _played(playing: Playing, result: RunResult, heard: Sequence[tuple[Event, int]]) -> Played:
    played = Played(playing.script.name, playing.path, result, playing.replies)
    played.ended, played.detail = result.stop_reason.value, result.detail
    for outer, replies in heard:
        event = _inner(outer)
        if event.type == "tool_use" and event.data["tool"] != "delegate":
            played.executed += 1
        if event.type == "guard":
            played.words.append(str(event.data["verdict"]))
            played.detail = str(event.data["text"])
            if played.seen_after is None:
                played.seen_after, played.detector = replies, str(event.data["detector"])
        if event.type == "run_ended" and playing.path == "sub-run" and event.data.get("depth") == 1:
            played.ended = str(event.data["stop_reason"])
    return played
