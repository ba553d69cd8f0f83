"""Properties 1 to 5 of the planners' list: choosing among arms (planning by search, one step deep)."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.protocols import PlanBudget
from agentkit_planners.exploring import Explorer
from agentkit_planners.mcts.halving import completed, considered_visits, softmax
from agentkit_planners.mcts.policies import BayesRootPlanner, GumbelPlanner, PuctPlanner
from agentkit_planners.mcts.search import Search
from agentkit_planners.mcts.select import ROOT_FPU, Picker, puct
from agentkit_planners.posterior import Calibration, posterior
from agentkit_planners.spending import Meter
from agentkit_planners.tree import Edge, Node, Tree
from benchmarks.planning.base import seeded
from benchmarks.planning.chance import Bandit, random_bandit

GOLDEN = json.loads((Path(__file__).parent / "mctx_golden.json").read_text(encoding="utf-8"))


def grown(task: Bandit, picker: Picker, simulations: int) -> Tree:
    explorer = Explorer(task, task, Meter(PlanBudget(simulations=simulations), task.tokens))
    explorer.begin(task.start())
    Search(explorer, picker, picker).run()
    return explorer.tree


def divided_again(tree: Tree, number: int, path: Collection[int], pending: Mapping[Edge, int]) -> int:
    """The mistake of LATS, LangGraph's tutorial and AG2: a mean, divided by visits once more."""
    node = tree.nodes[number]
    right = list(node.quality)
    for action, visits in enumerate(node.visits):
        node.quality[action] /= max(1, visits)
    try:
        return puct(tree, number, path, pending, fpu=ROOT_FPU)
    finally:
        for action, quality in enumerate(right):
            node.quality[action] = quality


def share_of_the_best(picker: Picker, seeds: int = 40) -> float:
    shares = []
    for seed in range(seeds):
        task = Bandit(seed=seed, strength=0.0, noise=0.3)
        tree = grown(task, picker, 500)
        best = next(a for a, action in enumerate(tree.root.actions) if action.key == "arm 000")
        shares.append(tree.root.visits[best] / tree.root.total)
    return sum(shares) / len(shares)


def test_01_no_double_normalisation() -> None:
    assert share_of_the_best(partial(puct, fpu=ROOT_FPU)) >= 0.85


def test_01_catches_the_double_normalised_formula() -> None:
    assert share_of_the_best(divided_again, seeds=10) < 0.5


def calibration(arms: float, noise: float, strength: float) -> Calibration:
    """The true constants: means are uniform, so their variance is 1/12; logits are strength * mean + N(0, 1)."""
    variance = 1 / 12
    left = variance / (strength**2 * variance + 1)  # of the mean, once the prior is known
    return Calibration(kappa=noise**2 / left, slope=strength * variance / (strength**2 * variance + 1), noise=noise**2)


@dataclass(kw_only=True)
class Bounds(PuctPlanner):
    """Upper confidence bounds of the posterior, one standard deviation: what else one would do."""

    def root(self, explorer: Explorer[Any], rng: Random) -> Picker:
        return self._bounds

    def _bounds(self, tree: Tree, number: int, path: Collection[int], pending: Mapping[Edge, int]) -> int:
        means = posterior(tree.root, self.calibration)
        return max(range(len(means)), key=lambda a: (sum(means[a]), -a))


@pytest.mark.parametrize("arms", [8, 32])
@pytest.mark.parametrize("noise", [0.1, 0.4])
def test_02_simple_regret_is_that_of_the_best_rule(arms: int, noise: float) -> None:
    """On 120 seeds a cell: a fifth of the long run (benchmarks.planners), so the margin is 5 % and two standard errors."""
    known = calibration(arms, noise, 2.0)
    rules = {
        "puct": PuctPlanner(calibration=known, mix=0.0),
        "halving": GumbelPlanner(calibration=known, mix=0.0),
        "bounds": Bounds(calibration=known, mix=0.0),
        "default": BayesRootPlanner(calibration=known, mix=0.0),
    }
    for simulations in (4, 16, 64):
        regret: dict[str, list[float]] = {name: [] for name in [*rules, "prior"]}
        for seed in range(120):
            for name, planner in rules.items():
                task = random_bandit(seed, arms=arms, noise=noise, strength=2.0)
                budget = PlanBudget(simulations=simulations)
                plan = planner.plan(task, 0, evaluator=task, budget=budget, rng=Random(seed))
                regret[name].append(task.regret(plan.action.key))
            likely = max(zip(task.priors([(0, task.actions(0))])[0], task.moves(0), strict=True))[1]
            regret["prior"].append(task.regret(likely))
        means = {name: sum(values) / len(values) for name, values in regret.items()}
        best = min(means[name] for name in ("puct", "halving", "bounds"))
        deviation = math.sqrt(sum((v - means["default"]) ** 2 for v in regret["default"]) / 119 / 120)
        assert means["default"] <= 1.05 * best + 2 * deviation, (simulations, means)
        assert means["default"] <= means["prior"], (simulations, means)


