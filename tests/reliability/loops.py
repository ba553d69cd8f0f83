"""Models that go round in circles: each script must be noticed by the guards.

A script is a set of tools over a small world, and a model: a function from the number of its reply to the reply.
`tests.reliability.playing` plays it through the real agent. `tests.reliability.works` has models at work.
"""

from __future__ import annotations

import random

from agentkit.tools import delegate
from agentkit.types import (
    Done,
    Effect,
    Step,
    ToolCall,
)
from tests.reliability.loop_parts import (
    GOAL,
    PART,
    Script,
    call,
    cycle,
    fails,
    final,
    loop,
    reads,
    said,
    tool_of,
    writes,
)


def _cycle_of(k: int) -> Script:
    steps = [call("read_file", path=f"file{n}.txt") for n in range(k)]
    return loop(f"cycle of {k}", lambda: [reads()], cycle(*steps), "cycles stagnation", k, min(2 * k, 12))


_NEAR = (
    "what is the weather in Paris today, and will it rain?",
    "What is the weather in Paris today and will it rain",
    "what is the  weather in Paris today, and will it rain",
    "What is the weather in Paris today; and will it rain?",
)
_PLAN = ("read the sources", "look through the sources", "go through all the sources", "study the sources first")
_EDITS = ("to try it out", "because it failed", "once more, with care", "as it was before", "to be on the safe side")
_SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}, "limit": {"type": "integer", "default": 10}}}

