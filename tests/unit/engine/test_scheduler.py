"""Many callers on one model: nobody changes what another gets, holds it up, or leaves something behind."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit.engine.llama import LlamaEngine
from agentkit.engine.llama.jobs import Job, results
from agentkit.engine.llama.schedule import Open, Plan, Read
from agentkit.engine.llama.sessions import Text
from agentkit.errors import AgentkitError, Cancelled, ContextFull, DeadlineExceeded, EngineError
from agentkit.messages import user_message
from agentkit.protocols import Reply, Request, Sampling, TextDelta
from agentkit.types import Step, Task, ToolSpec

TOOL = ToolSpec(
    name="light",
    description="Switch a light.",
    parameters={"type": "object", "properties": {"level": {"type": "integer"}}, "required": ["level"]},
)


def letters(n: int) -> Text:
    """A text of exactly `n` tokens and an end."""
    return Text(regex=f"[abcd]{{{n}}}", max_tokens=n + 1)


def drawn(seed: int) -> Text:
    """A text that is drawn between two letters: noise in the logits seldom changes it."""
    return Text(regex="[ab]{12}", max_tokens=13, sampling=Sampling(temperature=1.0, seed=seed))


def request(n: int, **given: Any) -> Request:
    return Request(messages=[user_message(Task.of(f"question {n}"))], **{"max_tokens": 12, **given})


@contextmanager
def opened(path: Path, **given: Any) -> Iterator[LlamaEngine]:
    """An engine that shares its model with no other test, reads nothing ahead, and adds up alike in any batch."""
    usual = {"context": 1024, "threads": 1, "live": 4, "cache_mb": 1, "exact": True}
    with LlamaEngine(path, **{**usual, **given}) as engine:
        engine._loaded().drafting.is_on = False
        yield engine


@contextmanager
def halted(engine: LlamaEngine) -> Iterator[Callable[[int], None]]:
    """Hold the engine's thread; gives a function that waits until so many callers are in its queue."""
    scheduler, go, is_held = engine._loaded().scheduler, threading.Event(), threading.Event()

    def hold() -> Plan:
        is_held.set()
        go.wait(20)
        return
        yield

    def wait_for(callers: int) -> None:
        until(lambda: scheduler._new.qsize() == callers)

    scheduler.submit(Job(None, None), hold())
    assert is_held.wait(5)
    try:
        yield wait_for
    finally:
        go.set()


def until(holds: Callable[[], bool], *, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.001)


class Callers:
    """Threads, each with what its call gave or raised."""

    def __init__(self) -> None:
        self.found: list[Any] = []
        self._threads: list[threading.Thread] = []

    def start(self, call: Callable[[], Any]) -> None:
        place = len(self.found)
        self.found.append(None)

        def run() -> None:
            try:
                self.found[place] = call()
            except AgentkitError as error:
                self.found[place] = error

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def join(self) -> list[Any]:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive(), "a caller hangs"
        return self.found


def last(engine: LlamaEngine, asked: Request) -> Step:
    *_, reply = engine.stream(asked)
    assert isinstance(reply, Reply)
    return reply.step


def many_kinds(engine: LlamaEngine) -> list[Callable[[], Any]]:
    """Calls of every kind, each with the same result at any time."""
    calls: list[Callable[[], Any]] = []
    answers = [Step(kind="final", text="yes"), Step(kind="final", text="no")]
    for n in (1, 2, 3, 8):  # at no token of theirs is the second choice so near that noise could take it
        session = engine.session(f"a text of its own, number {n}, that is gone on with")
        asked = request(n, tools=[TOOL])

        def fork(session: Any = session) -> tuple[str, ...]:
            one, two = session.fork(2)
            one.append(" and so")
            two.rollback(3)
            return tuple(each.generate(Text(max_tokens=6)).step.text for each in (one, two))

        calls += [
            lambda asked=asked: last(engine, asked),
            lambda session=session, n=n: session.generate(drawn(n)).step.text,
            lambda asked=asked: sorted({reply.step.kind for reply in engine.branch(asked, 3)}),
            lambda session=session: [reply.step.text for reply in session.branch(3, letters(6))],
            lambda asked=asked: [round(score.logprob, 1) for score in engine.score(asked, answers)],
            lambda session=session: session.choose(["left", "right", "up"]).index,
            lambda session=session: session.generate(letters(20)).step.text,
            lambda n=n: [round(value, 2) for value in engine.embed([f"text {n}"])[0]],
            fork,
        ]
    return calls


