"""A scripted engine says its steps, and one clear sentence about whatever is wrong with a script."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from agentkit.engine.script import read_script
from agentkit.engine.scripted import DEFAULT, ScriptedEngine
from agentkit.errors import (
    Cancelled,
    CannotEnforce,
    ContextFull,
    DeadlineExceeded,
    EngineError,
    ModelFileError,
    ModelNotFound,
    ProviderError,
    UnsupportedPart,
)
from agentkit.protocols import ArgumentsDelta, Reply, Request, TextDelta, ThinkingDelta
from agentkit.testing import ADD, Branches, Failure, Slowly
from agentkit.types import Step, ToolCall

FINAL = Step(kind="final", text="It is five, and that is all there is to say.")
CALL = Step(kind="calls", calls=(ToolCall(id="c", tool="add", arguments={"a": 2, "b": "drei"}),), thinking="Hm, add.")


def request(**changes: object) -> Request:
    return Request(**{"messages": [HumanMessage("two plus three")], "tools": [ADD], **changes})  # type: ignore[arg-type]


def reply(engine: ScriptedEngine, **changes: object) -> Reply:
    last = list(engine.stream(request(**changes)))[-1]
    assert isinstance(last, Reply)
    return last


def test_steps_come_in_order_in_small_pieces_and_requests_are_recorded() -> None:
    engine = ScriptedEngine([CALL, FINAL])
    *pieces, first = engine.stream(request())
    assert isinstance(first, Reply)
    assert first.step is CALL
    thoughts = [piece.text for piece in pieces if isinstance(piece, ThinkingDelta)]
    arguments = [piece.text for piece in pieces if isinstance(piece, ArgumentsDelta)]
    assert ("".join(thoughts), "".join(arguments)) == ("Hm, add.", '{"a": 2, "b": "drei"}')
    assert len(arguments) > 1
    *pieces, second = engine.stream(request(max_tokens=99))
    assert [type(piece) for piece in pieces] == [TextDelta] * 6
    assert isinstance(second, Reply)
    assert (second.step, second.assurance, second.usage.decoded) == (FINAL, "none", 11)
    assert [asked.max_tokens for asked in engine.requests] == [1024, 99]
    engine.assert_complete()


def test_running_past_the_script_says_so() -> None:
    engine = ScriptedEngine([FINAL])
    reply(engine)
    with pytest.raises(EngineError, match="the script has 1 steps, and a further one was asked for"):
        reply(engine)


def test_steps_never_asked_for_are_counted() -> None:
    with pytest.raises(AssertionError, match="2 of the script's 2 steps"):
        ScriptedEngine([FINAL, FINAL]).assert_complete()


def test_a_failure_is_raised_and_a_callable_sees_the_request() -> None:
    error = ProviderError("gone")
    engine = ScriptedEngine([Failure(error=error), lambda asked: Step(kind="final", text=str(asked.max_tokens))])
    with pytest.raises(ProviderError, match="gone") as caught:
        reply(engine)
    assert caught.value is error
    assert reply(engine, max_tokens=7).step.text == "7"


def test_what_the_request_does_not_allow_is_an_error() -> None:
    with pytest.raises(EngineError, match="step 1 of the script is 'calls', but only final was allowed"):
        reply(ScriptedEngine([CALL]), allow=frozenset({"final"}))


def test_an_output_schema_is_held_against_the_script() -> None:
    schema = {"type": "object", "required": ["n"]}
    good, other, text = (Step(kind="final", text=text) for text in ('{"n": 5}', "{}", "five"))
    assert reply(ScriptedEngine([good]), output=schema).step.data == {"n": 5}
    with pytest.raises(EngineError, match="does not fit the output schema"):
        reply(ScriptedEngine([other]), output=schema)
    with pytest.raises(EngineError, match="is not JSON"):
        reply(ScriptedEngine([text]), output=schema)


def test_max_tokens_cut_a_text_and_refuse_half_a_call() -> None:
    cut = reply(ScriptedEngine([FINAL]), max_tokens=3)
    assert (cut.step.text, cut.finish, cut.usage.decoded) == ("It is five,", "length", 3)
    with pytest.raises(EngineError, match="max_tokens is 2"):
        reply(ScriptedEngine([CALL]), max_tokens=2)


def test_a_prompt_that_does_not_fit_and_parts_it_cannot_take_are_refused() -> None:
    with pytest.raises(ContextFull, match="9001 words"):
        reply(ScriptedEngine([FINAL]), messages=[HumanMessage("word " * 9000)], tools=())
    picture = HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}])
    with pytest.raises(UnsupportedPart, match="'image_url'"):
        reply(ScriptedEngine([FINAL]), messages=[picture])
    with pytest.raises(CannotEnforce, match="'logprobs'"):
        reply(ScriptedEngine([FINAL]), logprobs=1)


def test_a_slow_step_hears_cancel_and_deadline() -> None:
    flag = threading.Event()
    threading.Timer(0.05, flag.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        reply(ScriptedEngine([Slowly(step=FINAL, seconds=30)]), cancel=flag)
    with pytest.raises(DeadlineExceeded):
        reply(ScriptedEngine([Slowly(step=FINAL, seconds=30)]), deadline=time.monotonic() + 0.05)
    assert time.monotonic() - began < 5


def test_branches_are_distinct_and_best_first() -> None:
    other = Step(kind="final", text="no")
    engine = ScriptedEngine([Branches(steps=(FINAL, FINAL, other, CALL)), FINAL, Branches(steps=(other, FINAL))])
    assert [branch.step for branch in engine.branch(request(), 2)] == [FINAL, other]
    assert [branch.step for branch in engine.branch(request(), 3)] == [FINAL]
    assert reply(engine).step == other


def test_scores_depend_on_the_candidate_alone() -> None:
    engine = ScriptedEngine([])
    scores = engine.score(request(), [FINAL, CALL, FINAL])
    assert scores[0] == scores[2] == ScriptedEngine([FINAL]).score(request(), [FINAL])[0]
    assert scores[0] != scores[1]
    assert all(score.logprob < 0 for score in scores)


def test_a_script_is_read_as_lines_or_as_an_array(tmp_path: Path) -> None:
    lines = '\ufeff{"call": {"tool": "add", "arguments": {"a": 1}}, "thinking": "hm"}\n\n{"final": "5"}\n'
    array = '[\n {"calls": [{"tool": "add", "arguments": {"a": 1}}], "thinking": "hm"},\n {"final": "5"}\n]\n'
    for text in (lines, array):
        (tmp_path / "s.json").write_text(text, encoding="utf-8")
        engine = ScriptedEngine.from_file(tmp_path / "s.json")
        assert engine.capabilities.model == "scripted:s.json"
        first, second = reply(engine).step, reply(engine).step
        assert [(call.tool, call.arguments) for call in first.calls] == [("add", {"a": 1})]
        assert (first.thinking, second.text) == ("hm", "5")


def test_every_kind_of_entry_can_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(
        '{"ask": "which?"}\n{"decline": "no"}\n{"fail": "it broke"}\n{"final": "x", "seconds": 0.01}\n'
        '{"branch": [{"final": "a"}, {"final": "b"}]}\n'
    )
    ask, decline, fail, slow, branch = read_script(tmp_path / "s")
    assert (ask, decline) == (Step(kind="ask", text="which?"), Step(kind="decline", text="no"))
    assert isinstance(fail, Failure)
    assert isinstance(fail.error, EngineError)
    assert slow == Slowly(step=Step(kind="final", text="x"), seconds=0.01)
    assert branch == Branches(steps=(Step(kind="final", text="a"), Step(kind="final", text="b")))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{"final": "a"}\n{"final": }', 2, "not JSON"),
        ('[\n{"final": "a"},\n{"final": }]', 3, "not JSON"),
        ('[{"final": "a"}', 1, "not JSON"),
        ('[\n\n{"final": "a"},\n{"finale": "b"}]', 4, "'finale' is unknown"),
        ('{"final": "a", "ask": "b"}', 1, "it has 2 of them"),
        ('{"thinking": "a"}', 1, "it has 0 of them"),
        ('{"final": 5}', 1, "'final' is a text"),
        ('"final"', 1, "a step is a JSON object"),
        ('{"call": {"tool": "a", "args": {}}}', 1, "a call is"),
        ('{"call": {"tool": "a", "arguments": []}}', 1, "a call is"),
        ('{"calls": []}', 1, "at least one call"),
        ('{"final": "a", "seconds": -1}', 1, "'seconds' is a number"),
        ('{"branch": []}', 1, "'branch' is a list"),
        ('{"branch": [{"fail": "x"}]}', 1, "'branch' is a list"),
        ('{"final": ' + "9" * 5000 + "}", 1, "digits"),
    ],
)
def test_a_bad_script_is_named_with_its_line(text: str, line: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(text)
    with pytest.raises(ModelFileError) as caught:
        read_script(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_a_script_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no such script"):
        read_script(tmp_path / "missing")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_script(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelFileError, match="not UTF-8"):
        read_script(tmp_path / "binary")


def test_without_branches_and_scores_they_are_refused() -> None:
    from dataclasses import replace

    engine = ScriptedEngine([FINAL], capabilities=replace(DEFAULT, branches=False, scores=False))
    for ask in (lambda: engine.branch(request(), 2), lambda: engine.score(request(), [FINAL])):
        with pytest.raises(CannotEnforce):
            ask()
