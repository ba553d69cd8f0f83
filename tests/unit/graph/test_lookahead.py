"""The agent as a search problem: it looks ahead without doing anything, and does what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, tool
from agentkit.config import PlannerSettings, PolicySettings, RunSettings, Settings
from agentkit.engine.scripted import DEFAULT
from agentkit.events import Event
from agentkit.protocols import Delta, Reply, Request, Score, TextDelta, ToolContext
from agentkit.store import open_store
from agentkit.testing import ScriptedEngine
from agentkit.types import Done, Effect, Outcome, RunResult, Step, Task, ToolCall, Usage

Options = Callable[[str, Request], Sequence[tuple[Step, float]]]
CALLED: list[str] = []  # by tools, wherever


def call(tool_name: str, /, **arguments: Any) -> Step:
    return Step(kind="calls", calls=(ToolCall(id="c", tool=tool_name, arguments=arguments),))


def final(text: str) -> Step:
    return Step(kind="final", text=text)


class Thinking(ScriptedEngine):
    """Offers steps by what was said last, with log-probabilities."""

    def __init__(self, options: Options) -> None:
        super().__init__([], capabilities=replace(DEFAULT, model="thinking"))
        self._options = options
        self.streamed = self.branched = self.scored = 0

    def _of(self, request: Request) -> list[tuple[Step, float]]:
        found = [
            pair for pair in self._options(str(request.messages[-1].content), request) if pair[0].kind in request.allow
        ]
        return sorted(found or [(final("nothing"), 0.0)], key=lambda pair: -pair[1])

    def _answer(self, step: Step) -> Reply:
        return Reply(step=step, usage=Usage(prompt=10, decoded=5), finish="stop", assurance="none")

    def stream(self, request: Request) -> Any:
        self.streamed += 1
        step = self._of(request)[0][0]
        deltas: list[Delta] = [TextDelta(text=step.text)] if step.text else []
        yield from [*deltas, self._answer(step)]

    def branch(self, request: Request, n: int) -> list[Reply]:
        self.branched += 1
        return [self._answer(step) for step, _ in self._of(request)[:n]]

    def score(self, request: Request, candidates: Sequence[Step]) -> list[Score]:
        self.scored += 1
        known = [(replace(step, calls=_plain(step)), log) for step, log in self._of(request)]
        found = []
        for step in candidates:
            logs = [log for other, log in known if other == replace(step, calls=_plain(step))]
            found.append(Score(logprob=logs[0] if logs else -20.0, tokens=5))
        return found


def _plain(step: Step) -> tuple[ToolCall, ...]:
    return tuple(replace(one, id="", arguments=dict(one.arguments)) for one in step.calls)


@tool(effect=Effect.READ, egress=False, trust="trusted")
def look(name: str, context: ToolContext) -> str:
    """Look at a file."""
    CALLED.append(f"look {name}")
    return Path(context.workspace, name).read_text()


@tool(effect=Effect.WRITE, egress=False, fork=True, sinks=("name",))
def put(name: str, text: str, context: ToolContext) -> Outcome:
    """Write a file."""
    CALLED.append(f"put {name} {'for real' if 'fork' not in str(context.workspace) else 'on a fork'}")
    Path(context.workspace, name).write_text(text)
    return Done(text="written")


@tool(effect=Effect.IRREVERSIBLE, egress=False)
def send(text: str) -> str:
    """Send a message."""
    CALLED.append(f"send {text}")
    return "sent"


@tool(effect=Effect.READ, egress=True)
def fetch(name: str) -> str:
    """Fetch a page."""
    CALLED.append(f"fetch {name}")
    return "the page"


TOOLS = [look, put, send, fetch]


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    CALLED.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.txt").write_text("nothing of use")
    (work / "b.txt").write_text("the number is 42")
    return work


def which(said: str, request: Request) -> Sequence[tuple[Step, float]]:
    """Would rather look at the wrong file, and answers with what it read last."""
    if said.startswith("find"):
        return [(call("look", name="a.txt"), -0.2), (call("look", name="b.txt"), -2.0), (final("I do not know"), -3.0)]
    return [(final(f"it says: {said}"), -0.1), (call("look", name="a.txt"), -4.0)]


def run(
    options: Options, folder: Path, *, planner: Any = "auto", check: str | None = "grep -q 42", **given: Any
) -> tuple[RunResult, list[Event], Thinking, Any]:
    events: list[Event] = []
    engine, store = Thinking(options), given.pop("store", None) or open_store(url=":memory:")
    settings = given.pop("settings", Settings())
    agent = Agent(engine, TOOLS, settings=settings, store=store, planner=planner, workspace=folder, **given)
    result = agent.run(Task.of("find the number", check=check), on_event=events.append)
    return result, events, engine, store


def plans(events: Sequence[Event]) -> list[Mapping[str, Any]]:
    return [event.data for event in events if event.type == "plan"]


def test_search_finds_what_the_models_own_steps_miss(folder: Path) -> None:
    result, *_ = run(which, folder, planner="direct")
    assert not result.ok
    result, events, _, store = run(which, folder)
    assert result.ok, result.detail
    assert "42" in result.answer
    assert [step.arguments for step in result.steps] == [{"name": "b.txt"}]
    assert plans(events)[0]["strategy"] == "auto: lds"
    assert plans(events)[0]["ending"] == "goal"
    (tree, *_) = store.trees(result.run_id)
    assert tree["effects"]
    assert set(tree["effects"].values()) <= {"pure", "read"}


@pytest.mark.parametrize("planner", ["lds", "best_first", "mcts", "gumbel", "bayes_root"])
def test_every_planner_can_drive_the_agent(folder: Path, planner: str) -> None:
    result, *_ = run(which, folder, planner=planner)
    assert result.ok, result.detail


def test_without_a_check_it_costs_what_the_models_own_step_costs(folder: Path) -> None:
    result, events, engine, _ = run(which, folder, check=None)
    assert result.ok
    assert engine.branched == engine.scored == 0
    assert CALLED == ["look a.txt"]
    assert all(plan["strategy"] == "auto: direct" for plan in plans(events))
    assert "it says: nothing of use" in "".join(event.data["text"] for event in events if event.type == "text_delta")


def test_what_only_looks_is_run_once_a_workspace(folder: Path) -> None:
    run(which, folder, planner="mcts")
    before = CALLED.index("look b.txt")
    assert CALLED[: before + 1].count("look a.txt") <= 1


def test_nothing_irrevocable_happens_while_looking_ahead(folder: Path) -> None:
    def tempted(said: str, request: Request) -> Sequence[tuple[Step, float]]:
        if said.startswith("find"):
            return [
                (call("send", text="42"), -0.1),
                (call("fetch", name="page"), -1.0),
                (call("look", name="b.txt"), -3.0),
            ]
        return [(final(f"it says: {said}"), -0.1), (call("send", text="42"), -0.2)]

    for planner in ("auto", "mcts", "best_first"):
        CALLED.clear()
        result, *_ = run(tempted, folder, planner=planner)
        assert result.ok, result.detail
        assert not [what for what in CALLED if what.startswith(("send", "fetch"))]


def test_what_a_person_would_be_asked_about_is_not_tried(folder: Path) -> None:
    def options(said: str, request: Request) -> Sequence[tuple[Step, float]]:
        if said.startswith("find"):
            return [(call("put", name="c.txt", text="42"), -0.1), (call("look", name="b.txt"), -3.0)]
        return [(final(f"it says: {said}"), -0.1)]

    settings = Settings(policy=PolicySettings(mode="manual"))
    result, *_ = run(options, folder, settings=settings)
    assert result.ok
    assert not [what for what in CALLED if what.startswith("put")]


def writes(said: str, request: Request) -> Sequence[tuple[Step, float]]:
    if said.startswith("find"):
        return [(call("put", name="out.txt", text="41"), -0.1), (call("put", name="out.txt", text="42"), -2.0)]
    return [(final("done"), -0.1)]


def test_what_writes_is_tried_on_a_copy_and_the_check_sees_it(folder: Path) -> None:
    settings = Settings(policy=PolicySettings(mode="yolo"))
    result, *_ = run(writes, folder, check="grep -q 42 out.txt", settings=settings)
    assert result.ok, result.detail
    assert (folder / "out.txt").read_text() == "42"
    assert CALLED.count("put out.txt for real") == 1
    assert CALLED.count("put out.txt on a fork") >= 2


def test_a_workspace_that_is_too_big_is_not_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentkit.graph.forking.MAX_FILES", 1)
    settings = Settings(policy=PolicySettings(mode="yolo"))
    run(writes, folder, check="grep -q 42 out.txt", settings=settings)
    assert not [what for what in CALLED if what.endswith("on a fork")]


def test_copies_are_removed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run(writes, folder, check="grep -q 42 out.txt", settings=Settings(policy=PolicySettings(mode="yolo")))
    assert not list(tmp_path.glob("agentkit-fork-*"))


def test_the_next_step_goes_on_with_the_tree(folder: Path) -> None:
    result, events, _, store = run(which, folder)
    first, second = store.trees(result.run_id)
    assert second["nodes"][0]["key"] in {node["key"] for node in first["nodes"]}
    assert second["spent"] == {"simulations": 0, "calls": 0, "tool_calls": 0, "tokens": 0}
    assert [plan["ending"] for plan in plans(events)] == ["goal", "goal"]


def test_a_search_counts_as_one_turn(folder: Path) -> None:
    settings = Settings(run=RunSettings(max_turns=2))
    result, _, engine, _ = run(which, folder, settings=settings)
    assert engine.streamed + engine.branched > 2
    assert result.ok, result.detail


def test_a_search_without_a_budget_takes_what_the_model_said_first(folder: Path) -> None:
    settings = Settings(planner=PlannerSettings(simulations=0))
    result, events, *_ = run(which, folder, settings=settings)
    assert result.steps[0].arguments == {"name": "a.txt"}
    assert plans(events)[0]["ending"] == "simulations"


def test_loops_end_inside_a_search_too(folder: Path) -> None:
    def stuck(said: str, request: Request) -> Sequence[tuple[Step, float]]:
        return [(call("look", name="a.txt"), -0.1)] if not said.startswith("find") else [
            (call("look", name="a.txt"), -0.1), (call("look", name="b.txt"), -0.2),
        ]  # fmt: skip

    settings = Settings(planner=PlannerSettings(simulations=400, tool_calls=400, tokens=None))
    result, _, _, store = run(stuck, folder, settings=settings)
    assert not result.ok
    deepest = max(len(_way(tree["nodes"], n)) for tree in store.trees(result.run_id) for n in range(len(tree["nodes"])))
    assert deepest <= 12  # as deep as a run would have been let


def _way(nodes: Sequence[Mapping[str, Any]], number: int) -> list[int]:
    way = []
    while number > 0:
        way.append(number)
        number = nodes[number]["parent"]
    return way


def test_the_check_reads_the_answer(folder: Path) -> None:
    def says(said: str, request: Request) -> Sequence[tuple[Step, float]]:
        return [(final("the answer is 7"), -0.1), (final("the answer is 42"), -1.0)]

    result, *_ = run(says, folder, check="grep -qw 42")
    assert result.ok
    assert result.answer == "the answer is 42"


def test_enumerated_calls_are_offered(folder: Path) -> None:
    @tool(effect=Effect.READ, egress=False, trust="trusted")
    def switch(colour: str, on: bool) -> str:
        """Look at a switch."""
        return f"{colour} {on}"

    from agentkit.graph.offering import offered

    spec = replace(switch.spec, parameters={**switch.spec.parameters, "properties": {
        "colour": {"type": "string", "enum": ["red", "green"]}, "on": {"type": "boolean"}}})  # fmt: skip
    steps = offered(Request(messages=[], tools=[spec]))
    assert [dict(step.calls[0].arguments) for step in steps] == [
        {"colour": colour, "on": on} for colour in ("red", "green") for on in (False, True)
    ]
    million = {"type": "object", "required": ["n"], "properties": {"n": {"enum": list(range(1_000_000))}}}
    assert offered(Request(messages=[], tools=[replace(spec, parameters=million)])) == []


def right_away(said: str, request: Request) -> Sequence[tuple[Step, float]]:
    """Looks at the right file by itself."""
    if said.startswith("find"):
        return [(call("look", name="b.txt"), -0.2), (call("look", name="a.txt"), -2.0)]
    return [(final(f"it says: {said}"), -0.1), (call("look", name="a.txt"), -4.0)]


def test_where_the_model_is_right_a_search_costs_no_more_than_none(folder: Path) -> None:
    searched, _, engine, _ = run(right_away, folder)
    direct, *_ = run(right_away, folder, planner="direct")
    assert searched.ok
    assert searched.answer == direct.answer
    assert (engine.branched, engine.scored) == (0, 0)
    assert searched.usage == direct.usage


def test_words_that_are_only_thought_about_are_not_passed_on(folder: Path) -> None:
    result, events, *_ = run(which, folder)
    assert result.ok
    assert not [event for event in events if event.type == "text_delta"], "the wrong file's words would be among them"
    _, events, *_ = run(which, folder, check=None)
    assert [event for event in events if event.type == "text_delta"]


def test_a_call_that_brings_nothing_new_is_no_way_on(folder: Path) -> None:
    """The model would rather look again, for ever; the answer that it would give next is found behind that."""

    def again(said: str, request: Request) -> Sequence[tuple[Step, float]]:
        name = "b.txt"
        return [(call("look", name=name), -0.1), (final(f"it says: {said}"), -2.0)]

    result, _, _, store = run(again, folder)
    assert result.ok
    assert len(result.steps) == 1
    (first, *_) = store.trees(result.run_id)
    assert any(number in node["child"] for number, node in enumerate(first["nodes"])), "it leads to where it began"


def test_a_call_again_is_no_repetition_once_something_has_changed(folder: Path) -> None:
    def writes(said: str, request: Request) -> Sequence[tuple[Step, float]]:
        made = [message for message in request.messages if message.type == "tool"]
        if len(made) == 0:
            return [(call("look", name="a.txt"), -0.1)]
        if len(made) == 1:
            return [(call("put", name="a.txt", text="42"), -0.1)]
        return [(call("look", name="a.txt"), -0.1) if len(made) == 2 else (final(f"it says: {said}"), -0.1)]

    settings = Settings(policy=PolicySettings(mode="auto"))
    result, *_ = run(writes, folder, settings=settings)
    assert result.ok, result.detail
    assert [step.tool for step in result.steps] == ["look", "put", "look"]


def test_one_budget_holds_for_all_steps_of_a_search_in_vain(folder: Path) -> None:
    def lost(said: str, request: Request) -> Sequence[tuple[Step, float]]:
        made = sum(message.type == "tool" for message in request.messages)
        looks = call("look", name="ab"[made % 2] + ".txt")
        return [(looks, -0.1), (final("7"), -1.0)] if made < 2 else [(final("8"), -0.1), (final("9"), -0.2)]

    settings = Settings(planner=PlannerSettings(simulations=12))
    result, events, *_ = run(lost, folder, settings=settings)
    assert not result.ok
    assert sum(plan["spent"].get("simulations", 0) for plan in plans(events)) <= 12