@pytest.mark.parametrize("case", GOLDEN["schedules"], ids=lambda case: f"{case['actions']}-{case['simulations']}")
def test_03_the_schedule_of_halving_is_mctx_s(case: dict[str, object]) -> None:
    assert list(considered_visits(int(str(case["actions"])), int(str(case["simulations"])))) == case["visits"]


def test_03_the_schedule_written_out() -> None:
    assert considered_visits(8, 24) == (0,) * 8 + (1,) * 4 + (2,) * 4 + (3, 3, 4, 4, 5, 5, 6, 6)


@dataclass
class Given(Bandit):
    """Arms with these rewards, without noise, and with these logits; the root has a value."""

    logits: Sequence[float] = ()
    value: float = 0.0

    def priors(self, batch: Sequence[Any]) -> list[list[float]]:
        return [[self.logits[int(action.key[4:])] for action in actions] for _, actions in batch]

    def values(self, batch: Sequence[int]) -> list[tuple[float, float]]:
        return [(self.value, 0.0)] * len(batch)


@dataclass(kw_only=True)
class Drawn(GumbelPlanner):
    """Gumbel with these draws, by arm."""

    draws: Sequence[float]

    def root(self, explorer: Explorer[Any], rng: Random) -> Picker:
        arms = [int(action.key[4:]) for action in explorer.tree.root.actions]
        explorer.tree.memo["gumbel"] = [self.draws[arm] for arm in arms]
        return super().root(explorer, rng)


@pytest.mark.parametrize("number", range(len(GOLDEN["policies"])))
def test_04_gumbel_visits_what_mctx_visits(number: int) -> None:
    """Recorded from mctx with the same draws (tests/planners/golden_mctx.py): visits, choice and improved policy."""
    case = GOLDEN["policies"][number]
    valid = [a for a in range(len(case["rewards"])) if not (case["invalid"] or [0] * 99)[a]]

    def of(name: str) -> list[float]:
        return [case[name][a] for a in valid]

    task = Given(means=of("rewards"), noise=0.0, logits=of("logits"), value=case["value"])
    rules: dict[str, Any] = {"scale": case["scale"], "init": case["init"], "considered": case["considered"]}
    planner = Drawn(mix=0.0, calibrated=False, noise=1.0, draws=of("gumbel"), **rules)
    budget = PlanBudget(simulations=case["simulations"])
    plan = planner.plan(task, 0, evaluator=task, budget=budget, rng=Random(0))
    root = Tree.from_plain(plan.tree or {}).root
    visits = {int(action.key[4:]): count for action, count in zip(root.actions, root.visits, strict=True)}
    assert [visits[n] for n in range(len(valid))] == of("visits")
    assert valid[int(plan.action.key[4:])] == case["action"]
    if case["invalid"] is None:  # masked actions count in mctx's mixed value
        bonus = completed(root, case["scale"], case["init"])
        improved = softmax([math.log(prior) + more for prior, more in zip(root.priors, bonus, strict=True)])
        weights = {int(action.key[4:]): share for action, share in zip(root.actions, improved, strict=True)}
        assert [weights[n] for n in range(len(valid))] == pytest.approx(case["weights"], abs=1e-4)


@given(st.integers(2, 12), st.randoms(use_true_random=False))
def test_05_the_improved_policy_is_no_worse_than_the_prior(arms: int, rng: Random) -> None:
    prior = [0.99 * p + 0.01 / arms for p in softmax([rng.gauss(0, 2) for _ in range(arms)])]
    quality = [rng.random() for _ in range(arms)]
    node = Node(key=b"", state=0, priors=prior, visits=[1] * arms, quality=quality, total=arms)
    improved = softmax([math.log(p) + bonus for p, bonus in zip(prior, completed(node), strict=True)])
    expected = [sum(p * q for p, q in zip(policy, quality, strict=True)) for policy in (improved, prior)]
    assert expected[0] >= expected[1] - 1e-12


def test_seeded_pulls_are_the_same_in_every_process() -> None:
    assert seeded(1, "pulls").random() == seeded(1, "pulls").random()
