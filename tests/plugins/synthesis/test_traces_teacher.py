"""A language model as teacher: believed only where the solver and the evaluator agree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from agentkit import jobs
from agentkit.errors import EngineError, InvalidParams, ModelNotFound, OfflineModelUnavailable
from agentkit.protocols import Request
from agentkit.testing import ChatServer, Raw, ScriptedEngine
from agentkit.types import Step
from agentkit_synthesis.dataset import Rejected, row
from agentkit_synthesis.traces.jobs import TRACES
from agentkit_synthesis.traces.problem import show
from agentkit_synthesis.traces.source import FAMILIES, make, problem_at
from agentkit_synthesis.traces.stated import is_same, stated_answer, stated_steps, without_answer
from agentkit_synthesis.traces.teacher import explain

OPTIONS: dict[str, Any] = {"samples": 3, "temperature": 0.8, "max_tokens": 200}
PROBLEM = problem_at({"families": ["arithmetic"], "difficulty": [1]}, 0, 1)[2]
ANSWER = show(PROBLEM.moves[-1].result)


def said(*texts: str) -> ScriptedEngine:
    return ScriptedEngine([Step(kind="final", text=text) for text in texts])


def test_a_reply_that_holds_is_taken_as_it_was_said_but_for_its_answer_line() -> None:
    engine = said(f"It is easy:\n3 × 4 = 12\n\n**The answer is: {ANSWER}**.")
    found = explain(engine, PROBLEM, "Be kind.", OPTIONS, seed=0)
    assert found == f"It is easy:\n3 × 4 = 12\nAnswer: {ANSWER}" + (f" {PROBLEM.unit}" if PROBLEM.unit else "")
    request = engine.requests[0]
    assert request.sampling.temperature == 0.8
    assert "Be kind." in str(request.messages[0].content)
    assert request.messages[1].content == PROBLEM.question


def test_samples_differ_in_their_seed_and_the_first_good_one_is_taken() -> None:
    engine = said("Hm.", f"2 + 2 = 5\nAnswer: {ANSWER}", f"2 + 2 = 4\nAnswer: {ANSWER}")
    found = explain(engine, PROBLEM, "", OPTIONS, seed=7)
    assert isinstance(found, str)
    assert found.startswith("2 + 2 = 4")
    assert [request.sampling.seed for request in engine.requests] == [7, 8, 9]
    engine.assert_complete()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"1 + 1 = 3\nAnswer: {ANSWER}", "the teacher states a calculation that is wrong"),
        ("1 + 1 = 2\nAnswer: 123456", "the teacher's answer is wrong"),
        ("lorem ipsum " * 9, "the teacher gave no answer"),
        (f"Answer: {ANSWER}", "the teacher explained nothing"),
        ("   ", "the teacher said nothing"),
        ("word " * 300, "the teacher's reply was cut off"),
    ],
)
def test_a_reply_that_does_not_hold_is_refused_with_its_reason(text: str, reason: str) -> None:
    assert explain(said(text, text, text), PROBLEM, "", OPTIONS, seed=0) == Rejected(reason)


def test_the_commonest_reason_is_told() -> None:
    engine = said("no idea", "1 + 1 = 2\nAnswer: 0.5", "no idea")
    assert explain(engine, PROBLEM, "", OPTIONS, seed=0) == Rejected("the teacher gave no answer")


def test_a_problem_that_does_not_fit_is_left_out() -> None:
    engine = ScriptedEngine([], capabilities=replace(ScriptedEngine([]).capabilities, context=20))
    assert explain(engine, PROBLEM, "", OPTIONS, seed=0) == Rejected(
        "the problem does not fit into the teacher's context"
    )


def test_an_engine_that_fails_is_not_the_problem_s_fault() -> None:
    with pytest.raises(EngineError, match="the script has 0 steps"):
        explain(said(), PROBLEM, "", OPTIONS, seed=0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1. 3 + 4 = 7", [("3 + 4", 7, True)]),
        ("so 5, 3 + 4 = 8.", [("3 + 4", 8, False)]),
        ("10 / 3 = 3.33 and 10 / 3 = 3", [("10 / 3", Fraction("3.33"), True), ("10 / 3", 3, False)]),
        ("1,200 × 2 = 2,400 euros", [("1200 * 2", 2400, True)]),
        ("(12 + 7) * 3 = 57, then 57 − 8 = 49", [("(12 + 7) * 3", 57, True), ("57 - 8", 49, True)]),
        ("x = 3 + 4 = 7; 1250 ÷ 5 = 250", [("3 + 4", 7, True), ("1250 / 5", 250, True)]),
        ("10 - 2 = 4 + 4", []),
        ("on 2024-03-05 = Tuesday; 50 * 10% = 5; 12 = 12; 1 / 0 = 5", []),
    ],
)
def test_calculations_are_found_in_a_text(line: str, expected: list[tuple[str, Any, bool]]) -> None:
    assert [(one.expression, one.result, one.holds) for one in stated_steps(line)] == expected


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so\nAnswer: 42", "42"), ("**Answer:** 42 km", "42 km"), ("The final answer is 12.", "12"), ("answer: -3.5\n\n", "-3.5"),
        ('Answer: "x"', "x"), ("Answer: Oslo, Riga", "Oslo, Riga"), ("42", ""), ("Answer: 1\nAnswer: 2", "2"),
    ],
)  # fmt: skip
def test_answers_are_found_in_a_text(text: str, answer: str) -> None:
    assert stated_answer(text) == answer
    assert not answer or stated_answer(without_answer(text)) == ""


def test_answers_are_the_same_whatever_their_dress() -> None:
    assert is_same("1,250.0 euros", "1250", "euros")
    assert is_same("`Oslo`, Riga.", "Oslo, Riga", "") is False  # a dress inside is not taken off
    assert is_same("Oslo,Riga.", "Oslo, Riga", "")
    assert is_same("−3", "-3", "")
    assert not is_same("12 km", "12", "m")
    assert not is_same("oslo", "Oslo", "")


def teacher(right_every: int) -> Any:
    """Return a server's answers: the right one for every so-maniest request, from the rows of the solver."""
    known = {one["user"]: one for one in (make({}, 0, index) for index in range(60)) if not isinstance(one, Rejected)}
    asked = 0

    def answer(body: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        nonlocal asked
        asked += 1
        found = known[body["messages"][-1]["content"]]
        good = f"I did it: 2 * 3 = 6\nAnswer: {found['answer']}"
        return [{"content": good if asked % right_every == 0 else "2 * 3 = 7\nAnswer: none at all"}]

    return answer


def test_a_server_teaches_a_data_set(tmp_path: Path) -> None:
    with ChatServer(teacher(2)) as server:
        params = {"out": str(tmp_path / "out"), "count": 8, "teacher": server.url, "samples": 2, "test_share": 0.0}
        done = jobs.run(TRACES, params, run_dir=tmp_path / "run")
        assert done.status == "ok", done.error
        assert done.metrics["verified_share"] == 1.0
        assert len(server.requests) == 16
        rows = [json.loads(line) for line in (tmp_path / "out/train.jsonl").read_text().splitlines()]
        assert {one["teacher"] for one in rows} == {"test-model"}
        assert rows[0]["steps"] == [{"text": "I did it: 2 * 3 = 6", "expression": "2 * 3", "inputs": [], "result": 6}]
        assert rows[0]["id"] == "traces-0-0"
        assert {one["family"] for one in rows} == set(FAMILIES)
        assert row(tmp_path / "out", "traces-0-3")["user"] == rows[3]["user"]


def test_a_teacher_of_nonsense_ends_in_an_error_that_says_so(tmp_path: Path) -> None:
    with ChatServer(lambda body: [{"content": "The moon is made of cheese."}]) as server:
        params = {"out": str(tmp_path / "out"), "count": 50, "teacher": server.url, "samples": 2}
        done = jobs.run(TRACES, params, run_dir=tmp_path / "run")
    assert done.status == "failed"
    assert "none of 20 rows verified: the teacher gave no answer (20 times)" in done.error
    assert len(server.requests) == 40
    assert not (tmp_path / "out").exists()


def test_a_server_that_breaks_is_the_engine_s_error_and_the_job_can_go_on(tmp_path: Path) -> None:
    with ChatServer(lambda body: Raw(status=500, body=b"broken")) as server:
        params = {"out": str(tmp_path / "out"), "count": 3, "teacher": server.url, "test_share": 0.0}
        done = jobs.run(TRACES, params, run_dir=tmp_path / "run")
        assert done.error.startswith("ProviderError")
        assert jobs.read(tmp_path / "run").resumable
        server.answer = teacher(1)
        assert jobs.run(TRACES, params, run_dir=tmp_path / "run").status == "ok"


def test_a_scripted_model_teaches_by_its_name(tmp_path: Path) -> None:
    answers = [make({}, 0, index) for index in range(3)]
    script = tmp_path / "script.json"
    script.write_text(
        json.dumps(
            [{"final": f"1 + 1 = 2\nAnswer: {one['answer']}"} for one in answers if not isinstance(one, Rejected)]
        )
    )
    params = {"out": str(tmp_path / "out"), "count": 3, "teacher": f"scripted:{script}", "samples": 1}
    assert jobs.run(TRACES, params, run_dir=tmp_path / "run").status == "ok"


def test_a_teacher_that_is_not_there_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="nobody"):
        TRACES.plan({"out": str(tmp_path / "out"), "teacher": "nobody"})


