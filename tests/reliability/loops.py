"""Scripts of models that go round in circles, and of models at work; and playing them through the real agent.

`LOOPS` must be noticed, `WORK` must be left alone. A script is a set of tools over a small world, and a model: a
function from the number of its reply to the reply. `play` runs it by one of four paths:

plain      one call a step
parallel   the calls of two replies in one step
sub-run    the same in a run that another run delegated to
resumed    the process is lost after every third reply, and another one goes on
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from agentkit.agent import Agent
from agentkit.config import DelegateSettings, PolicySettings, RunSettings, Settings
from agentkit.engine.scripted import DEFAULT
from agentkit.errors import EngineError
from agentkit.events import Event
from agentkit.protocols import Guard, Reply, Request, Store, Tool
from agentkit.store import open_store
from agentkit.testing import ScriptedEngine
from agentkit.tools import delegate
from agentkit.types import (
    Done,
    Effect,
    Failed,
    Outcome,
    Pending,
    RunResult,
    Step,
    StopReason,
    ToolCall,
    ToolRules,
    ToolSpec,
)

Path_ = Literal["plain", "parallel", "sub-run", "resumed"]
PATHS: tuple[Path_, ...] = get_args(Path_)
SETTINGS = Settings(
    run=RunSettings(max_turns=90, max_tool_calls=400, max_tokens=None, timeout_s=None, poll_s=(0.0,)),
    policy=PolicySettings(mode="yolo"),
    delegate=DelegateSettings(enabled=True, max_depth=2, max_children=4, max_runs=8),
)
GOAL = "Do the work"
PART = "Look into part"
LOST_AFTER = 3  # replies, on the resumed path
Act = Callable[[Mapping[str, Any], int], Outcome]  # arguments, and how many calls of the tool came before
Model = Callable[[int], Step]


# ── tools and steps ──


def tool_of(name: str, act: Act, *required: str, schema: Mapping[str, Any] | None = None, **rules: Any) -> Tool:
    """Return a tool whose arguments are anything, and whose n-th call gives `act(arguments, n)`."""
    calls = itertools.count()
    parameters = schema or {"type": "object", "properties": {}}
    known = ToolRules(**{"effect": Effect.READ, "egress": False, **rules})

    def validate(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        for one in required:
            if one not in arguments:
                raise ValueError(f"'{one}' is missing")
        return arguments

    return Tool(
        spec=ToolSpec(name=name, description=name, parameters=parameters, rules=known),
        run=lambda arguments, context: act(arguments, next(calls)),
        validate=validate,
    )


def reads(text: str | None = None, name: str = "read_file", **rules: Any) -> Tool:
    """Return a tool that gives each path a text of its own, always the same; or always `text`."""
    return tool_of(
        name,
        lambda arguments, n: Done(text=text if text is not None else said(repr(sorted(arguments.items())))),
        **rules,
    )


def fails(name: str, text: Callable[[Mapping[str, Any], int], str], **rules: Any) -> Tool:
    """Return a tool that always fails, with a text of the arguments and the number of the call."""
    return tool_of(name, lambda arguments, n: Failed(text=text(arguments, n)), **rules)


def writes(**rules: Any) -> Tool:
    """Return a tool that says what stands in the file afterwards, as `write_file` does."""
    return tool_of(
        "write_file",
        lambda arguments, n: Done(text="written", state={str(arguments["path"]): str(arguments["content"])}),
        **{"effect": Effect.WRITE, **rules},
    )


def call(tool: str, **arguments: Any) -> Step:
    """Return a step that makes one call."""
    return Step(kind="calls", calls=(ToolCall(id="", tool=tool, arguments=arguments),))


def final(text: str = "that is it") -> Step:
    """Return a step that answers."""
    return Step(kind="final", text=text)


WORDS = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
    "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "amber", "bronze",
    "copper", "iron", "lead", "nickel", "silver", "tin", "zinc", "oak", "ash", "elm", "fir", "pine", "birch",
    "maple", "cedar", "willow",
]  # fmt: skip


def said(seed: object, words: int = 8) -> str:
    """Return some words, others for every seed."""
    rng = random.Random(str(seed))
    return " ".join(rng.choice(WORDS) + str(rng.randrange(100)) for _ in range(words))


def cycle(*steps: Step) -> Model:
    """Return a model that goes through the steps for ever."""
    return lambda n: steps[n % len(steps)]


def listed(*steps: Step) -> Model:
    """Return a model that makes the steps, then answers."""
    return lambda n: steps[n] if n < len(steps) else final()


# ── scripts ──


@dataclass(frozen=True)
class Script:
    """One behaviour. `useful`: replies before it becomes a loop; `most`: how many more may be wasted before a word."""

    name: str
    tools: Callable[[], Sequence[Tool]]
    model: Model
    detectors: frozenset[str] = frozenset()  # which of the guards may be the first to see it
    useful: int = 1
    most: int = 3


def loop(
    name: str, tools: Callable[[], Sequence[Tool]], model: Model, detectors: str, useful: int = 1, most: int = 3
) -> Script:
    """Return a script that must be noticed."""
    return Script(name, tools, model, frozenset(detectors.split()), useful, most)


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


# ── playing ──


@dataclass
class Played:
    """What came of a script. Figures count the model's replies that the script made, not the last answer."""

    script: str
    path: str
    result: RunResult
    replies: int  # of the model before the end
    seen_after: int | None = None  # replies before the first word of a guard
    detector: str = ""  # whose it was
    words: list[str] = field(default_factory=list)  # verdicts in order
    executed: int = 0  # calls that ran
    seconds: float = 0.0

    ended: str = ""  # how the run of the script ended, or the sub-run it was
    detail: str = ""

    @property
    def stopped(self) -> bool:
        """Whether a guard ended it."""
        return self.ended == StopReason.LOOP