def test_eight_threads_get_what_each_gets_alone(tiny: Path) -> None:
    with opened(tiny, context=2048, live=8) as engine:
        expected = [call() for call in many_kinds(engine)]
    wrong: list[tuple[int, Any]] = []
    counts: list[int] = []
    end = time.monotonic() + 3.0

    def hammer(engine: LlamaEngine, seed: int) -> int:
        rng, calls, done = random.Random(seed), many_kinds(engine), 0
        while time.monotonic() < end:
            n = rng.randrange(len(calls))
            if not close(found := calls[n](), expected[n]):
                wrong.append((n, found))
            counts.append(engine.stats.held)
            done += 1
        return done

    with opened(tiny, context=512, live=5) as engine:
        callers = Callers()
        for seed in range(8):
            callers.start(lambda seed=seed: hammer(engine, seed))
        done = callers.join()
        assert wrong == []
        assert all(isinstance(each, int) and each > 3 for each in done), done
        assert max(counts) <= 512
        assert engine.stats.evicted > 0  # it was made tight on purpose


def close(found: Any, expected: Any) -> bool:
    """Whether they are the same, but for how numbers were rounded."""
    if isinstance(expected, list) and expected and isinstance(expected[0], float):
        return bool(found == pytest.approx(expected, abs=0.11 if expected[0] < -2 else 0.011))
    return bool(found == expected)


def test_the_work_of_several_shares_batches(tiny: Path) -> None:
    prompts = [f"{n} is where this begins" for n in range(4)]
    with opened(tiny) as engine:
        before = engine.stats.decodes
        alone = [engine.session(prompt).generate(letters(60)).step.text for prompt in prompts]
        each = engine.stats.decodes - before
    assert each == 4 * 60
    with opened(tiny) as engine:
        callers = Callers()
        with halted(engine) as wait_for:
            for prompt in prompts:
                callers.start(lambda prompt=prompt: engine.session(prompt).generate(letters(60)).step.text)
            wait_for(4)
        assert callers.join() == alone
        assert 60 <= engine.stats.decodes <= 65
        assert engine.stats.rows == each


def test_one_that_stops_leaves_the_others_alone(tiny: Path) -> None:
    with opened(tiny, context=2048) as engine:
        sessions = [engine.session(f"{n} begins") for n in range(4)]
        alone = [session.generate(letters(150)).step.text for session in sessions]
        flag, callers = threading.Event(), Callers()
        with halted(engine) as wait_for:
            for session in sessions[:2]:
                callers.start(lambda session=session: session.generate(letters(150)).step.text)
            long = letters(800)
            callers.start(lambda: sessions[2].generate(replace(long, cancel=flag)))
            callers.start(lambda: sessions[3].generate(replace(long, deadline=time.monotonic() + 0.06)))
            wait_for(4)
        flag.set()
        found = callers.join()
        assert found[:2] == alone[:2]
        assert isinstance(found[2], Cancelled)
        assert isinstance(found[3], DeadlineExceeded)
        assert [session.generate(letters(150)).step.text for session in sessions] == alone


def test_a_caller_gives_up_waiting_while_another_works(tiny: Path) -> None:
    with opened(tiny, live=1) as engine:
        stream = engine.session("a long one").stream(letters(900))
        next(stream)
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            engine.session("another").generate(Text(max_tokens=1, deadline=began + 0.02))
        *_, reply = stream
        assert len(reply.step.text) == 900


def test_more_callers_than_sequences_all_finish(tiny: Path) -> None:
    with opened(tiny, live=2) as engine:
        expected = [engine.session(f"text {n}").generate(letters(15)).step.text for n in range(12)]
        branches = [len(engine.session(f"text {n}").branch(7, letters(15))) for n in range(3)]
        callers = Callers()
        with halted(engine) as wait_for:
            for n in range(12):
                callers.start(lambda n=n: engine.session(f"text {n}").generate(letters(15)).step.text)
            for n in range(3):
                callers.start(lambda n=n: len(engine.session(f"text {n}").branch(7, letters(15))))
            wait_for(15)
        assert callers.join() == expected + branches == [*expected, 7, 7, 7]


def test_a_full_pool_ends_the_youngest_only(tiny: Path) -> None:
    with opened(tiny, context=256, cache_mb=0) as engine:
        assert engine.capabilities.context == 256
        texts = ["the eldest of them", "the second", "and the youngest one"]
        alone = [
            engine.session(text).generate(letters(size)).step.text
            for text, size in zip(texts, (220, 5, 220), strict=True)
        ]
        callers = Callers()
        with halted(engine) as wait_for:
            for n, (text, size) in enumerate(zip(texts, (220, 5, 220), strict=True)):
                callers.start(lambda text=text, size=size: engine.session(text).generate(letters(size)).step.text)
                wait_for(n + 1)
        eldest, second, youngest = callers.join()
        assert isinstance(youngest, ContextFull)
        assert [eldest, second] == alone[:2]
        assert engine.session(texts[2]).generate(letters(220)).step.text == alone[2]  # what it held was given back