def test_a_teacher_to_be_downloaded_is_planned_unless_one_is_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"out": str(tmp_path / "out"), "teacher": "hf:nobody/nothing:q4_k_m"}
    assert TRACES.plan(params).backend == "gguf model, to be downloaded"
    monkeypatch.setenv("AGENTKIT_OFFLINE", "true")
    with pytest.raises(OfflineModelUnavailable):
        TRACES.plan(params)


def test_the_request_of_a_sample_allows_a_text_only() -> None:
    def check(request: Request) -> Step:
        assert request.allow == {"final"}
        assert request.max_tokens == 200
        return Step(kind="final", text=f"1 + 1 = 2\nAnswer: {ANSWER}")

    assert isinstance(explain(ScriptedEngine([check]), PROBLEM, "", OPTIONS, seed=0), str)


def test_contradictions_are_refused() -> None:
    for params, told in [
        ({"samples": 3}, "/samples: is a model's"),
        ({"temperature": 0.5}, "/temperature: is a model's"),
        ({"explain": False, "pairs": True}, "/pairs: answers alone"),
        ({"teacher": "sprout", "explain": False}, "/explain: a teacher"),
        ({"teacher": "sprout", "pairs": True}, "/pairs: are made of the solver's"),
        ({"teacher": "sprout", "temperature": 0}, "/samples: at temperature 0"),
    ]:
        with pytest.raises(InvalidParams, match=told):
            TRACES.plan({"out": "x", **params})
