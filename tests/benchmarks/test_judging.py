from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agentkit.types import Done, Failed, RunResult, StepRecord, StopReason, ToolSpec
from agentkit_synthesis.evaluation import EvalCase, evaluation_set
from benchmarks import fitting, sprout_tasks
from benchmarks.answering import tools_of, world_of
from benchmarks.judging import alike, numbers, same, schema_valid, shows


@pytest.mark.parametrize(
    ("got", "wanted", "equal"),
    [
        ({"n": 2}, {"n": 2.0}, True),
        ({"n": 2}, {"n": "2"}, False),
        ({"n": True}, {"n": 1}, False),
        ({"a": "Rome"}, {"a": "rome"}, False),
        ({"a": "x", "b": "y"}, {"b": "y", "a": "x"}, True),
        ({"a": "x"}, {"a": "x", "b": "y"}, False),
        ({"l": [1, 2]}, {"l": [1.0, 2]}, True),
    ],
)
def test_arguments_are_compared_exactly_but_numbers_by_value(got: Any, wanted: Any, equal: bool) -> None:
    assert same(got, wanted) is equal


@pytest.mark.parametrize(
    ("tool", "got", "wanted", "equal"),
    [
        ("tune", {"rank": "the gedackt"}, {"rank": "Gedackt"}, True),
        ("tune", {"rank": "theGedackt"}, {"rank": "Gedackt"}, False),
        ("calculator", {"expression": "245 * 18 / 100"}, {"expression": "18% of 245"}, True),
        ("calculator", {"expression": "245 * 18"}, {"expression": "18% of 245"}, False),
        ("other", {"expression": "2 + 2"}, {"expression": "4"}, False),
        ("pump", {"tank": "3P", "tonnes": 45}, {"tank": "3P"}, False),
    ],
)
def test_handwritten_requests_are_judged_leniently(tool: str, got: Any, wanted: Any, equal: bool) -> None:
    assert alike(tool, got, wanted) is equal


@pytest.mark.parametrize(
    ("answer", "number", "there"),
    [
        ("15% of 200 is 30.", "30", True),
        ("15% of 200 is 300.", "30", False),
        ("It comes to 1,440.", "1440", True),
        ("That is 17.20", "17.2", True),
        ("The balance is -25.5.", "-25.5", True),
        ("The balance is 25.5.", "-25.5", False),
        ("", "0", False),
    ],
)
def test_a_number_is_in_an_answer_or_not(answer: str, number: str, there: bool) -> None:
    assert shows(answer, number) is there


def test_numbers_of_a_text() -> None:
    assert numbers("amount\n-4\n0.25\n1,000") == [Decimal("-4"), Decimal("0.25"), Decimal(1000)]


def test_validity_is_judged_against_the_schema_alone() -> None:
    spec = ToolSpec(name="add", description="", parameters={"type": "object", "properties": {"n": {"type": "integer"}}})
    steps = tuple(
        StepRecord(tool=tool, arguments=arguments, ok=True, result="", seconds=0.0)
        for tool, arguments in (("add", {"n": 1}), ("add", {"n": "1"}), ("gone", {}))
    )
    result = RunResult(run_id="r", thread_id="t", stop_reason=StopReason.DONE, answer="", steps=steps)
    assert schema_valid(result, [spec]) == (1, 3)


@pytest.fixture(scope="module")
def cases() -> tuple[EvalCase, ...]:
    return evaluation_set(1, 60)


def test_a_world_answers_the_expected_calls_with_references_in_place(cases: tuple[EvalCase, ...]) -> None:
    followed = 0
    for case in cases:
        if case.kind != "steps":
            continue
        world = world_of(case)
        first, second = case.expect[:2]
        assert world(first["tool"], first["arguments"]) == Done(text=first["result"])
        if second["arguments"].get("content") == "$1":
            followed += 1
            given = {**second["arguments"], "content": first["result"]}
            assert world("write_file", given) == Done(text=second["result"])
        assert isinstance(world(first["tool"], {"path": "another"}), Failed)
    assert followed


def test_tools_of_a_case_look_like_its_own(cases: tuple[EvalCase, ...]) -> None:
    for case in cases:
        made = {tool.name: tool.spec for tool in tools_of(case)}
        assert list(made) == [spec.name for spec in case.tools]
        for call in case.expect:
            assert (made[call["tool"]].rules.trust == "untrusted") == call["untrusted"]


def test_lists_are_the_same_each_time_and_add_up() -> None:
    rows = [sprout_tasks.list_row(1, length, "decimals", 0) for length in (2, 20)]
    assert rows == [sprout_tasks.list_row(1, length, "decimals", 0) for length in (2, 20)]
    for row in rows:
        assert sum(numbers(row["content"])) == Decimal(row["answer"])
    assert [len(row["content"].splitlines()) for row in rows] == [2, 20]


def test_a_slice_keeps_every_kind_and_is_always_the_same() -> None:
    everything = list(range(500))
    kept = sprout_tasks.thinned(everything, 50)
    assert kept == sprout_tasks.thinned(everything, 50)
    assert len(kept) == 50
    assert any(n % 5 for n in kept)


def test_the_smallest_of_the_best_weights_is_taken() -> None:
    shares = [
        fitting.Share(weight=weight, all=all_, seen=0.0, unseen=0.0)
        for weight, all_ in ((0.0, 0.7), (0.5, 0.8), (1.0, 0.8))
    ]
    assert fitting.best(shares) == 0.5
