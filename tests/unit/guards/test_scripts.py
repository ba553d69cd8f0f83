"""The detectors and the ladder on histories: loops are told, then ruled out, then ended; work is left alone."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agentkit.guards import Loops, banned, default_guards, recorded
from agentkit.guards import said as said_by
from agentkit.guards.cycles import cycles
from agentkit.protocols import AskUser, Go, Guard, HistoryItem, Nudge, Replan, Spent
from agentkit.types import Done, Effect, Failed, Outcome, ToolCall, ToolRules, ToolSpec

USER = HistoryItem(kind="user", text="go on")


@dataclass(frozen=True)
class Called:
    """A call with what came of it, before it is recorded."""

    call: ToolCall
    outcome: Outcome
    spec: ToolSpec


Event = Called | HistoryItem


def call(tool: str, result: str = "ok", *, failed: str = "", state: str = "", **options: Any) -> Called:
    rules = {key: options.pop(key) for key in ("effect", "polls", "failure_is_data", "volatile") if key in options}
    return Called(
        call=ToolCall(id="", tool=tool, arguments=options),
        outcome=Failed(text=result, kind=failed) if failed else Done(text=result, state={"it": state} if state else {}),
        spec=ToolSpec(name=tool, description="", parameters={}, rules=ToolRules(**{"effect": Effect.READ, **rules})),
    )


def read(path: str, text: str | None = None) -> Called:
    return call("read_file", f"the text of {path} is its own" if text is None else text, path=path)


def write(path: str, content: str) -> Called:
    return call("write_file", "written", effect=Effect.WRITE, path=path, content=content)


def make_test(result: str, ok: bool = False) -> Called:
    failed = "" if ok else "error"
    return call(
        "run_command", result, failed=failed, failure_is_data=True, effect=Effect.IRREVERSIBLE, command="make test"
    )


def fail(tool: str, text: str, kind: str = "error", **arguments: Any) -> Called:
    return call(tool, text, failed=kind, **arguments)


@dataclass(frozen=True)
class Played:
    """What the guards said, and at which call (from 1) first and at last."""

    said: tuple[str, ...]
    at: tuple[int, ...]
    detector: str = ""
    detail: str = ""

    @property
    def ended(self) -> bool:
        return "AskUser" in self.said


def play(items: Iterable[Event], guards: Sequence[Guard] | None = None) -> Played:
    """Feed the items one at a time; what guards say goes into the history as it does in a run."""
    history: list[HistoryItem] = []
    words: list[str] = []
    at: list[int] = []
    detector = detail = ""
    for number, item in enumerate(items, 1):
        new = item if isinstance(item, HistoryItem) else recorded(history, item.call, item.outcome, item.spec)
        history.append(new)
        verdicts = [guard.check(tuple(history), Spent()) for guard in guards or default_guards()]
        verdict = max(verdicts, key=lambda verdict: (Go, Nudge, Replan, AskUser).index(type(verdict)))
        if isinstance(verdict, Go):
            continue
        words.append(type(verdict).__name__)
        at.append(number)
        detector = verdict.detector
        if isinstance(verdict, AskUser):
            detail = verdict.detail
            break
        history.append(said_by(verdict))
    return Played(tuple(words), tuple(at), detector, detail)


WORDS = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "omicron", "pi", "rho", "sigma",
]  # fmt: skip


def said(n: int) -> str:
    """Different words for every number."""
    return " ".join(random.Random(n).sample(WORDS, 6))


# name -> (items, calls until the first nudge, until the new plan (0: none), until a person is asked, detector)
LOOPS: dict[str, tuple[list[Event], int, int, int, str]] = {
    "same read": ([read("a.txt")] * 9, 2, 4, 5, "repeats"),
    "same write": ([write("a.txt", "x")] * 9, 3, 4, 5, "repeats"),
    "arguments reordered": (
        [call("grep", "none", pattern="x", path="b"), call("grep", "none", path="b", pattern="x")] * 5, 2, 4, 5, "repeats",
    ),
    "white space and ./ in arguments": (
        [call("read_file", "t", path="./a//b.txt"), call("read_file", "t", path="a/b.txt ")] * 5, 2, 4, 5, "repeats",
    ),
    "only the clock differs": (
        [call("status", f"at 2026-01-01 10:00:{n:02} all is well, took {n} ms", x=1) for n in range(9)], 2, 4, 5, "repeats",
    ),
    "a truncation stub with a new path": (
        [call("dump", f"the head of it [whole text in /tmp/out-{n}/x.txt]", x=1) for n in range(9)], 2, 4, 5, "repeats",
    ),
    "the same failing read": ([fail("read_file", "no such file: a", path="a")] * 9, 2, 4, 5, "repeats"),
    **{
        f"cycle of {k}": ([read(f"file{n % k}.txt") for n in range(k * 5)], k * 3, k * 4, k * 4 + 1, "cycles")
        for k in range(2, 7)
    },
    **{  # long ones bring nothing new for so many calls that this is noticed first
        f"cycle of {k}": ([read(f"file{n % k}.txt") for n in range(k * 5)], k + 12, 0, k + 20, "stagnation")
        for k in (7, 8)
    },
    "a poll inside a cycle with work": (
        [call("job", "running", polls=True), read("a.txt")] * 6, 6, 8, 9, "cycles",
    ),
    "one error, other arguments": (
        [fail("get", f"404 not found: item {n}", id=n) for n in range(9)], 3, 5, 6, "same_error",
    ),
    "alternating failing tools": (
        [fail(f"tool{n % 2}", f"cannot {said(n)}", n=n) for n in range(20)], 8, 0, 12, "failing",
    ),
    "unknown tools": (
        [fail(f"ghost{n}", f"there is no tool 'ghost{n}'", "unknown_tool", n=n) for n in range(9)], 3, 0, 4, "refused",
    ),
    "arguments that never fit": (
        [fail("search", f"n: {n} is not a string", "invalid", n=n) for n in range(9)], 3, 0, 4, "refused",
    ),
    "denied and insisting": (
        [fail("run_command", "run_command was not allowed: irreversible", "denied", command=f"rm {n}") for n in range(9)],
        3, 5, 6, "same_error",
    ),
    "parameters thrashed": (
        [call("search", "no results found for this query", query=said(n)) for n in range(60)], 25, 0, 41, "stagnation",
    ),
    "rereading what was read": (
        [read(f"f{n}") for n in range(12)] + [read(f"f{random.Random(n).randrange(12)}") for n in range(40)],
        17, 0, 32, "stagnation",
    ),
    "a dead server": ([fail("fetch_url", "503 service unavailable", url=f"http://h/{n}") for n in range(30)], 6, 10, 11, "same_error"),
    "the same call to a dead server": ([fail("fetch_url", "read timed out", "timeout", url="h")] * 30, 6, 10, 11, "same_error"),
    "a test that is run again without an edit": ([make_test("1 failed")] * 9, 3, 4, 5, "repeats"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_nudged_then_planned_anew_then_ended(name: str) -> None:
    items, nudge, replan, ask, detector = LOOPS[name]
    played = play(items)
    expected = {"Nudge": nudge, "Replan": replan, "AskUser": ask}
    first = dict(reversed(list(zip(played.said, played.at, strict=True))))
    assert first == {word: at for word, at in expected.items() if at}
    assert played.detector == detector
    assert played.detail
    assert "\n" not in played.detail


def edit_and_test() -> list[Event]:
    steps = []
    for n in range(12):
        steps += [write("a.py", f"attempt {n}: {said(n)}"), make_test("FAILED test_a: assert 1 == 2")]
    return [*steps, make_test("ok", ok=True)]


@pytest.mark.parametrize("period", range(2, 9))
def test_cycles_of_any_length_are_counted_in_laps(period: int) -> None:
    played = play([read(f"file{n % period}.txt") for n in range(period * 5)], [Loops(detectors=(cycles,))])
    assert played.at == (period * 3, period * 4, period * 4 + 1)


PRODUCTIVE: dict[str, list[Event]] = {
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
    assert not played.ended, played.detail


@pytest.mark.parametrize("name", ["reading many files", "edit and test", "polling a job", "parallel opening reads"])
def test_plain_work_is_not_even_nudged(name: str) -> None:
    assert play(PRODUCTIVE[name]).said == ()


def test_a_batch_of_equal_calls_is_nudged_before_anything_is_ruled_out() -> None:
    history: list[HistoryItem] = []
    for _ in range(10):  # one turn, many calls: the guards see them all at once
        history.append(recorded(history, *_parts(read("a.txt"))))
    nudge = Loops().check(history, Spent())
    assert isinstance(nudge, Nudge)
    told = [*history, said_by(nudge)]
    assert isinstance(Loops().check(told, Spent()), Go)
    assert isinstance(Loops().check([*told, recorded(told, *_parts(read("a.txt")))], Spent()), Replan)


def _parts(item: Called) -> tuple[ToolCall, Outcome, ToolSpec]:
    return item.call, item.outcome, item.spec


def test_heeding_the_nudge_ends_the_episode() -> None:
    elsewhere = [read(f"b{n}.txt") for n in range(12)]
    loop = [read("a.txt")] * 3
    played = play([*loop, *elsewhere, *loop, *[read(f"c{n}.txt") for n in range(12)], *loop])
    assert played.said == ("Nudge", "Nudge", "Nudge")


def test_what_comes_back_soon_goes_on_at_the_next_rung() -> None:
    loop = [read("a.txt")] * 2
    played = play([*loop, read("b.txt"), *loop, read("c.txt"), *loop])
    assert played.said == ("Nudge", "Replan", "AskUser")


def test_gravity_never_falls_within_an_episode() -> None:
    for items, *_ in LOOPS.values():
        order = [("Nudge", "Replan", "AskUser").index(word) for word in play(items).said]
        assert order == sorted(order)


def test_a_nudge_names_the_tool_and_the_count() -> None:
    history: list[HistoryItem] = []
    for _ in range(2):
        history.append(recorded(history, *_parts(read("a.txt"))))
    verdict = Loops().check(history, Spent())
    assert isinstance(verdict, Nudge)
    assert verdict.text.startswith("read_file was called 2 times in a row with the same arguments")
    assert verdict.detector == "repeats"


def test_calls_are_ruled_out_until_something_has_changed() -> None:
    history: list[HistoryItem] = []
    for item in [read("a.txt")] * 4:
        history.append(recorded(history, *_parts(item)))
    history.append(said_by(Replan(ban=(history[0].key,), detector="repeats", episode="e")))
    assert banned(history) == {history[0].key}
    history.append(recorded(history, *_parts(read("b.txt"))))
    assert banned(history) == {history[0].key}
    history.append(recorded(history, *_parts(write("a.txt", "new words"))))
    assert banned(history) == frozenset()


def test_changes_that_undo_each_other_are_seen_though_every_call_differs() -> None:
    def edit(n: int, state: str) -> Called:
        return call("edit", f"edited, revision {n}", effect=Effect.WRITE, state=state, old=f"o{n}", new=f"n{n}")

    played = play([edit(n, "ab"[n % 2]) for n in range(9)])
    assert (played.said, played.at, played.detector) == (("Nudge", "Replan", "AskUser"), (4, 5, 6), "oscillation")


def test_taking_back_what_was_learnt_from_is_work() -> None:
    steps = [
        step
        for n in range(8)
        for step in (call("switch", effect=Effect.WRITE, state="ab"[n % 2], to="ab"[n % 2]), call("measure", said(n)))
    ]
    assert play(steps).said == ()


@pytest.mark.parametrize(
    ("texts", "same"),
    [
        (("the weather in Paris, today?", "The weather in Paris today"), True),
        (("page 2 of the weather report", "page 3 of the weather report"), False),
        (("look into src/a.py for the name", "look into src/b.py for the name"), False),
        (("send it to ann@x.org at once please", "send it to bob@x.org at once please"), False),
        (("production-a", "production-b"), False),
        (("restart the web server", "stop the web server"), False),
        (("", " "), True),
    ],
)
def test_near_duplicates_say_the_same_of_the_same_things(texts: tuple[str, str], same: bool) -> None:
    history: list[HistoryItem] = []
    for text in texts:
        history.append(recorded(history, *_parts(call("search", query=text))))
    assert (history[0].key == history[1].key) == same


def test_a_file_written_anew_with_a_small_change_is_another_call() -> None:
    history: list[HistoryItem] = []
    for end in ("fox", "cat"):
        text = "the quick brown fox jumps over the lazy dog and the " * 5 + end
        history.append(recorded(history, *_parts(write("a.txt", text))))
    assert history[0].key != history[1].key
    assert history[1].cost == 0.0
