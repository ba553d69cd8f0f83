"""The planner seam: a task as a search problem, what is known about it beforehand, and the choice that was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
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
    logprob: float | None = None  # nats, of the tokens that the model chose for it; None: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition(Generic[S]):
    """What an action led to."""

    state: S
    observation: str
    reward: float = 0.0  # in [0, 1]; a path's are added up
    terminal: bool = False
    verified: bool = False  # a task check, not an opinion, says so
    opponent: bool = False  # somebody else moves next, who wants the least reward


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What kind of task it is, for a planner to choose how to search."""

    deterministic: bool = True  # the same action in the same state always leads to the same
    graded: bool = False  # there is more and less reward; if not, the goal is reached or it is not
    checked: bool = True  # something says when the goal is reached, or how good a state is
    opponent: bool = False  # somebody plays against us
    lookahead: int | None = None  # steps that can be looked ahead; None: any number
    most: float | None = 1.0  # the largest sum of rewards there can be; None: not known


class SearchProblem(Protocol[S]):
    """A task as a search core sees it: no model, no tools."""

    @property
    def traits(self) -> Traits:
        """What kind of task it is."""
        ...

    def key(self, state: S) -> bytes:
        """Return a canonical hash: equal states, equal keys."""
        ...

    def actions(self, state: S) -> Sequence[Action]:
        """Return the distinct actions worth considering, none where the task ends without success."""
        ...

    def likeliest(self, state: S, *, aloud: bool = False) -> Action | None:
        """Return what the model would do by itself, where that costs less to find than all actions and their priors.

        None where it does not. `aloud`: it is sure to be taken, so its words may be passed on while they come.
        """
        ...

    def effect(self, state: S, action: Action) -> Effect:
        """Return the worst effect among the action's calls, as a search has to take it.

        `WRITE` is what a fork can hold. What cannot be held there, or would need a person, is `IRREVERSIBLE`.
        """
        ...

    def fork(self, state: S) -> S | None:
        """Return a copy of the world that may be changed, or None if it cannot be copied."""
        ...

    def step(self, state: S, action: Action, mode: Mode) -> Transition[S] | None:
        """Take the action; `simulate` and `predict` change nothing outside `state`.

        Returns None, in mode `predict` only, where nobody can tell what the action would lead to.
        """
        ...


class Evaluator(Protocol[S_contra]):
    """What is known about states and actions before trying them; batched."""

    def priors(self, batch: Sequence[tuple[S_contra, Sequence[Action]]]) -> list[list[float]]:
        """Return log-probabilities in nats, one list a state in the order of its actions; they need not sum to 1."""
        ...

    def values(self, batch: Sequence[S_contra]) -> list[tuple[float, float]] | None:
        """Return (mean, variance) of the reward still to come, a state each; None when no source of values is trusted."""
        ...

    def learn(self, proven: Sequence[tuple[S_contra, float]]) -> None:
        """Hear what states turned out to be worth, by proof and not by opinion: sources of values are measured by it."""
        ...

    def tokens(self) -> int:
        """Return how many model tokens have been evaluated so far, by this evaluator and its problem."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBudget:
    """What a planner may spend before it must answer; checked before every batch. None: no limit."""

    simulations: int = 64  # walks from the root to a leaf, or nodes opened
    calls: int | None = None  # states whose priors are asked for
    tokens: int | None = None  # model tokens, as the evaluator counts them
    tool_calls: int | None = None  # steps tried in the world or on forks of it
    deadline: float | None = None  # `time.monotonic()` seconds
    cancel: CancelFlag | None = None


class Ending(StrEnum):
    """Why a search ended."""

    CHOSEN = "chosen"  # no search was needed
    GOAL = "goal"  # a way to the goal, verified
    SOLVED = "solved"  # every action's worth is proven
    EXHAUSTED = "exhausted"  # nothing is left that could be tried
    SETTLED = "settled"  # what is left of the budget cannot change the choice
    SIMULATIONS = "simulations"  # that many were made
    CALLS = "calls"  # so many were made
    TOKENS = "tokens"  # so many were used
    TOOL_CALLS = "tool_calls"  # so many were made
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    FAILED = "failed"  # the model did, in the middle


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The action chosen and why; `tree` is plain data that serialises to JSON."""

    action: Action
    strategy: str
    why: str
    ending: Ending = Ending.CHOSEN
    verified: bool = False  # a check said that this way leads to the goal
    spent: Mapping[str, int] = field(default_factory=dict)  # simulations, calls, tool_calls, tokens
    tree: Mapping[str, Any] | None = None


class TreeMemory(Protocol):
    """Where the tree of one decision is kept while it grows, so that a search survives its process."""

    def load(self) -> Mapping[str, Any] | None:
        """Return what was saved last for this very decision, None if nothing was."""
        ...

    def save(self, tree: Mapping[str, Any]) -> None:
        """Keep the tree in place of what was saved before."""
        ...


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
        memory: TreeMemory | None = None,
    ) -> Plan:
        """Return the action to take in `state`; valid from the first prior on (anytime).

        Raises:
            PlanningError: there is no action at all.
        """
        ...
