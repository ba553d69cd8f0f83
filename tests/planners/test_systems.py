"""Properties 11, 12, 13 and 15 of the planners' list: the same again, within its budget, and without an effect."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.protocols import Action, Ending, Mode, PlanBudget, Transition
from agentkit.types import Effect
from agentkit_planners.exploring import Explorer
from agentkit_planners.mcts.policies import GumbelPlanner, PuctPlanner
from agentkit_planners.mcts.search import Search
from agentkit_planners.mcts.select import puct
from agentkit_planners.spending import Meter
from agentkit_planners.tree import Tree
from benchmarks.planning.chance import RandomMdp
from benchmarks.planning.numbers import NumbersTask, game24
from tests.planners.parts import ALL, SEARCHING, Graph, Kept, planned, told


class OneByOne:
    """An evaluator that is asked about several states and answers them one at a time."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def priors(self, batch: Sequence[Any]) -> list[list[float]]:
        return [self._task.priors([one])[0] for one in batch]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)


@pytest.mark.parametrize("name", ALL)
def test_11_the_same_seed_gives_the_same_tree(name: str) -> None:
    runs = [planned(ALL[name](), NumbersTask(seed=1, numbers=game24(1)), 60, seed=9) for _ in range(2)]
    assert told(runs[0]) == told(runs[1])


@pytest.mark.parametrize("name", ["lds", "best_first", "mcts", "gumbel"])
def test_11_how_a_batch_is_evaluated_means_nothing(name: str) -> None:
    trees = []
    for whole in (True, False):
        task = NumbersTask(seed=2, numbers=game24(2))
        planner = SEARCHING[name](batch=8)
        budget = PlanBudget(simulations=64)
        evaluator: Any = task if whole else OneByOne(task)
        trees.append(told(planner.plan(task, task.start(), evaluator=evaluator, budget=budget, rng=Random(0))))
    assert trees[0] == trees[1]


def test_11_a_phase_of_halving_is_the_same_in_batches() -> None:
    """The survivors of a phase do not depend on each other, so a batch that ends where a phase ends costs nothing."""
    seen = []
    for batch in (1, 4):
        task = RandomMdp(seed=3, layers=1, branching=8)
        plan = planned(GumbelPlanner(batch=batch), task, 8)
        assert plan.tree is not None
        seen.append((plan.action.key, plan.tree["nodes"][0]["visits"]))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", SEARCHING)
@pytest.mark.parametrize("saves", [1, 3, 7])
def test_11_a_search_that_was_killed_goes_on_where_it_was(
    name: str, saves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentkit_planners.exploring._SAVING", 1e9)  # every batch is kept

    def task() -> NumbersTask:
        return NumbersTask(seed=4, numbers=game24(4), strength=0.0)

    whole = planned(SEARCHING[name](), task(), 40, seed=2)
    memory = Kept(killed_after=saves)
    with pytest.raises(KeyboardInterrupt):
        planned(SEARCHING[name](), task(), 40, seed=2, memory=memory)
    resumed = planned(SEARCHING[name](), task(), 40, seed=2, memory=Kept(memory.text))
    assert resumed.action == whole.action
    assert resumed.spent["simulations"] == whole.spent["simulations"]
    assert resumed.spent["calls"] == whole.spent["calls"]
    assert [n["key"] for n in (resumed.tree or {})["nodes"]] == [n["key"] for n in (whole.tree or {})["nodes"]]


@pytest.mark.parametrize("name", ALL)
def test_11_a_tree_survives_json(name: str) -> None:
    plan = planned(ALL[name](), NumbersTask(seed=1, numbers=game24(1)), 30)
    assert plan.tree is not None
    again = Tree.from_plain(plan.tree).to_plain()
    assert again == {key: plan.tree[key] for key in again}


def test_11_a_tree_of_another_state_or_version_is_not_used() -> None:
    memory = Kept()
    planned(PuctPlanner(), NumbersTask(numbers=[1, 2, 3, 4]), 10, memory=memory)
    assert memory.text is not None
    for text in (memory.text, memory.text.replace('"version": 1', '"version": 99')):
        plan = planned(PuctPlanner(), NumbersTask(numbers=[4, 6, 8, 8]), 10, memory=Kept(text))
        assert plan.spent["simulations"] <= 10


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(ALL)),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(1, 6),
)
def test_12_no_limit_is_passed_by_more_than_a_batch(
    name: str, simulations: int, calls: int, tool_calls: int, batch: int
) -> None:
    task = NumbersTask(seed=5, numbers=game24(5), strength=0.0)
    planner = ALL[name]()
    if hasattr(planner, "batch"):
        planner.batch = batch
    plan = planned(planner, task, simulations, calls=calls, tool_calls=tool_calls)
    assert plan.spent["simulations"] <= simulations
    assert plan.spent["calls"] <= calls
    assert plan.spent["tool_calls"] <= tool_calls
    assert plan.action.key in task.moves(task.start())


