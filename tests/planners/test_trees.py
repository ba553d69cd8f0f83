"""Properties 6 to 10 and 17 of the planners' list: trees, graphs and games whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.protocols import Ending, Traits
from agentkit.trust import EarnedValues, ValueSource
from agentkit_planners.lds import LdsPlanner
from agentkit_planners.mcts.policies import GumbelPlanner, PuctPlanner
from benchmarks.planning.base import Task
from benchmarks.planning.chance import RandomMdp
from benchmarks.planning.numbers import NumbersTask, game24, results
from benchmarks.planning.tictactoe import TicTacToe, solve
from tests.planners.parts import ALL, SEARCHING, Graph, planned, told


def chain(length: int) -> Graph:
    """A way to the goal with a trap at every step, which the prior prefers."""
    edges: dict[str, dict[str, tuple[str, float]]] = {}
    for n in range(length):
        there = f"goal{n}" if n == length - 1 else f"s{n + 1}"
        edges[f"s{n}"] = {"on": (there, float(n == length - 1)), "trap": (f"dead{n}", 0.0)}
    return Graph(edges=edges, first="s0", logits={"trap": 1.0})


@dataclass
class Lake(Task[int]):
    """FrozenLake without slipping, 4 x 4: holes at 5, 7, 11 and 12, the goal at 15."""

    def start(self) -> int:
        return 0

    def moves(self, state: int) -> Sequence[str]:
        row, column = divmod(state, 4)
        free = {"up": row > 0, "down": row < 3, "left": column > 0, "right": column < 3}
        return [name for name, can in free.items() if can]

    def move(self, state: int, name: str) -> tuple[int, float, bool]:
        there = state + {"up": -4, "down": 4, "left": -1, "right": 1}[name]
        return there, float(there == 15), there in (5, 7, 11, 12, 15)

    def reached(self, state: int) -> bool:
        return state == 15

    def priors(self, batch: Any) -> list[list[float]]:
        return [[0.0] * len(actions) for _, actions in batch]


@dataclass
class Hanoi(Lake):
    """Three discs from the first rod to the last; a state is the rod of each disc, the smallest first."""

    def start(self) -> Any:
        return (0, 0, 0)

    def moves(self, state: Any) -> Sequence[str]:
        tops = {rod: min((d for d in range(3) if state[d] == rod), default=9) for rod in range(3)}
        return [f"{a}{b}" for a in tops for b in tops if a != b and tops[a] < tops[b]]

    def move(self, state: Any, name: str) -> tuple[Any, float, bool]:
        disc = min(d for d in range(3) if state[d] == int(name[0]))
        there = (*state[:disc], int(name[1]), *state[disc + 1 :])
        return there, float(there == (2, 2, 2)), there == (2, 2, 2)

    def reached(self, state: Any) -> bool:
        return state == (2, 2, 2)


@dataclass
class Catch(Lake):
    """A ball falls five rows; the paddle moves left, stays or moves right, and must be below it."""

    ball: int = 4

    def start(self) -> Any:
        return (0, 2)

    def moves(self, state: Any) -> Sequence[str]:
        return ["left", "stay", "right"] if state[0] < 5 else []

    def move(self, state: Any, name: str) -> tuple[Any, float, bool]:
        column = min(4, max(0, state[1] + {"left": -1, "stay": 0, "right": 1}[name]))
        row = state[0] + 1
        return (row, column), float(row == 5 and column == self.ball), row == 5

    def reached(self, state: Any) -> bool:
        return state[1] == self.ball


@pytest.mark.parametrize("name", SEARCHING)
@pytest.mark.parametrize("task", [chain(6), Lake(), Hanoi(), Catch()], ids=["chain", "lake", "hanoi", "catch"])
def test_06_finds_the_goal(name: str, task: Task[Any]) -> None:
    plan = planned(SEARCHING[name](), task, 5_000)
    assert plan.verified, plan.why
    assert plan.ending in (Ending.GOAL, Ending.SOLVED)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["mcts", "gumbel", "bayes_root"])
def test_06_converges_on_random_mdps(name: str, seed: int) -> None:
    for stochastic in (False, True):
        task = RandomMdp(seed=seed, stochastic=stochastic, layers=4, width=8, branching=3)
        plan = planned(SEARCHING[name](), task, 5_000 if name == "mcts" else 2_000)
        assert task.regret(plan.action.key) <= 0.02 * task.worth(task.start()) + 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_06_the_solver_is_exact(seed: int) -> None:
    task = RandomMdp(seed=seed, layers=4, width=6, branching=3)
    plan = planned(PuctPlanner(), task, 5_000)
    assert plan.tree is not None
    assert plan.tree["nodes"][0]["exact"] == pytest.approx(task.worth(task.start()), abs=1e-12)


@pytest.mark.parametrize(
    ("board", "value"),
    [("." * 9, 0.5), ("x.......o", 1.0), ("xx.oo....", 1.0), ("oo.x..x..", 0.0)],
    ids=["draw", "win", "win at once", "loss"],
)
def test_06_solves_tic_tac_toe(board: str, value: float) -> None:
    task = TicTacToe(board=board)
    assert solve(board) == value
    plan = planned(PuctPlanner(), task, 30_000)
    assert plan.ending is Ending.SOLVED
    assert plan.tree is not None
    assert plan.tree["nodes"][0]["exact"] == value
    assert task.regret(plan.action.key) == 0


@pytest.mark.parametrize("seed", range(8))
def test_07_game24_the_chosen_move_keeps_it_solvable(seed: int) -> None:
    for name, make in ALL.items():
        task = NumbersTask(seed=seed, strength=2.0, numbers=game24(seed))
        plan = planned(make(), task, 100_000, calls=400)
        assert task.illegal == 0
        if plan.verified:
            assert task.regret(plan.action.key) == 0, name


@pytest.mark.parametrize("name", SEARCHING)
def test_07_what_cannot_be_solved_is_proven_early(name: str) -> None:
    for numbers in ([1, 1, 1, 1], game24(3, can=False)):
        task = NumbersTask(numbers=numbers)
        plan = planned(SEARCHING[name](), task, 1_000_000)
        assert plan.ending in (Ending.SOLVED, Ending.EXHAUSTED)
        assert not plan.verified
        assert plan.spent["simulations"] < 50_000


@pytest.mark.parametrize("name", ALL)
def test_07_no_state_is_opened_twice(name: str) -> None:
    task = NumbersTask(numbers=[4, 6, 8, 8], strength=1.0)
    planned(ALL[name](), task, 500)
    assert len(task.opened) == len(set(task.opened))


class Unfolded(RandomMdp):
    """The same, as a tree: a state is known by the way to it."""

    def start(self) -> Any:
        return ((0, 0),)

    def moves(self, state: Any) -> Sequence[str]:
        return super().moves(state[-1] if isinstance(state[0], tuple) else state)

    def move(self, state: Any, name: str) -> tuple[Any, float, bool]:
        there, reward, ends = super().move(state[-1], name)
        return (*state, there), reward, ends

    def outcomes(self, state: Any, name: str) -> Any:
        return super().outcomes(state[-1] if isinstance(state[0], tuple) else state, name)

    def priors(self, batch: Any) -> list[list[float]]:
        return [[0.0] * len(actions) for _, actions in batch]


@pytest.mark.parametrize("seed", range(6))
def test_08_shared_states_do_not_change_the_choice(seed: int) -> None:
    shape: dict[str, Any] = {"seed": seed, "layers": 3, "width": 4, "branching": 3, "strength": 0.0}
    graph, tree = RandomMdp(**shape), Unfolded(**shape)
    one, other = planned(PuctPlanner(), graph, 2_000), planned(PuctPlanner(), tree, 2_000)
    assert graph.regret(one.action.key) == pytest.approx(graph.regret(other.action.key))


def test_08_a_second_parent_does_not_change_what_a_node_is_worth() -> None:
    below = {"c": {"x": ("goal", 1.0), "y": ("end", 0.0)}, "b": {"to c": ("c", 0.0)}}
    alone = Graph(edges={"a": {"to b": ("b", 0.0), "to d": ("d", 0.0)}, "d": {"z": ("e", 0.0)}, **below})
    shared = Graph(edges={"a": {"to b": ("b", 0.0), "to d": ("d", 0.0)}, "d": {"to c": ("c", 0.0)}, **below})
    worth = []
    for task in (alone, shared):
        plan = planned(PuctPlanner(), task, 200)
        assert plan.tree is not None
        worth.append(next(node["exact"] for node in plan.tree["nodes"] if node["key"] == task.key("c").hex()))
    assert worth == [1.0, 1.0]


@pytest.mark.parametrize("name", ALL)
def test_08_the_order_of_actions_means_nothing(name: str) -> None:
    task = RandomMdp(seed=5, layers=3, width=5, branching=4)
    edges: dict[str, dict[str, tuple[str, float]]] = {}
    for layer in range(3):
        for n in range(5):
            moves = {m: task.outcomes((layer, n), m)[0] for m in task.moves((layer, n))}
            edges[f"{layer}.{n}"] = {m: (f"{to[0]}.{to[1]}", reward) for m, (_, to, reward) in moves.items()}
    made = [Graph(edges=edges, first="0.0", backwards=backwards) for backwards in (False, True)]
    assert told(planned(ALL[name](), made[0], 60)) == told(planned(ALL[name](), made[1], 60))


@pytest.mark.parametrize("name", SEARCHING)
def test_08_a_dominated_twin_changes_nothing(name: str) -> None:
    edges = {"a": {"good": ("goal", 1.0), "bad": ("b", 0.0)}, "b": {"on": ("c", 0.0)}}
    twin = {**edges, "a": {**edges["a"], "bad again": ("b", 0.0)}}
    for made in (edges, twin):
        plan = planned(SEARCHING[name](), Graph(edges=made, logits={"bad": 1.0}), 40)
        assert plan.action.key == "good"


@pytest.mark.parametrize("name", SEARCHING)
def test_09_circles_end(name: str) -> None:
    edges = {"a": {"to b": ("b", 0.0), "to c": ("c", 0.0)}, "b": {"back": ("a", 0.0), "to c": ("c", 0.0)}}
    without = Graph(edges={**edges, "c": {"to a": ("a", 0.0), "to b": ("b", 0.0)}})
    plan = planned(SEARCHING[name](), without, 1_000_000)
    assert plan.ending is Ending.EXHAUSTED
    assert plan.spent["calls"] <= 3
    within = Graph(edges={**edges, "c": {"to a": ("a", 0.0), "out": ("goal", 1.0)}})
    assert planned(SEARCHING[name](), within, 1_000).verified


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(SEARCHING)))
def test_09_any_graph_with_circles_ends(seed: int, name: str) -> None:
    from benchmarks.planning.base import seeded

    rng = seeded(seed, "graph")
    edges = {
        str(n): {f"to {m}": (str(m), 0.0) for m in rng.sample(range(8), rng.randint(1, 3))}
        for n in range(rng.randint(2, 8))
    }
    task = Graph(edges=edges, first="0")
    plan = planned(SEARCHING[name](), task, 1_000_000)
    assert plan.ending in (Ending.EXHAUSTED, Ending.SOLVED, Ending.CHOSEN)
    assert len(task.opened) == len(set(task.opened))


def solved(accuracy: float | None, tasks: int, *, earns: bool) -> float:
    """The share of puzzles solved within 40 calls, with values of this accuracy, trusted blindly or earned."""
    records: dict[str, Any] = {}
    count = 0
    for seed in range(tasks):
        task = NumbersTask(seed=seed, strength=1.0, accuracy=accuracy, numbers=game24(seed))
        evaluator: Any = task
        if earns:
            plain = NumbersTask(seed=seed, strength=1.0, numbers=task.numbers)
            source = ValueSource(name="said", kind="heuristic", values=lambda batch, t=task: t.values(batch) or [])
            evaluator = EarnedValues(evaluator=plain, sources=[source], records=records)
        from random import Random

        from agentkit.protocols import PlanBudget

        budget = PlanBudget(simulations=100_000, calls=40)
        count += PuctPlanner().plan(task, task.start(), evaluator=evaluator, budget=budget, rng=Random(0)).verified
    return count / tasks


def test_10_values_that_are_wrong_are_refused() -> None:
    tasks = 60
    without = solved(None, tasks, earns=False)
    for accuracy in (0.5, 0.7, 0.8, 1.0):
        assert solved(accuracy, tasks, earns=True) >= without - 0.03, accuracy


def test_10_blind_trust_would_have_lost() -> None:
    assert solved(0.5, 60, earns=False) < solved(None, 60, earns=False) - 0.03


def test_10_a_source_that_is_right_is_used() -> None:
    records: dict[str, Any] = {}
    evaluator: EarnedValues[Any] | None = None
    for seed in range(30):
        plain = NumbersTask(seed=seed, strength=2.0, numbers=game24(seed))
        right = NumbersTask(seed=seed, accuracy=1.0, numbers=plain.numbers)
        source = ValueSource(name="oracle", kind="heuristic", values=lambda batch, t=right: t.values(batch) or [])
        evaluator = EarnedValues(evaluator=plain, sources=[source], records=records)
        evaluator.learn([(state, plain.worth(state)) for state in results(plain.start(), False).values()])
    assert evaluator is not None
    assert evaluator.trusted() is not None
    assert "oracle" in evaluator.why()


@pytest.mark.parametrize("make", [PuctPlanner, GumbelPlanner])
@pytest.mark.parametrize(("factor", "shift"), [(0.01, 0.0), (0.25, 0.5)])
def test_17_the_scale_of_rewards_means_nothing(make: Any, factor: float, shift: float) -> None:
    """Visits are the same when rewards and values are rescaled; the shift is on the way's only reward, at its end."""
    layers = {"a": ["b", "c"], "b": ["d", "e"], "c": ["e", "f"]}
    rewards = {"d": 0.1, "e": 0.7, "f": 0.4}
    visits = []
    for scale, more in ((1.0, 0.0), (factor, shift)):
        edges = {
            state: {f"to {t}": (t, scale * rewards[t] + more if t in rewards else 0.0) for t in there}
            for state, there in layers.items()
        }
        given = {s: scale * v + more for s, v in {"a": 0.5, "b": 0.4, "c": 0.55}.items()}
        task = Graph(edges=edges, given=given, kind=Traits(graded=True, most=None))
        plan = planned(make() if make is PuctPlanner else make(calibrated=False), task, 5)
        assert plan.tree is not None
        visits.append([node["visits"] for node in plan.tree["nodes"]])
    assert visits[0] == visits[1]


def test_lds_deviates_first_where_it_was_told_to() -> None:
    task = chain(5)
    plan = planned(LdsPlanner(), task, 1_000)
    assert plan.verified
    assert plan.spent["simulations"] <= 40


def test_what_cannot_be_tried_is_no_discrepancy() -> None:
    """A tempting action at every step that only a person could allow does not put the right ones further away."""
    from agentkit.types import Effect
    from tests.planners.test_systems import Acting

    length = 6
    edges: dict[str, dict[str, tuple[str, float]]] = {}
    for n in range(length):
        there = "goal" if n == length - 1 else f"s{n + 1}"
        edges[f"s{n}"] = {"on": (there, float(n == length - 1)), "send": ("sent", 0.0), "aside": (f"x{n}", 0.0)}
    effects = {"send": Effect.IRREVERSIBLE}
    task = Acting(edges=edges, first="s0", effects=effects, logits={"send": 3.0, "on": 1.0})
    plan = planned(LdsPlanner(), task, 2 * length)
    assert plan.verified
    assert task.really == []
