"""Property 16 of the planners' list: what is learnt from trees is right, and says no more than was found."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentkit_planners.export import Limits, distinct, learnt, split_of
from agentkit_planners.lds import LdsPlanner
from agentkit_planners.mcts.policies import PuctPlanner
from agentkit_planners.tree import Tree
from benchmarks.planning.numbers import NumbersTask, game24
from tests.planners.parts import Graph, planned


def tree_of(seed: int, planner: Any = None, simulations: int = 400) -> tuple[NumbersTask, Tree, bool]:
    task = NumbersTask(seed=seed, numbers=game24(seed), strength=0.5)
    plan = planned(planner or PuctPlanner(), task, simulations)
    assert plan.tree is not None
    return task, Tree.from_plain(json.loads(json.dumps(plan.tree))), plan.verified


@settings(max_examples=25, deadline=None)
@example(32, PuctPlanner)  # a divergence of -1e-16
@given(st.integers(0, 500), st.sampled_from([PuctPlanner, LdsPlanner]))
def test_16_pairs_agree_with_the_oracle(seed: int, make: Any) -> None:
    task, tree, verified = tree_of(seed, make())
    found = learnt(tree, verified=verified)
    if not verified:
        assert not found.pairs
    for pair in found.pairs:
        node = tree.nodes[pair.node]
        state = _state(task, tree, pair.node)
        good, bad = node.actions[pair.chosen].key, node.actions[pair.rejected].key
        assert good != bad
        assert task.quality(state, good) == 1.0
        assert task.quality(state, bad) <= task.quality(state, good)
        assert pair.worth[0] - pair.worth[1] >= Limits().theta
        assert all(log <= 0 for log in pair.logprobs)
        assert 0 <= pair.smoothing <= 0.5
        assert 0.5 <= pair.weight <= 2.0


def _state(task: NumbersTask, tree: Tree, number: int) -> Any:
    state = task.start()
    for parent, via, _ in tree.way(number):
        state = task.move(state, tree.nodes[parent].actions[via].key)[0]
    return state


def test_16_there_are_pairs() -> None:
    assert sum(len(learnt(tree, verified=verified).pairs) for _, tree, verified in map(tree_of, range(10))) > 10


def test_16_rarely_visited_siblings_do_not_win() -> None:
    """One visit of an action that seems better is no reason to prefer it."""
    task = Graph(edges={"a": {"often": ("goal", 1.0), "once": ("b", 0.0)}, "b": {"on": ("c", 0.0), "off": ("d", 0.0)}})
    plan = planned(PuctPlanner(), task, 3)
    tree = Tree.from_plain(plan.tree or {})
    for pair in learnt(tree, verified=plan.verified).pairs:
        assert tree.nodes[pair.node].actions[pair.chosen].key == "often"


def test_16_policies_and_values_are_well_formed() -> None:
    task, tree, verified = tree_of(3)
    found = learnt(tree, verified=verified)
    assert found.policies
    for target in found.policies:
        assert sum(target.policy) == pytest.approx(1.0)
        assert len(target.policy) == len(tree.nodes[target.node].actions)
    for value in found.values:
        assert math.isfinite(value.mean)
        if value.variance == 0:
            assert value.mean == task.worth(_state(task, tree, value.node))


def test_16_a_task_is_in_one_split_only() -> None:
    names = [f"task {n}" for n in range(2_000)]
    splits = [split_of(name) for name in names]
    assert splits == [split_of(name) for name in names]
    assert 0.07 < splits.count("test") / len(splits) < 0.13


def test_16_equal_rows_are_written_once() -> None:
    rows = [{"prompt": "p", "chosen": "a", "n": n} for n in range(3)]
    assert list(distinct(rows, ["prompt", "chosen"])) == rows[:1]
