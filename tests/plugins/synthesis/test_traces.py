"""Explanation traces: right, verified by execution, told in many ways; a wrong step is always seen."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit_synthesis.dataset import Rejected
from agentkit_synthesis.traces.expressions import evaluate, exact
from agentkit_synthesis.traces.source import FAMILIES, make, problem_at, style_at, trace, wrong_trace
from agentkit_synthesis.traces.styles import WRITERS, tell
from agentkit_synthesis.traces.systems import SYSTEMS
from agentkit_synthesis.traces.verifying import first_wrong_step, verify

PAIRED = {"pairs": True}
family_names = pytest.mark.parametrize("family", FAMILIES)


def rows(n: int, seed: int = 0, **options: Any) -> list[Mapping[str, Any]]:
    """Return the first rows; all must have verified."""
    found = []
    for index in range(n):
        made = make(options, seed, index)
        assert not isinstance(made, Rejected), f"row {index} of seed {seed}: {made}"
        found.append(made)
    return found


@family_names
def test_every_row_executes_and_verifies(family: str) -> None:
    for level in (1, 2, 3):
        for row in rows(80, seed=level, families=[family], difficulty=[level]):
            assert verify(row) == ""
            assert row["verified"] is True
            assert row["family"] == family
            assert row["difficulty"] == level
            assert row["final"].rpartition("\n")[2].startswith(f"Answer: {row['answer']}")
            assert row["messages"][-1] == {"role": "assistant", "content": row["final"]}
            assert all(step["text"] in row["final"] for step in row["steps"])


@family_names
def test_harder_problems_take_more_steps(family: str) -> None:
    steps = [sum(len(row["steps"]) for row in rows(100, families=[family], difficulty=[level])) for level in (1, 3)]
    assert steps[1] > 1.15 * steps[0]


@given(seed=st.integers(0, 2**32 - 1), index=st.integers(0, 10**9))
@settings(max_examples=150)
def test_a_wrong_step_is_rejected_and_only_it_and_what_follows_differ(seed: int, index: int) -> None:
    row = make({}, seed, index)
    assert not isinstance(row, Rejected)
    problem = problem_at({"families": list(FAMILIES), "difficulty": [1, 2, 3]}, seed, index)[2]
    made = wrong_trace(problem, row, style_at(seed, index)[1], seed, index)
    if made is None:
        return
    wrong, other = made
    assert first_wrong_step(other["steps"], other["given"]) == (
        wrong.step,
        "a step's result is not what executing it gives",
    )
    assert verify(other)
    assert other["answer"] != row["answer"]
    assert other["steps"][: wrong.step - 1] == row["steps"][: wrong.step - 1]
    assert other["steps"][wrong.step - 1]["expression"] == row["steps"][wrong.step - 1]["expression"]
    values = exact(
        {**other["given"], **{f"s{number}": step["result"] for number, step in enumerate(other["steps"], 1)}}
    )
    for step in other["steps"][wrong.step :]:  # everything after it follows from it
        assert evaluate(step["expression"], values) == exact(step["result"])


def test_nearly_every_row_has_a_pair_and_all_sorts_of_mistakes_are_made() -> None:
    made = rows(700, **PAIRED)
    pairs = [pair for row in made for pair in row["pairs"]]
    assert len(pairs) > 0.9 * len(made)
    assert len({pair["mistake"] for pair in pairs}) >= 8
    for row in made:
        for pair in row["pairs"]:
            assert pair["prompt"] == row["messages"][:-1]
            assert pair["chosen"] == row["messages"][-1:]
            right, wrong = pair["chosen"][0]["content"].splitlines(), pair["rejected"][0]["content"].splitlines()
            assert len(right) == len(wrong)  # told in the same words
            assert right != wrong


@given(index=st.integers(0, 10_000), data=st.data())
@settings(max_examples=100)
def test_any_result_that_is_changed_is_seen(index: int, data: st.DataObject) -> None:
    row = make({}, 1, index)
    assert not isinstance(row, Rejected)
    row = json.loads(json.dumps(row))
    number = data.draw(st.integers(0, len(row["steps"]) - 1))
    step = row["steps"][number]
    right = step["result"]
    step["result"] = {bool: lambda: not right, int: lambda: right + 1, float: lambda: right + 0.01, str: lambda: right + "x", list: lambda: [*right, "x"]}[type(right)]()  # fmt: skip
    assert verify(row) != ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps": []}, "there are no steps"),
        ({"answer": "7"}, "the answer is not the last step's result"),
        ({"final": "8 it is"}, "the reply does not end with the answer"),
        ({"user": "What is it?"}, "a given value is not in the question"),
        ({"expression": "a + 99", "inputs": ["a"]}, "a step uses a value that is not in the question"),
        ({"expression": "a + c"}, "a step names other inputs than it reads"),
        ({"expression": "a + c", "inputs": ["a", "c"]}, "a step reads what is neither given nor found before"),
        ({"expression": "a / 0", "inputs": ["a"]}, "a step cannot be executed"),
        ({"expression": "a - b"}, "a step's result is not what executing it gives"),
        ({"expression": "a < b", "result": 1}, "a step's result is not what executing it gives"),
        ({"text": "add them"}, "a step's text does not say its result"),
    ],
)
def test_the_verifier_says_what_is_wrong(change: Mapping[str, Any], reason: str) -> None:
    step = {"text": "3 + 5 = 8", "expression": "a + b", "inputs": ["a", "b"], "result": 8}
    row = {
        "user": "What is 3 plus 5?",
        "given": {"a": 3, "b": 5},
        "steps": [step],
        "answer": "8",
        "final": "So.\nAnswer: 8",
    }
    assert verify(row) == ""
    inner = {name: value for name, value in change.items() if name in step}
    changed = {**row, **{name: value for name, value in change.items() if name not in step}}
    if inner:
        changed["steps"] = [{**step, **inner}]
    assert verify(changed) == reason


def test_code_prints_what_the_answer_says() -> None:
    for row in rows(300, families=["code_reading"]):
        code = re.search(r"```python\n(.*?)```", row["user"], re.DOTALL)
        assert code is not None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code[1], {})
        assert printed.getvalue().strip() == row["answer"]


def test_bare_sums_are_what_python_makes_of_them() -> None:
    found = [row for row in rows(400, families=["arithmetic"]) if row["kind"] == "bare"]
    assert len(found) > 20
    for row in found:
        asked = re.search(r"[\d(][\d+*/%() -]*[\d)]", row["user"])
        assert asked is not None
        assert eval(asked[0]) == float(row["answer"])


def test_dates_are_what_the_calendar_says() -> None:
    checked = Counter[str]()
    for row in rows(500, families=["dates"]):
        known = row["given"]
        if row["kind"] in ("deadline", "weekday"):
            day = date.fromisoformat(known["start"]) + timedelta(
                known["days"] + sum(v for k, v in known.items() if k.startswith("more"))
            )
            assert row["answer"] == (day.isoformat() if row["kind"] == "deadline" else f"{day:%A}")
        elif row["kind"] == "days":
            assert row["answer"] == str((date.fromisoformat(known["last"]) - date.fromisoformat(known["first"])).days)
        else:
            continue
        checked[row["kind"]] += 1
    assert min(checked.values()) > 10


def test_tables_logs_and_choices_are_answered_from_the_question() -> None:
    checked = Counter[str]()
    for row in rows(900, families=["tables", "logs_configs", "tool_choice"]):
        if row["kind"] == "mean":
            figure = row["steps"][0]["text"].partition("the column ")[2].split()[0].rstrip(",:.")
            values = [one[figure] for one in row["given"]["table"]]
            assert float(row["answer"]) == pytest.approx(sum(values) / len(values), abs=0.00501)
        elif row["kind"] == "level count":
            level = re.search(r"\b(INFO|WARN|ERROR|DEBUG)\b", row["user"].rpartition("\n\n")[2])
            assert level is not None
            assert int(row["answer"]) == row["user"].rpartition("\n\n")[0].count(f" {level[1]} ")
        elif row["kind"] == "decide":
            needs = [set(tool["needs"]) for tool in row["given"]["tools"] if tool["does"] == row["given"]["action"]]
            right = "decline" if not needs else "call" if needs[0] <= set(row["given"]["known"]) else "ask"
            assert row["answer"] == right
        else:
            continue
        checked[row["kind"]] += 1
    assert min(checked.values()) > 10
    assert len(checked) == 3


def test_shortest_ways_are_the_shortest_of_all() -> None:
    found = [row for row in rows(300, families=["sets_graphs"]) if row["kind"] == "shortest"]
    assert found
    for row in found:
        roads, (start, end) = row["given"]["roads"], (row["given"]["start"], row["given"]["end"])
        ways = [(0, [start])]
        lengths = []
        while ways:  # every way without a place twice
            length, way = ways.pop()
            if way[-1] == end:
                lengths.append(length)
                continue
            for a, b, weight in roads:
                for here, there in ((a, b), (b, a)):
                    if here == way[-1] and there not in way:
                        ways.append((length + weight, [*way, there]))
        assert row["answer"] == str(min(lengths))


def test_answers_alone_have_the_same_problems_and_ids() -> None:
    for full, bare in zip(rows(100), rows(100, explain=False), strict=True):
        assert {name: full[name] for name in ("id", "user", "answer", "split", "family", "difficulty", "kind")} == {
            name: bare[name] for name in ("id", "user", "answer", "split", "family", "difficulty", "kind")
        }
        assert bare["steps"] == []
        assert bare["messages"][-1]["content"] == full["final"].rpartition("\n")[2]
        assert [one["role"] for one in bare["messages"]] == ["system", "user", "assistant"]


def test_pairs_change_nothing_else() -> None:
    for one, other in zip(rows(50), rows(50, **PAIRED), strict=True):
        assert one == {name: value for name, value in other.items() if name != "pairs"}


def test_rows_are_nearly_all_different() -> None:
    made = rows(2_500, seed=11)
    assert len({row["hash"] for row in made}) == len(made)
    assert len({row["user"] for row in made}) >= 0.999 * len(made)
    assert len({(row["family"], row["kind"]) for row in made}) > 60


def test_no_problem_is_in_both_splits_however_it_is_worded() -> None:
    sides: dict[str, set[str]] = {}
    for seed in range(2):
        for index in range(600):
            problem = problem_at({"families": list(FAMILIES), "difficulty": [1]}, seed, index)[2]
            made = make({"difficulty": [1]}, seed, index)
            assert not isinstance(made, Rejected)
            sides.setdefault(problem.key, set()).add(made["split"])
    assert {len(side) for side in sides.values()} == {1}
    assert {side for sets in sides.values() for side in sets} == {"train", "test"}


def test_system_messages_ask_for_styles_and_get_them() -> None:
    systems = {system for system, _ in SYSTEMS}
    assert len(systems) >= 16
    assert "" in systems
    assert {style for _, style in SYSTEMS} == set(WRITERS)
    assert len({row["system"] for row in rows(600)}) == len(systems)
    problem = problem_at({"families": ["arithmetic"], "difficulty": [3]}, 0, 0)[2]
    right = [move.result for move in problem.moves]
    from random import Random

    told = {style: tell(problem, right, style, Random(0)) for style in WRITERS}
    assert len({one.final for one in told.values()}) == len(WRITERS)
    assert len(told["terse"].final) < 0.6 * len(told["justified"].final)
    assert told["numbered"].steps[1].startswith("2. ")
    assert all(line.startswith("- ") for line in told["bullets"].steps)
    for style, one in told.items():
        row = trace(problem, one, id="x", family="arithmetic", level=3, system="", teacher="solver")
        assert verify(row) == "", style