def test_a_candidate_that_cannot_fit_ends_nobody_else(tiny: Path) -> None:
    with opened(tiny, context=256, cache_mb=0) as engine:
        callers = Callers()
        with halted(engine) as wait_for:
            callers.start(lambda: engine.score(request(1), [Step(kind="final", text="x" * 400)]))
            wait_for(1)
            callers.start(lambda: engine.session("innocent").generate(letters(150)).step.text)
            wait_for(2)
        found = callers.join()
        assert isinstance(found[0], ContextFull)
        assert len(found[1]) == 150


def test_closing_ends_every_caller_with_a_typed_error(tiny: Path) -> None:
    engine = LlamaEngine(tiny, context=1024, threads=1, live=2, cache_mb=3)
    shared, callers = engine._loaded(), Callers()
    for n in range(6):  # two work, four wait for a sequence
        session = engine.session(f"{n} begins")
        callers.start(lambda session=session: [session.generate(letters(900)) for _ in range(1000)])
    until(lambda: shared.scheduler.counts.decodes > 20)
    engine.close()
    found = callers.join()
    assert [isinstance(each, EngineError) for each in found] == [True] * 6, found
    assert not shared.scheduler._thread.is_alive()
    with pytest.raises(EngineError, match="closed"):
        engine.stats  # noqa: B018


def test_a_defect_in_the_work_of_one_ends_only_that_one(tiny: Path) -> None:
    with opened(tiny) as engine:
        scheduler, prefixes = engine._loaded().scheduler, engine._loaded().prefixes

        def broken(_: int, row: Any) -> Any:
            return row[10**9]

        def plan() -> Plan:
            at = yield Open([1, 90, 91])
            try:
                yield Read(at.sequence, [1, 90, 91], [2], broken)
            finally:
                prefixes.close(at.sequence, [1, 90, 91])

        with pytest.raises(IndexError):
            list(results(scheduler, Job(time.monotonic() + 5, None), plan()))
        assert len(engine.session("x").generate(letters(9)).step.text) == 9
        assert len(prefixes._live) == 4


def test_astream_gives_what_stream_gives(tiny: Path) -> None:
    async def collect(asked: Request) -> list[Any]:
        return [delta async for delta in engine.astream(asked)]

    async def together(asked: Sequence[Request]) -> list[list[Any]]:
        return await asyncio.gather(*map(collect, asked))

    with opened(tiny) as engine:
        asked = [request(n, tools=[TOOL], max_tokens=40) for n in range(6)]
        expected = [list(engine.stream(each)) for each in asked]
        found = asyncio.run(together(asked))
    for one, other in zip(found, expected, strict=True):
        assert one[-1].step == other[-1].step
        assert one[:-1] == other[:-1]


def test_cancelling_the_task_stops_the_work(tiny: Path) -> None:
    async def leave() -> None:
        async def read() -> None:
            async for delta in engine.session("on and on").astream(letters(900)):
                assert isinstance(delta, TextDelta)
                began.set()

        began = asyncio.Event()
        task = asyncio.create_task(read())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with opened(tiny) as engine:
        shared = engine._loaded()
        asyncio.run(leave())
        until(lambda: not shared.scheduler._running)
        assert engine.stats.tokens < 900
        assert len(shared.prefixes._live) == 4


def test_a_deadline_and_a_flag_end_astream(tiny: Path) -> None:
    async def read(**given: Any) -> None:
        async for _ in engine.session("on").astream(replace(letters(900), **given)):
            pass

    with opened(tiny, live=1) as engine:
        with pytest.raises(DeadlineExceeded):
            asyncio.run(read(deadline=time.monotonic() + 0.03))
        flag = threading.Event()
        threading.Timer(0.03, flag.set).start()
        with halted(engine), pytest.raises(Cancelled):  # it never came to its turn
            asyncio.run(read(cancel=flag))


def test_an_event_loop_that_is_gone_harms_nobody(tiny: Path) -> None:
    async def read() -> None:
        async for _ in engine.session("on").astream(letters(900)):
            pass

    with opened(tiny) as engine:
        with halted(engine), pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(read(), 0.02))  # its loop is closed when its turn comes
        how = Text(regex="[ab]{9}", deadline=time.monotonic() + 5)
        assert len(engine.session("x").generate(how).step.text) == 9


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_stays_flat(tiny: Path) -> None:
    with opened(tiny, context=512, cache_mb=0) as engine:

        def work(first: int) -> None:
            for n in range(first, first + 50):
                session = engine.session(f"{n} is a text of its own, to be read anew")
                session.generate(Text(max_tokens=20))
                session.branch(2, Text(max_tokens=4))
                session.score(["yes", f"no {n}"])
                stream = engine.stream(request(n, max_tokens=50))
                next(stream)
                stream.close()

        work(0)
        before = resident()
        work(50)
        work(100)
        assert resident() - before < 6 << 20
        shared = engine._loaded()
        until(lambda: len(shared.prefixes._live) == 4)
        assert len(shared.prefixes._parked) + len(shared.prefixes._radix.holders()) == 251  # and one is spare
        assert not shared.scheduler._strands
