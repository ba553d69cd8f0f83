"""Training conversations: reproducible, true to their schemas, and apart from what they are tested on."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from agentkit.engine.dialects import plain
from agentkit.types import Step
from agentkit_synthesis.conversation import Conversation, Returned, render
from agentkit_synthesis.evaluation import evaluation_set
from agentkit_synthesis.stream import conversation_at, conversations, corpus_text, said
from agentkit_synthesis.worlds import calculate

_PYTHON = {"string": str, "integer": int, "number": (int, float), "boolean": bool}


def _some(split: str, n: int = 400, **options: Any) -> list[Conversation]:
    return list(itertools.islice(conversations(3, split=split, **options), n))  # type: ignore[arg-type]


def _valid(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    properties = schema["properties"]
    return set(schema["required"]) <= set(arguments) <= set(properties) and all(
        isinstance(value, _PYTHON[properties[name]["type"]])  # type: ignore[arg-type]
        and value in properties[name].get("enum", [value])
        for name, value in arguments.items()
    )


def test_the_same_seed_gives_the_same_conversations() -> None:
    assert _some("train", 20) == _some("train", 20)
    assert conversation_at(3, 7, split="train") == _some("train", 8)[7]
    assert evaluation_set(1, 20) == evaluation_set(1, 20)


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_calls_fit_the_schema_of_a_tool_in_the_prompt(split: str) -> None:
    for conversation in _some(split):
        tools = {spec.name: spec for spec in conversation.tools}
        assert len(tools) == len(conversation.tools) <= plain.MAX_TOOLS
        calls = [c for turn in conversation.turns if isinstance(turn, Step) for c in turn.calls]
        for call in calls:
            assert _valid(call.arguments, tools[call.tool].parameters), call
            order = list(tools[call.tool].parameters["properties"])
            assert list(call.arguments) == sorted(call.arguments, key=order.index)


def test_the_pieces_are_what_the_dialect_writes() -> None:
    for conversation in _some("train", 100):
        tags = {spec.name: index for index, spec in enumerate(conversation.tools)}
        text = "".join(piece.text for piece, _ in render(conversation))
        for turn in conversation.turns:
            if isinstance(turn, Step):
                assert "".join(piece.text for piece in plain.step(turn, tags)) in text


def test_weights() -> None:
    pieces = [item for conversation in _some("train", 200, mixture="full") for item in render(conversation)]
    assert {weight for _, weight in pieces} == {0.01, 0.1, 1.0, 2.0, 8.0}
    assert all(piece.text.startswith("<t") for piece, weight in pieces if weight == 8.0)
    assert all(weight == 2.0 for piece, weight in pieces if piece.control and piece.text in {"<call>", "<final>"})


def test_references_point_at_results_that_exist() -> None:
    for conversation in _some("train"):
        known: set[int] = set()
        for turn in conversation.turns:
            if isinstance(turn, Returned):
                known.add((turn.number - 1) % 16 + 1)
            elif isinstance(turn, Step) and turn.kind == "final":
                quoted = {int(part.split("⟧")[0]) for part in turn.text.split("⟦r")[1:]}
                assert quoted <= known
                assert "⟦r⟧" not in turn.text, turn.text
                assert "{" not in turn.text, turn.text


def test_no_request_of_test_or_dev_is_one_of_training() -> None:
    train = {text.lower() for c in _some("train", 1500, mixture="full") for text in said(c) if len(text) > 24}
    held = {text.lower() for split in ("dev", "test") for c in _some(split) for text in said(c) if len(text) > 24}
    assert len(held & train) <= len(held) * 0.005, held & train


def test_evaluation_set() -> None:
    cases = evaluation_set(1)
    assert len(cases) == 500
    assert sum(case.seen for case in cases) == 250
    for case in cases:
        names = [spec.name for spec in case.tools]
        assert 5 <= len(names) <= 12, case.id
        assert len(set(names)) == len(names)
        assert all(call["tool"] in names for call in case.expect)
        assert json.loads(case.to_json())["id"] == case.id
        assert case.world(case.expect[0]["tool"], case.expect[0]["arguments"]) == case.expect[0]
    assert sum(case.near_misses >= 2 for case in cases if not case.seen) >= 240


def test_recall_has_many_queries_and_only_tags_to_learn() -> None:
    for conversation in _some("train", 50, mixture="recall"):
        assert 2 <= len(conversation.tools) <= 6
        assert 6 <= conversation.decisions <= 10
        assert {weight for _, weight in render(conversation)} == {0.01, 8.0}


@pytest.mark.parametrize(
    ("expression", "value"),
    [("15% of 200", "30"), ("50 - 20%", "40"), ("64.50 + 18%", "76.11"), ("sum(3, 4, 5)", "12"), ("2 ^ 10", "1024"),
     ("sum($1)", "12"), ("mean($1)", "4"), ("count($1)", "3"), ("(2 + 3) * 4", "20"), ("max(-3, 2)", "2")],
)  # fmt: skip
def test_the_calculator_of_the_world(expression: str, value: str) -> None:
    assert calculate(expression, {1: "amount\n3\n4\n5"}) == value


def test_corpus_text() -> None:
    assert len(list(corpus_text(1, 300))) == 300


def test_it_is_fast() -> None:
    begun = time.perf_counter()
    for conversation in _some("train", 150):
        render(conversation)
    assert time.perf_counter() - begun < 2.0
