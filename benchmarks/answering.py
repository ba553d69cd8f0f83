"""Runs of the real agent: a real engine, the real state machine, and tools that answer from a case's world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import agentkit_basics
from agentkit import Agent, schema
from agentkit.config import EngineSettings, RunSettings, Settings
from agentkit.engine import open_engine
from agentkit.protocols import Capabilities, Engine, Store, Tool, ToolContext
from agentkit.store import open_store
from agentkit.tools import resolve_references
from agentkit.types import Done, Effect, Failed, Outcome, RunResult, ToolRules, ToolSpec, Trust
from agentkit_synthesis.evaluation import EvalCase
from benchmarks.judging import same
from benchmarks.passing import Passing

SETTINGS = Settings(run=RunSettings(max_turns=8, timeout_s=120.0))
NOT_FOUND = Failed(text="not found")

World = Callable[[str, Mapping[str, Any]], Outcome]


class Weighted(Passing):
    """An engine whose lexical prior weighs as much as said; everything else is the engine's."""

    def __init__(self, engine: Engine, weight: float) -> None:
        super().__init__(engine)
        self._weight = weight

    @property
    def capabilities(self) -> Capabilities:
        """The engine's, with the weight put in."""
        return replace(self._engine.capabilities, tool_prior_weight=self._weight)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share: one loaded model, and a database in memory."""

    engine: Engine
    store: Store

    @classmethod
    def open(cls, model: str) -> Bench:
        """Load `model`."""
        return cls(open_engine(EngineSettings(model=model, offline=True)), open_store(url=":memory:"))

    def run(self, request: str, tools: Sequence[Tool], *, weight: float, workspace: Path | None = None) -> RunResult:
        """Do one request as a new conversation."""
        engine = Weighted(self.engine, weight)
        with Agent(engine, tools, settings=SETTINGS, store=self.store, workspace=workspace) as agent:
            return agent.run(request)

    def close(self) -> None:
        """Free the model and the database."""
        self.engine.close()
        self.store.close()


def fake_tools(specs: Sequence[ToolSpec], world: World, untrusted: frozenset[str]) -> list[Tool]:
    """Return tools that look like `specs`, touch nothing and answer from `world`."""
    return [_fake(spec, world, Trust.UNTRUSTED if spec.name in untrusted else Trust.TRUSTED) for spec in specs]


def tools_of(case: EvalCase) -> list[Tool]:
    """Return a case's tools, which answer what the case says, and fail at anything else."""
    untrusted = frozenset(call["tool"] for call in case.expect if call["untrusted"])
    return fake_tools(case.tools, world_of(case), untrusted)


def world_of(case: EvalCase) -> World:
    """Return the case's answers by the arguments as a tool gets them, references replaced by results."""
    specs = {spec.name: spec for spec in case.tools}
    results = [call["result"] for call in case.expect]
    known: list[tuple[str, Mapping[str, Any], Outcome]] = []
    for number, call in enumerate(case.expect):
        arguments = resolve_references(call["arguments"], specs[call["tool"]], results[:number])
        outcome: Outcome = Failed(text=call["result"]) if call["failed"] else Done(text=call["result"])
        known.append((call["tool"], arguments, outcome))

    def answer(tool: str, arguments: Mapping[str, Any]) -> Outcome:
        for name, wanted, outcome in known:
            if name == tool and same(arguments, wanted):
                return outcome
        return NOT_FOUND

    return answer


def nothing_known(tool: str, arguments: Mapping[str, Any]) -> Outcome:
    """Answer every call the same."""
    return Done(text="done")


def as_shipped(spec: ToolSpec) -> ToolSpec:
    """Return a bundled tool's spec with what agentkit's own says of its arguments and keywords; others as they are."""
    shipped = next((tool.spec.rules for tool in bundled_tools() if tool.name == spec.name), None)
    if shipped is None:
        return spec
    return replace(spec, rules=replace(spec.rules, grounded=shipped.grounded, keywords=shipped.keywords))


bundled_tools = cache(agentkit_basics.tools)


def _fake(spec: ToolSpec, world: World, trust: Trust) -> Tool:
    known = as_shipped(spec).rules
    rules = ToolRules(
        effect=Effect.PURE,
        egress=False,
        idempotent=True,
        trust=trust,
        references=known.references,
        grounded=known.grounded,
        keywords=known.keywords,
    )

    def run(arguments: Mapping[str, Any], context: ToolContext) -> Outcome:
        return world(spec.name, arguments)

    def validate(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if found := schema.problems(dict(arguments), spec.parameters):
            raise ValueError(found[0])
        return arguments

    return Tool(spec=replace(spec, rules=rules), run=run, validate=validate)
