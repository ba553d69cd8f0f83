"""Preferences from a model's own steps, each of which is checked: where a task stands, which of its next steps lead on.

The tasks are `planning.agent_tasks`: a folder, a question of two to five calls, tools that lead nowhere. At each step the model
offers what it could do; a step is right if it is what the task needs next, calculations being carried out to see. The most
probable right one is chosen, the most probable wrong one rejected, and the run goes on with the right one.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from agentkit import Agent
from agentkit.config import PlannerSettings, PolicySettings, RunSettings, Settings
from agentkit.engine.dialects import plain
from agentkit.engine.llama import LlamaEngine
from agentkit.protocols import (
    Action,
    Engine,
    Evaluator,
    Plan,
    PlanBudget,
    Planner,
    Reply,
    Request,
    SearchProblem,
    TreeMemory,
)
from agentkit.store import open_store
from agentkit.types import RunResult, Step, Task, ToolCall
from agentkit_training.sprout_hf import WEIGHTS
from agentkit_training.tokenizer import TextTokenizer
from benchmarks.passing import Passing
from benchmarks.planning.agent_tasks import AgentTask, agent_task, tools

WIDTH = 8  # steps that the model offers
SETTINGS = Settings(
    run=RunSettings(max_turns=8, timeout_s=120.0),
    planner=PlannerSettings(width=WIDTH),
    policy=PolicySettings(mode="auto"),
)


class Listening(Passing):
    """An engine whose last question is known."""

    request: Request

    def branch(self, request: Request, n: int) -> list[Reply]:
        """Ask the engine."""
        self.request = request
        return super().branch(request, n)


@dataclass
class Tutor:
    """A planner that takes the right step, and writes down which it preferred to which."""

    task: AgentTask
    engine: LlamaEngine
    listening: Listening
    rows: list[dict[str, str]] = field(default_factory=list)
    name: str = "tutor"

    def plan(
        self,
        problem: SearchProblem[Any],
        state: Any,
        *,
        evaluator: Evaluator[Any],
        budget: PlanBudget,
        rng: Random,
        memory: TreeMemory | None = None,
    ) -> Plan:
        """Return the most probable right step; one that the model did not offer, if it offered none."""
        actions = problem.actions(state)
        request = self.listening.request
        priors = evaluator.priors([(state, actions)])[0]
        likely = [action for _, action in sorted(zip(priors, actions, strict=True), key=lambda pair: -pair[0])]
        right = [action for action in likely if is_right(self.task, problem, state, action)]
        if right and len(right) < len(likely):
            wrong = next(action for action in likely if action not in right)
            prompt = self.engine.session(request).tokens
            self.rows.append(
                {
                    "prompt": _text(prompt),
                    "chosen": _step(right[0].step, request),
                    "rejected": _step(wrong.step, request),
                }
            )
        chosen = right[0] if right else Action(key="taught", step=needed(self.task, state))
        return Plan(action=chosen, strategy=self.name, why="it is what the task needs next")


def is_right(task: AgentTask, problem: SearchProblem[Any], state: Any, action: Action) -> bool:
    """Whether a step is what the task needs next."""
    step, wanted = action.step, needed(task, state)
    if wanted.kind == "final":
        return step.kind == "final" and re.search(rf"(?<!\w){re.escape(task.answer)}(?!\w)", step.text) is not None
    if len(step.calls) != 1:
        return False
    call, other = step.calls[0], wanted.calls[0]
    if call.tool == other.tool == "calculator":
        after = problem.step(state, action, "simulate")
        return after is not None and after.observation.strip() == task.answer
    if task.kind == "either" and not state.run["steps"] and call.tool == "read_file":
        return str(call.arguments.get("path")) in task.request  # nobody knows yet which is there
    return (call.tool, dict(call.arguments)) == (other.tool, dict(other.arguments))


def needed(task: AgentTask, state: Any) -> Step:
    """Return the step that the task needs next."""
    results = [str(one["result"]).strip() for one in state.run["steps"]]
    if task.answer in results:
        return Step(kind="final", text=f"It is {task.answer}.")
    good, pointer = _files(task)
    read = [number for number, text in enumerate(results, 1) if text == task.files[good].strip()]
    if read:
        share = re.search(r"(\d+)%", task.request)
        return _call("calculator", expression=f"{share[1]}% of ${read[-1]}" if share else f"sum(${read[-1]})")
    if pointer is not None and task.files[pointer].strip() not in results:
        return _call("read_file", path=pointer)
    if task.kind == "listed" and not results:
        return _call("list_files")
    return _call("read_file", path=good)


def _files(task: AgentTask) -> tuple[str, str | None]:
    """Return the file with the numbers that are asked for, and the one that names it."""
    pointer = next((name for name, text in task.files.items() if text.strip() in task.files), None)
    if task.kind == "share":
        return next(name for name in task.files if name in task.request), None
    return next(name for name, text in task.files.items() if str(_sum(text)) == task.answer), pointer


def _sum(text: str) -> int | None:
    words = text.split()
    return sum(map(int, words)) if words and all(word.isdigit() for word in words) else None


def _call(tool: str, **arguments: Any) -> Step:
    return Step(kind="calls", calls=(ToolCall(id="taught", tool=tool, arguments=arguments),))


@cache
def _tokenizer() -> TextTokenizer:
    return TextTokenizer.load(WEIGHTS / "tokenizer.json")


def _text(tokens: Sequence[int]) -> str:
    return _tokenizer().decode(tokens)


def _step(step: Step, request: Request) -> str:
    """Return a step as the model writes it, without its end."""
    if step.token_ids:
        return _text(step.token_ids).removesuffix("<end>")
    tags = {spec.name: number for number, spec in enumerate(request.tools)}
    return "".join(piece.text for piece in plain.step(step, tags)).removesuffix("<end>")


class Doing:
    """Does tasks with one model, in a folder of its own each."""

    def __init__(self, model: Path) -> None:
        """Load the model; one thread, for it is so small that more would wait for each other."""
        self.engine, self._store = LlamaEngine(model, threads=1), open_store(url=":memory:")

    def do(self, task: AgentTask, planner: Planner, submitted: list[str], engine: Engine | None = None) -> RunResult:
        """Do a task; `submitted` gets a line each time that the irreversible tool ran."""
        settings = SETTINGS if isinstance(planner, Tutor) else replace(SETTINGS, planner=PlannerSettings())
        with tempfile.TemporaryDirectory() as folder:
            task.lay_out(Path(folder))
            with Agent(
                engine or self.engine,
                tools(submitted),
                settings=settings,
                store=self._store,
                workspace=Path(folder),
                planner=planner,
            ) as agent:
                return agent.run(Task.of(task.request, check=task.check))

    def preferences(self, seed: int, count: int) -> Iterator[dict[str, str]]:
        """Yield `count` distinct pairs of the model's own steps, task by task."""
        seen = set[str]()
        for number in itertools.count():
            tutor = Tutor(task=agent_task(seed, number), engine=self.engine, listening=Listening(self.engine))
            self.do(tutor.task, tutor, [], tutor.listening)
            for row in tutor.rows:
                if str(row) not in seen:
                    seen.add(str(row))
                    yield row
                if len(seen) == count:
                    return

    def close(self) -> None:
        """Free the model and the database."""
        self.engine.close()
        self._store.close()
