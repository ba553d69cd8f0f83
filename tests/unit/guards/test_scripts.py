"""Loops are nudged, then stopped; work is left alone. Scripts are played as a run would play them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agentkit.guards import Cycles, Repeats, default_guards, output_digest
from agentkit.protocols import Guard, HistoryItem, Nudge, Spent, Stop
from agentkit.types import Done, Effect, Failed, ToolCall

USER = HistoryItem(kind="user", text="go on")


def call(
    tool: str,
    result: str = "ok",
    *,
    effect: Effect = Effect.READ,
    failed: str = "",
    polls: bool = False,
    failure_is_data: bool = False,
    **arguments: Any,
) -> HistoryItem:
    outcome = Failed(text=result, kind=failed) if failed else Done(text=result)
    return HistoryItem(
        kind="call",
        call=ToolCall(id="", tool=tool, arguments=arguments),
        outcome=outcome,
        effect=effect,
        polls=polls,
        failure_is_data=failure_is_data,
        output_digest=output_digest(result),
    )


def read(path: str, text: str | None = None) -> HistoryItem:
    return call("read_file", f"the text of {path} is its own" if text is None else text, path=path)


def write(path: str, content: str) -> HistoryItem:
    return call("write_file", "written", effect=Effect.WRITE, path=path, content=content)


def make_test(result: str, ok: bool = False) -> HistoryItem:
    failed = "" if ok else "error"
    return call(
        "run_command", result, failed=failed, failure_is_data=True, effect=Effect.IRREVERSIBLE, command="make test"
    )


def fail(tool: str, text: str, kind: str = "error", **arguments: Any) -> HistoryItem:
    return call(tool, text, failed=kind, **arguments)


@dataclass(frozen=True)
class Played:
    """What the guards did: at which call (from 1) they nudged, and stopped."""

    nudges: tuple[int, ...]
    stop: int | None
    detector: str = ""
    detail: str = ""


def play(items: Iterable[HistoryItem], guards: Sequence[Guard] | None = None) -> Played:
    """Feed the items one at a time; nudges go into the history as they do in a run."""
    history: list[HistoryItem] = []
    nudges: list[int] = []
    for number, item in enumerate(items, 1):
        history.append(item)
        verdicts = [guard.check(tuple(history), Spent()) for guard in guards or default_guards()]
        for verdict in verdicts:
            if isinstance(verdict, Stop):
                return Played(tuple(nudges), number, verdict.detector, verdict.detail)
        nudge = next((verdict for verdict in verdicts if isinstance(verdict, Nudge)), None)
        if nudge is not None:
            nudges.append(number)
            history.append(HistoryItem(kind="nudge", text=nudge.text))
    return Played(tuple(nudges), None)


WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omicron",
    "pi",
    "rho",
    "sigma",
]


def said(n: int) -> str:
    """Different words for every number."""
    return " ".join(random.Random(n).sample(WORDS, 6))


# name -> (items, calls until the first nudge, calls until the stop, detector)
LOOPS: dict[str, tuple[list[HistoryItem], int, int, str]] = {
    "same read": ([read("a.txt")] * 9, 2, 4, "repeats"),
    "same write": ([write("a.txt", "x")] * 9, 3, 4, "repeats"),
    "arguments reordered": (
        [call("grep", "none", pattern="x", path="b"), call("grep", "none", path="b", pattern="x")] * 5, 2, 4, "repeats",
    ),
    "white space and ./ in arguments": (
        [call("read_file", "t", path="./a//b.txt"), call("read_file", "t", path="a/b.txt ")] * 5, 2, 4, "repeats",
    ),
    "only the clock differs": (
        [call("status", f"at 2026-01-01 10:00:{n:02} all is well, took {n} ms", x=1) for n in range(9)], 2, 4, "repeats",
    ),
    "a truncation stub with a new path": (
        [call("dump", f"the head of it [whole text in /tmp/out-{n}/x.txt]", x=1) for n in range(9)], 2, 4, "repeats",
    ),
    "the same failing read": ([fail("read_file", "no such file: a", path="a")] * 9, 2, 4, "repeats"),
    **{
        f"cycle of {k}": ([read(f"file{n % k}.txt") for n in range(k * 5)], k * 3, k * 4, "cycles")
        for k in range(2, 7)
    },
    **{  # long ones bring nothing new for so many calls that this is noticed first
        f"cycle of {k}": ([read(f"file{n % k}.txt") for n in range(k * 5)], k + 12, k + 20, "stagnation")
        for k in (7, 8)
    },
    "a poll inside a cycle with work": (
        [call("job", "running", polls=True), read("a.txt")] * 6, 6, 8, "cycles",
    ),
    "one error, other arguments": (
        [fail("get", f"404 not found: item {n}", id=n) for n in range(9)], 3, 5, "same_error",
    ),
    "alternating failing tools": (
        [fail(f"tool{n % 2}", f"cannot {said(n)}", n=n) for n in range(20)], 8, 12, "failing_tools",
    ),
    "unknown tools": (
        [fail(f"ghost{n}", f"there is no tool 'ghost{n}'", "unknown_tool", n=n) for n in range(9)], 3, 4, "refused_calls",
    ),
    "arguments that never fit": (
        [fail("search", f"n: {n} is not a string", "invalid", n=n) for n in range(9)], 3, 4, "refused_calls",
    ),
    "denied and insisting": (
        [fail("run_command", "run_command was not allowed: irreversible", "denied", command=f"rm {n}") for n in range(9)],
        3, 5, "same_error",
    ),
    "parameters thrashed": (
        [call("search", "no results found for this query", query=said(n)) for n in range(60)], 25, 41, "stagnation",
    ),
    "rereading what was read": (
        [read(f"f{n}") for n in range(12)] + [read(f"f{random.Random(n).randrange(12)}") for n in range(40)],
        17, 32, "stagnation",
    ),
    "a dead server": ([fail("fetch_url", "503 service unavailable", url=f"http://h/{n}") for n in range(30)], 6, 10, "same_error"),
    "the same call to a dead server": ([fail("fetch_url", "read timed out", "timeout", url="h")] * 30, 6, 10, "same_error"),
    "a test that is run again without an edit": ([make_test("1 failed")] * 9, 3, 4, "repeats"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_nudged_then_stopped(name: str) -> None:
    items, nudge, stop, detector = LOOPS[name]
    played = play(items)
    assert (played.nudges[0], played.stop, played.detector) == (nudge, stop, detector)
    assert played.detail
    assert "\n" not in played.detail


def edit_and_test() -> list[HistoryItem]:
    steps = []
    for n in range(12):
        steps += [write("a.py", f"attempt {n}: {said(n)}"), make_test("FAILED test_a: assert 1 == 2")]
    return [*steps, make_test("ok", ok=True)]


@pytest.mark.parametrize("period", range(2, 9))
def test_cycles_of_any_length_are_counted_in_laps(period: int) -> None:
    played = play([read(f"file{n % period}.txt") for n in range(period * 5)], [Cycles()])
    assert (played.nudges, played.stop) == ((period * 3,), period * 4)


PRODUCTIVE: dict[str, list[HistoryItem]] = {
    "one call": [call("calculator", "30", effect=Effect.PURE, expression="15% of 200")],
    "polling a job": [call("job_status", "running", polls=True, id=1)] * 40 + [call("job_status", "done", polls=True, id=1)],
    "polling two jobs": [call("job_status", "running", polls=True, id=n % 2) for n in range(40)],
    "polling that reads the clock": [call("job_status", f"running {n}", polls=True) for n in range(30)],
    "batch over files, all answering ok": [
        call("move", "ok", effect=Effect.WRITE, source=f"src/{n}.py", target=f"lib/{n}.py") for n in range(45)
    ],
    "reading many files": [read(f"src/{word}.py", said(n)) for n, word in enumerate(WORDS * 2)],
    "searching names, mostly in vain": [
        call("search", "no match" if n % 3 else said(n), query=word) for n, word in enumerate(WORDS)
    ],
    "checking twenty hosts that are all well": [call("ping", "ok", host=f"host{n}") for n in range(20)],
    "parallel opening reads": [read(f"{word}.md") for word in WORDS[:5]],
    "edit and test": edit_and_test(),
    "flaky server that comes back": [
        item
        for n in range(6)
        for item in [*[fail("fetch_url", "503 service unavailable", url=f"u{n}")] * 3, call("fetch_url", said(n), url=f"u{n}")]
    ],
    "one server slow to start": [fail("fetch_url", "connection refused", url="u")] * 5 + [call("fetch_url", "up", url="u")],
    "fix then retest the same way": [
        item
        for n in range(6)
        for item in (fail("build", "error: missing symbol", target="all"), write("x.c", said(n)))
    ],
    "greps in vain, then a hit": [fail("grep", f"pattern {w!r} not found", failure_is_data=True, pattern=w) for w in WORDS[:12]]
    + [call("grep", "found it", pattern="pi")],
    "several turns asking the same": [item for _ in range(8) for item in (USER, read("a.txt"))],
    "watching a number move": [call("count", f"{n} rows", table="t") for n in range(20)],
    "the time of day, asked in one run again": [call("now", f"2026-01-01 10:00:{n:02}") for n in range(8)],
    "different mistakes, then right": [
        fail("search", "n: required", "invalid"), fail("search", "n: not a number", "invalid", n="x"), call("search", "ok", n=1),
    ],
    "a long page read piece by piece": [call("read_file", said(n), path="big.txt", offset=n * 100) for n in range(40)],
    "appending lines one by one": [write("log.txt", f"line {n}") for n in range(40)],
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTIVE)
def test_work_is_not_stopped(name: str) -> None:
    played = play(PRODUCTIVE[name])
    assert (played.stop, played.detail) == (None, "")


@pytest.mark.parametrize("name", ["reading many files", "edit and test", "polling a job", "parallel opening reads"])
def test_plain_work_is_not_even_nudged(name: str) -> None:
    assert play(PRODUCTIVE[name]).nudges == ()


def test_a_batch_of_equal_calls_is_nudged_before_it_is_stopped() -> None:
    batch = [read("a.txt")] * 50  # one turn, many calls: the guard sees them all at once
    nudge = Repeats().check(batch, Spent())
    assert isinstance(nudge, Nudge)
    told = [*batch, HistoryItem(kind="nudge", text=nudge.text)]
    assert not isinstance(Repeats().check(told, Spent()), Stop | Nudge)
    assert isinstance(Repeats().check([*told, read("a.txt")], Spent()), Stop)


def test_heeding_the_nudge_ends_the_episode() -> None:
    loop = [read("a.txt")] * 3
    played = play([*loop, read("b.txt"), *loop, read("c.txt"), *loop, write("d", "x")])
    assert played.stop is None
    assert len(played.nudges) == 3


def test_a_nudge_names_the_tool_and_the_count() -> None:
    verdict = Repeats().check([read("a.txt")] * 2, Spent())
    assert verdict.text.startswith("read_file was called 2 times with the same arguments")
    assert verdict.detector == "repeats"