class Slow(NumbersTask):
    """Takes time, and tokens, for every batch of priors."""

    seconds, used = 0.02, 0

    def priors(self, batch: Any) -> list[list[float]]:
        time.sleep(self.seconds)
        self.used += 10 * len(batch)
        return super().priors(batch)

    def tokens(self) -> int:
        return self.used


@pytest.mark.parametrize("name", ALL)
def test_12_tokens_are_counted_before_every_batch(name: str) -> None:
    task = Slow(seed=5, numbers=game24(5), strength=0.0)
    task.seconds = 0.0
    plan = planned(ALL[name](), task, 10_000, tokens=95)
    assert plan.ending is Ending.TOKENS
    assert plan.spent["tokens"] == 100


@pytest.mark.parametrize("name", SEARCHING)
def test_12_the_deadline_is_passed_by_no_more_than_a_batch(name: str) -> None:
    task = Slow(seed=5, numbers=game24(5), strength=0.0)
    began = time.monotonic()
    plan = planned(SEARCHING[name](), task, 100_000, deadline=began + 0.3)
    assert plan.ending is Ending.DEADLINE
    assert time.monotonic() - began < 0.3 + 0.1


@pytest.mark.parametrize("name", SEARCHING)
def test_12_cancelling_takes_effect_at_once(name: str) -> None:
    task, flag = Slow(seed=5, numbers=game24(5), strength=0.0), threading.Event()
    threading.Timer(0.2, flag.set).start()
    began = time.monotonic()
    plan = planned(SEARCHING[name](), task, 100_000, cancel=flag)
    assert plan.ending is Ending.CANCELLED
    assert time.monotonic() - began < 0.2 + 0.2
    assert plan.action.key in task.moves(task.start())


@pytest.mark.parametrize("name", SEARCHING)
def test_12_one_call_gives_the_most_probable(name: str) -> None:
    task = NumbersTask(seed=6, numbers=game24(6), strength=0.0)
    logits = task.priors([(task.start(), task.actions(task.start()))])[0]
    likely = max(zip(logits, task.moves(task.start()), strict=True))[1]
    assert planned(SEARCHING[name](), task, 1_000, calls=1).action.key == likely


@pytest.mark.parametrize("name", SEARCHING)
def test_12_more_calls_never_lose_what_was_verified(name: str) -> None:
    found = [
        planned(SEARCHING[name](), NumbersTask(seed=7, numbers=game24(7), strength=2.0), 100_000, calls=calls).verified
        for calls in (5, 10, 20, 40, 80, 160, 320)
    ]
    assert found == sorted(found)


@dataclass
class Acting(Graph):
    """A graph whose actions are tools: what they did, and where, is written down."""

    effects: dict[str, Effect] = field(default_factory=dict)
    can_fork: bool = True
    predicts: frozenset[str] = frozenset()
    really: list[str] = field(default_factory=list)  # effects on the world itself
    on_forks: list[str] = field(default_factory=list)
    forks: int = 0

    def effect(self, state: Any, action: Action) -> Effect:
        return self.effects.get(action.key, Effect.PURE)

    def fork(self, state: str) -> str | None:
        self.forks += 1
        return f"{state}'" if self.can_fork else None

    def key(self, state: str) -> bytes:
        return super().key(state.rstrip("'"))

    def actions(self, state: str) -> Sequence[Action]:
        return super().actions(state.rstrip("'"))

    def step(self, state: str, action: Action, mode: Mode) -> Transition[str] | None:
        effect = self.effect(state, action)
        if mode == "predict":
            if action.key not in self.predicts:
                return None
        elif effect in (Effect.WRITE, Effect.IRREVERSIBLE):
            (self.on_forks if state.endswith("'") else self.really).append(action.key)
        return super().step(state.rstrip("'"), action, mode)


def acting(**given: Any) -> Acting:
    edges = {
        "a": {"look": ("b", 0.0), "write": ("c", 0.0), "send": ("goal by mail", 1.0), "pay": ("goal by money", 1.0)},
        "b": {"send": ("goal by mail", 1.0), "write": ("c", 0.0)},
        "c": {"look": ("goal", 1.0), "pay": ("goal by money", 1.0)},
    }
    effects = {"look": Effect.READ, "write": Effect.WRITE, "send": Effect.IRREVERSIBLE, "pay": Effect.IRREVERSIBLE}
    return Acting(edges=edges, effects=effects, logits={"send": 2.0, "pay": 1.0}, **given)


@pytest.mark.parametrize("name", SEARCHING)
def test_13_nothing_that_cannot_be_taken_back_happens_in_a_search(name: str) -> None:
    task = acting()
    plan = planned(SEARCHING[name](), task, 200)
    assert task.really == []
    assert set(task.on_forks) <= {"write"}
    assert plan.verified
    assert plan.action.key in {"look", "write"}