class Cutting(ScriptedEngine):
    """Says of some replies that they were cut off."""

    def _reply(self, request: Request, step: Step) -> Reply:
        if step.calls and step.calls[0].arguments.get("path") == "cut off":
            whole = super()._reply(request, step)
            return replace(whole, finish="length")
        return super()._reply(request, step)


@dataclass
class Playing:
    """The model of one script on one path, as the entries of a scripted engine."""

    script: Script
    path: str
    heeds: bool = False  # whether it answers as soon as a guard has spoken
    n: int = 0
    replies: int = 0
    lost: int = 0

    def __call__(self, request: Request) -> Step:
        if request.allow == frozenset({"final"}):
            return final("the best so far")
        if self.path == "sub-run" and request.messages and _asked(request) == GOAL:
            return (
                final("handed on")
                if any(m.type == "tool" for m in request.messages)
                else call("delegate", goal="Go through it")
            )
        if _asked(request).startswith(PART):
            return final(said(_asked(request)))
        if self.path == "resumed" and self.replies >= LOST_AFTER * (self.lost + 1):
            self.lost += 1
            raise EngineError("the process is lost here")
        if self.heeds and any(m.additional_kwargs.get("agentkit", {}).get("kind") == "nudge" for m in request.messages):
            return final("heeded")
        self.replies += 1
        step = self._next()
        if self.path == "parallel" and step.calls and (more := self.script.model(self.n)).calls:
            self.n += 1
            return replace(step, calls=(*step.calls, *more.calls))
        return step

    def _next(self) -> Step:
        step = self.script.model(self.n)
        self.n += 1
        return step


def _asked(request: Request) -> str:
    return next((str(m.content) for m in reversed(request.messages) if m.type == "human"), "")


def play(
    script: Script,
    path: str = "plain",
    *,
    store: Store | None = None,
    heeds: bool = False,
    guards: Sequence[Guard] | None = None,
    workspace: Path | None = None,
) -> Played:
    """Run a script to its end and return what the guards did."""
    playing = Playing(script, path, heeds)
    engine = Cutting([playing] * 2_000, capabilities=replace(DEFAULT, context=10_000_000, branches=False))
    own = store if store is not None else open_store(url=":memory:")
    heard: list[tuple[Event, int]] = []
    tools = list(script.tools())
    if path == "sub-run" and delegate not in tools:
        tools.append(delegate)

    def agent() -> Agent:
        return Agent(engine, tools, settings=SETTINGS, store=own, guards=guards, system="", workspace=workspace)

    result = agent().run(GOAL, on_event=lambda event: heard.append((event, playing.replies)))
    while path == "resumed" and result.stop_reason is StopReason.MODEL and "lost here" in result.detail:
        result = agent().resume(result.run_id, on_event=lambda event: heard.append((event, playing.replies)))
    if store is None:
        own.close()
    return _played(playing, result, heard)


def _inner(event: Event) -> Event:
    """Return the event of a sub-run that a parent's event wraps; others as they are."""
    wrapped = event.data.get("event")
    return event if wrapped is None else replace(event, type=wrapped["type"], data=wrapped)


def _played(playing: Playing, result: RunResult, heard: Sequence[tuple[Event, int]]) -> Played:
    played = Played(playing.script.name, playing.path, result, playing.replies)
    played.ended, played.detail = result.stop_reason.value, result.detail
    for outer, replies in heard:
        event = _inner(outer)
        if event.type == "tool_use" and event.data["tool"] != "delegate":
            played.executed += 1
        if event.type == "guard":
            played.words.append(str(event.data["verdict"]))
            played.detail = str(event.data["text"])
            if played.seen_after is None:
                played.seen_after, played.detector = replies, str(event.data["detector"])
        if event.type == "run_ended" and playing.path == "sub-run" and event.data.get("depth") == 1:
            played.ended = str(event.data["stop_reason"])
    return played
