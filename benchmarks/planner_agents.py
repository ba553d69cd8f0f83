"""The agent with and without search: tasks with obstacles, sprout, and the same check for everybody.

python -m benchmarks.planner_agents [--seeds 3] [--each 40] [--model sprout] [--write]

Four ways: `direct` takes the model's own steps; `auto` searches where it pays; `forced` searches at every step; `best of N`
runs `direct` again and again, warmer, until the check passes or the tokens that `auto` used on the task are used up.
Tokens are those the model read and wrote, what was found in its cache left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agentkit import Agent
from agentkit.config import PlannerSettings, PolicySettings, RunSettings, Settings
from agentkit.events import Event
from agentkit.protocols import Planner
from agentkit.types import RunResult, Task
from agentkit_planners.direct import DirectPlanner
from agentkit_planners.lds import LdsPlanner
from agentkit_planners.selector import AutoPlanner
from benchmarks import render
from benchmarks.answering import Bench
from benchmarks.figures import Measured, share
from benchmarks.planning.agent_tasks import KINDS, AgentTask, agent_task, tools

WAYS = ("direct", "auto", "forced", "best of N")
GAIN, TIMES, SKIPPED = 0.10, 4.0, 0.6
TOKENS = 1_000  # of a search: four times what a task takes without
MOST_TRIES = 60
WARM = 0.8
COMMAND = "python -m benchmarks.planner_agents --write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one task by one way."""

    task: AgentTask
    way: str
    passed: bool
    tokens: int
    seconds: float
    steps: int = 0
    skipped: int = 0  # steps taken without a search
    submitted: int = 0  # times the irreversible tool ran
    answer: str = ""


@dataclass
class Runner:
    """Does tasks with one loaded model."""

    bench: Bench
    settings: Settings = field(
        default_factory=lambda: Settings(
            run=RunSettings(max_turns=8, timeout_s=120.0, max_tokens=None),
            planner=PlannerSettings(tokens=TOKENS),
            policy=PolicySettings(mode="auto"),
        )
    )

    def once(
        self, task: AgentTask, planner: Planner, settings: Settings | None = None
    ) -> tuple[RunResult, Counter[str], int]:
        """Run a task in a folder of its own; return the result, how steps were chosen, and what was submitted."""
        submitted: list[str] = []
        chosen: Counter[str] = Counter()

        def hear(event: Event) -> None:
            if event.type == "plan":
                chosen["searched" if event.data["spent"].get("simulations") else "skipped"] += 1

        with tempfile.TemporaryDirectory() as folder:
            task.lay_out(Path(folder))
            with Agent(
                self.bench.engine,
                tools(submitted),
                settings=settings or self.settings,
                store=self.bench.store,
                workspace=Path(folder),
                planner=planner,
            ) as agent:
                result = agent.run(Task.of(task.request, check=task.check), on_event=hear)
        return result, chosen, len(submitted)

    def do(self, task: AgentTask, way: str, budget: int = 0) -> Outcome:
        """Do a task by one way; `budget` is the tokens of best of N."""
        began = time.monotonic()
        if way == "best of N":
            return self._again_and_again(task, budget, began)
        planner: Planner = {"direct": DirectPlanner, "auto": AutoPlanner, "forced": LdsPlanner}[way]()
        result, chosen, submitted = self.once(task, planner)
        return Outcome(
            task=task, way=way, passed=result.ok, tokens=evaluated(result), seconds=time.monotonic() - began,
            steps=chosen.total(), skipped=chosen["skipped"], submitted=submitted, answer=result.answer,
        )  # fmt: skip

    def _again_and_again(self, task: AgentTask, budget: int, began: float) -> Outcome:
        tokens = tries = submitted = 0
        result, planner = None, DirectPlanner()
        while tries < MOST_TRIES and (tokens < budget or tries == 0):
            engine = replace(self.settings.engine, temperature=WARM if tries else 0.0, seed=tries)
            result, _, ran = self.once(task, planner, replace(self.settings, engine=engine))
            tokens, tries, submitted = tokens + evaluated(result), tries + 1, submitted + ran
            if result.ok:
                break
        assert result is not None
        return Outcome(
            task=task,
            way="best of N",
            passed=result.ok,
            tokens=tokens,
            seconds=time.monotonic() - began,
            submitted=submitted,
            answer=result.answer,
        )