@pytest.mark.parametrize("name", SEARCHING)
def test_13_at_most_one_of_what_cannot_be_tried_is_kept(name: str) -> None:
    plan = planned(SEARCHING[name](), acting(can_fork=False), 200)
    assert plan.tree is not None
    for node in plan.tree["nodes"]:
        kept = [node["actions"][a] for a, child in enumerate(node["child"]) if child == -2]
        assert len(kept) <= 1
        if "send" in node["actions"] and kept:
            assert kept == ["send"]  # the most probable


@pytest.mark.parametrize("name", SEARCHING)
def test_13_what_can_be_predicted_is(name: str) -> None:
    task = acting(can_fork=False, predicts=frozenset({"write"}))
    plan = planned(SEARCHING[name](), task, 200)
    assert task.really == task.on_forks == []
    assert plan.verified
    assert plan.action.key in {"look", "write"}


def test_13_where_only_the_irrevocable_is_left_it_is_chosen_and_said() -> None:
    edges = {"a": {"send": ("goal", 1.0), "look": ("b", 0.0)}, "b": {"look again": ("end", 0.0)}}
    task = Acting(edges=edges, effects={"send": Effect.IRREVERSIBLE}, logits={"send": 3.0})
    plan = planned(PuctPlanner(), task, 50)
    assert plan.action.key == "send"
    assert "for real" in plan.why
    assert task.really == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from(sorted(ALL)))
def test_13_never_in_any_graph(seed: int, name: str) -> None:
    from benchmarks.planning.base import seeded

    rng = seeded(seed, "acting")
    edges = {
        str(n): {
            f"{n}>{m}": (str(m) if m < 7 else "goal", float(m == 7)) for m in rng.sample(range(8), rng.randint(1, 4))
        }
        for n in range(7)
    }
    names = [name for moves in edges.values() for name in moves]
    effects = {name: rng.choice(list(Effect)) for name in names}
    predicts = frozenset(name for name in names if rng.random() < 0.2)
    task = Acting(edges=edges, first="0", effects=effects, can_fork=rng.random() < 0.5, predicts=predicts)
    planned(ALL[name](), task, 100)
    assert task.really == []
    assert all(effects[name] is Effect.WRITE for name in task.on_forks)


def test_15_what_was_found_is_kept_when_the_world_does_as_predicted() -> None:
    task = RandomMdp(seed=8, layers=4, width=6, branching=3)
    explorer = Explorer(task, task, Meter(PlanBudget(simulations=80), task.tokens))
    tree = explorer.begin(task.start())
    Search(explorer, puct, puct).run()
    edge = max(range(len(tree.root.actions)), key=lambda a: tree.root.visits[a])
    child = tree.nodes[tree.root.child[edge]]
    again = tree.rerooted(edge, child.key)
    assert again is not None
    assert again.root.visits == child.visits
    assert again.root.exact == child.exact
    assert {node.key: node.visits for node in again.nodes}.items() <= {
        node.key: node.visits for node in tree.nodes
    }.items()
    explorer = replace(explorer, tree=again, meter=Meter(PlanBudget(simulations=20), task.tokens))
    before = again.root.total
    Search(explorer, puct, puct).run()
    assert again.root.total >= before
    assert all(again.way(n) for n in range(1, len(again.nodes)))


@pytest.mark.parametrize("name", ["mcts", "best_first"])
def test_15_what_is_learnt_after_going_on_with_a_tree_are_states(name: str) -> None:
    """A tree that was kept knows ways and not states: only those that were gone to again are told to the evaluator."""
    taught: list[Any] = []

    class Taught(Graph):
        def learn(self, proven: Any) -> None:
            taught.extend(proven)
            raise ValueError("and it fails")

    edges = {f"s{n}": {f"on{n}": (f"s{n + 1}" if n < 5 else "goal", float(n == 5)), f"off{n}": (f"x{n}", 0.0)} for n in range(6)}  # fmt: skip
    kept = Kept()
    for n in range(5):
        task = Taught(edges=edges, first=f"s{n}", logits={f"on{m}": 2.0 for m in range(6)})
        plan = planned(SEARCHING[name](), task, memory=kept)
        kept.text = json.dumps(plan.tree)
        assert plan.action.key == f"on{n}"
        assert any("failed to learn" in note for note in json.loads(kept.text)["notes"])
    assert taught
    assert all(state in edges for state, _ in taught)


def test_15_what_was_found_is_dropped_when_the_world_does_otherwise() -> None:
    task = RandomMdp(seed=8)
    explorer = Explorer(task, task, Meter(PlanBudget(simulations=40), task.tokens))
    tree = explorer.begin(task.start())
    Search(explorer, puct, puct).run()
    assert tree.rerooted(0, b"something else") is None
    assert tree.rerooted(0, tree.root.key) is None
