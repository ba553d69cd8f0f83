"""The loop scripts inside a search: a way from the root down is judged as a run that went it would be."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from agentkit.agent import Agent
from agentkit.config import PlannerSettings
from agentkit.engine.scripted import DEFAULT
from agentkit.graph.asking import Degenerated
from agentkit.protocols import Evaluator, Plan, PlanBudget, S, SearchProblem, TreeMemory
from agentkit.store import open_store
from tests.reliability.loop_parts import GOAL, Script
from tests.reliability.loops import LOOPS
from tests.reliability.playing import SETTINGS, Cutting, Playing, play
from tests.reliability.works import WORK

MOST = 90
MET = {"loop", "repeat"}  # by a guard's verdict, or before, because a step has brought nothing new
WORLD_MOVES = {
    "a flaky server that comes back",
    "a server slow to start",
    "watching a number move",
}  # a search looks once, and does not wait


@dataclass
class Following:
    """A planner that goes one way down from the root, as far as it leads; then it takes the first step of it."""

    name: str = "following"
    depth: int = 0
    ended: str = ""  # what the way ended with: a reason, "answer", "never tried", "repeat" or "" where it just went on
    keys: list[str] = field(default_factory=list)

    def plan(
        self,
        problem: SearchProblem[S],
        state: S,
        *,
        evaluator: Evaluator[S],
        budget: PlanBudget,
        rng: Random,
        memory: TreeMemory | None = None,
    ) -> Plan:
        try:
            actions = problem.actions(state)
        except Degenerated:
            self.ended = "degenerate"
            raise
        first, now = actions[0], state
        while not self.ended and self.depth < MOST:
            action = problem.actions(now)[0] if self.depth else first
            gone = problem.step(now, action, "simulate") if not _writes(problem, now, action) else None
            self.depth += 1
            self.keys.append(action.key)
            if gone is None:
                self.ended = "never tried"
            elif gone.terminal:
                situation: Any = gone.state
                self.ended = (situation.run.get("ended") or {"reason": "answer"})["reason"]
            elif problem.key(gone.state) == problem.key(now):
                self.ended = "repeat"
            else:
                now = gone.state
        return Plan(action=first, strategy=self.name, why="it came first")


def _writes(problem: Any, state: Any, action: Any) -> bool:
    return problem.effect(state, action).value in ("write", "irreversible")


def followed(script: Script) -> Following:
    playing, planner = Playing(script, "plain"), Following()
    able = replace(DEFAULT, context=10_000_000, branches=False, scores=False)
    engine = Cutting([playing] * 2_000, capabilities=able)
    settings = replace(SETTINGS, planner=PlannerSettings(width=1), run=replace(SETTINGS.run, max_turns=200))
    with closing(open_store(url=":memory:")) as store:
        agent = Agent(engine, list(script.tools()), settings=settings, store=store, system="", planner=planner)
        agent.run(GOAL, check="true")
    return planner


@pytest.mark.parametrize("script", LOOPS, ids=lambda script: script.name)
def test_a_way_that_loops_ends_where_a_run_would(script: Script) -> None:
    found = followed(script)
    assert found.ended in {"loop", "repeat", "answer", "never tried", "degenerate"}
    if found.ended in MET:
        assert found.depth <= play(script, "plain").replies + 1


def test_most_loops_are_met_inside() -> None:
    assert sum(followed(script).ended in MET for script in LOOPS) >= 24


@pytest.mark.parametrize("script", [one for one in WORK if one.name not in WORLD_MOVES], ids=lambda script: script.name)
def test_a_way_at_work_is_left_alone(script: Script) -> None:
    assert followed(script).ended in {"answer", "never tried"}
