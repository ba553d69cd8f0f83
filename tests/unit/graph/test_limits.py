"""Everything that ends a run early: budgets, guards, the context, replies without end; never without an answer."""

from __future__ import annotations

import time

import pytest

from agentkit import tool
from agentkit.protocols import Capabilities, Go, Nudge, Reply
from agentkit.testing import Failure, ScriptedEngine, Slowly
from agentkit.types import Effect, Step, StopReason, Usage


@tool(effect=Effect.PURE, egress=False)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(effect=Effect.READ, egress=False)
def words(n: int) -> str:
    """Give so many different words."""
    return " ".join(f"w{i}" for i in range(n))


@tool(effect=Effect.PURE, egress=False, references=("text",))
def count(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


@pytest.mark.parametrize("limits", [{"max_turns": 1}, {"max_tool_calls": 1}])
def test_a_budget_ends_in_the_best_answer_so_far(make, script, limits: dict[str, int]) -> None:
    made = make([script.call("add", a=1, b=2), script.final("3 so far")], [add], run=limits)
    result = made.run("please add one and two for me, and then go on with whatever else there may be to do")
    assert (result.stop_reason, result.exit_code, result.answer) == (StopReason.BUDGET, 124, "3 so far")
    assert next(iter(limits)) in result.detail
    last = made.engine.requests[-1]
    assert (last.allow, last.tools) == (frozenset({"final"}), ())
    assert [event["verdict"] for event in made.of("guard")] == ["stop"]


def test_tokens_are_weighed_before_the_call_that_would_take_too_many(make, script) -> None:
    made = make([script.call("add", a=1, b=2), script.final("never asked for")], [add], run={"max_tokens": 60})
    result = made.run("please add one and two for me, and then go on with whatever else there may be to do")
    assert (result.stop_reason, result.answer) == (StopReason.BUDGET, "add: 3")  # no room for a last word either
    assert result.usage.prompt + result.usage.decoded <= 60
    assert "max_tokens" in result.detail


def test_without_a_last_word_of_the_model_the_last_result_is_the_answer(make, script) -> None:
    made = make([script.call("add", a=1, b=2), script.call("add", a=1, b=2)], [add], run={"max_turns": 1})
    result = made.run()
    assert (result.stop_reason, result.answer) == (StopReason.BUDGET, "add: 3")


def test_the_last_word_costs_what_it_costs(make, script) -> None:
    made = make([script.call("add", a=1, b=2), script.final("3")], [add], run={"max_turns": 1})
    result = made.run()
    assert result.usage.prompt > made.of("usage")[0]["prompt"]


@pytest.mark.parametrize(("dialect", "told"), [("", True), ("llama3", True), ("plain/1", False)])
def test_a_general_model_is_told_to_wrap_up(make, script, dialect: str, told: bool) -> None:
    made = make([script.call("add", a=1, b=2), script.final("3")], [add], run={"max_turns": 1}, dialect=dialect)
    made.run()
    last = made.engine.requests[-1].messages[-1]
    assert ("Make no more calls" in str(last.content)) is told


def test_time_runs_out_in_the_model(make, script) -> None:
    slow = Slowly(step=script.call("add", a=1, b=2), seconds=30)
    made = make([slow, script.final("nothing yet")], [add], run={"timeout_s": 0.3})
    began = time.monotonic()
    result = made.run()
    assert time.monotonic() - began < 5
    assert (result.stop_reason, result.answer) == (StopReason.BUDGET, "nothing yet")


def test_time_runs_out_in_a_tool(make, script) -> None:
    @tool(effect=Effect.READ, egress=False)
    def hang() -> str:
        """Hang."""
        time.sleep(2.5)
        return "late"

    made = make([script.call("hang"), script.final("it hangs")], [hang], run={"timeout_s": 0.5})
    result = made.run()
    assert result.stop_reason is StopReason.BUDGET
    assert not result.steps[0].ok
    assert "did not finish in time" in result.steps[0].result


def test_the_time_that_the_model_took_is_not_given_to_the_tool_again(make, script) -> None:
    left: list[float] = []

    @tool(effect=Effect.READ, egress=False)
    def look(seconds: float = 0.0) -> str:
        """Look at the clock."""
        return "ok"

    def run(arguments, context):
        left.append(context.deadline - time.monotonic())
        return inner(arguments, context)

    inner = look.run
    from dataclasses import replace

    slow = Slowly(step=script.call("look"), seconds=0.5)
    make([slow, script.final("x")], [replace(look, run=run)], run={"timeout_s": 5.0}).run()
    assert left[0] < 4.6


def test_the_same_call_again_and_again_is_nudged_then_stopped(make, script) -> None:
    made = make([*[script.call("add", a=1, b=2)] * 6, script.final("3")], [add])

    def answer_last(request):
        return script.final("3")

    made.engine._entries = (*[script.call("add", a=1, b=2)] * 5, answer_last)
    result = made.run()
    assert (result.stop_reason, result.exit_code, result.answer) == (StopReason.LOOP, 6, "3")
    assert [event["verdict"] for event in made.of("guard")] == ["nudge", "replan", "stop"]
    nudges = [m for m in made.engine.requests[-1].messages if m.additional_kwargs["agentkit"].get("kind") == "nudge"]
    assert "was called 4 times" in str(nudges[0].content)  # the nudge at the second went with the loop
    assert "ruled out" in str(nudges[0].content)
    assert sum(m.type == "tool" for m in made.engine.requests[-1].messages) == 2  # the first, and the one ruled out


def test_volatile_output_does_not_hide_a_loop(make, script) -> None:
    @tool(effect=Effect.READ, egress=False)
    def status() -> str:
        """Look."""
        return f"waiting since 12:00:{int(time.monotonic() * 1000) % 60:02d}"

    made = make([*[script.call("status")] * 5, script.final("x")], [status])
    assert made.run().stop_reason is StopReason.LOOP


def test_a_prompt_that_cannot_fit_is_refused_and_the_thread_is_still_usable(make, script) -> None:
    made = make([script.final("hello")], context=400)
    result = made.run("word " * 2_000)
    assert (result.stop_reason, result.exit_code, result.answer) == (StopReason.CONTEXT, 7, "")
    assert "400" not in result.detail or "300" in result.detail
    assert made.engine.requests == []
    after = made.run("hi", thread_id=result.thread_id)
    assert (after.stop_reason, after.answer) == (StopReason.DONE, "hello")
    assert made.of("compaction")[0]["strategy"] == "summarise_turns"
    assert made.agent.store.run(result.run_id)["task"].count("word") == 2_000  # nothing is lost


def test_old_results_are_shortened_before_anything_is_refused(make, script) -> None:
    steps = [*(script.call("words", n=n) for n in (150, 151, 152)), script.call("count", text="$1"), script.final("x")]
    made = make(steps, [words, count], context=400)
    result = made.run()
    assert result.stop_reason is StopReason.DONE, result.detail
    assert made.of("compaction")[0]["strategy"] == "shorten_results"
    assert result.steps[3].result == "150"  # the reference is still the whole of it


class Letters(ScriptedEngine):
    """Counts letters, not words: as a vocabulary of bytes does."""

    def count(self, request) -> int:
        return sum(len(str(message.content)) for message in request.messages)


def test_one_result_that_is_too_long_is_shortened_too(make, script) -> None:
    steps = [script.call("words", n=700), script.call("count", text="$1"), script.final("x")]
    made = _on(Letters(steps, capabilities=Capabilities(model="letters", context=1_000)), make([], [words, count]))
    result = made.run()
    assert result.stop_reason is StopReason.DONE, result.detail
    assert [event["strategy"] for event in made.of("compaction")] == ["shorten_all_results"]
    assert result.steps[1].result == "700"


def words_of(name: str) -> str:
    return " ".join(f"{name}{n}" for n in range(60))


def test_an_older_summary_survives_the_next(make, script) -> None:
    made = make(
        [
            script.final(words_of("one")),
            script.final(words_of("two")),
            script.final(words_of("three")),
            script.final("x"),
        ],
        context=290,
    )
    thread = made.run(words_of("alpha")).thread_id
    for task in (words_of("beta"), words_of("gamma")):
        made.run(task, thread_id=thread)
    made.run("delta", thread_id=thread)
    notes = [
        str(m.content)
        for m in made.engine.requests[-1].messages
        if m.additional_kwargs["agentkit"].get("kind") == "note"
    ]
    assert len(made.of("compaction")) >= 2
    assert "alpha" in notes[0]


def test_too_many_tools_for_the_context_are_a_shortlist(make, script) -> None:
    def of(n: int):
        @tool(name=f"tool_{n}", effect=Effect.PURE, egress=False)
        def one(x: int) -> int:
            """Some text."""
            return x

        from dataclasses import replace

        what = "fetch the weather" if n == 17 else f"thing{n} " * 20
        return replace(one, spec=replace(one.spec, description=what))

    made = make([script.final("sunny")], [of(n) for n in range(20)], context=300)
    assert made.run("what is the weather").ok
    shown = [spec.name for spec in made.engine.requests[0].tools]
    assert 4 <= len(shown) < 20
    assert "tool_17" in shown


class Cut(ScriptedEngine):
    """Says of some replies that they ran out of room."""

    def __init__(self, *replies: tuple[Step, str]) -> None:
        super().__init__([step for step, _ in replies], capabilities=Capabilities(model="cut", context=8192))
        self._ends = [end for _, end in replies]

    def _reply(self, request, step) -> Reply:
        return Reply(step=step, usage=Usage(prompt=1, decoded=1), finish=self._ends[self._next - 1], assurance="none")


def _on(engine, made):
    made.agent.__dict__["engine"] = engine
    made.engine = engine
    return made


def test_half_a_call_is_not_run_and_the_model_is_told_once(make, script) -> None:
    done: list[int] = []

    @tool(effect=Effect.WRITE, egress=False)
    def write(a: int) -> str:
        """Write it."""
        done.append(a)
        return "ok"

    engine = Cut(
        (script.call("write", a=1), "length"), (script.call("write", a=2), "stop"), (script.final("x"), "stop")
    )
    made = _on(engine, make([], [write]))
    assert made.run().ok
    assert done == [2]
    assert [event["detector"] for event in made.of("guard")] == ["cut_off"]
    assert engine.requests[1].messages[-1].additional_kwargs["agentkit"]["kind"] == "nudge"


def test_twice_cut_off_is_the_end(make, script) -> None:
    engine = Cut((Step(kind="calls"), "length"), (Step(kind="calls"), "length"), (script.final("sorry"), "stop"))
    result = _on(engine, make([], [add])).run()
    assert (result.stop_reason, result.answer) == (StopReason.LOOP, "sorry")
    assert "cut off" in result.detail


def test_half_an_answer_is_shown_and_not_called_done(make, script) -> None:
    result = _on(Cut((script.final("the first half"), "length")), make([])).run()
    assert (result.stop_reason, result.answer) == (StopReason.UNVERIFIED, "the first half")
    assert "cut off" in result.detail


def test_the_model_fails(make) -> None:
    from agentkit.errors import EngineError

    made = make([Failure(error=EngineError("out of memory"))])
    result = made.run()
    assert (result.stop_reason, result.exit_code, result.detail) == (StopReason.MODEL, 4, "out of memory")
    assert made.of("error") == [{"reason": "model", "detail": "out of memory"}]


def test_a_planner_that_raises_ends_the_run_in_order(make, script) -> None:
    class Broken:
        name = "broken"

        def plan(self, *args, **options):
            raise ValueError("no idea")

    made = make([script.final("x")], planner=Broken())
    result = made.run()
    assert result.stop_reason is StopReason.ERROR
    assert "planner 'broken' failed: ValueError: no idea" in result.detail
    assert made.agent.store.run(result.run_id)["state"] == "ended"


def test_a_guard_of_ones_own_is_obeyed(make, script) -> None:
    class Once:
        name = "once"

        def check(self, history, spent):
            told = any(item.kind == "nudge" for item in history)
            return Nudge(text="be quick", detector="once") if history and not told else Go()

    made = make([script.call("add", a=1, b=2), script.final("3")], [add], guards=[Once()])
    assert made.run().ok
    assert made.engine.requests[1].messages[-1].content == "be quick"
