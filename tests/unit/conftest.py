"""An agent on a scripted model, for the tests of the state machine and of `Agent`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit.agent import Agent
from agentkit.config import Settings
from agentkit.engine.scripted import DEFAULT
from agentkit.events import Event
from agentkit.testing import ScriptedEngine
from agentkit.types import Step, ToolCall


class Script:
    """Steps by short names: `script.call("add", a=1)`, `script.final("3")`."""

    @staticmethod
    def call(tool: str, **arguments: Any) -> Step:
        return Script.calls((tool, arguments))

    @staticmethod
    def calls(*pairs: tuple[str, dict[str, Any]]) -> Step:
        calls = [ToolCall(id="same", tool=tool, arguments=arguments) for tool, arguments in pairs]
        return Step(kind="calls", calls=tuple(calls))

    @staticmethod
    def final(text: str) -> Step:
        return Step(kind="final", text=text)


class Made:
    """An agent with the engine it runs on and the events it has sent."""

    def __init__(self, agent: Agent, engine: ScriptedEngine) -> None:
        self.agent, self.engine = agent, engine
        self.events: list[Event] = []

    def run(self, task: str = "do it", **options: Any) -> Any:
        return self.agent.run(task, on_event=self.events.append, **options)

    def resume(self, run_id: str) -> Any:
        return self.agent.resume(run_id, on_event=self.events.append)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The data of all events of a type."""
        return [dict(event.data) for event in self.events if event.type == kind]


@pytest.fixture
def script() -> type[Script]:
    return Script


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def make(tmp_path: Path, database: Path) -> Iterator[Callable[..., Made]]:
    """Make agents that share one database; settings are given as `section={...}`."""
    made: list[Agent] = []

    def make(
        steps: Sequence[Any],
        tools: Sequence[Any] = (),
        *,
        run: dict[str, Any] | None = None,
        policy: dict[str, Any] | None = None,
        context: int = 8192,
        dialect: str = "",
        **options: Any,
    ) -> Made:
        base = Settings()
        settings = replace(
            base,
            run=replace(base.run, **(run or {})),
            policy=replace(base.policy, **(policy or {})),
            store=replace(base.store, url=str(database)),
        )
        engine = ScriptedEngine(steps, capabilities=replace(DEFAULT, context=context, dialect=dialect))
        agent = Agent(engine, tools, settings=settings, workspace=tmp_path, **{"system": "", **options})
        made.append(agent)
        return Made(agent, engine)

    yield make
    for agent in made:
        agent.close()
