"""JSON Schema problems, in words."""

from __future__ import annotations

from typing import Any

import pytest

from agentkit.errors import CannotEnforce
from agentkit.schema import problems

SCHEMA = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}, "required": ["b"]}


def test_each_problem_is_led_by_its_place() -> None:
    assert problems({"a": [1], "b": 2}, SCHEMA) == []
    assert problems({"a": [1, "x"]}, SCHEMA) == ["'b' is a required property", "/a/1: 'x' is not of type 'integer'"]


def test_a_problem_is_short_however_long_the_value() -> None:
    [problem] = problems("x" * 10_000, {"type": "integer"})
    assert len(problem) <= 200


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "wombat"},
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "#/$defs/nowhere"},
        {"properties": 3},
    ],
)
def test_what_is_no_schema_is_refused_and_nothing_is_fetched(schema: dict[str, Any]) -> None:
    with pytest.raises(CannotEnforce):
        problems({}, schema)


def test_an_endless_schema_is_refused() -> None:
    with pytest.raises(CannotEnforce, match="nested too deeply"):
        problems({}, {"$ref": "#"})
