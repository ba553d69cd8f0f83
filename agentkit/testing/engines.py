"""The contract of engines."""
# ruff: noqa: D102  a test's name says what it holds

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from agentkit.errors import Cancelled, CannotEnforce, DeadlineExceeded
from agentkit.protocols import ArgumentsDelta, Delta, Engine, Reply, Request, TextDelta
from agentkit.schema import problems
from agentkit.testing.running import in_threads, raises
from agentkit.types import Effect, Step, ToolRules, ToolSpec

# Its numbers are small, so that even a model of random weights comes to an end under a constraint.
ADD = ToolSpec(
    name="add",
    description="Add two whole numbers below a hundred.",
    parameters={
        "type": "object",
        "properties": {name: {"type": "integer", "minimum": 0, "maximum": 99} for name in ("a", "b")},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
    rules=ToolRules(effect=Effect.PURE, egress=False),
)


class EngineContract:
    """What every engine promises. `make` is called for each test; the engine is closed after it.

    The engine must be able to answer `request()` in words, and by calling `add` when only calls are allowed.
    """

    def make(self) -> Engine:
        """Return a fresh engine."""
        raise NotImplementedError

    def request(self, **changes: Any) -> Request:
        """Return a small request that offers the tool `add`."""
        from langchain_core.messages import HumanMessage  # noqa: PLC0415  0.3 s; only where a suite runs

        base = Request(messages=[HumanMessage("What is 2 + 3?")], tools=[ADD], max_tokens=256)
        return replace(base, **changes)

    @contextmanager
    def _engine(self) -> Iterator[Engine]:
        engine = self.make()
        try:
            yield engine
        finally:
            engine.close()

    def _run(self, **changes: Any) -> tuple[list[Delta], Reply]:
        with self._engine() as engine:
            return _finished(list(engine.stream(self.request(**changes))))

    def test_it_is_an_engine(self) -> None:
        with self._engine() as engine:
            assert isinstance(engine, Engine)
            assert engine.capabilities.model
            assert engine.capabilities.context > 0
            assert engine.capabilities == engine.capabilities

    def test_a_stream_ends_with_its_only_reply(self) -> None:
        deltas, reply = self._run()
        assert [delta for delta in deltas if isinstance(delta, Reply)] == [reply]
        assert min(reply.usage.prompt, reply.usage.reused, reply.usage.forced, reply.usage.decoded) >= 0

    def test_the_text_is_what_was_streamed(self) -> None:
        deltas, reply = self._run(allow=frozenset({"final"}))
        assert reply.step.kind == "final"
        assert reply.step.calls == ()
        assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == reply.step.text

    def test_a_call_is_of_an_offered_tool_and_fits_its_schema(self) -> None:
        deltas, reply = self._run(allow=frozenset({"calls"}))
        assert reply.step.kind == "calls"
        assert reply.step.calls
        assert len({call.id for call in reply.step.calls}) == len(reply.step.calls)
        for index, call in enumerate(reply.step.calls):
            assert call.tool == ADD.name
            assert problems(dict(call.arguments), ADD.parameters) == []
            pieces = [delta for delta in deltas if isinstance(delta, ArgumentsDelta) and delta.index == index]
            assert {piece.tool for piece in pieces} <= {call.tool}
            if pieces:
                assert json.loads("".join(piece.text for piece in pieces)) == dict(call.arguments)

    def test_assurance_says_who_made_sure(self) -> None:
        with self._engine() as engine:
            _, reply = _finished(list(engine.stream(self.request(allow=frozenset({"calls"})))))
            assert reply.assurance == "enforced" or not engine.capabilities.constrained or reply.finish == "length"

    def test_a_set_cancel_flag_stops_it(self) -> None:
        flag = threading.Event()
        flag.set()
        with self._engine() as engine, raises(Cancelled):
            list(engine.stream(self.request(cancel=flag)))

    def test_a_flag_set_on_the_way_stops_it(self) -> None:
        flag = threading.Event()
        with self._engine() as engine, raises(Cancelled):
            for _ in engine.stream(self.request(cancel=flag, allow=frozenset({"final"}))):
                flag.set()

    def test_a_passed_deadline_stops_it(self) -> None:
        with self._engine() as engine, raises(DeadlineExceeded):
            list(engine.stream(self.request(deadline=time.monotonic() - 1)))

    def test_it_can_be_used_after_a_cancel_and_by_an_impatient_reader(self) -> None:
        flag = threading.Event()
        flag.set()
        with self._engine() as engine:
            with raises(Cancelled):
                list(engine.stream(self.request(cancel=flag)))
            for _ in engine.stream(self.request()):
                break
            _finished(list(engine.stream(self.request())))

    def test_what_cannot_be_had_is_refused(self) -> None:
        with self._engine() as engine:
            with raises(CannotEnforce):
                list(engine.stream(self.request(adapter="no such adapter")))
            with raises(CannotEnforce):
                list(engine.stream(self.request(allow=frozenset())))

    def test_a_longer_prompt_counts_more(self) -> None:
        with self._engine() as engine:
            short, bare = self.request(), self.request(tools=[])
            longer = self.request(messages=[*short.messages, *short.messages])
            assert 0 < engine.count(bare) < engine.count(short) < engine.count(longer)

    def test_branches_are_distinct_or_refused(self) -> None:
        with self._engine() as engine:
            if not engine.capabilities.branches:
                with raises(CannotEnforce):
                    engine.branch(self.request(), 3)
                return
            steps = [reply.step for reply in engine.branch(self.request(), 3)]
            keys = {(step.kind, step.text, str([(call.tool, call.arguments) for call in step.calls])) for step in steps}
            assert 1 <= len(steps) <= 3
            assert len(keys) == len(steps)

    def test_scores_are_log_probabilities_or_refused(self) -> None:
        steps = [Step(kind="final", text="5"), Step(kind="final", text="a much longer answer than the first")]
        with self._engine() as engine:
            if not engine.capabilities.scores:
                with raises(CannotEnforce):
                    engine.score(self.request(), steps)
                return
            scores = engine.score(self.request(), steps)
            assert len(scores) == len(steps)
            assert all(score.logprob <= 0.0 and score.tokens > 0 for score in scores)

    def test_vectors_have_length_one_or_are_refused(self) -> None:
        with self._engine() as engine:
            if not engine.capabilities.embeds:
                with raises(CannotEnforce):
                    engine.embed(["a"])
                return
            for vector in engine.embed(["a", "b"]):
                assert abs(sum(x * x for x in vector) - 1.0) < 1e-3

    def test_several_threads_may_use_it(self) -> None:
        with self._engine() as engine:
            work = [lambda: _finished(list(engine.stream(self.request()))) for _ in range(3)]
            assert len(in_threads(work)) == len(work)

    def test_closing_twice_is_closing_once(self) -> None:
        engine = self.make()
        engine.close()
        engine.close()


def _finished(deltas: list[Delta]) -> tuple[list[Delta], Reply]:
    assert deltas
    last = deltas[-1]
    assert isinstance(last, Reply)
    return deltas, last
