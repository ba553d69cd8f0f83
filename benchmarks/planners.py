"""Every planner on tasks whose answers are known, at equal numbers of model calls.

python -m benchmarks.planners [--only game24 ...] [--seeds 3] [--each 150] [--plot FILE] [--write]

A task's score is between 0 and 1: whether the goal was found and verified, or how much of the best reward the chosen
action keeps. One call is one state whose actions' priors are asked for; pulls of a bandit are steps. The default is what
the selector picks.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agentkit.protocols import Action, Ending, Mode, Plan, PlanBudget, Planner, Transition
from agentkit_planners.best_first import BestFirstPlanner
from agentkit_planners.direct import DirectPlanner
from agentkit_planners.lds import LdsPlanner
from agentkit_planners.mcts.policies import BayesRootPlanner, GumbelPlanner, PuctPlanner
from agentkit_planners.selector import AutoPlanner
from benchmarks import render
from benchmarks.figures import SHARE, Measured, share
from benchmarks.planning.base import Task, mean_interval, seeded
from benchmarks.planning.baselines import BeamPlanner, BestOfNPlanner
from benchmarks.planning.blocks import blocks_task
from benchmarks.planning.chance import RandomMdp, random_bandit
from benchmarks.planning.numbers import NumbersTask, countdown_task, game24
from benchmarks.planning.tictactoe import TicTacToe, result, to_move

AUTO = "auto"
PLANNERS: dict[str, Callable[[], Planner]] = {
    AUTO: AutoPlanner,
    "direct": DirectPlanner,
    "lds": LdsPlanner,
    "best_first": BestFirstPlanner,
    "mcts": PuctPlanner,
    "gumbel": GumbelPlanner,
    "bayes_root": BayesRootPlanner,
    "best_of_n": BestOfNPlanner,
    "beam": BeamPlanner,
}
OURS = ("direct", "lds", "best_first", "mcts", "gumbel", "bayes_root")
ROUNDS = 5  # of which the quickest counts: what else the machine does only ever adds
CORE = "core"  # the search itself, on a task that costs nothing
MARGIN = 0.03
COMMAND = "python -m benchmarks.planners --write"


def found(task: Task[Any], plan: Plan) -> float:
    """Return whether a way to the goal was verified."""
    return float(plan.verified)


def kept(task: Task[Any], plan: Plan) -> float:
    """Return how much of the best reward the chosen action keeps."""
    best = max(task.quality(task.start(), name) for name in task.moves(task.start()))
    return task.quality(task.start(), plan.action.key) / best if best > 0 else 1.0


def right(task: Task[Any], plan: Plan) -> float:
    """Return whether the chosen action is one of the best."""
    return float(task.regret(plan.action.key) < 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A kind of task, how it is scored, and the budgets it is measured at."""

    name: str
    make: Callable[[int], Task[Any]]
    score: Callable[[Task[Any], Plan], float]
    budgets: Sequence[int] = (10, 20, 40, 80, 160)
    steps: bool = False  # the budget is of steps, not of calls
    graded: bool = False
    without: frozenset[str] = frozenset()


def board(seed: int) -> TicTacToe:
    """Return a game in which X is to move and both have moved twice, at random, that is still undecided."""
    for tries in range(1_000):
        rng, state = seeded("board", seed, tries), "." * 9
        for _ in range(4):
            n = rng.choice([n for n in range(9) if state[n] == "."])
            state = state[:n] + to_move(state) + state[n + 1 :]
        if result(state) is None:
            return TicTacToe(seed=seed, board=state)
    raise AssertionError("there are such boards")


DOMAINS = (
    Domain(name="game24", make=lambda s: NumbersTask(seed=s, numbers=game24(s), strength=1.0), score=found),
    Domain(name="game24-strong", make=lambda s: NumbersTask(seed=s, numbers=game24(s), strength=2.0), score=found),
    Domain(name="countdown", make=lambda s: countdown_task(s, strength=2.0), score=found),
    Domain(name="blocks", make=lambda s: blocks_task(s, strength=4.0), score=found),
    Domain(name="bandit", make=lambda s: random_bandit(s, noise=0.4, strength=2.0), score=kept, budgets=(4, 8, 16, 32, 64), steps=True, graded=True, without=frozenset({"beam"})),
    Domain(name="mdp", make=lambda s: RandomMdp(seed=s, strength=4.0), score=kept, graded=True),
    Domain(name="mdp-chance", make=lambda s: RandomMdp(seed=s, stochastic=True, strength=4.0), score=kept, budgets=(20, 40, 80, 160, 320), steps=True, graded=True, without=frozenset({"beam"})),
    Domain(name="tictactoe", make=board, score=right, graded=True, without=frozenset({"lds", "best_first", "beam", "best_of_n"})),
)  # fmt: skip


@dataclass
class Scores:
    """All scores of one domain: planner -> budget -> one a task."""

    domain: Domain
    by: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    repeated: int = 0  # states opened more than once
    illegal: int = 0  # moves that cannot be made

    def mean(self, planner: str, budget: int) -> float:
        """Return the mean score."""
        values = self.by[planner][budget]
        return sum(values) / len(values)


