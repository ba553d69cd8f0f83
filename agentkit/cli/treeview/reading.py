"""What a planner leaves of a search, as something that can be drawn.

Planners are extensions and nothing of theirs is imported: what is read is the JSON of agentkit_planners' trees, version 1,
and of any other planner that writes the same. What does not fit is refused in one line; whatever fits can be drawn, also
a search that was cut off before it chose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.cli.lines import MAX_ARGUMENT, call_text, visible
from agentkit.cli.output import clean
from agentkit.errors import UsageError

__all__ = ["ABOUT", "COMMIT", "DEAD", "DROPPED", "UNTRIED", "Branch", "Edge", "Outcome", "Search", "State", "read"]

VERSION = 1
UNTRIED, COMMIT, DROPPED, DEAD = -1, -2, -3, -4
CODES = {UNTRIED: "untried", COMMIT: "only for real", DROPPED: "dropped", DEAD: "failed"}
ABOUT = {
    UNTRIED: "nobody knows where it leads",
    COMMIT: "it cannot be tried without doing it; of those in its place it is the one that is kept",
    DROPPED: "it cannot be tried without doing it, and another that cannot either is more probable",
    DEAD: "it was tried, and the step failed",
}
WHOLE = 10_000  # characters of one argument, where there is room
_SPENT = {  # what is counted, of one and of several
    "simulations": ("simulation", "simulations"),
    "calls": ("model call", "model calls"),
    "tool_calls": ("step tried", "steps tried"),
    "tokens": ("token", "tokens"),
}

Edge = tuple[int, int]  # (state, action), both by number


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A state that a branch has led to, and how often; more than one a branch only where chance decides."""

    state: int
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """An action in a state, and what is known of it."""

    edge: Edge
    label: str  # as one reads it, long arguments cut
    whole: str  # the same, uncut
    prior: float
    visits: int
    reward: float  # of the step itself
    quality: float  # reward and what follows: Q
    code: int | None  # why it leads nowhere; None where it leads somewhere
    outcomes: tuple[Outcome, ...]  # the most frequent first
    proven: float | None = None
    effect: str = ""
    best: tuple[float, bool] | None = None  # at the root: the best whole way that begins with it, and whether verified

    @property
    def known(self) -> bool:
        """Whether its quality means anything."""
        return self.proven is not None or self.visits > 0 or bool(self.outcomes)

    @property
    def worth(self) -> str:
        """What it is worth, `=` where that is proven; or why nobody knows."""
        return CODES[self.code] if self.code is not None else _worth(self.quality, self.proven)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A state that was met."""

    number: int
    branches: tuple[Branch, ...]  # the most visited first, then the most probable
    observation: str
    visits: int
    value: float | None  # what an evaluator said of it; None: nobody can tell
    quality: float  # with what was found below it
    exact: float | None
    opponent: bool
    wide: bool = True  # all that could be done there is listed; if not, only what the model would do by itself

    @property
    def about(self) -> list[str]:
        """What else is to be known of it, beside what was observed."""
        words = {
            "somebody else moves": self.opponent,
            "end": not self.branches,
            "no other step was asked for": bool(self.branches) and not self.wide,
        }
        return [word for word, holds in words.items() if holds]

    @property
    def worth(self) -> str:
        """What it is worth, `=` where that is proven; or that nobody knows."""
        known = self.exact is not None or self.value is not None or self.visits > 0
        return _worth(self.quality, self.exact) if known else "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search: its states, the root first, and what was chosen and why."""

    turn: int
    states: tuple[State, ...]
    way: tuple[Edge, ...]  # the action that was chosen, and what the search thinks will follow
    strategy: str
    why: str
    ending: str
    spent: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def chosen(self) -> Branch | None:
        """The action that was chosen; None where the search was cut off before."""
        return next((branch for branch in self.states[0].branches if self.way and branch.edge == self.way[0]), None)

    @property
    def simulations(self) -> int:
        """How many were made."""
        return self.spent.get("simulations", 0)

    @property
    def spending(self) -> str:
        """What was spent, and how many states were met, in words."""
        names = {name: _SPENT.get(name, (name, name)) for name in self.spent}
        words = [f"{count} {names[name][count != 1]}" for name, count in self.spent.items()]
        met = len(self.states)
        return ", ".join([*words, f"{met} state{'s' * (met != 1)} met"])


def read(tree: Mapping[str, Any]) -> Search:
    """Return the search that a planner has left as plain data.

    Raises:
        UsageError: it has another form.
    """
    try:
        return _read(tree)
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"the tree of turn {tree.get('turn', '?')} has a form that cannot be drawn ({why}); `agentkit trees show --json` prints it"
        ) from error


