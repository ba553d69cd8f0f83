"""Whatever a tool does, the run goes on."""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agentkit.errors import Cancelled
from agentkit.protocols import Tool, ToolContext
from agentkit.tools import Limits, run_call, tool
from agentkit.tools.convert import bare_context
from agentkit.tools.output import was_cut
from agentkit.types import Done, Failed, ToolCall, ToolSpec

NO_LIMITS = Limits()


def run(what: Tool, context: ToolContext | None = None, limits: Limits = NO_LIMITS, **arguments: Any) -> Any:
    call = ToolCall(id="c1", tool=what.name, arguments=arguments)
    return run_call(what, call, context or bare_context(), limits=limits)


def made(function: Callable[[], Any], **rules: Any) -> Tool:
    """Return a tool that does `function`."""

    def do() -> Any:
        """Do it."""
        return function()

    return tool(**rules)(do)


def test_an_exception_is_a_failure_in_one_line() -> None:
    def fail() -> None:
        raise RuntimeError("first\nsecond \x1b[31mred\x1b[0m")

    assert run(made(fail)) == Failed(text="RuntimeError: first second red")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError(), RecursionError("deep")])
def test_nothing_a_tool_raises_gets_out(error: BaseException) -> None:
    def fail() -> None:
        raise error

    outcome = run(made(fail))
    assert isinstance(outcome, Failed)
    assert type(error).__name__ in outcome.text


def test_an_exception_whose_text_cannot_be_had_is_a_failure() -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

    def fail() -> None:
        raise Nasty

    assert "Nasty" in run(made(fail)).text


def test_a_tool_that_hangs_is_left_behind() -> None:
    release = threading.Event()
    hang = made(lambda: release.wait(60), timeout_s=0.2)
    began = time.monotonic()
    outcome = run(hang, limits=Limits(grace_s=0.1))
    assert time.monotonic() - began < 2
    assert outcome.kind == "timeout"
    assert "not known" in outcome.text  # it may have had its effect
    assert run(made(lambda: "next")) == Done(text="next")
    release.set()


def test_the_context_tells_a_tool_of_its_time_and_that_nobody_waits() -> None:
    seen: dict[str, Any] = {}
    stopped = threading.Event()

    @tool(timeout_s=30, effect="read")
    def look(context: ToolContext) -> str:
        """Look."""
        seen["left"] = (context.deadline or 0) - time.monotonic()
        while not context.cancel.is_set():
            time.sleep(0.01)
        stopped.set()
        return "stopped by itself"

    outcome = run(look, replace(bare_context(), deadline=time.monotonic() + 0.3))
    assert 0 < seen["left"] <= 0.3
    assert stopped.wait(5)
    assert outcome == Done(text="stopped by itself")  # within the grace: what it says counts


def test_a_tool_that_was_left_behind_does_nothing_more() -> None:
    release, ended = threading.Event(), threading.Event()
    told: list[str] = []
    late: list[Any] = []

    @tool(timeout_s=0.1)
    def hang(context: ToolContext) -> str:
        """Hang."""
        release.wait(30)
        context.emit("tool_progress", {})
        late.append(context.call("other", {}))
        ended.set()
        return "late"

    def call(name: str, arguments: Any) -> Any:
        told.append(name)

    context = replace(bare_context(), emit=lambda kind, data: told.append(kind), call=call)
    assert run(hang, context, Limits(grace_s=0.05)).kind == "timeout"
    release.set()
    assert ended.wait(10)
    assert told == []
    assert late[0].kind == "timeout"


def test_no_time_left_means_not_started() -> None:
    started: list[int] = []
    outcome = run(made(lambda: started.append(1)), replace(bare_context(), deadline=time.monotonic() - 1))
    assert outcome.kind == "timeout"
    assert started == []


