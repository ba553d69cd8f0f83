"""`Agent` from outside: streams, coroutines, threads, listeners and what is refused before a run begins."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from agentkit import tool
from agentkit.agent import Agent
from agentkit.errors import UnsupportedPart, UsageError
from agentkit.testing import ScriptedEngine, Slowly
from agentkit.types import Effect, FilePart, ImagePart, Step, StopReason, Task, TextPart


@tool(effect=Effect.PURE, egress=False)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def slow(script, seconds: float = 30.0) -> Slowly:
    return Slowly(step=script.final("late"), seconds=seconds)


def test_a_stream_ends_with_the_result(make, script) -> None:
    made = make([script.call("add", a=1, b=2), script.final("3")], [add])
    events = list(made.agent.stream("add"))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert (events[-1].type, events[-1].data["answer"], events[-1].data["exit_code"]) == ("run_ended", "3", 0)
    assert "".join(event.data["text"] for event in events if event.type == "text_delta") == "3"


def test_a_stream_left_early_stops_the_run(make, script) -> None:
    made = make([script.call("add", a=1, b=2), slow(script)], [add])
    began = time.monotonic()
    stream = made.agent.stream("add")
    run_id = next(stream).run_id
    for event in stream:
        if event.type == "tool_result":
            break
    stream.close()
    assert time.monotonic() - began < 10
    assert made.agent.store.run(run_id)["stop_reason"] == "cancelled"
    assert make([script.final("3")], [add]).resume(run_id).answer == "3"


def test_an_error_before_the_run_comes_out_of_the_stream(make) -> None:
    with pytest.raises(UsageError, match="empty"):
        list(make([]).agent.stream("  "))


def test_the_callers_own_listener_and_flag_are_heard_too(make, script) -> None:
    stop, heard = threading.Event(), []
    made = make([slow(script)])
    threading.Timer(0.3, stop.set).start()
    events = list(made.agent.stream("x", on_event=heard.append, cancel=stop))
    assert heard == events
    assert events[-1].data["stop_reason"] == "cancelled"


def test_arun_and_astream(make, script) -> None:
    made = make([script.final("a"), script.final("b")])

    async def main():
        result = await made.agent.arun("x")
        return result, [event async for event in made.agent.astream("y", thread_id=result.thread_id)]

    result, events = asyncio.run(main())
    assert result.answer == "a"
    assert (events[-1].type, events[-1].data["answer"], events[-1].thread_id) == ("run_ended", "b", result.thread_id)


def test_a_coroutine_that_is_cancelled_stops_the_run_first(make, script) -> None:
    made = make([slow(script)])

    async def main() -> None:
        await asyncio.wait_for(made.agent.arun("x"), 0.5)

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert time.monotonic() - began < 10
    assert made.agent.store.runs()[0]["stop_reason"] == "cancelled"


def test_an_asynchronous_stream_that_is_cancelled_stops_the_run(make, script) -> None:
    made = make([slow(script)])

    async def read() -> None:
        async for _ in made.agent.astream("x"):
            pass

    async def main() -> None:
        task = asyncio.create_task(read())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert made.agent.store.runs()[0]["stop_reason"] == "cancelled"


def test_the_loop_is_not_blocked(make, script) -> None:
    made = make([Slowly(step=script.final("x"), seconds=0.5)])

    async def main() -> int:
        task, ticks = asyncio.create_task(made.agent.arun("x")), 0
        while not task.done():
            await asyncio.sleep(0.02)
            ticks += 1
        return ticks

    assert asyncio.run(main()) > 5


def test_two_threads_on_one_agent(make) -> None:
    def reply(request) -> Step:
        results = [m for m in request.messages if m.type == "tool"]
        said = next(str(m.content) for m in request.messages if m.type == "human")
        time.sleep(0.01)
        return Step(kind="final", text=f"{said}: {results[0].content}") if results else _call(int(said))

    made = make([reply] * 32, [add])
    answers: dict[int, list[str]] = {n: [] for n in range(4)}

    def work(n: int) -> None:
        for _ in range(4):
            answers[n].append(made.agent.run(str(n)).answer)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {n: [f"{n}: {n + 1}"] * 4 for n in range(4)}
    for row in made.agent.store.runs():
        seqs = [event["seq"] for event in made.agent.store.events(row["run_id"])]
        assert seqs == sorted(set(seqs))


def _call(n: int) -> Step:
    from agentkit.types import ToolCall

    return Step(kind="calls", calls=(ToolCall(id="x", tool="add", arguments={"a": n, "b": 1}),))


def test_a_listener_that_raises_stops_the_run_in_order_and_hears_of_it(make, script) -> None:
    made = make([script.call("add", a=1, b=2), script.final("3")], [add])

    def listen(event) -> None:
        if event.type == "tool_use":
            raise BrokenPipeError("gone")

    with pytest.raises(BrokenPipeError, match="gone"):
        made.agent.run("x", on_event=listen)
    row = made.agent.store.runs()[0]
    assert (row["state"], row["stop_reason"]) == ("ended", "cancelled")
    assert made.resume(row["run_id"]).answer == "3"


def test_what_nobody_foresaw_is_written_down_and_raised(make, script, monkeypatch) -> None:
    made = make([script.final("x")])

    def broken(*_: object) -> None:
        raise ZeroDivisionError("no")

    monkeypatch.setattr("agentkit.graph.nodes.step_message", broken)
    with pytest.raises(ZeroDivisionError):
        made.run()
    row = made.agent.store.runs()[0]
    assert (row["stop_reason"], row["detail"]) == ("error", "ZeroDivisionError: no")
    assert made.events[-1].type == "run_ended"


@pytest.mark.parametrize("task", ["", " \n", Task(parts=()), Task(parts=(TextPart(text=""),))])
def test_an_empty_task_is_refused(make, task) -> None:
    made = make([])
    with pytest.raises(UsageError, match="say what to do"):
        made.agent.run(task)
    assert made.agent.store.runs() == []


def test_a_picture_for_a_model_that_cannot_see(make) -> None:
    made = make([])
    with pytest.raises(UnsupportedPart, match="cannot see images"):
        made.agent.run(Task(parts=(TextPart(text="what is it"), ImagePart(path=Path("x.png")))))
    assert made.agent.store.runs() == []


def test_a_file_that_is_not_there(make) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.txt: cannot be read"):
        make([]).agent.run(Task(parts=(TextPart(text="read"), FilePart(path=Path("nowhere.txt")))))


def test_a_long_file_is_cut_and_says_so_and_taints_the_turn(make, script, tmp_path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"\xff" + b"z" * 50_000)
    made = make([script.final("ok")])
    made.agent.run(Task(parts=(TextPart(text="read"), FilePart(path=path))))
    message = made.engine.requests[0].messages[-1]
    assert len(str(message.content)) < 21_000
    assert "[… cut: the file has 50001 bytes]" in str(message.content)
    assert message.additional_kwargs["agentkit"]["trust"] == "untrusted"


def test_closing_frees_what_was_opened_here_only(script, tmp_path) -> None:
    closed: list[str] = []

    class Counting(ScriptedEngine):
        def close(self) -> None:
            closed.append("engine")

    with Agent(Counting([script.final("x")]), []) as agent:
        assert agent.run("x").stop_reason is StopReason.DONE
    assert closed == []
    agent.close()  # idempotent