def evaluated(result: RunResult) -> int:
    """Return the tokens that the model read and wrote for a run."""
    usage = result.usage
    return usage.prompt - usage.reused + usage.decoded + usage.forced


def measure(model: str, seeds: int, each: int) -> list[Outcome]:
    """Do every task by every way."""
    runner, outcomes = Runner(Bench.open(model)), list[Outcome]()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks = [agent_task(seed, n) for seed in range(seeds) for n in range(each)]
    try:
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
            for task in bar.track(tasks, description="tasks"):
                used = 0
                for way in WAYS:
                    outcome = runner.do(task, way, used)
                    used = outcome.tokens if way == "auto" else used
                    outcomes.append(outcome)
    finally:
        runner.bench.close()
    return outcomes


def measured(outcomes: Sequence[Outcome]) -> list[Measured]:
    """Return the figures."""
    by = {way: [one for one in outcomes if one.way == way] for way in WAYS}
    count = len(by["auto"])
    passed = {way: sum(one.passed for one in of) for way, of in by.items()}
    tokens = {way: sum(one.tokens for one in of) for way, of in by.items()}
    rows = [
        share(f"agent-{way.replace(' ', '-')}", f"tasks with obstacles done: {way}", passed[way], count) for way in WAYS
    ]
    rows += [
        Measured(id="agent-gain", what="tasks done by search more than by the model's own steps", value=round((passed["auto"] - passed["direct"]) / count, 4), unit="share", n=count, target=GAIN),
        Measured(id="agent-over-best-of-n", what="tasks done by search more than by best of N at equal tokens", value=round((passed["auto"] - passed["best of N"]) / count, 4), unit="share", n=count, target=0.0001),
        Measured(id="agent-tokens", what="tokens of search, of the model's own steps 1", value=round(tokens["auto"] / max(1, tokens["direct"]), 2), unit="ratio", n=count, target=TIMES),
        Measured(id="agent-tokens-best-of-n", what="tokens of best of N, of the model's own steps 1", value=round(tokens["best of N"] / max(1, tokens["direct"]), 2), unit="ratio", n=count),
        share("agent-skipped", "steps taken without a search", sum(one.skipped for one in by["auto"]), sum(one.steps for one in by["auto"]), SKIPPED),
        Measured(id="agent-forced-gain", what="tasks done by searching at every step more than by searching where it pays", value=round((passed["forced"] - passed["auto"]) / count, 4), unit="points of 1", n=count),
        Measured(id="agent-irreversible", what="irreversible calls that ran, by any way", value=sum(one.submitted for one in outcomes), unit="calls", n=len(outcomes), target=0),
    ]  # fmt: skip
    return rows


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return the tasks done, by kind and way."""
    drawn = Table("kind", *WAYS, title="tasks done / tokens a task", box=None)
    for kind in (*KINDS, "all"):
        cells = []
        for way in WAYS:
            of = [one for one in outcomes if one.way == way and kind in (one.task.kind, "all")]
            cells.append(
                f"{sum(one.passed for one in of)}/{len(of)}  {sum(one.tokens for one in of) / max(1, len(of)):.0f}"
            )
        drawn.add_row(kind, *cells)
    return drawn


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planner_agents", description="The agent with and without search."
    )
    parser.add_argument("--model", default="sprout")
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--each", type=int, default=40, help="tasks a seed (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/planners.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    outcomes = measure(wanted.model, wanted.seeds, wanted.each)
    Console(width=None if sys.stdout.isatty() else 150).print(table(outcomes))
    render.publish("planners", measured(outcomes), command=COMMAND, began=began, write=wanted.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
