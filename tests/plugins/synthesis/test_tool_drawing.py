"""Values drawn from schemas and words, and requests that say them."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.errors import InvalidParams
from agentkit.schema import problems
from agentkit.types import ToolSpec
from agentkit_synthesis.tooluse.own import wording
from agentkit_synthesis.tooluse.own.drawing import draw_arguments, spoiled
from agentkit_synthesis.tooluse.own.hints import examples_of, is_arithmetic, pool_of
from agentkit_synthesis.tooluse.own.patterns import Undrawable, matching
from agentkit_synthesis.worlds import calculate

BOUNDS = st.tuples(st.integers(-1000, 1000), st.integers(0, 500))
SIMPLE = st.one_of(
    st.just({"type": "string"}),
    st.just({"type": "boolean"}),
    st.builds(lambda at: {"type": "integer", "minimum": at[0], "maximum": at[0] + at[1]}, BOUNDS),
    st.builds(lambda at: {"type": "integer", "exclusiveMinimum": at[0]}, BOUNDS),
    st.builds(lambda at: {"type": "number", "exclusiveMinimum": at[0], "exclusiveMaximum": at[0] + at[1] + 1}, BOUNDS),
    st.builds(lambda at: {"type": "number", "maximum": at[0]}, BOUNDS),
    st.builds(lambda step: {"type": "integer", "multipleOf": step}, st.integers(1, 9)),
    st.builds(lambda values: {"enum": values}, st.lists(st.text(max_size=5) | st.integers(), min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, st.text(max_size=5)),
    st.builds(lambda form: {"type": "string", "format": form}, st.sampled_from(["date", "time", "email", "uri", "uuid", "ipv4", "date-time"])),
    st.builds(lambda most: {"type": "string", "maxLength": most}, st.integers(1, 30)),
    st.builds(lambda least: {"type": "string", "minLength": least, "maxLength": least + 8}, st.integers(0, 40)),
    st.builds(lambda pattern: {"type": "string", "pattern": pattern}, st.sampled_from([r"^[A-Z]{2}-\d{3,5}$", r"^(red|blue) \w+$", r"^\+?[0-9 ]{5,9}$", r"^[^,;]{3}$"])),
)  # fmt: skip
SCHEMAS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 3)),
        st.builds(lambda fields: {"type": "object", "properties": fields, "required": sorted(fields)}, st.dictionaries(st.sampled_from("abc"), inner, max_size=2)),
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner),
        st.builds(lambda one: {"anyOf": [one, {"type": "null"}]}, inner),
    ),
    max_leaves=4,
)  # fmt: skip


def spec(properties: dict[str, Any], description: str = "Do a thing.", **more: Any) -> ToolSpec:
    schema = {"type": "object", "properties": properties, "required": list(properties), **more}
    return ToolSpec(name="do_thing", description=description, parameters=schema)


@given(schema=SCHEMAS, seed=st.integers(0, 10**6))
@settings(deadline=None)
def test_what_is_drawn_fits_its_schema(schema: dict[str, Any], seed: int) -> None:
    whole = spec({"given": schema})
    found = draw_arguments(whole, Random(seed)).arguments
    assert problems(dict(found), whole.parameters) == []
    assert found == draw_arguments(whole, Random(seed)).arguments
    assert (
        problems(dict(spoiled(draw_arguments(whole, Random(seed)), whole, Random(seed)).arguments), whole.parameters)
        == []
    )


@given(
    pattern=st.sampled_from([r"^[A-D][1-3]$", r"\d{4}-\d\d", r"(ab|cd)+e?", r"[^\d\s]{2,4}", r"(x)(y)\1", r"^v?\d+\.\d+(\.\d+)?$", r"\bword\b", "a.c", r"[\w.]+@[a-z]+\.org"]),
    seed=st.integers(0, 10**6),
)  # fmt: skip
def test_a_text_of_a_pattern_matches_it(pattern: str, seed: int) -> None:
    assert re.search(pattern, matching(pattern, Random(seed)))


@pytest.mark.parametrize("pattern", ["(", r"^(?=.*z)[a-y]$", "^a$(?!)b"])
def test_a_pattern_that_cannot_be_drawn_says_so(pattern: str) -> None:
    with pytest.raises(Undrawable):
        matching(pattern, Random(0))


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 3}, "no number from 5 to 3"),
        ({"type": "string", "pattern": "("}, "no regular expression"),
        ({"$ref": "#/$defs/nowhere"}, "not in it"),
        ({"$ref": "#/$defs/loop"}, "goes round in a circle"),
        ({"type": "array", "items": {"enum": [1]}, "minItems": 2, "uniqueItems": True}, "not 2 different items"),
        ({"type": "teapot"}, "teapot"),
    ],
)
def test_a_schema_that_nothing_fits_names_the_argument(schema: dict[str, Any], said: str) -> None:
    whole = spec({"code": schema}, **{"$defs": {"loop": {"$ref": "#/$defs/loop"}}})
    with pytest.raises(InvalidParams) as refused:
        draw_arguments(whole, Random(0))
    assert str(refused.value).startswith("/source: 'do_thing' cannot be tried: /properties/code: ")
    assert said in str(refused.value)


def test_an_optional_argument_that_cannot_be_drawn_is_left_out() -> None:
    whole = ToolSpec(name="f", description="F.", parameters={"type": "object", "properties": {"a": {"type": "integer", "minimum": 2, "maximum": 1}}})  # fmt: skip
    assert all(draw_arguments(whole, Random(seed)).arguments == {} for seed in range(20))


@pytest.mark.parametrize(
    ("description", "found"),
    [
        ("such as 15% of 200, (3 + 4) * 2, or sum($1) for the numbers in result 1.", ["15% of 200", "(3 + 4) * 2"]),
        ("its name, one of `apple`, `pear` or `plum`.", ["apple", "pear", "plum"]),
        ("name of the city, e.g. Oslo or Rome", ["Oslo", "Rome"]),
        ("where it goes, such as A1 or C3.", ["A1", "C3"]),
        ("for example 'two words'.", ["two words"]),
        ("how far.", []),
    ],
)
def test_examples_are_read_from_descriptions(description: str, found: list[str]) -> None:
    assert examples_of(description, {}) == found


@pytest.mark.parametrize(
    ("name", "description", "about", "is_one"),
    [
        ("expression", "such as 15% of 200, (3 + 4) * 2.", "Work out arithmetic.", True),
        ("term", "for example 3 + 4 * 2", "Reckon.", True),
        ("formula", "the formula", "Evaluate maths.", True),
        ("expression", "a cron expression", "Plan a job.", False),
        ("expression", "a regular expression", "Search texts.", False),
        ("expression", "such as ^a+$", "Search texts.", False),
        ("phone", "such as 555-1234", "Call somebody.", False),
        ("day", "such as 2026-01-05", "Plan a day.", False),
        ("city", "name of the city", "The weather.", False),
    ],
)
def test_a_sum_is_known_by_its_examples_or_words(name: str, description: str, about: str, is_one: bool) -> None:
    assert is_arithmetic(name, description, about, examples_of(description, {})) is is_one


def test_sums_are_sums() -> None:
    whole = spec({"expression": {"type": "string", "description": "such as 15% of 200"}})
    for seed in range(40):
        drawn = draw_arguments(whole, Random(seed))
        assert calculate(drawn.arguments["expression"])
        assert drawn.request


@pytest.mark.parametrize(
    ("name", "pool"),
    [("city", "city"), ("homeTown", "city"), ("sender_email", "@email"), ("xyzzy", ""), ("file_path", "@path")],
)
def test_names_choose_pools(name: str, pool: str) -> None:
    assert pool_of(name, "") == pool


@given(
    arguments=st.dictionaries(st.sampled_from(["city", "days", "is_wet"]), st.integers(0, 99) | st.text("abc xyz", min_size=1).map(str.strip).filter(bool)),
    seed=st.integers(0, 10**6),
)  # fmt: skip
def test_every_value_stands_in_the_request(arguments: dict[str, Any], seed: int) -> None:
    whole = spec({name: {} for name in arguments}, "Returns the weather of a place. More is not said.")
    text = wording.request(whole, arguments, Random(seed))
    assert all(str(value).casefold() in text.casefold() for value in arguments.values())
    assert "returns" not in text.casefold()


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("Converts miles to kilometres.", "convert miles to kilometres"),
        ("Returns the mean of some numbers.", "tell the mean of some numbers"),
        ("Fetches pages.", "fetch pages"),
        ("Process the queue.", "process the queue"),
        ("The price of sending a parcel.", "tell the price of sending a parcel"),
    ],
)
def test_what_a_tool_can_do_is_read_from_its_description(description: str, said: str) -> None:
    assert wording.can(spec({}, description)) == said
