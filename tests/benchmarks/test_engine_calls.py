"""A short slice of the benchmark of calls: what was recorded, how decoding is taught, and what a crash counts as."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import jsonschema
import numpy as np
import pytest

from agentkit.engine.grammar import Grammars, json_rule
from agentkit.engine.llama import Model
from benchmarks import engine_calls, engine_vocabulary, random_llama
from benchmarks.engine_peers import Answer, Peer, Question, Teacher

CRASHING = {"type": "object", "properties": {"x": {"type": "string", "pattern": r"^\d{4}$"}}, "required": ["x"]}


@pytest.fixture(scope="module")
def model() -> Iterator[Path]:
    path = Path(__file__).parents[2] / "agentkit" / "models" / "weights" / "sprout.gguf"
    if not path.is_file():
        pytest.skip("agentkit/models/weights/sprout.gguf is not built; scripts/build_sprout.py builds it")
    return path


def test_there_are_fifty_tools_and_their_calls_are_good() -> None:
    asked = engine_calls.tools()
    assert len(asked) >= 50
    assert len({tool.name for tool in asked}) == len(asked)
    for tool in asked:
        jsonschema.Draft202012Validator.check_schema(tool.schema)
        assert tool.fits(tool.call), tool.name
        assert not tool.fits(tool.call.replace(tool.name, "other")), tool.name


def test_required_arguments_come_first_as_all_engines_write_them() -> None:
    for tool in engine_calls.tools():
        parameters = tool.schema["properties"]["parameters"]
        order = [*parameters["required"], *(k for k in parameters["properties"] if k not in parameters["required"])]
        written = list(json.loads(tool.call)["parameters"])
        assert written == [key for key in order if key in written], tool.name


def test_the_engine_can_hold_every_schema(model: Path) -> None:
    with Model(model) as opened:
        grammars = Grammars(opened.constrainer, opened.n_vocab)
        for tool in engine_calls.tools():
            grammars.constraint(f"start: {json_rule(tool.schema)}", {tool.name: tool.schema})


def test_three_calls_are_written_as_recorded_by_both(model: Path) -> None:
    asked = [tool for tool in engine_calls.tools() if tool.name in ("get_weather", "kubectl_scale", "git_log")]
    measured, ledgers = engine_calls.run(model, 1, ["gbnf", "unforced"], asked, 1)
    for name in ("agentkit", "unforced"):
        assert {tool.name: tool.call for tool in asked} == {
            tool: answer.text for tool, answer in ledgers[name].first.items()
        }
    assert ledgers["gbnf"].valid == {"get_weather", "kubectl_scale"}
    assert ledgers["gbnf"].first["git_log"].crashed  # its pattern is not of GBNF
    row = {one.id: one for one in measured}
    assert row["calls-valid"].value == 1.0
    assert row["calls-gbnf-crashes"].value == 1
    assert row["calls-forced"].value > 0.2
    assert 0 < row["calls-gbnf"].value < 1.0  # about a half; this is a busy machine's bound
    fewer = [ledgers[name].first["get_weather"].decodes for name in ("agentkit", "unforced")]
    assert fewer[0] < fewer[1]


def test_a_peer_that_crashes_goes_on_with_the_next_question(model: Path) -> None:
    peer = Peer("llama-cpp-python", str(model), threads=1, context=512)
    try:
        assert peer.ask(Question("a\n", "", CRASHING, '{"x": "1234"}')).crashed == "signal 11"
        easy = {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}
        assert peer.ask(Question("a\n", "", easy, '{"x": true}')).text == '{"x": true}'
    finally:
        peer.close()


def test_a_peer_that_cannot_start_is_not_taken_for_one_that_crashes(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cannot be started"):
        Peer("llama-cpp-python", str(tmp_path / "none.gguf"), threads=1, context=512).ask(Question("a", "", {}, "{}"))


def test_the_teacher_raises_the_canonical_token_most_and_goes_on_from_inside_of_it() -> None:
    pieces = [b"", b"a", b"b", b"ab", b"c", b"bc"]
    cuts = {b"abc": [3, 4], b"bc": [5], b"c": [4]}
    teacher = Teacher(pieces, lambda text: cuts[text], 0)
    teacher.teach("abc")
    for done, wanted, others in ((0, 3, {1}), (1, 5, {2}), (2, 4, set()), (3, 0, set())):
        row = np.zeros(6, np.float32)
        teacher.raise_in(row, done)
        assert row.argmax() == wanted
        assert set(np.flatnonzero(row)) == {wanted, *others}
        teacher.restore()
        assert not row.any()


def test_a_ratio_is_of_the_sums_over_what_both_could_hold() -> None:
    asked = engine_calls.tools()[:2]
    one, other = (tool.name for tool in asked)
    ours = engine_calls.Ledger(
        valid={one, other}, same={one, other}, seconds=[{one: 1.0, other: 9.0}, {one: 3.0, other: 9.0}]
    )
    theirs = engine_calls.Ledger(
        first={other: Answer(crashed="signal 11")}, valid={one}, same={one}, seconds=[{one: 4.0}, {one: 4.0}]
    )
    row = {m.id: m for m in engine_calls.rows({"agentkit": ours, "gbnf": theirs}, asked, (1, 4))}
    assert row["calls-gbnf"].value == 0.5
    assert row["calls-gbnf"].interval == (0.25, 0.75)
    assert row["calls-gbnf"].holds
    assert row["calls-gbnf-valid"].value == 0.5
    assert row["calls-gbnf-crashes"].value == 1
    assert row["calls-forced"].value == 0.25


def test_after_a_message_of_its_own_a_call_has_rows_of_its_own() -> None:
    asked = engine_calls.tools(3, turn=True)
    questions = [tool.question for tool in asked]
    assert len({question.prompt for question in questions}) == 1
    assert len({question.message[:3] for question in questions}) == 3  # nobody has the beginning of one already
    assert "San Francisco, CA" in questions[0].message
    measured = engine_calls.rows({"agentkit": engine_calls.Ledger()}, asked, (0, 0))
    assert all(row.id.startswith("calls-turn-") for row in measured)


def test_a_random_model_takes_the_words_of_another(model: Path, tmp_path: Path) -> None:
    shape = random_llama.Shape(layers=1, width=256, hidden=512, heads=4, kv_heads=2, vocab=5000, context=64)
    made = engine_vocabulary.write(tmp_path / "r.gguf", model, shape)
    text = engine_calls.tools()[0].call
    with Model(made) as random, Model(model) as real:
        assert random.n_vocab == 5000
        assert random.tokenise(text) == real.tokenise(text)
    fields: Any = gguf.GGUFReader(made).fields
    assert fields["llama.vocab_size"].contents() == 5000
    assert not (tmp_path / "r.bare").exists()
