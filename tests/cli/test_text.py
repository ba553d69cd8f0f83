"""What reaches a terminal: folded, and without anything a terminal would obey."""

import io

import pytest
from rich.console import Console

from agentkit.cli.lines import call_text, fold, result_text
from agentkit.cli.output import clean
from agentkit.cli.repl.complete import Words, without_marks
from agentkit.cli.repl.screen import Screen, finished
from agentkit.cli.svg import Edge, draw, layers
from agentkit.events import Event
from agentkit.types import RunResult, StepRecord, StopReason


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("a\x07\x08\x9bb\r", "ab"),
        ("naïve 北京 🙂", "naïve 北京 🙂"),
    ],
)
def test_control_characters_are_taken_out(text: str, left: str) -> None:
    assert clean(text) == left


def test_long_results_are_folded() -> None:
    assert fold("one") == "one"
    assert fold("one\ntwo") == "one (+1 line)"
    assert fold("one\ntwo\nthree") == "one (+2 lines)"
    assert fold("x" * 200, limit=10) == "x" * 9 + "…"
    assert fold("") == ""


def test_a_call_reads_like_one() -> None:
    assert call_text("calculator", {"expression": "15% of 200"}) == 'calculator(expression="15% of 200")'
    assert len(call_text("write_file", {"content": "x" * 9000})) < 100
    line = result_text({"tool": "now", "arguments": {}, "ok": False, "result": "no\x1b[2J clock", "seconds": 0.014})
    assert line == "○ now()  0.01s  ✗ no clock"


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("one", 0),
        ("one\n\ntwo", 5),
        ("one\n\ntwo\n\n", 10),
        ("```\na\n\nb", 0),
        ("```\na\n\n```\n\nc", 12),
    ],
)
def test_markdown_is_final_up_to_the_last_gap_outside_a_fence(text: str, end: int) -> None:
    assert finished(text) == end


def _event(kind: str, **data: object) -> Event:
    return Event(type=kind, run_id="r", thread_id="t", seq=1, ts=0.0, data=data)


def _screen() -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(Console(file=out, force_terminal=True, width=100, height=20, color_system=None)), out


def test_a_turn_is_shown_once_and_whole() -> None:
    screen, out = _screen()
    with screen.turn():
        screen(_event("tool_use", id="c", tool="read_file", arguments={"path": "a.txt"}))
        screen(_event("tool_result", id="c", tool="read_file", ok=True, result="one\ntwo\nthree", seconds=0.5))
        for piece in ("First ", "paragraph.\n\nSec", "ond **bold** one."):
            screen(_event("text_delta", text=piece))
    steps = (
        StepRecord(tool="read_file", arguments={"path": "a.txt"}, ok=True, result="one\ntwo\nthree!", seconds=0.5),
    )
    answer = "First paragraph.\n\nSecond **bold** one."
    screen.ended(RunResult(run_id="r", thread_id="t", stop_reason=StopReason.DONE, answer=answer, steps=steps))
    shown = clean(out.getvalue())
    assert '● read_file(path="a.txt")  0.50s  → one (+2 lines)  /show 1' in shown
    assert "First paragraph." in shown
    assert "Second bold one." in shown
    assert screen.results == list(steps)  # whole, not as the event had it
    assert screen.answer == answer


def test_an_answer_that_was_not_streamed_is_shown() -> None:
    screen, out = _screen()
    with screen.turn():
        screen(_event("text_delta", text="draft"))
    screen.ended(
        RunResult(run_id="r", thread_id="t", stop_reason=StopReason.LOOP, answer="best so far", detail="it went round")
    )
    shown = clean(out.getvalue())
    assert "best so far" in shown
    assert "loop: it went round" in shown


def test_a_dumb_terminal_gets_plain_text() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, force_terminal=False, width=80))
    with screen.turn():
        for piece in ("plain ", "text"):
            screen(_event("text_delta", text=piece))
    screen.ended(RunResult(run_id="r", thread_id="t", stop_reason=StopReason.DONE, answer="plain text"))
    assert out.getvalue() == "plain text\n"


def test_completion(tmp_path) -> None:
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    (tmp_path / "notes.txt").touch()
    (tmp_path / "nested").mkdir()
    (tmp_path / ".hidden").touch()
    words = Words({"/tools": "", "/threads": "", "/mode": ""}, {"/mode": lambda: ("manual", "auto")}, tmp_path)

    def at(text: str) -> list[str]:
        return [found.text for found in words.get_completions(Document(text), CompleteEvent())]

    assert at("/t") == ["/tools", "/threads"]
    assert at("/mode a") == ["auto"]
    assert at("sum @n") == ["nested/", "notes.txt"]
    assert at("sum @") == ["nested/", "notes.txt"]
    assert at("a@b") == []
    assert at("@nowhere/x") == []
    assert without_marks("sum @notes.txt, and mail @ada", tmp_path) == "sum notes.txt, and mail @ada"


def test_layers_follow_the_longest_way_and_ignore_the_way_back() -> None:
    edges = [Edge(source=a, target=b) for a, b in ("ab", "bc", "ac", "cd", "da", "bd")]
    assert layers("abcd", edges) == {"a": 0, "b": 1, "c": 2, "d": 3}


def test_the_drawing_holds_every_node_inside_its_frame() -> None:
    import xml.etree.ElementTree as ET

    edges = [
        Edge(source="a", target="b<>", conditional=True),
        Edge(source="a", target="c"),
        Edge(source="c", target="a"),
    ]
    root = ET.fromstring(draw(["a", "b<>", "c"], edges, title="t & u"))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    space = "{http://www.w3.org/2000/svg}"
    boxes = list(root.iter(f"{space}rect"))
    assert [node.text for node in root.iter(f"{space}text")] == ["a", "b<>", "c"]
    for box in boxes:
        x, y, w, h = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + w <= width
        assert y >= 0
        assert y + h <= height
    assert sum("conditional" in path.attrib.get("class", "") for path in root.iter(f"{space}path")) == 1