def measure(domains: Sequence[Domain], seeds: int, each: int) -> list[Scores]:
    """Run every planner on every task at every budget."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    all_scores = []
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        for domain in domains:
            scores = Scores(domain)
            tasks = [seed * 10_000 + n for seed in range(seeds) for n in range(each)]
            for number in bar.track(tasks, description=domain.name):
                for name, make in PLANNERS.items():
                    if name not in domain.without:
                        _run(scores, name, make, number)
            all_scores.append(scores)
    return all_scores


def _run(scores: Scores, name: str, make: Callable[[], Planner], number: int) -> None:
    domain = scores.domain
    for budget in domain.budgets:
        task = domain.make(number)
        limit = PlanBudget(simulations=budget) if domain.steps else PlanBudget(simulations=1_000_000, calls=budget)
        plan = make().plan(task, task.start(), evaluator=task, budget=limit, rng=Random(number))
        scores.by.setdefault(name, {}).setdefault(budget, []).append(domain.score(task, plan))
        scores.repeated += len(task.opened) - len(set(task.opened)) if name in OURS else 0
        scores.illegal += getattr(task, "illegal", 0)


def measured(all_scores: Sequence[Scores], seeds: int) -> list[Measured]:
    """Return the figures."""
    return [row for scores in all_scores for row in (*_at_each_budget(scores), *_of_all_budgets(scores))]


def _at_each_budget(scores: Scores) -> Iterator[Measured]:
    domain = scores.domain
    for budget in domain.budgets:
        single = {name: scores.mean(name, budget) for name in OURS if name in scores.by}
        best = max(single, key=lambda name: single[name])
        yield Measured(
            id=f"{domain.name}-{budget}-behind",
            what=f"{domain.name}, {budget} calls: how far the default is behind the best single strategy, {best}",
            value=round(max(0.0, single[best] - scores.mean(AUTO, budget)), 4),
            unit="points of 1",
            n=len(scores.by[AUTO][budget]),
            target=MARGIN,
        )
        for name, by in scores.by.items():
            mean, low, high = mean_interval(by[budget])
            yield Measured(
                id=f"{domain.name}-{budget}-{name}",
                what=f"{domain.name}, {budget} calls: {name}",
                value=round(mean, 4),
                unit=SHARE,
                n=len(by[budget]),
                interval=(round(low, 4), round(high, 4)),
            )


def _of_all_budgets(scores: Scores) -> Iterator[Measured]:
    domain, plans = scores.domain, sum(len(values) for by in scores.by.values() for values in by.values())
    if domain.graded and "lds" in scores.by:
        ahead = [scores.mean("mcts", budget) >= scores.mean("lds", budget) for budget in domain.budgets]
        what = f"{domain.name}: budgets at which mcts is not behind lds"
        yield share(f"{domain.name}-mcts-ahead", what, sum(ahead), len(ahead), 1.0)
    for name, value in (("repeated", scores.repeated), ("illegal", scores.illegal)):
        what = {
            "repeated": "states opened more than once, by any strategy of ours",
            "illegal": "moves that cannot be made",
        }
        yield Measured(
            id=f"{domain.name}-{name}",
            what=f"{domain.name}: {what[name]}",
            value=value,
            unit="times",
            n=plans,
            target=0,
        )


def unsolvable(count: int) -> Measured:
    """Return in how many puzzles without a solution the default says so by itself."""
    ended = 0
    for n in range(count):
        task = NumbersTask(seed=n, numbers=game24(n, can=False))
        budget = PlanBudget(simulations=1_000_000)
        plan = AutoPlanner().plan(task, task.start(), evaluator=task, budget=budget, rng=Random(n))
        ended += plan.ending in (Ending.EXHAUSTED, Ending.SOLVED) and not plan.verified
    return share("game24-unsolvable", "puzzles without a solution at which the default ends by itself, with a proof", ended, count, 1.0)  # fmt: skip


def speed(visits: int = 200_000) -> list[Measured]:
    """Return node visits a second and bytes a node of the core, where evaluating costs nothing."""
    import tracemalloc  # noqa: PLC0415  slows everything down once it is on

    times = []
    for _ in range(ROUNDS):
        visited, began = _visits(Free(seed=1, layers=40, width=400, branching=4), visits)
        times.append((time.perf_counter() - began) / visited)
    tracemalloc.start()
    fresh = Free(seed=2, layers=40, width=400, branching=4)
    before = tracemalloc.get_traced_memory()[0]
    explorer = _grown(fresh, 1_000)
    used = tracemalloc.get_traced_memory()[0] - before - fresh.own_bytes(explorer)
    tracemalloc.stop()
    nodes = len(explorer.tree.nodes)
    return [
        Measured(id="core-speed", what=f"time of a node visit in the search core, evaluation free, the quickest of {ROUNDS} rounds", value=round(1e6 * min(times), 2), unit="µs", n=visited, target=20.0),
        Measured(id="core-memory", what="memory of a node with four actions; the task's own states, actions and observations left out", value=round(used / nodes), unit="bytes", n=nodes, target=1_000),
    ]  # fmt: skip


class Free(RandomMdp):
    """A task that costs as little as one can: everything is worked out once, priors are even."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._actions = super().actions((0, 0))
        self._moves: dict[tuple[tuple[int, int], str], Any] = {}

    def key(self, state: tuple[int, int]) -> bytes:
        """Return a short name."""
        return b"%d.%d" % state

    def actions(self, state: tuple[int, int]) -> Sequence[Any]:
        """Return the same actions everywhere but at the end."""
        return self._actions if state[0] < self.layers else []

    def priors(self, batch: Sequence[Any]) -> list[list[float]]:
        """Return even ones."""
        return [[0.0] * len(actions) for _, actions in batch]

    def step(self, state: tuple[int, int], action: Action, mode: Mode) -> Transition[tuple[int, int]] | None:
        """Return where it leads, and nothing to read."""
        there, reward, ends = self.move(state, action.key)
        return Transition(state=there, observation="", reward=reward, terminal=ends)

    def own_bytes(self, explorer: Any) -> int:
        """Return the bytes of the states, which are the task's."""
        return sum(sys.getsizeof(node.state) for node in explorer.tree.nodes)