LOOPS: tuple[Script, ...] = (
    loop("the same read", lambda: [reads()], cycle(call("read_file", path="a.txt")), "repeats"),
    loop(
        "the same write",
        lambda: [tool_of("save", lambda a, n: Done(text="saved"), effect=Effect.WRITE)],
        cycle(call("save", name="a", text="x")),
        "repeats",
    ),
    loop(
        "arguments in another order",
        lambda: [reads("no match", "grep")],
        cycle(call("grep", pattern="x", path="b"), call("grep", path="b", pattern="x")),
        "repeats",
    ),
    loop(
        "defaults written out",
        lambda: [reads("the text", schema=_SCHEMA)],
        cycle(call("read_file", path="a"), call("read_file", path="a", limit=10)),
        "repeats",
    ),
    loop(
        "white space and ./ in a path",
        lambda: [reads("the text")],
        cycle(
            call("read_file", path="./a//b.txt"),
            call("read_file", path="a/b.txt "),
            call("read_file", path="a/./b.txt"),
        ),
        "repeats",
    ),
    loop(
        "Unicode composed and decomposed",
        lambda: [reads("the text")],
        cycle(call("read_file", path="caf\u00e9"), call("read_file", path="cafe\u0301")),
        "repeats",
    ),
    loop(
        "nearly the same words",
        lambda: [reads("sunny", "search")],
        cycle(*(call("search", query=text) for text in _NEAR)),
        "repeats",
    ),
    loop(
        "a request id that changes",
        lambda: [reads("the text", volatile=("request_id",))],
        lambda n: call("read_file", path="a", request_id=f"r-{n}"),
        "repeats",
    ),
    loop(
        "only the clock differs",
        lambda: [tool_of("status", lambda a, n: Done(text=f"at 10:00:{n % 60:02} all is well, pid {4_000 + n}"))],
        cycle(call("status")),
        "repeats",
    ),
    loop(
        "a truncation stub with a new path",
        lambda: [tool_of("dump", lambda a, n: Done(text=f"the head [whole text in /tmp/out-{n}/x.txt]"))],
        cycle(call("dump", table="users")),
        "repeats",
    ),
    loop(
        "a long output cut in another place",
        lambda: [tool_of("dump", lambda a, n: Done(text="row of the table\n" * 2_000))],
        cycle(call("dump", table="users")),
        "repeats",
    ),
    *(_cycle_of(k) for k in range(2, 9)),
    loop(
        "a poll inside a cycle with work",
        lambda: [tool_of("job", lambda a, n: Done(text=f"{n % 2}"), polls=True), reads()],
        cycle(call("job", id=1), call("read_file", path="a")),
        "cycles",
        4,
        8,
    ),
    loop(
        "alternating failing tools",
        lambda: [fails("left", lambda a, n: f"cannot {said(n)}"), fails("right", lambda a, n: f"no {said(-n)}")],
        lambda n: call(("left", "right")[n % 2], n=n),
        "failing",
        0,
        8,
    ),
    loop(
        "one error, other arguments",
        lambda: [fails("get", lambda a, n: f"404 not found: item {a['id']}")],
        lambda n: call("get", id=f"item-{n}"),
        "same_error",
        0,
    ),
    loop(
        "a server that stays away",
        lambda: [fails("fetch_url", lambda a, n: "503 service unavailable")],
        lambda n: call("fetch_url", url=f"http://h/{n}"),
        "same_error",
        0,
        6,
    ),
    loop(
        "an edit and its undoing",
        lambda: [writes(volatile=("why",))],
        lambda n: call("write_file", path="a.py", content=f"version {n % 2}", why=f"{_EDITS[n % 5]} {n}"),
        "oscillation",
        2,
    ),
    loop(
        "three contents in turn",
        lambda: [writes()],
        lambda n: call("write_file", path="a.py", content=f"version {n % 3}", why=said(n)),
        "oscillation",
        3,
    ),
    loop(
        "talk without a call",
        lambda: [reads()],
        lambda n: Step(kind="calls", text=f"I will now {said(n)}."),
        "monologue",
        0,
        1,
    ),
    loop("empty replies", lambda: [reads()], cycle(Step(kind="final", text=" ")), "empty", 0, 1),
    loop(
        "thoughts alone",
        lambda: [reads()],
        lambda n: Step(kind="final", text="", thinking=f"Let me think. {said(n)}"),
        "empty",
        0,
        1,
    ),
    loop(
        "a tool for thinking that says nothing",
        lambda: [tool_of("think", lambda a, n: Done(text="ok"), effect=Effect.PURE)],
        lambda n: call("think", thought=said(n)),
        "stagnation",
        1,
        24,
    ),
    loop("an unknown tool", lambda: [reads()], lambda n: call("open_file", path=f"{n}.txt"), "refused", 0),
    loop(
        "arguments that do not fit",
        lambda: [tool_of("search", lambda a, n: Done(text="x"), "query")],
        lambda n: call("search", **{f"q{n}": "x"}),
        "refused",
        0,
    ),
    loop(
        "a plan written anew, its words marked",
        lambda: [
            tool_of(
                "update_plan", lambda a, n: Done(text="plan updated"), effect=Effect.WRITE, volatile=("steps.text",)
            )
        ],
        lambda n: call("update_plan", steps=[{"text": _PLAN[n % 4], "status": "open"}]),
        "repeats",
    ),
    loop(
        "a plan written anew",
        lambda: [tool_of("update_plan", lambda a, n: Done(text="plan updated"), effect=Effect.WRITE)],
        lambda n: call("update_plan", plan=" ".join(random.Random(n).sample(" ".join(_PLAN).split(), 9))),
        "stagnation",
        6,
        14,
    ),
    loop(
        "words and pages turned over in vain",
        lambda: [reads("no results", "search")],
        lambda n: call("search", query=said(n, 2), page=n),
        "stagnation",
        1,
        24,
    ),
    loop(
        "an answer without end",
        lambda: [reads()],
        cycle(final("The sum is 30. " + "I hope this helps you. " * 60)),
        "degenerate",
        0,
        1,
    ),
    loop(
        "arguments without end",
        lambda: [writes()],
        cycle(call("write_file", path="a", content="and so on and so forth " * 200)),
        "degenerate",
        0,
        1,
    ),
    loop("replies that are cut off", lambda: [reads()], cycle(call("read_file", path="cut off")), "cut_off", 0, 1),
    loop(
        "handing on one helper after the other",
        lambda: [delegate],
        lambda n: call("delegate", goal=f"{PART} {n} of it"),
        "same_error failing",
        4,
        4,
    ),
    loop(
        "handing on the very task",
        lambda: [delegate],
        lambda n: call("delegate", goal=GOAL + "!" * n),
        "same_error repeats",
        0,
        4,
    ),
    loop(
        "one call fifty times in one step",
        lambda: [reads()],
        cycle(Step(kind="calls", calls=(ToolCall(id="", tool="read_file", arguments={"path": "a"}),) * 50)),
        "repeats",
        0,
        1,
    ),
)
