"""The planner seam: a task as a search problem, and the choice that was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from agentkit.protocols.engine import CancelFlag
from agentkit.types import Effect, Step

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
Mode = Literal["simulate", "predict", "real"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that could be done next: a step with a key that equal actions share."""

    key: str
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition(Generic[S]):
    """What an action led to."""

    state: S
    observation: str
    reward: float = 0.0  # in [0, 1]
    terminal: bool = False
    verified: bool = False  # a task check, not an opinion, says so


class SearchProblem(Protocol[S]):
    """A task as a search core sees it: no model, no tools."""

    def key(self, state: S) -> bytes:
        """Return a canonical hash: equal states, equal keys."""
        ...

    def actions(self, state: S) -> Sequence[Action]:
        """Return the distinct actions worth considering; policy is asked before any is tried."""
        ...

    def effect(self, state: S, action: Action) -> Effect:
        """Return the worst effect among the action's calls."""
        ...

    def fork(self, state: S) -> S | None:
        """Return a copy of the world that may be changed, or None if it cannot be copied."""
        ...

    def step(self, state: S, action: Action, mode: Mode) -> Transition[S]:
        """Take the action; `simulate` and `predict` change nothing outside `state`."""
        ...


class Evaluator(Protocol[S_contra]):
    """What is known about states and actions before trying them; batched."""

    def priors(self, batch: Sequence[tuple[S_contra, Sequence[Action]]]) -> list[list[float]]:
        """Return log-probabilities, one list a state in the order of its actions."""
        ...

    def values(self, batch: Sequence[S_contra]) -> list[tuple[float, float]] | None:
        """Return (mean, variance) a state, or None when no trusted value source exists."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBudget:
    """What a planner may spend before it must answer."""

    simulations: int = 1
    tokens: int | None = None
    deadline: float | None = None  # `time.monotonic()` seconds
    cancel: CancelFlag | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The action chosen and why; `tree` is plain data that serialises to JSON."""

    action: Action
    strategy: str
    why: str
    tree: Mapping[str, Any] | None = None


@runtime_checkable
class Planner(Protocol):
    """Chooses the next action. Never runs a tool for real, never causes an effect."""

    name: str

    def plan(
        self,
        problem: SearchProblem[S],
        state: S,
        *,
        evaluator: Evaluator[S],
        budget: PlanBudget,
        rng: Random,
    ) -> Plan:
        """Return the action to take in `state`; valid from the first prior on (anytime)."""
        ...