def test_cancel_ends_the_waiting() -> None:
    cancel, release = threading.Event(), threading.Event()
    threading.Timer(0.1, cancel.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled, match="not known"):
        run(made(lambda: release.wait(60)), replace(bare_context(), cancel=cancel), Limits(grace_s=0.1))
    assert time.monotonic() - began < 2
    with pytest.raises(Cancelled, match="nothing was done"):
        run(made(lambda: "x"), replace(bare_context(), cancel=cancel))
    release.set()


def test_what_was_done_when_cancel_came_is_not_lost() -> None:
    cancel = threading.Event()

    def work() -> str:
        cancel.set()
        time.sleep(0.2)
        return "it took effect"

    assert run(made(work), replace(bare_context(), cancel=cancel)) == Done(text="it took effect")


def test_a_hundred_megabytes_are_cut_with_size_and_digest() -> None:
    text = "begin" + "x" * 100_000_000 + "end"
    outcome = run(made(lambda: text))
    assert len(outcome.text) <= 20_000
    assert outcome.text.startswith("beginxxx")
    assert outcome.text.endswith("xxxend")
    assert "100,000,008 characters in all" in outcome.text
    assert hashlib.sha256(text.encode()).hexdigest() in outcome.text
    assert was_cut(outcome.text)


def test_prints_are_the_result_of_a_tool_that_returns_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def shout() -> None:
        for _ in range(1_000):
            print("y" * 100_000)

    outcome = run(made(shout))
    assert len(outcome.text) <= 20_000
    assert was_cut(outcome.text)
    assert capsys.readouterr().out == ""


def test_stdout_has_an_encoding_also_where_a_live_display_stands_in_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOBase())  # its encoding is None, as that of rich's stand-in
    assert run(made(lambda: codecs.lookup(sys.stdout.encoding).name)) == Done(text="utf-8")


def test_prints_beside_a_result_are_progress_and_others_still_print(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[str, Any]] = []
    both = threading.Barrier(2)

    def chat() -> str:
        print("working")
        both.wait(5)
        both.wait(5)
        return "result"

    def aside() -> None:
        both.wait(5)
        print("from the program")
        both.wait(5)

    other = threading.Thread(target=aside)
    other.start()
    real = sys.stdout
    outcome = run(made(chat), replace(bare_context(), emit=lambda kind, data: told.append((kind, data))))
    other.join()
    assert outcome == Done(text="result")
    assert told == [("tool_progress", {"tool": "do", "text": "working\n"})]
    assert capsys.readouterr().out == "from the program\n"
    assert sys.stdout is real


@pytest.mark.parametrize("data", [bytes(range(256)) * 100, b"\x89PNG\r\n\x1a\n" + b"\x00" * 50])
def test_binary_is_described(data: bytes) -> None:
    outcome = run(made(lambda: data))
    assert outcome.text.startswith("[binary data: ")
    assert f"{len(data):,} bytes" in outcome.text


def test_results_become_arguments_where_the_tool_says_so() -> None:
    @tool(references=("text",))
    def echo(text: str, other: str) -> str:
        """Say it."""
        return f"{text}|{other}"

    context = replace(bare_context(), results=("3\n4",))
    assert run(echo, context, text="$1", other="$1").text == "3\n4|$1"


def test_a_validator_that_breaks_is_a_failure() -> None:
    def broken(arguments: Any) -> Any:
        raise LookupError("oh")

    spec = ToolSpec(name="x", description="", parameters={"type": "object"})
    outcome = run(Tool(spec=spec, run=lambda arguments, context: Done(text=""), validate=broken))
    assert outcome.kind == "invalid"
    assert "LookupError: oh" in outcome.text


@pytest.mark.parametrize("text", ["a" * 20_001, "\ud800", "a\x00b", "\x1b]0;title\x07x", "\U000e0041"])
def test_every_result_can_be_stored(text: str) -> None:
    outcome = run(made(lambda: Done(text=text, data={"t": text, "\x00": "\ud800"})))
    outcome.text.encode("utf-8")
    assert "\x00" not in json.dumps([outcome.text, outcome.data], ensure_ascii=False).encode("utf-8").decode()
    assert "\\u0000" not in json.dumps([outcome.text, outcome.data])
