"""Whatever a problem or an evaluator does, a planner ends with its best so far and says why."""

from __future__ import annotations

import math
import time
from random import Random
from typing import Any

import pytest

from agentkit.errors import EngineError, PlanningError
from agentkit.protocols import Ending, PlanBudget
from agentkit_planners.mcts.policies import PuctPlanner
from agentkit_planners.spending import Meter
from benchmarks.planning.numbers import NumbersTask
from tests.planners.parts import ALL, SEARCHING, Graph, Stepping, planned

EDGES = {
    "a": {"x": ("b", 0.0), "y": ("c", 0.0)},
    "b": {"on": ("d", 0.0), "off": ("e", 0.0)},
    "c": {"out": ("goal", 1.0)},
}


def fails() -> None:
    raise RuntimeError("the tool broke")


@pytest.mark.parametrize("name", ALL)
def test_a_task_without_actions(name: str) -> None:
    with pytest.raises(PlanningError, match="nothing that could be done"):
        planned(ALL[name](), Graph(edges={"a": {}}))


@pytest.mark.parametrize("name", SEARCHING)
def test_a_step_that_raises(name: str) -> None:
    plan = planned(SEARCHING[name](), Stepping(edges=EDGES, at={"x": fails}, logits={"x": 2.0}))
    assert plan.verified
    assert plan.action.key == "y"
    assert any("the tool broke" in note for note in (plan.tree or {})["notes"])


@pytest.mark.parametrize("name", SEARCHING)
def test_every_step_raises(name: str) -> None:
    plan = planned(SEARCHING[name](), Stepping(edges=EDGES, at={"x": fails, "y": fails}))
    assert plan.action.key in {"x", "y"}
    assert plan.ending in (Ending.SOLVED, Ending.EXHAUSTED)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", SEARCHING)
def test_a_value_that_is_no_number(name: str, value: float) -> None:
    plan = planned(SEARCHING[name](), Graph(edges=EDGES, given={"b": value, "c": 0.5}))
    assert plan.verified
    noted = any("no number" in note for note in (plan.tree or {})["notes"])
    assert noted is SEARCHING[name]().valued, "who does not go by values does not ask"


@pytest.mark.parametrize("name", SEARCHING)
def test_priors_and_rewards_that_are_no_numbers(name: str) -> None:
    odd = Graph(
        edges={**EDGES, "b": {"on": ("d", math.nan), "off": ("e", math.inf)}}, logits={"x": math.nan, "y": -math.inf}
    )
    assert planned(SEARCHING[name](), odd).verified


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "budget", [{"simulations": 0}, {"calls": 0}, {"tool_calls": 0}, {"tokens": 0}, {"deadline": 0.0}]
)
def test_a_budget_of_zero(name: str, budget: dict[str, Any]) -> None:
    plan = planned(ALL[name](), Graph(edges=EDGES), **{"simulations": 9, **budget})
    assert plan.action.key in {"x", "y"}
    assert plan.ending.value in {"simulations", "calls", "tool_calls", "tokens", "deadline"}


def test_a_clock_that_jumps() -> None:
    times = iter([0.0, 1e9, -1e9, 5.0, 1.0, *(float(n) for n in range(1_000))])
    meter = Meter(PlanBudget(deadline=1e12), lambda: 0, clock=lambda: next(times))
    assert [meter.ending() for _ in range(8)] == [None] * 8
    ahead = iter([0.0, 1.0, 1e15])
    meter = Meter(PlanBudget(deadline=100.0), lambda: 0, clock=lambda: next(ahead))
    assert [meter.ending() for _ in range(3)] == [None, None, Ending.DEADLINE]


@pytest.mark.parametrize("name", SEARCHING)
def test_an_evaluator_that_fails_in_the_middle(name: str) -> None:
    class Failing(NumbersTask):
        asked = 0

        def priors(self, batch: Any) -> list[list[float]]:
            self.asked += 1
            if self.asked > 3:
                raise EngineError("the server is gone")
            return super().priors(batch)

    plan = planned(SEARCHING[name](), Failing(numbers=[1, 1, 2, 7]), 100)
    assert plan.ending is Ending.FAILED
    assert any("the server is gone" in note for note in (plan.tree or {})["notes"])


def test_an_evaluator_that_fails_at_the_root_is_an_error_of_the_model() -> None:
    class Failing(Graph):
        def priors(self, batch: Any) -> list[list[float]]:
            raise EngineError("the server is gone")

    with pytest.raises(EngineError):
        planned(PuctPlanner(), Failing(edges=EDGES))


def test_a_million_actions_do_not_take_long() -> None:
    wide = Graph(edges={"a": {f"{n}": (f"b{n}", 0.0) for n in range(20_000)}})
    began = time.monotonic()
    budget = PlanBudget(simulations=1_000_000, deadline=began + 0.5)
    plan = PuctPlanner().plan(wide, "a", evaluator=wide, budget=budget, rng=Random(0))
    assert plan.ending is Ending.DEADLINE
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", SEARCHING)
def test_a_state_of_which_nobody_can_say_what_could_be_done(name: str) -> None:
    class Silent(Graph):
        def actions(self, state: str) -> Any:
            if state == "b":
                raise EngineError("the prompt does not fit")
            return super().actions(state)

    plan = planned(SEARCHING[name](), Silent(edges=EDGES, logits={"x": 2.0}))
    assert plan.verified
    assert any("does not fit" in note for note in (plan.tree or {})["notes"])
