"""What states of a run are thought to be worth, by whoever has an opinion: heuristics, a head that learns, the model itself.

None of them is believed before it has earned it (`agentkit.trust`). What each has earned is kept in the store over all
runs: a heuristic's under its name, that of the other two under the model's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain_core.messages import HumanMessage

from agentkit.graph.asking import CHARS_A_TOKEN
from agentkit.graph.context import Heuristic, RunContext
from agentkit.graph.head import Head
from agentkit.graph.problem import AgentProblem, Situation
from agentkit.graph.requests import last_words
from agentkit.protocols import Store
from agentkit.trust import EarnedValues, ValueSource
from agentkit.types import Progress, StepRecord, Usage

QUESTION = "Does what was done so far lead to what was asked for? Answer yes or no."
SHOWN = 400  # characters of the last result that the head reads
Values = list[tuple[float, float]]  # (mean, variance)


def with_values(problem: AgentProblem, context: RunContext) -> EarnedValues[Situation]:
    """Return the evaluator of a run's search: the model's preferences, and the values of what has earned it."""
    able = context.engine.capabilities
    model = able.fingerprint[:12] or able.model
    sources = [
        ValueSource(name=name, kind="heuristic", values=partial(_by_heuristic, heuristic))
        for name, heuristic in context.heuristics.items()
    ]
    if able.embeds:
        head = _HeadSource(problem, context, f"head/{model}")
        sources.append(ValueSource(name=head.name, kind="head", values=head.values, learn=head.learn))
    if able.scores:
        sources.append(ValueSource(name=f"word/{model}", kind="self", values=partial(_by_the_model, problem)))
    return EarnedValues(evaluator=problem, sources=sources, memory=_Records(context.store))


@dataclass(frozen=True, slots=True)
class _Records:
    """What sources have earned, in the store."""

    store: Store

    def load(self, name: str) -> Mapping[str, int] | None:
        return self.store.learned(f"record of {name}")

    def save(self, name: str, counts: Mapping[str, int]) -> None:
        self.store.save_learned(f"record of {name}", counts)


def _by_heuristic(heuristic: Heuristic, states: Sequence[Situation]) -> Values:
    return [(_said(heuristic, state), 0.0) for state in states]


def _said(heuristic: Heuristic, state: Situation) -> float:
    """Return what a heuristic says; one that fails says nothing that is a number, and so earns no trust."""
    steps = tuple(StepRecord(**step) for step in state.run["steps"])
    progress = Progress(goal=last_words(state.run["messages"]), steps=steps, workspace=state.workspace)
    try:
        said = float(heuristic(progress))
    except Exception:  # noqa: BLE001  a stranger's code
        return math.nan
    return said if math.isnan(said) else min(1.0, max(0.0, said))


def _by_the_model(problem: AgentProblem, states: Sequence[Situation]) -> Values:
    """Return P(yes): what the model thinks of "yes" beside "no" as the answer to whether this leads anywhere."""
    values = []
    for state in states:
        yes, no = problem.compared(state, HumanMessage(QUESTION), ("yes", "no"))
        chance = 1.0 / (1.0 + math.exp(min(700.0, no - yes)))
        values.append((chance, chance * (1.0 - chance)))
    return values


@dataclass(slots=True)
class _HeadSource:
    """A linear head on the model's embeddings, trained on what searches have proven; kept in the store."""

    problem: AgentProblem
    context: RunContext
    name: str
    _head: Head | None = None

    def values(self, states: Sequence[Situation]) -> Values:
        """Return how much more like states that led to the goal they are than like the others."""
        return [(value, value * (1.0 - value)) for value in self._known().values(self._vectors(states))]

    def learn(self, proven: Sequence[tuple[Situation, float]]) -> None:
        """Learn from states whose worth is known."""
        head = self._known()
        head.learn(self._vectors([state for state, _ in proven]), [worth > 0.5 for _, worth in proven])
        self.context.store.save_learned(self.name, head.to_plain())

    def _known(self) -> Head:
        if self._head is None:
            kept = self.context.store.learned(self.name)
            self._head = Head.from_plain(kept) if kept else Head()
        return self._head

    def _vectors(self, states: Sequence[Situation]) -> list[list[float]]:
        texts = [_text(state) for state in states]
        self.problem.asking.usage += Usage(prompt=sum(-(-len(text) // CHARS_A_TOKEN) for text in texts))
        return self.context.engine.embed(texts)


def _text(state: Situation) -> str:
    """Return what was asked for, and what was done last."""
    steps: Sequence[Mapping[str, Any]] = state.run["steps"]
    last = f"{steps[-1]['tool']} {steps[-1]['arguments']}\n{steps[-1]['result'][:SHOWN]}" if steps else ""
    return f"{last_words(state.run['messages'])}\n{last}"