def _read(tree: Mapping[str, Any]) -> Search:
    if tree["version"] != VERSION:
        raise ValueError(f"version {tree['version']}, not {VERSION}")
    if not tree["nodes"]:
        raise ValueError("it has no nodes")
    plain = _Plain(tree)
    states = tuple(plain.state(number) for number in range(len(plain.nodes)))
    chosen = tree.get("chosen")
    if chosen is not None and chosen not in range(len(states[0].branches)):
        raise IndexError(f"action {chosen} was chosen, of {len(states[0].branches)}")
    return Search(
        turn=int(tree.get("turn", 0)),
        states=states,
        way=_way(states, (0, chosen)) if chosen is not None else (),
        strategy=_said(tree.get("strategy") or "search"),
        why=_said(tree.get("why") or "the search was cut off, or goes on: nothing is chosen yet"),
        ending=_said(tree.get("ending") or ""),
        spent={_said(name): int(count) for name, count in dict(tree.get("spent") or {}).items()},
        notes=tuple(_said(note) for note in tree.get("notes") or ()),
    )


class _Plain:
    """The parts of the plain data, by what they are asked for."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.nodes: Sequence[Mapping[str, Any]] = tree["nodes"]
        self._steps = dict(tree.get("steps") or {})
        self._effects = dict(tree.get("effects") or {})
        self._found = dict(tree.get("found") or {})
        self._chances = {(state, action): found for state, action, found in tree.get("chances") or ()}

    def state(self, number: int) -> State:
        """Return a state with its branches."""
        node = self.nodes[number]
        exact, value = node["exact"], node["value"]
        branches = [self._branch(number, action) for action in range(len(node["actions"]))]
        return State(
            number=number,
            branches=tuple(sorted(branches, key=lambda branch: (-branch.visits, branch.edge))),
            observation=clean(str(node["observation"])),
            visits=int(node["total"]),
            value=None if value is None else float(value),
            quality=float(node["q"]),
            exact=None if exact is None else float(exact),
            opponent=bool(node["opponent"]),
            wide=bool(node.get("wide", True)),
        )

    def _branch(self, number: int, action: int) -> Branch:
        node = self.nodes[number]
        key, reward = str(node["actions"][action]), float(node["reward"][action])
        outcomes = self._outcomes(number, action)
        code = None if outcomes else int(node["child"][action])
        if code is not None and code not in CODES:
            raise IndexError(f"node {number} leads to {code}, of {len(self.nodes)} nodes")
        best = self._found.get(str(action)) if number == 0 else None
        return Branch(
            edge=(number, action),
            label=_label(key, self._steps.get(key)),
            whole=_label(key, self._steps.get(key), limit=WHOLE),
            prior=float(node["priors"][action]),
            visits=int(node["visits"][action]),
            reward=reward,
            quality=float(node["quality"][action]),
            code=code,
            outcomes=outcomes,
            proven=0.0 if code == DEAD else self._proven(int(node["child"][action]), reward),
            effect=_said(self._effects.get(key) or ""),
            best=None if best is None else (float(best[0]), bool(best[1])),
        )

    def _outcomes(self, number: int, action: int) -> tuple[Outcome, ...]:
        """Return where an action has led: to one state, or, by chance, to several."""
        child = int(self.nodes[number]["child"][action])
        pairs = [(int(met), int(count)) for met, count, *_ in self._chances.get((number, action), ())]
        pairs = pairs or ([(child, 1)] if child >= 0 else [])
        for met, _ in pairs:
            if not 0 <= met < len(self.nodes):
                raise IndexError(f"node {number} leads to {met}, of {len(self.nodes)} nodes")
        return tuple(Outcome(state=met, count=count) for met, count in sorted(pairs, key=lambda pair: -pair[1]))

    def _proven(self, child: int, reward: float) -> float | None:
        """Return what an action is proven to be worth, as the backup of agentkit_planners reckons it."""
        exact = self.nodes[child]["exact"] if child >= 0 else None
        return None if exact is None else reward + float(exact)


def _label(key: str, step: Any, *, limit: int = MAX_ARGUMENT) -> str:
    """Return an action as one reads it: its calls, or else its key."""
    calls = step.get("calls") if isinstance(step, Mapping) else None
    if not calls:
        return _said(key) or "(nothing)"
    return "; ".join(_said(call_text(str(call["tool"]), call["arguments"], limit=limit)) for call in calls)


def _said(text: object) -> str:
    """Return what somebody else wrote as one line that does nothing."""
    return visible(clean(str(text)))


def _worth(quality: float, proven: float | None) -> str:
    return f"q {quality:.2f}" if proven is None else f"= {proven:.2f}"


def _way(states: Sequence[State], edge: Edge) -> tuple[Edge, ...]:
    """Return the chosen action and the likeliest way on, until nothing is known or a state comes again."""
    way = [edge]
    branch: Branch | None = next(branch for branch in states[0].branches if branch.edge == edge)
    met = {0}
    while branch is not None and branch.outcomes and branch.outcomes[0].state not in met:
        state = states[branch.outcomes[0].state]
        met.add(state.number)
        branch = _expected(state)
        way += [branch.edge] if branch is not None else []
    return tuple(way)


def _expected(state: State) -> Branch | None:
    """Return what would be done in a state: what proves its worth, or else what was visited most."""
    tried = [branch for branch in state.branches if branch.outcomes and branch.known]
    proofs = [branch for branch in tried if _equal(branch.proven, state.exact)]
    sign = -1.0 if state.opponent else 1.0
    return max(proofs or tried, key=lambda branch: (branch.visits, sign * branch.quality, branch.prior), default=None)


def _equal(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and math.isclose(one, other, abs_tol=1e-9)
