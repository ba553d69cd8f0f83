"""Search that follows the model first, and asks what else there is only where that leads nowhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.protocols import Action, Ending, PlanBudget
from agentkit_planners.exploring import Explorer
from agentkit_planners.lds import LdsPlanner
from agentkit_planners.mcts.policies import PuctPlanner
from agentkit_planners.selector import AutoPlanner
from agentkit_planners.spending import Meter
from agentkit_planners.tree import Tree
from tests.planners.parts import Graph, Kept, planned, told


@dataclass
class Saying(Graph):
    """A graph whose model says by itself what it would do, and counts how often it is asked for more."""

    sure: Mapping[str, float] = field(default_factory=dict)  # by action, how probable the model thinks it
    asked: int = 0  # states whose actions were listed
    weighed: int = 0  # states whose actions were compared
    said: list[str] = field(default_factory=list)

    def likeliest(self, state: str, *, aloud: bool = False) -> Action | None:
        names = list(self.edges.get(state, ()))
        if not names:
            return None
        self.said.append(state)
        own = super().actions(state)[max(range(len(names)), key=lambda n: self.logits.get(names[n], 0.0))]
        return Action(key=own.key, step=own.step, logprob=self.sure.get(own.key))

    def actions(self, state: str) -> Sequence[Action]:
        self.asked += bool(self.edges.get(state))
        return super().actions(state)

    def priors(self, batch: Sequence[tuple[str, Sequence[Action]]]) -> list[list[float]]:
        self.weighed += len(batch)
        return super().priors(batch)


def ladder(length: int, wrong: Sequence[int] = (), **given: object) -> Saying:
    """A way of `length` steps to the goal; at the steps in `wrong` the model would rather leave it."""
    edges, logits = {}, {}
    for n in range(length):
        there = "goal" if n == length - 1 else f"s{n + 1}"
        edges[f"s{n}"] = {
            f"on{n}": (there, float(n == length - 1)),
            f"off{n}": (f"x{n}", 0.0),
            f"out{n}": (f"y{n}", 0.0),
        }
        logits |= {f"on{n}": 1.0, f"off{n}": 2.0 if n in wrong else 0.0, f"out{n}": -1.0}
    return Saying(edges=edges, first="s0", logits=logits, **given)  # type: ignore[arg-type]


def test_where_the_model_is_right_nothing_else_is_asked() -> None:
    task = ladder(5)
    plan = planned(LdsPlanner(), task)
    assert plan.verified
    assert (task.asked, task.weighed) == (0, 0)
    assert plan.spent["calls"] == plan.spent["simulations"] == 5


def test_the_last_step_is_doubted_first_and_one_doubt_is_one_question() -> None:
    task = ladder(5, wrong=[3])
    plan = planned(LdsPlanner(), task)
    assert plan.verified
    assert plan.action.key == "on0"
    assert task.asked == task.weighed == 1  # the way had ended at step 3


@given(st.integers(0, 10_000))
def test_lazy_or_not_the_same_goals_are_found(seed: int) -> None:
    rng = Random(seed)
    states = [f"s{n}" for n in range(8)]
    edges = {
        state: {f"{state}{n}": (rng.choice([*states, "end", "goal"]), 0.0) for n in range(rng.randint(2, 4))}
        for state in states
    }
    edges = {s: {a: (t, float(t == "goal")) for a, (t, _) in moves.items()} for s, moves in edges.items()}
    logits = {a: rng.gauss(0, 1) for moves in edges.values() for a in moves}
    lazy, eager = (
        planned(LdsPlanner(lazy=lazy), Saying(edges=edges, first="s0", logits=logits), 1_000) for lazy in (True, False)
    )
    assert lazy.verified == eager.verified
    assert lazy.ending == eager.ending
    if not lazy.verified:
        assert lazy.ending is Ending.EXHAUSTED
    assert lazy.tree is not None
    assert all(len(set(node["actions"])) == len(node["actions"]) for node in lazy.tree["nodes"])


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_a_state_that_was_widened_keeps_what_it_knew(seed: int, simulations: int) -> None:
    rng = Random(seed)
    task = ladder(6, wrong=[n for n in range(6) if rng.random() < 0.5])
    plan = planned(LdsPlanner(), task, simulations)
    assert plan.tree is not None
    tree = Tree.from_plain(json.loads(json.dumps(plan.tree)))
    assert json.dumps(tree.to_plain()) == json.dumps({name: plan.tree[name] for name in tree.to_plain()})
    for node in tree.nodes:
        lists = (node.actions, node.priors, node.child, node.visits, node.reward, node.quality)
        assert len({len(one) for one in lists}) == 1
        own = max(task.edges.get(str(node.observation) or "s0", {}), key=lambda a: task.logits[a], default=None)
        if own is not None:
            assert node.actions[0].key == own
        if node.actions and node.wide:
            assert sum(node.priors) == pytest.approx(1)


def test_a_state_that_is_not_widened_is_never_proven_lost() -> None:
    task = ladder(3, wrong=[0, 1, 2])
    plan = planned(LdsPlanner(), task, 1)
    assert plan.tree is not None
    assert plan.tree["nodes"][0]["exact"] is None


def test_a_lazy_search_that_was_killed_goes_on_where_it_was() -> None:
    whole = told(planned(LdsPlanner(), ladder(6, wrong=[1, 4])))
    for killed in (1, 2):
        kept = Kept(killed_after=killed)
        with pytest.raises(KeyboardInterrupt):
            planned(LdsPlanner(), ladder(6, wrong=[1, 4]), memory=kept)
        again = planned(LdsPlanner(), ladder(6, wrong=[1, 4]), memory=Kept(kept.text))
        assert json.loads(told(again))["found"] == json.loads(whole)["found"]
        assert again.verified


def test_one_that_weighs_everything_does_not_go_on_with_a_lazy_tree() -> None:
    kept = Kept()
    planned(LdsPlanner(), ladder(4, wrong=[2]), 2, memory=kept)
    task = ladder(4, wrong=[2])
    assert planned(PuctPlanner(), task, 20, memory=Kept(kept.text)).verified
    assert task.said == []


@pytest.mark.parametrize(("sure", "searches"), [(0.99, False), (0.5, True), (None, True)])
def test_a_step_the_model_is_sure_of_is_taken_without_a_search(sure: float | None, searches: bool) -> None:
    from math import log

    task = ladder(4, sure={} if sure is None else {"on0": log(sure)})
    plan = planned(AutoPlanner(), task)
    assert plan.action.key == "on0"
    assert bool(plan.spent["simulations"]) is searches
    assert (task.asked, task.weighed) == (0, 0)


def test_what_leads_back_to_where_it_began_is_no_discrepancy() -> None:
    """The model would rather do again what it did; what it would do next is found as if that were not there."""
    edges = {
        f"s{n}": {
            f"again{n}": (f"s{n}", 0.0),
            f"on{n}": (f"s{n + 1}" if n < 5 else "goal", float(n == 5)),
            f"off{n}": (f"x{n}", 0.0),
        }
        for n in range(6)
    }
    logits = {name: {"a": 3.0, "on": 1.0}.get(name.rstrip("012345").replace("again", "a"), 0.0) for moves in edges.values() for name in moves}  # fmt: skip
    task = Saying(edges=edges, first="s0", logits=logits)
    plan = planned(LdsPlanner(), task, 3 * 6)
    assert plan.verified
    assert plan.action.key == "on0"


def test_the_plan_goes_on_past_what_leads_back_to_the_root() -> None:
    """Re-rooted at a state with a circle: the next step is the one that leads on."""
    edges = {
        "a": {"go": ("b", 0.0), "stay": ("x", 0.0)},
        "b": {"again": ("b", 0.0), "on": ("goal", 1.0)},
    }
    kept = Kept()
    first = planned(LdsPlanner(), Graph(edges=edges, logits={"again": 1.0}), memory=kept)
    assert first.tree is not None
    kept.text = json.dumps(first.tree)
    second = planned(LdsPlanner(), Graph(edges=edges, first="b", logits={"again": 1.0}), memory=kept)
    assert second.action.key == "on"
    assert second.spent["simulations"] == 0


def test_a_tree_that_is_gone_on_with_is_charged_to_the_next_step() -> None:
    """What one search has spent in vain is not spent anew at every step that follows."""
    edges = {f"s{n}": {f"on{n}": (f"s{n + 1}", 0.0), f"off{n}": (f"x{n}", 0.0)} for n in range(50)}
    kept, total = Kept(), 0
    for n in range(5):
        task = Graph(edges=edges, first=f"s{n}", logits={f"on{m}": 1.0 for m in range(50)})
        plan = planned(LdsPlanner(), task, 20, memory=kept)
        total += plan.spent["simulations"]
        kept.text = json.dumps(plan.tree)
        assert plan.action.key == f"on{n}"
    assert total == 20
    elsewhere = Graph(edges=edges, first="s40", logits={})
    assert planned(LdsPlanner(), elsewhere, 20, memory=kept).spent["simulations"] > 0, "another state: another search"


def test_listing_what_else_there_is_may_fail() -> None:
    class Failing(Saying):
        def actions(self, state: str) -> Sequence[Action]:
            if self.said.count(state):
                raise RuntimeError("no more")
            return super().actions(state)

        def likeliest(self, state: str, *, aloud: bool = False) -> Action | None:
            found = Graph.actions(self, state)
            self.said.append(state)
            return found[1] if found else None

    task = ladder(3)
    plan = planned(LdsPlanner(), Failing(edges=task.edges, first="s0", logits=task.logits))
    assert not plan.verified
    assert any("no more" in note for note in (plan.tree or {})["notes"])


def test_the_budget_ends_a_lazy_search_too() -> None:
    task = ladder(30, wrong=range(0, 30, 2))
    explorer = Explorer(task, task, Meter(PlanBudget(calls=7), task.tokens), lazy=True)
    explorer.begin(task.start())
    assert LdsPlanner().search(explorer, Random(0)) is Ending.CALLS
    assert explorer.meter.calls <= 8