def _grown(task: Free, simulations: int) -> Any:
    from agentkit_planners.exploring import Explorer  # noqa: PLC0415
    from agentkit_planners.mcts.search import Search  # noqa: PLC0415
    from agentkit_planners.mcts.select import puct  # noqa: PLC0415
    from agentkit_planners.spending import Meter  # noqa: PLC0415

    explorer = Explorer(task, task, Meter(PlanBudget(simulations=simulations), task.tokens))
    explorer.begin(task.start())
    Search(explorer, puct, puct).run()
    return explorer


def _visits(task: Free, visits: int) -> tuple[int, float]:
    began = time.perf_counter()
    explorer = _grown(task, visits // task.layers)
    return sum(node.total for node in explorer.tree.nodes), began


def table(all_scores: Sequence[Scores]) -> Table:
    """Return the scores: a line for each domain and budget, a column for each planner."""
    drawn = Table("tasks", "calls", *PLANNERS, title="mean score, 95 % half interval", box=None)
    for scores in all_scores:
        for budget in scores.domain.budgets:
            cells = []
            for name in PLANNERS:
                if name not in scores.by:
                    cells.append("")
                    continue
                mean, low, _ = mean_interval(scores.by[name][budget])
                cells.append(f"{mean:.2f} ±{mean - low:.2f}")
            drawn.add_row(scores.domain.name, str(budget), *cells)
    return drawn


def plot(rows: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw score against budget, one small picture a kind of task, from figures as they are kept, by id."""
    import matplotlib as mpl  # noqa: PLC0415  only where a picture is wanted

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    columns = 4
    figure, axes = plt.subplots(2, columns, figsize=(4 * columns, 6.4), squeeze=False)
    for place, domain in zip(axes.flat, DOMAINS, strict=True):
        lowest = 1.0
        for number, name in enumerate(PLANNERS):
            found = [rows.get(f"{domain.name}-{budget}-{name}") for budget in domain.budgets]
            if None in found:
                continue
            lowest = min(lowest, *(one["value"] for one in found if one))
            _line(place, domain.budgets, [one for one in found if one], name, number)
        place.set_title(domain.name, fontsize=10)
        place.set_xscale("log", base=2)
        place.set_xlabel("steps" if domain.steps else "model calls", fontsize=8)
        place.set_ylim(0 if lowest < 0.5 else lowest - 0.05, 1.02)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=len(labels), fontsize=8)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=90)


def _line(place: Any, budgets: Sequence[int], found: Sequence[Mapping[str, Any]], name: str, number: int) -> None:
    style = {"linewidth": 2.5, "color": "black"} if name == AUTO else {"linewidth": 1.2, "color": f"C{number}"}
    place.plot(budgets, [one["value"] for one in found], label=name, zorder=5 if name == AUTO else 2, **style)
    lows, highs = zip(*(one["interval"] for one in found), strict=True)
    place.fill_between(budgets, lows, highs, alpha=0.08, color=style["color"])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planners", description="Planners on tasks with known answers."
    )
    names = [*(domain.name for domain in DOMAINS), CORE]
    parser.add_argument("--only", nargs="+", choices=names, metavar="TASKS", help=f"some of: {', '.join(names)}")
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--each", type=int, default=150, help="tasks a seed (default: %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw scores against budgets as a PNG")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/planners.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    domains = [domain for domain in DOMAINS if not wanted.only or domain.name in wanted.only]
    all_scores = measure(domains, wanted.seeds, wanted.each)
    rows = measured(all_scores, wanted.seeds)
    if not wanted.only:
        rows.append(unsolvable(50))
    if not wanted.only or CORE in wanted.only:
        rows += speed()
    Console(width=None if sys.stdout.isatty() else 170).print(table(all_scores))
    render.publish("planners", rows, command=COMMAND, began=began, write=wanted.write)
    if wanted.plot:
        plot({row.id: {"value": row.value, "interval": row.interval} for row in rows}, wanted.plot)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
