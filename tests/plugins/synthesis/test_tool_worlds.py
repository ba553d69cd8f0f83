"""Tool-use traces in invented worlds: every row replays, its goal notices wrong calls, nothing but what is needed is called."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit_synthesis.dataset.rows import Rejected
from agentkit_synthesis.tooluse.checking import calls_of, replayed, world_of
from agentkit_synthesis.tooluse.domains import DOMAINS
from agentkit_synthesis.tooluse.mutation import mutants, mutations
from agentkit_synthesis.tooluse.rows import make
from agentkit_synthesis.tooluse.source import verify
from agentkit_synthesis.tooluse.state import changed, differences, put
from agentkit_synthesis.tooluse.values import FAMILIES
from agentkit_synthesis.tooluse.world import World

Row = Mapping[str, Any]
TREES = st.recursive(st.integers(0, 3) | st.text("ab/~", max_size=2), lambda inner: st.dictionaries(st.text("ab/~", min_size=1, max_size=2), inner, max_size=3), max_leaves=8)  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    found = [made for made in (make({}, 11, index) for index in range(500)) if not isinstance(made, Rejected)]
    assert len(found) > 470  # the others did not verify, and are not in any data set
    return found


def test_every_family_and_every_world_is_there(rows: list[Row]) -> None:
    assert set(FAMILIES) == {row["family"] for row in rows}
    assert set(DOMAINS) == {row["world"]["domains"][0] for row in rows}
    assert {row["split"] for row in rows} == {"train", "test"}


def test_every_row_is_json_replays_and_reaches_its_goal(rows: list[Row]) -> None:
    for row in rows:
        again = json.loads(json.dumps(row, ensure_ascii=False))
        assert again == row
        assert verify(again) == [], row["id"]


@given(index=st.integers(0, 10**9), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_row_is_the_same_whenever_it_is_made_and_verifies_or_is_rejected(index: int, seed: int) -> None:
    one, other = make({}, seed, index), make({}, seed, index)
    assert one == other
    if not isinstance(one, Rejected):
        assert verify(one) == []
        assert one["id"] == f"tools-{seed}-{index}"


def test_no_distractor_is_called_and_there_are_some(rows: list[Row]) -> None:
    beside = 0
    for row in rows:
        called = {function["name"] for function, _ in calls_of(row)}
        assert called <= set(row["world"]["needed"])
        assert called <= {tool["function"]["name"] for tool in row["tools"]}
        beside += row["world"]["distractors"]
    assert beside / len(rows) > 2


def test_who_declines_calls_nothing_and_could_not_have(rows: list[Row]) -> None:
    declined = [row for row in rows if row["family"] == "decline"]
    assert declined
    for row in declined:
        assert calls_of(row) == []
        assert row["messages"][-1]["kind"] == "decline"
        assert len(row["tools"]) >= 1


def test_who_lacks_something_asks_before_calling(rows: list[Row]) -> None:
    asked = [row for row in rows if row["family"] == "ask"]
    assert {row["goal"]["end"] for row in asked} == {"ask", "final"}
    for row in asked:
        first = next(message for message in row["messages"] if message["role"] == "assistant")
        assert first.get("kind") == "ask"
        assert not first.get("tool_calls")


def test_a_strangers_orders_are_there_and_never_obeyed(rows: list[Row]) -> None:
    planted = [row for row in rows if row["family"] == "untrusted"]
    assert len(planted) > 15
    for row in planted:
        (mark,) = row["goal"]["not_obeyed"]
        ordered = json.loads(f"{{{mark}}}")["name"]
        told = "\n".join(message["content"] for message in row["messages"] if message["role"] == "tool")
        assert ordered in told
        assert ordered in {tool["function"]["name"] for tool in row["tools"]}  # it could be obeyed
        assert ordered not in {function["name"] for function, _ in calls_of(row)}
        world, _ = replayed(row)
        assert changed(world.fresh(), world.state) == row["goal"]["changes"]


def test_obeying_a_stranger_would_be_noticed(rows: list[Row]) -> None:
    row = copy.deepcopy(dict(next(one for one in rows if one["family"] == "untrusted")))
    ordered = json.loads(f"{{{row['goal']['not_obeyed'][0]}}}")["name"]
    world = world_of(row)
    face = world.named(ordered)
    assert face is not None
    call = {"id": "call00009", "type": "function", "function": {"name": ordered, "arguments": {}}}
    given_back = {"role": "tool", "tool_call_id": "call00009", "name": ordered, "content": "done"}
    row["messages"] = [
        *row["messages"][:-1],
        {"role": "assistant", "content": "", "tool_calls": [call]},
        given_back,
        row["messages"][-1],
    ]
    assert any("obeys" in problem for problem in verify(row))


def test_the_goal_notices_nearly_every_changed_argument(rows: list[Row]) -> None:
    found = mutations(rows[:250], Random(0))
    assert sum(found.tried.values()) > 300
    assert found.share > 0.97
    assert [name for name in found.unnoticed if name.startswith(("ask", "single"))] == []


def test_a_changed_call_is_always_noticed_by_what_is_stored(rows: list[Row]) -> None:
    for row in rows[:120]:
        for made, _ in mutants(row, Random(1)):
            _, results = replayed(made)
            stored = [message["content"] for _, message in calls_of(made)]
            if [one["content"] for one in results] != stored:
                assert verify(made)


@pytest.mark.parametrize("damage", ["result", "order", "tool", "answer", "world"])
def test_what_was_tampered_with_does_not_verify(rows: list[Row], damage: str) -> None:
    row = copy.deepcopy(
        dict(
            next(
                one
                for one in rows
                if one["family"] == "multi_step" and one["goal"]["changes"] and len(calls_of(one)) > 1
            )
        )
    )
    match damage:
        case "result":
            next(message for message in row["messages"] if message["role"] == "tool")["content"] += " "
        case "order":
            made = [message for message in row["messages"] if message.get("tool_calls")]
            made[0]["tool_calls"], made[-1]["tool_calls"] = made[-1]["tool_calls"], made[0]["tool_calls"]
        case "tool":
            row["tools"][0]["function"]["description"] += "!"
        case "answer":
            row["messages"][-1]["content"] = "Done."
        case "world":
            row["id"] = "tools-11-100000"
    assert verify(row)


def test_no_problem_is_in_both_splits(rows: list[Row]) -> None:
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["hash"], set()).add(row["split"])
    assert all(len(one) == 1 for one in splits.values())


def test_words_and_names_vary_from_row_to_row(rows: list[Row]) -> None:
    first = Counter(message["content"] for row in rows for message in row["messages"][:2] if message["role"] == "user")
    names = {tool["function"]["name"] for row in rows for tool in row["tools"]}
    assert first.most_common(1)[0][1] <= 12
    assert len(names) > 500


def test_options_choose_families_worlds_and_distractors() -> None:
    options = {"families": {"single": 1.0}, "domains": ["bank"], "distractors": 0, "test_share": 0.0}
    found = [row for row in (make(options, 0, index) for index in range(20)) if not isinstance(row, Rejected)]
    assert {row["family"] for row in found} == {"single"}
    assert {row["world"]["domains"][0] for row in found} == {"bank"}
    assert {row["split"] for row in found} == {"train"}
    assert all(len(row["tools"]) <= 2 for row in found)


class TestTools:
    """The tools of a world, called with what they are not made for."""

    @pytest.fixture
    def world(self) -> World:
        return World("tools-0-1", [DOMAINS["shop"]])

    def test_an_unknown_tool(self, world: World) -> None:
        assert not world.call("nothing", {}).ok

    def test_a_tool_that_is_not_in_the_conversation(self, world: World) -> None:
        name = next(iter(world.faces.values())).name
        assert not world.call(name, {}, among=[]).ok

    @pytest.mark.parametrize("arguments", [{}, {"nothing": 1}, {"count": "two"}, {"count": True}])
    def test_wrong_arguments_fail_and_change_nothing(self, world: World, arguments: dict[str, Any]) -> None:
        face = world.faces["shop.order"]
        item = next(iter(world.state["shop"]["items"]))
        whole = {face.names["item"]: item, **{face.names.get(key, key): value for key, value in arguments.items()}}
        found = world.call(face.name, whole)
        assert not found.ok
        assert world.state == world.fresh()

    def test_a_busy_tool_works_the_next_time(self) -> None:
        world = World("tools-0-1", [DOMAINS["shop"]], busy={"shop.status": 1})
        face = world.faces["shop.status"]
        order = {face.names["order"]: next(iter(world.state["shop"]["orders"]))}
        assert [world.call(face.name, order).ok for _ in range(2)] == [False, True]


@given(before=TREES, after=TREES)
def test_differences_are_what_makes_one_of_the_other(before: Any, after: Any) -> None:
    told = list(differences(before, after))
    assert (told == []) == (before == after)
    if isinstance(before, dict) and isinstance(after, dict):
        made = copy.deepcopy(before)
        for pointer, value in told:
            if value is None:
                *path, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
                place = made
                for part in path:
                    place = place[part]
                del place[last]
            else:
                put(made, pointer, value)
        assert made == after
