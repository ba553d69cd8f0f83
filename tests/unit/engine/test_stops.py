"""Work that is told to stop, by a flag or by the time, wherever it is: a typed error, and nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentkit.engine.grammar import Constraint
from agentkit.engine.llama import LlamaEngine
from agentkit.engine.llama.context import Context, Part
from agentkit.engine.llama.sessions import Text
from agentkit.errors import Cancelled, DeadlineExceeded, EngineError
from agentkit.messages import user_message
from agentkit.protocols import Request
from agentkit.types import Step, Task, ToolSpec

TOOL = ToolSpec(
    name="light",
    description="Switch a light.",
    parameters={"type": "object", "properties": {"level": {"type": "integer"}}, "required": ["level"]},
)
SOON_S = 0.04
TEXT = "a text that is new each time, number"
LONG = "[abcd]{600}"


@dataclass
class Stop:
    """A way to be told to stop: what a call is given for it, and what makes it so."""

    by: str

    def __post_init__(self) -> None:
        self.flag = threading.Event()
        self.deadline = time.monotonic() + SOON_S if self.by == "time" else None

    @property
    def given(self) -> dict[str, Any]:
        return {"deadline": self.deadline} if self.by == "time" else {"cancel": self.flag}

    @property
    def error(self) -> type[EngineError]:
        return DeadlineExceeded if self.by == "time" else Cancelled

    def now(self) -> None:
        """Make it so, and give the caller the time to see it."""
        self.flag.set()
        if self.deadline is not None:
            time.sleep(max(0.0, self.deadline - time.monotonic()))
        time.sleep(0.03)


def asked(number: int, **given: Any) -> Request:
    return Request(messages=[user_message(Task.of(f"{number} {TEXT}"))], tools=[TOOL], max_tokens=600, **given)


def astream(engine: LlamaEngine, number: int, stop: Stop) -> None:
    async def read() -> None:
        async for _ in engine.session(f"{number} {TEXT}").astream(Text(regex=LONG, max_tokens=601, **stop.given)):
            pass

    asyncio.run(read())


CALLS: dict[str, Callable[[LlamaEngine, int, Stop], Any]] = {
    "generate": lambda e, n, stop: e.session(f"{n} {TEXT}").generate(Text(regex=LONG, max_tokens=601, **stop.given)),
    "astream": astream,
    "step": lambda e, n, stop: list(e.stream(asked(n, **stop.given))),
    "branch": lambda e, n, stop: e.branch(asked(n, **stop.given), 3),
    "texts": lambda e, n, stop: e.session(f"{n} {TEXT}").branch(3, Text(regex=LONG, max_tokens=601, **stop.given)),
    "score": lambda e, n, stop: e.score(asked(n, **stop.given), [Step(kind="final", text=t) for t in ("yes", "no")]),
    "candidates": lambda e, n, stop: e.session(f"{n} {TEXT}").score(["left", "right"], **stop.given),
    "choose": lambda e, n, stop: e.session(f"{n} {TEXT}").choose(["left", "right", "lost"], **stop.given),
    "hold": lambda e, n, stop: e.session(f"{n} {TEXT}").hold(**stop.given),
}


@pytest.fixture(scope="module")
def one(tiny: Path) -> Iterator[LlamaEngine]:
    """An engine with a single sequence: a second caller has to wait for it."""
    with LlamaEngine(tiny, context=1024, threads=1, live=1, cache_mb=1) as engine:
        yield engine


@pytest.fixture(autouse=True)
def nothing_is_left(one: LlamaEngine) -> Iterator[None]:
    yield
    shared = one._loaded()
    end = time.monotonic() + 5
    while shared.scheduler._strands or shared.scheduler._running or len(shared.prefixes._live) < 1:
        assert time.monotonic() < end, "something still runs"
        time.sleep(0.002)
    assert shared.context.length(0) == shared.context.length(shared.context.spare) == 0
    assert one.session("and it goes on").generate(Text(regex="[ab]{5}")).step.text.strip("ab") == ""


NUMBERS = iter(range(10**6))
both = pytest.mark.parametrize("by", ["flag", "time"])
all_calls = pytest.mark.parametrize("call", CALLS)


def within(seconds: float, run: Callable[[], Any]) -> None:
    began = time.monotonic()
    run()
    assert time.monotonic() - began < seconds


@both
@all_calls
def test_before_anything_is_done(one: LlamaEngine, call: str, by: str) -> None:
    stop = Stop(by)
    stop.now()
    decodes = one.stats.decodes
    with pytest.raises(stop.error):
        CALLS[call](one, next(NUMBERS), stop)
    assert one.stats.decodes == decodes


@both
@all_calls
def test_in_the_queue_and_while_waiting_for_a_sequence(one: LlamaEngine, call: str, by: str) -> None:
    running = one.session("this one has the sequence").stream(Text(regex="[abcd]{900}", max_tokens=901))
    next(running)
    stop = Stop(by)
    timer = threading.Thread(target=stop.now)
    timer.start()
    with pytest.raises(stop.error):
        within(2.0, lambda: CALLS[call](one, next(NUMBERS), stop))
    timer.join()
    next(running)  # it was not held up, nor ended
    running.close()  # type: ignore[attr-defined]  # a generator


@both
@all_calls
def test_inside_a_batch(one: LlamaEngine, call: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for many in (True, False):  # tokens of a prompt, and one after the other
        stop = Stop(by)
        told = stop_inside(monkeypatch, stop, lambda part, many=many: (len(part.tokens) > 8) is many)
        try:
            CALLS[call](one, next(NUMBERS), stop)
        except stop.error:
            assert told.is_set() or by == "time"  # a slow machine is late anywhere
        else:
            assert not many  # a prompt there always was
            assert not told.is_set() or call in ("candidates", "choose", "score", "hold", "step")  # it was the last
        monkeypatch.undo()


def stop_inside(patch: pytest.MonkeyPatch, stop: Stop, which: Callable[[Part], bool]) -> threading.Event:
    """Have it stop in the first batch with such a part."""
    decode, told = Context.decode, threading.Event()

    def told_inside(self: Context, parts: Sequence[Part]) -> Any:
        if not told.is_set() and any(map(which, parts)):
            told.set()
            stop.now()
        return decode(self, parts)

    patch.setattr(Context, "decode", told_inside)
    return told


def test_between_tokens_that_are_forced(one: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, take = Stop("flag"), Constraint.take

    def told_between(self: Constraint, tokens: Sequence[int]) -> None:
        take(self, tokens)
        stop.flag.set()

    monkeypatch.setattr(Constraint, "take", told_between)
    decodes = one.stats.decodes
    with pytest.raises(Cancelled):
        one.session("x").generate(Text(regex="a{300}", max_tokens=301, **stop.given))
    assert one.stats.decodes == decodes  # all of it was forced


def test_a_flag_that_is_set_at_any_look(one: LlamaEngine) -> None:
    class After:
        def __init__(self, looks: int) -> None:
            self.left = looks

        def is_set(self) -> bool:
            self.left -= 1
            return self.left < 0

    for looks in range(0, 60, 3):
        with pytest.raises(Cancelled):
            one.session(f"{looks} {TEXT}").generate(Text(regex=LONG, max_tokens=601, cancel=After(looks)))


# --- vectors ----------------------------------------------------------------------------------------------------------


@both
def test_vectors_before_in_the_queue_and_inside_a_batch(
    one: LlamaEngine, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = one._loaded().embedder
    expected = embedder.embed(["a text"])
    stop = Stop(by)
    stop.now()
    with pytest.raises(stop.error):
        embedder.embed(["a text"], **stop.given)
    stop = Stop(by)
    threading.Timer(SOON_S, stop.flag.set).start()
    with embedder._lock, pytest.raises(stop.error):  # somebody else's turn
        within(2.0, lambda: embedder.embed(["a text"], **stop.given))
    stop = Stop(by)
    told = stop_inside(monkeypatch, stop, lambda _: True)
    with pytest.raises(stop.error):
        embedder.embed(["x" * 1500, "a text"], **stop.given)
    assert told.is_set()
    monkeypatch.undo()
    assert embedder.embed(["a text"])[0] == pytest.approx(expected[0], abs=1e-3)


def test_closing_ends_vectors_inside_a_batch(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LlamaEngine(tiny, context=256, threads=1, live=3)
    engine.embed(["made"])
    inside, found, decode = threading.Event(), list[BaseException](), Context.decode

    def slow(self: Context, parts: Sequence[Part]) -> Any:
        inside.set()
        time.sleep(0.1)
        return decode(self, parts)

    def work() -> None:
        try:
            engine.embed(["x" * 1500] * 100)
        except EngineError as error:
            found.append(error)

    monkeypatch.setattr(Context, "decode", slow)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert inside.wait(5)
    within(3.0, engine.close)
    thread.join(5)
    assert [str(error) for error in found] == ["the engine is closed; open it again"]
