"""Models at work: what looks like going round in circles and is not; no script may be stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentkit.protocols import Tool
from agentkit.types import (
    Done,
    Effect,
    Failed,
    Outcome,
    Pending,
    Step,
    ToolCall,
)
from tests.reliability.loop_parts import WORDS, Script, call, listed, reads, said, tool_of, writes


def _poll(name: str, results: Sequence[Outcome], **rules: Any) -> Tool:
    return tool_of(name, lambda a, n: results[min(n, len(results) - 1)], polls=True, **rules)


def _edit_and_test() -> Script:
    steps: list[Step] = []
    for n in range(12):
        steps += [call("write_file", path="a.py", content=f"attempt {n}: {said(n)}"), call("test")]
    failing = [Failed(text="FAILED test_a: assert 1 == 2")] * 11 + [Done(text="1 passed")]
    return Script(
        "editing and testing",
        lambda: [writes(), tool_of("test", lambda a, n: failing[n], effect=Effect.IRREVERSIBLE, failure_is_data=True)],
        listed(*steps),
    )


def _flaky() -> Script:
    def fetch(arguments: Mapping[str, Any], n: int) -> Outcome:
        return Failed(text="503 service unavailable") if n % 4 < 3 else Done(text=said(arguments["url"]))

    steps = [call("fetch_url", url=f"u{n // 4}") for n in range(24)]
    return Script("a flaky server that comes back", lambda: [tool_of("fetch_url", fetch)], listed(*steps))


WORK: tuple[Script, ...] = (
    Script("one call and an answer", lambda: [reads()], listed(call("read_file", path="a.txt"))),
    Script(
        "polling a job",
        lambda: [_poll("job_status", [Done(text="running")] * 40 + [Done(text="done: 5 rows")])],
        listed(*[call("job_status", id=1)] * 2),
    ),
    Script(
        "polling what is pending",
        lambda: [_poll("job_status", [Pending(kind="job", handle="1", text="running")] * 20 + [Done(text="done")])],
        listed(call("job_status", id=1)),
    ),
    Script(
        "polling with figures that move",
        lambda: [_poll("job_status", [Done(text=f"running, {n} %") for n in range(50)])],
        listed(*[call("job_status", id=1)] * 30),
    ),
    Script(
        "polling two jobs in turn",
        lambda: [_poll("job_status", [Done(text=f"{n // 2} %") for n in range(60)])],
        listed(*[call("job_status", id=n % 2) for n in range(30)]),
    ),
    Script(
        "moving forty files, each ok",
        lambda: [tool_of("move", lambda a, n: Done(text="ok"), effect=Effect.WRITE)],
        listed(
            *[
                call("move", source=f"src/{w}/module_{n}.py", target=f"lib/{w}/module_{n}.py")
                for n, w in enumerate(WORDS[:40])
            ]
        ),
    ),
    Script(
        "a tool that says nothing of itself, over thirty items",
        lambda: [tool_of("close_ticket", lambda a, n: Done(text="ok"), effect=Effect.IRREVERSIBLE, egress=True)],
        listed(
            *[
                call("close_ticket", id=f"T-{n}", reason="It was fixed in the last release, thank you.")
                for n in range(30)
            ]
        ),
    ),
    Script(
        "reading thirty files", lambda: [reads()], listed(*[call("read_file", path=f"src/{n}.py") for n in range(30)])
    ),
    Script(
        "five opening reads in one step",
        lambda: [reads()],
        listed(
            Step(
                kind="calls",
                calls=tuple(ToolCall(id="", tool="read_file", arguments={"path": f"{n}.md"}) for n in range(5)),
            )
        ),
    ),
    Script(
        "a long page piece by piece",
        lambda: [reads()],
        listed(*[call("read_file", path="big.txt", offset=n * 100) for n in range(30)]),
    ),
    _edit_and_test(),
    Script(
        "mending and building the same way",
        lambda: [
            writes(),
            tool_of("build", lambda a, n: Failed(text="error: missing symbol") if n < 7 else Done(text="built")),
        ],
        listed(
            *[
                s
                for n in range(8)
                for s in (call("write_file", path="x.c", content=said(n)), call("build", target="all"))
            ]
        ),
    ),
    Script(
        "reading a file again after each change",
        lambda: [writes(), tool_of("read_file", lambda a, n: Done(text=f"version {n}: {said(n)}"))],
        listed(
            *[
                s
                for n in range(10)
                for s in (call("write_file", path="x", content=said(n)), call("read_file", path="x"))
            ]
        ),
    ),
    _flaky(),
    Script(
        "a server slow to start",
        lambda: [tool_of("fetch_url", lambda a, n: Failed(text="connection refused") if n < 5 else Done(text="up"))],
        listed(*[call("fetch_url", url="u")] * 6),
    ),
    Script(
        "looking in vain, then a hit",
        lambda: [
            tool_of(
                "grep",
                lambda a, n: Failed(text=f"'{a['pattern']}' not found") if n < 12 else Done(text="found it"),
                failure_is_data=True,
            )
        ],
        listed(*[call("grep", pattern=w) for w in WORDS[:13]]),
    ),
    Script(
        "searching, mostly in vain",
        lambda: [tool_of("search", lambda a, n: Done(text="no match" if n % 3 else said(n)))],
        listed(*[call("search", query=w) for w in WORDS[:18]]),
    ),
    Script(
        "twenty hosts that are all well",
        lambda: [reads("ok", "ping")],
        listed(*[call("ping", host=f"host{n}") for n in range(20)]),
    ),
    Script(
        "appending lines",
        lambda: [tool_of("append", lambda a, n: Done(text="ok"), effect=Effect.WRITE)],
        listed(*[call("append", path="log.txt", line=f"line {n}") for n in range(30)]),
    ),
    Script(
        "watching a number move",
        lambda: [tool_of("count", lambda a, n: Done(text=f"{n} rows"))],
        listed(*[call("count", table="t")] * 20),
    ),
    Script(
        "mistakes, then right",
        lambda: [tool_of("search", lambda a, n: Done(text="found"), "query")],
        listed(call("search", q="x"), call("serach", query="x"), call("search", query="x")),
    ),
    Script(
        "trying a switch both ways and measuring",
        lambda: [
            tool_of("switch", lambda a, n: Done(text="ok", state={"switch": str(a["to"])}), effect=Effect.WRITE),
            tool_of("measure", lambda a, n: Done(text=f"run {n}: {n * 7 % 13} requests a second")),
        ],
        listed(*[s for n in range(8) for s in (call("switch", to=("on", "off")[n % 2]), call("measure"))]),
    ),
    Script(
        "a plan ticked off",
        lambda: [
            reads(),
            tool_of(
                "update_plan", lambda a, n: Done(text="plan updated"), effect=Effect.WRITE, volatile=("steps.text",)
            ),
        ],
        listed(
            *[
                s
                for n in range(8)
                for s in (
                    call("read_file", path=f"{n}.txt"),
                    call(
                        "update_plan",
                        steps=[{"text": said(m), "status": "done" if m <= n else "open"} for m in range(8)],
                    ),
                )
            ]
        ),
    ),
    Script(
        "notes taken one by one",
        lambda: [tool_of("add_note", lambda a, n: Done(text="noted"), effect=Effect.WRITE)],
        listed(
            *[call("add_note", text=f"The {w} is in the {v}.") for w, v in zip(WORDS[:24], WORDS[16:40], strict=True)]
        ),
    ),
)
