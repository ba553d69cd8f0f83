"""How soon the guards see a loop, and whether they leave work alone; beside the rules of other agents.

python -m benchmarks.loops [--mutated 1000] [--no-sprout] [--n 500] [--write]

Every script of tests/reliability/{loops,works}.py runs through the real agent on each path; then scripts changed at random,
from a seed; then the guards read the histories of all runs that sprout ended by itself, unguarded.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agentkit import Agent
from agentkit.guards import Budgets, default_guards, recorded
from agentkit.guards import said as said_by
from agentkit.protocols import AskUser, HistoryItem, Nudge, Replan, Spent, Tool
from agentkit.types import Done, Failed, RunResult, ToolCall, ToolRules, ToolSpec
from benchmarks import figures, loops_mutated, render, sprout_tasks
from benchmarks.answering import SETTINGS, Bench, Weighted
from benchmarks.figures import Measured, share
from benchmarks.loops_rivals import RULES, Seen, written
from tests.reliability.loop_parts import Script, said
from tests.reliability.loops import LOOPS
from tests.reliability.playing import PATHS, Played, play
from tests.reliability.works import WORK

SEED, MUTATED = 4, 1_000
STEP_MS = 1.0
HEEDABLE = {"repeats", "cycles", "same_error", "stagnation", "failing", "refused", "oscillation"}


@dataclass
class Found:
    """What came of all the playing."""

    loops: dict[str, dict[str, Played]] = field(default_factory=dict)  # script -> path -> played
    work: dict[str, dict[str, Played]] = field(default_factory=dict)
    heeded: dict[str, Played] = field(default_factory=dict)
    rivals: dict[str, dict[str, int | None]] = field(default_factory=dict)  # script -> rule -> events
    mutated: list[tuple[str, Script, Played]] = field(default_factory=list)
    sprout: list[tuple[int, bool, bool]] = field(default_factory=list)  # calls, nudged, ended


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loops", description="Loops seen, and work left alone.")
    parser.add_argument("--mutated", type=int, default=MUTATED, help="scripts changed at random (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the changes (default: %(default)s)")
    parser.add_argument("--n", type=int, default=500, help="held-out requests to sprout (default: %(default)s)")
    parser.add_argument("--no-sprout", action="store_true", help="leave sprout out")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/reliability.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    found = measure(wanted.mutated, wanted.seed, 0 if wanted.no_sprout else wanted.n)
    rows = figures.rows(measured(found), command="python -m benchmarks.loops --write", seconds=time.monotonic() - began)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table(found))
    console.print(render.table([("reliability", rows)]))
    for kind, script, played in found.mutated:
        if played.stopped != (kind == "loop"):
            console.print(f"{kind} {script.name}: {played.ended}, {played.detail}")
    if wanted.write:
        figures.write("reliability", rows)
    return 0


def measure(mutated: int, seed: int, requests: int) -> Found:
    """Play everything, with a bar that says how long it takes."""
    found = Found()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        for script in bar.track(LOOPS, description="loops"):
            found.loops[script.name] = {path: play(script, path) for path in PATHS}
            found.rivals[script.name] = _judged_by_others(script)
            if script.detectors & HEEDABLE:
                found.heeded[script.name] = play(script, heeds=True)
        for script in bar.track(WORK, description="work"):
            found.work[script.name] = {path: play(script, path) for path in PATHS}
            found.rivals[script.name] = _judged_by_others(script)
        for kind, script in bar.track(
            loops_mutated.mutated(seed, mutated), total=mutated, description="changed at random"
        ):
            found.mutated.append((kind, script, play(script)))
        if requests:
            jobs = [*sprout_tasks.held_out(1, requests), *sprout_tasks.handwritten(), *sprout_tasks.percents()]
            jobs += [*sprout_tasks.sums(), *sprout_tasks.lists(1)]
            bench = Recording.open("sprout")
            for job in bar.track(jobs, description="sprout"):
                job.do(bench, bench.engine.capabilities.tool_prior_weight)
            found.sprout = bench.judged
            bench.close()
    return found


def measured(found: Found) -> list[Measured]:
    """Return the figures."""
    played = [one for paths in found.loops.values() for one in paths.values()]
    work = [one for paths in found.work.values() for one in paths.values()]
    wasted = [_wasted(script, found.loops[script.name]["plain"]) for script in LOOPS]
    kinds = [(kind == "loop", one.stopped, one.ended) for kind, _, one in found.mutated]
    loops, works = [k for k in kinds if k[0]], [k for k in kinds if not k[0]]
    took = step_ms()
    figures_ = [
        share("loops-seen", f"loops told and then ended, {len(LOOPS)} scripts on {len(PATHS)} paths", sum(one.stopped for one in played), len(played), 1.0),
        share("loops-work", f"work left alone, {len(WORK)} scripts on {len(PATHS)} paths", sum(one.ended == "done" for one in work), len(work), 1.0),
        Measured(id="loops-wasted", what="replies wasted before a guard first spoke, one call a step; median over the scripts", value=statistics.median(wasted), unit="replies", n=len(wasted)),
        Measured(id="loops-wasted-most", what="the same; the worst script", value=max(wasted), unit="replies", n=len(wasted)),
        share("loops-heeded", "runs of a model that heeds the nudge that end done", sum(one.ended == "done" for one in found.heeded.values()), len(found.heeded), 1.0),
        Measured(id="loops-step", what="recording and judging a step after 96 others; median of the worse of two histories", value=round(took, 4), unit="ms", n=400, target=STEP_MS),
    ]  # fmt: skip
    if kinds:
        figures_ += [
            share("loops-mutated-seen", "loops changed at random that were ended", sum(stopped for _, stopped, _ in loops), len(loops), 1.0),
            share("loops-mutated-work", "work changed at random that was left alone", sum(end == "done" for *_, end in works), len(works), 1.0),
        ]  # fmt: skip
    for name in RULES:
        seen = sum(found.rivals[script.name][name] is not None for script in LOOPS)
        stopped = sum(found.rivals[script.name][name] is not None for script in WORK)
        key = name.lower().replace(", ", "-").replace(" ", "-")
        figures_ += [
            share(f"loops-{key}", f"the same loops ended by the rules of {name}", seen, len(LOOPS)),
            share(
                f"loops-{key}-work", f"the same work left alone by the rules of {name}", len(WORK) - stopped, len(WORK)
            ),
        ]
    if found.sprout:
        kept = sum(not ended for *_, ended in found.sprout)
        figures_.append(
            share(
                "loops-sprout",
                "runs that sprout ended by itself, unguarded, that the guards leave alone",
                kept,
                len(found.sprout),
                1.0,
            )
        )
    return figures_


def table(found: Found) -> Table:
    """Return the scripts with what each of the guards and of the rivals did."""
    drawn = Table(
        "script", *(f"ours, {path}" for path in PATHS), *RULES, title="events until first told / until ended", box=None
    )
    for script in (*LOOPS, *WORK):
        paths = found.loops.get(script.name) or found.work[script.name]
        cells = [f"{one.seen_after or '-'} / {one.replies if one.stopped else '-'}" for one in paths.values()]
        drawn.add_row(script.name, *cells, *(str(at or "-") for at in found.rivals[script.name].values()))
    return drawn


def trace(script: Script, most: int = 60) -> list[Seen]:
    """Return what a script does where nobody stops it, as the rivals see it."""
    if not script.model(0).calls:
        return [Seen(text=script.model(n).text) for n in range(most)]
    steps = play(script, guards=[Budgets()]).result.steps[:most]
    if not steps:  # nothing of it came to be run
        asked = [(call.tool, written(dict(call.arguments))) for n in range(most) for call in script.model(n).calls]
        return [Seen(*one) for one in asked]
    return [Seen(one.tool, written(dict(one.arguments)), one.result, not one.ok) for one in steps]


def _judged_by_others(script: Script) -> dict[str, int | None]:
    seen = trace(script)
    return {name: rule(seen) for name, rule in RULES.items()}


def step_ms() -> float:
    """Return the median milliseconds of a step, for a long history of like calls and one of different ones."""
    return max(statistics.median(_steps_ms(alike)) for alike in (True, False))


def _steps_ms(alike: bool) -> Iterable[float]:
    history: list[HistoryItem] = []
    guards = default_guards()
    spec = ToolSpec(name="search", description="", parameters={}, rules=ToolRules())
    for n in range(300):
        query = f"what is known of {said(1 if alike else n)} and of what came of it"
        call = ToolCall(id=str(n), tool="search", arguments={"query": query, "page": n % 7})
        began = time.perf_counter()
        history.append(recorded(history, call, Done(text=said(n, 60)), spec))
        for guard in guards:
            guard.check(history, Spent())
        if n >= 100:
            yield 1000 * (time.perf_counter() - began)


class Recording(Bench):
    """Runs without guards, which then read what happened, call by call."""

    judged: list[tuple[int, bool, bool]] = []  # noqa: RUF012  one command, one list

    def run(self, request: str, tools: Sequence[Tool], *, weight: float, workspace: Path | None = None) -> RunResult:
        """Do one request as a new conversation; where it ended by itself, let the guards read it."""
        engine = Weighted(self.engine, weight)
        with Agent(engine, tools, settings=SETTINGS, store=self.store, workspace=workspace, guards=[]) as agent:
            result = agent.run(request)
        if result.ok:
            self.judged.append((len(result.steps), *_read(result, {tool.name: tool.spec for tool in tools})))
        return result


def _read(result: RunResult, specs: dict[str, ToolSpec]) -> tuple[bool, bool]:
    """Return whether the guards would have nudged a run, and whether they would have ended it."""
    history: list[HistoryItem] = [HistoryItem(kind="user")]
    nudged = False
    for step in result.steps:
        call = ToolCall(id=step.call_id, tool=step.tool, arguments=step.arguments)
        outcome = Done(text=step.result) if step.ok else Failed(text=step.result)
        history.append(recorded(history, call, outcome, specs.get(step.tool)))
        for guard in default_guards():
            verdict = guard.check(history, Spent())
            if isinstance(verdict, AskUser):
                return nudged, True
            if isinstance(verdict, Nudge | Replan):
                nudged = True
                history.append(said_by(verdict))
    return nudged, False


def _wasted(script: Script, played: Played) -> int:
    return max(0, (played.seen_after or 0) - script.useful)


if __name__ == "__main__":
    raise SystemExit(main())
