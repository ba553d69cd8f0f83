"""The contract suites notice what breaks the contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from _pytest.outcomes import Failed

from agentkit.protocols import (
    Delta,
    EffectRow,
    Engine,
    Go,
    Guard,
    HistoryItem,
    Nudge,
    Plan,
    PlanBudget,
    Planner,
    Reply,
    Request,
    Spent,
    Store,
    TextDelta,
    Verdict,
)
from agentkit.store import SqliteStore, open_store
from agentkit.testing import ADD, EngineContract, GuardContract, PlannerContract, ScriptedEngine, StoreContract
from agentkit.types import Step, ToolCall

FINAL = Step(kind="final", text="five it is, they say")
CALL = Step(kind="calls", calls=(ToolCall(id="c", tool=ADD.name, arguments={"a": 2, "b": 3}),))


def answer(request: Request) -> Step:
    return FINAL if "final" in request.allow else CALL


class Broken(ScriptedEngine):
    """A good engine, but for what a subclass spoils."""

    def __init__(self) -> None:
        super().__init__([answer] * 9)


class TwoReplies(Broken):
    def stream(self, request: Request) -> Iterator[Delta]:
        for delta in super().stream(request):
            yield delta
            if isinstance(delta, Reply):
                yield replace(delta, finish="length")


class NoReply(Broken):
    def stream(self, request: Request) -> Iterator[Delta]:
        return (delta for delta in super().stream(request) if not isinstance(delta, Reply))


class OtherText(Broken):
    def stream(self, request: Request) -> Iterator[Delta]:
        return (TextDelta(text="x") if isinstance(delta, TextDelta) else delta for delta in super().stream(request))


class WrongArguments(Broken):
    def stream(self, request: Request) -> Iterator[Delta]:
        for delta in super().stream(request):
            if isinstance(delta, Reply) and delta.step.calls:
                wrong = replace(delta.step.calls[0], arguments={"a": "2"})
                yield replace(delta, step=replace(delta.step, calls=(wrong,)))
            else:
                yield delta


class Deaf(Broken):
    def stream(self, request: Request) -> Iterator[Delta]:
        return super().stream(replace(request, cancel=None, deadline=None))


class Careless(Broken):
    def stream(self, request: Request) -> Iterator[Delta]:
        return super().stream(replace(request, adapter=None))


class SameCount(Broken):
    def count(self, request: Request) -> int:
        return 7


class SameBranches(Broken):
    def branch(self, request: Request, n: int) -> list[Reply]:
        return super().branch(request, n) * 2


@pytest.mark.parametrize(
    ("engine", "test"),
    [
        (TwoReplies, "test_a_stream_ends_with_its_only_reply"),
        (NoReply, "test_a_stream_ends_with_its_only_reply"),
        (OtherText, "test_the_text_is_what_was_streamed"),
        (WrongArguments, "test_a_call_is_of_an_offered_tool_and_fits_its_schema"),
        (Deaf, "test_a_set_cancel_flag_stops_it"),
        (Deaf, "test_a_flag_set_on_the_way_stops_it"),
        (Deaf, "test_a_passed_deadline_stops_it"),
        (Careless, "test_what_cannot_be_had_is_refused"),
        (SameCount, "test_a_longer_prompt_counts_more"),
        (SameBranches, "test_branches_are_distinct_or_refused"),
    ],
)
def test_a_broken_engine_is_noticed(engine: type[Broken], test: str) -> None:
    class Suite(EngineContract):
        kind: type[Engine] = Broken

        def make(self) -> Engine:
            return self.kind()

    getattr(Suite(), test)()
    suite = Suite()
    suite.kind = engine
    with pytest.raises((AssertionError, Failed)):
        getattr(suite, test)()


class Moody(Guard):
    """Counts how often it was asked."""

    name = "moody"
    asked = 0

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        self.asked += 1
        return Go() if self.asked % 2 else Nudge(text="hm")


def test_an_impure_guard_is_noticed() -> None:
    class Suite(GuardContract):
        def make(self) -> Guard:
            return Moody()

    with pytest.raises(AssertionError):
        Suite().test_the_same_history_gets_the_same_verdict()


class Rash(Planner):
    """Does it to see what happens, and takes anything."""

    name = "rash"

    def plan(self, problem: Any, state: Any, *, evaluator: Any, budget: PlanBudget, rng: Random) -> Plan:
        actions = problem.actions(state)
        problem.step(state, actions[0], "real")
        return Plan(action=Random().choice(actions), strategy="rash", why="why not", tree={"n": (1,)})


@pytest.mark.parametrize("test", ["test_it_never_acts_for_real", "test_its_tree_is_plain_data"])
def test_a_rash_planner_is_noticed(test: str) -> None:
    class Suite(PlannerContract):
        def make(self) -> Planner:
            return Rash()

    with pytest.raises(AssertionError):
        getattr(Suite(), test)()


class Forgetful(SqliteStore):
    """Knows nothing of the effects it wrote."""

    def intend(self, row: EffectRow) -> EffectRow:
        super().intend(row)
        return row


def test_a_forgetful_store_is_noticed(tmp_path: Any) -> None:
    class Suite(StoreContract):
        def make(self) -> Store:
            return self.kind(tmp_path / "a.db")

    suite = Suite()
    suite.kind = Forgetful  # type: ignore[attr-defined]
    with pytest.raises(AssertionError):
        suite.test_an_effect_is_intended_once()
    assert isinstance(open_store(url=str(tmp_path / "b.db")), Store)
