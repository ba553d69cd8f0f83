"""Requests of several parts: what is one, what each is shown, and what the answer has."""

from __future__ import annotations

import pytest
from langchain_core.messages import BaseMessage

from agentkit.graph.parts import Part, in_parts, parts_of, whole_answer
from agentkit.messages import result_message, step_message, user_message
from agentkit.protocols import Request
from agentkit.types import Done, Effect, ImagePart, Step, Task, TextPart, ToolCall, ToolRules, ToolSpec

ASKED = "what colour is the hat in a.png, and find three similar ones but green"


def tool(name: str, description: str, **rules: object) -> ToolSpec:
    looks = {"effect": Effect.READ, "egress": False, **rules}
    schema = {"type": "object", "properties": {}, "required": []}
    return ToolSpec(name=name, description=description, parameters=schema, rules=ToolRules(**looks))  # type: ignore[arg-type]


ASK = tool("ask_image", "Answer what colour something in an image has.")
FIND = tool("find_images", "Find similar images.")
SUM = tool("calculator", "Work out sums.", references=("expression",), effect=Effect.PURE)
SEND = tool("send_mail", "Send mail.", effect=Effect.IRREVERSIBLE)
TOOLS = (ASK, FIND, SUM, SEND)


def turn(text: str) -> BaseMessage:
    return user_message(Task(parts=(TextPart(text=text),)))


def called(number: int, name: str, text: str) -> list[BaseMessage]:
    call = ToolCall(id=f"c{number}", tool=name, arguments={})
    return [
        step_message(Step(kind="calls", calls=(call,))),
        result_message(call, Done(text=text), number=number, spec=None),
    ]


def request(*messages: BaseMessage) -> Request:
    return Request(messages=list(messages), tools=TOOLS)


def test_two_tools_are_two_parts_and_the_second_keeps_the_file() -> None:
    assert parts_of(ASKED, TOOLS) == (
        Part(tool="ask_image", text="what colour is the hat in a.png"),
        Part(tool="find_images", text="a.png: find three similar ones but green"),
    )


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("There is a hat in my a.png. What colour is it? Find 3 similar ones, but green.", "a.png: What colour is it?", "a.png: Find 3 similar ones but green."),
        ("good morning! the colour of a.png + similar ones in green", "good morning the colour of a.png", "a.png: similar ones in green"),
        ("- what colour is ~/a.png?\n- find similar images; please", "what colour is ~/a.png?", "~/a.png: find similar images please"),
    ],
)  # fmt: skip
def test_what_leads_up_to_a_part_is_its_file_and_what_follows_is_of_it(text: str, first: str, second: str) -> None:
    assert [part.text for part in parts_of(text, TOOLS)] == [first, second]


def test_a_stretch_that_is_as_much_about_two_tools_is_about_neither() -> None:
    twin = tool("find_photos", "Find similar photos.")
    assert parts_of(ASKED, TOOLS)
    assert parts_of(ASKED, (*TOOLS, twin)) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "what colour is the hat in a.png",
        "what colour is the hat, and what colour is the bag in a.png",  # one tool
        "good morning, and thank you",
        "what colour is the hat in a.png, and work out the sums",  # a chain: it may need the first result
        "what colour is the hat in a.png, and send mail",  # nothing is sent because of a stretch of words
    ],
)
def test_other_requests_are_left_alone(text: str) -> None:
    assert parts_of(text, TOOLS) == ()
    asked = request(turn(text))
    assert in_parts(asked, 1.0) is asked


def test_a_part_is_shown_alone_and_called_for() -> None:
    earlier = turn("hello")
    answered = step_message(Step(kind="final", text="Hello."))
    first = in_parts(request(earlier, answered, turn(ASKED)), 0.5)
    assert [message.content for message in first.messages] == ["hello", "Hello.", "what colour is the hat in a.png"]
    assert first.allow == {"calls"}
    assert max(first.tool_prior, key=lambda name: first.tool_prior[name]) == "ask_image"
    second = in_parts(request(turn(ASKED), *called(1, "ask_image", "red")), 0.5)
    assert [message.content for message in second.messages] == ["a.png: find three similar ones but green"]
    assert max(second.tool_prior, key=lambda name: second.tool_prior[name]) == "find_images"


def test_the_answer_is_to_the_last_part_and_has_what_the_others_came_to() -> None:
    messages = [turn(ASKED), *called(1, "ask_image", "red"), *called(2, "find_images", "three hats")]
    shown = in_parts(request(*messages), 0.5)
    assert shown.allow == {"final"}
    assert [message.content for message in shown.messages][0::2] == [
        "a.png: find three similar ones but green",
        "three hats",
    ]
    answer = whole_answer(Step(kind="final", text="Found three hats."), messages, shown)
    assert answer.text == "red\nFound three hats."
    assert whole_answer(Step(kind="final", text="red; three hats"), messages, shown).text == "red; three hats"


def test_an_answer_to_the_whole_is_left_as_it_is_though_earlier_turns_were_cut() -> None:
    calls = [*called(1, "ask_image", "red"), *called(2, "find_images", "three hats")]
    messages = [turn("hello"), step_message(Step(kind="final", text="Hello.")), turn(ASKED), *calls]
    cut = Request(messages=messages[2:], tools=TOOLS, allow=frozenset({"final"}))
    assert whole_answer(Step(kind="final", text="It is late."), messages, cut).text == "It is late."


def test_a_model_that_no_ranker_helps_and_pictures_in_the_request_change_nothing() -> None:
    asked = request(turn(ASKED))
    assert in_parts(asked, 0.0) is asked
    png = b"\x89PNG\r\n\x1a\n" + bytes(30)
    seen = request(user_message(Task(parts=(TextPart(text=ASKED), ImagePart(data=png)))))
    assert in_parts(seen, 1.0) is seen
    plain = whole_answer(Step(kind="final", text="x"), asked.messages, asked)
    assert plain.text == "x"


def test_after_a_call_too_many_the_request_is_whole_again() -> None:
    messages = [
        turn(ASKED),
        *called(1, "ask_image", "red"),
        *called(2, "find_images", "x"),
        *called(3, "find_images", "y"),
    ]
    asked = request(*messages)
    assert in_parts(asked, 1.0) is asked
