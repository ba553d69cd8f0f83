"""Steps and results as LangChain messages: what goes in comes out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentkit.messages import meta, note_message, nudge_message, result_message, step_message, step_of, user_message
from agentkit.types import (
    Done,
    Failed,
    Provenance,
    Step,
    Task,
    TextPart,
    ToolCall,
    ToolRules,
    ToolSpec,
    Trust,
)

CALL = ToolCall(id="call_1_0", tool="add", arguments={"a": 1, "b": [2, {"c": None}]})


@pytest.mark.parametrize(
    "step",
    [
        Step(kind="final", text="3"),
        Step(kind="ask", text="Which?"),
        Step(kind="decline", text=""),
        Step(kind="calls", calls=(CALL, ToolCall(id="call_1_1", tool="now", arguments={}))),
        Step(kind="final", text="x", thinking="hm", plan="first", token_ids=(1, 2, 3)),
    ],
)
def test_a_step_comes_back_as_it_was(step: Step) -> None:
    assert step_of(step_message(step)) == step


def test_one_stranger_makes_the_turn_untrusted() -> None:
    stranger = TextPart(text="b", provenance=Provenance(source="file:b", trust=Trust.UNTRUSTED))
    mixed = user_message(Task(parts=(TextPart(text="a"), stranger)))
    assert (mixed.content, meta(mixed)["trust"], meta(mixed)["source"]) == ("a\nb", "untrusted", "file:b")
    assert meta(user_message(Task.of("a")))["trust"] == "trusted"


@pytest.mark.parametrize(("outcome", "status"), [(Done(text="3"), "success"), (Failed(text="no"), "error")])
def test_a_result_says_whose_it_is(outcome: Done | Failed, status: str) -> None:
    spec = ToolSpec(name="add", description="", parameters={}, rules=ToolRules(trust=Trust.UNTRUSTED))
    message = result_message(CALL, outcome, number=4, spec=spec)
    assert (message.content, message.status, message.tool_call_id) == (outcome.text, status, "call_1_0")
    assert meta(message) == {"source": "tool:add", "trust": "untrusted", "result": 4}
    brief = result_message(CALL, replace(outcome, brief="sum"), number=4, spec=spec)
    assert (brief.content, meta(brief)["brief"]) == (outcome.text, "sum")


def test_the_frameworks_own_words_are_no_instructions_of_a_user() -> None:
    assert (nudge_message("x").type, meta(nudge_message("x"))["kind"]) == ("system", "nudge")
    assert (meta(note_message("x"))["kind"], meta(note_message("x"))["trust"]) == ("note", "untrusted")
