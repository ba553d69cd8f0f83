"""Where a search meets the world: steps are tried, states are recognised, and priors and values are asked for in batches.

What may be tried is decided here for every strategy alike. What only looks is tried; what changes something is tried on
a fork; what cannot be held by one is predicted, or else never tried: the most probable of these stays in its node as
something that could be done for real, the others are dropped.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from agentkit.errors import AgentkitError, Cancelled, DeadlineExceeded, PlanningError
from agentkit.protocols import Action, Ending, Evaluator, S, SearchProblem, Transition, TreeMemory
from agentkit.types import Effect
from agentkit_planners.spending import Meter
from agentkit_planners.tree import COMMIT, DEAD, DROPPED, UNTRIED, Edge, Node, Tree

__all__ = ["Explorer", "Halted", "Tried"]

UNKNOWN = 0.5  # prior of the only action listed, where the model does not say how sure it is
MIX = 0.1  # of every prior is spread evenly, so that none is zero
_OBSERVED = 4_000  # characters of an observation that are kept
_SAVING = 0.05  # of the time may go into saving the tree


class Halted(Exception):
    """The search cannot go on; what it knows so far holds."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.value)
        self.ending = ending


@dataclass(frozen=True, slots=True)
class Tried:
    """What trying an edge came to."""

    edge: Edge
    child: int  # a node, or a code of `tree`
    reward: float = 0.0
    terminal: bool = False
    verified: bool = False
    new: bool = False


@dataclass(frozen=True, slots=True)
class Met:
    """A state that is not in the tree yet."""

    key: bytes
    state: Any
    actions: list[Action]
    wide: bool = True  # these are all
    gone: Transition[Any] | None = None  # how it was met; None: it is the root


@dataclass(slots=True)
class Explorer(Generic[S]):
    """Grows a tree."""

    problem: SearchProblem[S]
    evaluator: Evaluator[S]
    meter: Meter
    memory: TreeMemory | None = None
    mix: float = MIX
    valued: bool = True  # ask what states are worth, where there is a trusted source
    lazy: bool = False  # open a state with what the model would do by itself, and list the others once they are wanted
    tree: Tree = field(default_factory=Tree)
    deterministic: bool = True
    _saved: float = -math.inf  # when, by the meter's clock
    _saving: float = 0.0  # seconds that it took

    def begin(self, state: S) -> Tree:
        """Return the tree with the root opened, or the one that an earlier process had grown.

        Raises:
            PlanningError: there is no action at all.
            Halted: not even the root's priors may be asked for; they are taken as even.
        """
        self.deterministic = self.problem.traits.deterministic
        key = self.problem.key(state)
        if self._restored(state, key):
            return self.tree
        actions, wide = self._next(state)
        if not actions:
            raise PlanningError("there is nothing that could be done next: no action; offer a tool, or allow an answer")
        ending = self.meter.ending() if len(actions) > 1 else None
        asks = len(actions) > 1 and ending is None
        nodes = self._opened([Met(key, state, actions, wide)], [(-1, -1)], ask=asks)
        assert nodes == [0]
        if ending is not None:
            raise Halted(ending)
        return self.tree

    def explore(self, edges: Sequence[Edge]) -> list[Tried]:
        """Try edges, and open the states that are new: one call of the evaluator for all of them.

        Raises:
            Halted: cancelled or out of time in the middle; or an evaluator that failed.
        """
        tries: list[Tried | None] = []
        fresh: dict[bytes, tuple[Edge, Met]] = {}
        pending: list[tuple[Edge, Met]] = []
        for edge in edges:
            met = self._attempt(edge, fresh)
            if isinstance(met, int):
                tries.append(Tried(edge, met))
                continue
            if met.key not in self.tree.index and met.key not in fresh:
                fresh[met.key] = (edge, met)
            pending.append((edge, met))
            tries.append(None)
        known = len(self.tree.nodes)
        self._opened([met for _, met in fresh.values()], [edge for edge, _ in fresh.values()], ask=True)
        rest = iter(pending)
        return [tried or self._linked(*next(rest), known=known) for tried in tries]

    def widen(self, number: int) -> None:
        """List all actions of a node that knows only the likeliest; that one stays the first.

        Raises:
            Halted: cancelled or out of time in the middle; or an evaluator that failed.
        """
        node = self.tree.nodes[number]
        try:
            state = self.state_of(number)
            listed = _merged(list(self.problem.actions(state)))
        except (Cancelled, DeadlineExceeded) as error:
            raise Halted(Ending.CANCELLED if isinstance(error, Cancelled) else Ending.DEADLINE) from error
        except Exception as error:  # noqa: BLE001  a problem may raise anything; the search goes on without it
            self.tree.note(f"{type(error).__name__}: {error}"[:200])
            node.wide = True
            return
        others = [action for action in listed if action.key != node.actions[0].key]
        first, *rest = self._priors([(state, [node.actions[0], *others])], ask=True)[0]
        ranked = sorted(zip(others, rest, strict=True), key=lambda pair: (-pair[1], pair[0].key))
        node.actions = (node.actions[0], *(action for action, _ in ranked))
        node.priors = array("d", [first, *(prior for _, prior in ranked)])
        node.child += [UNTRIED] * len(others)
        node.visits += [0] * len(others)
        node.reward = array("d", [*node.reward, *[0.0] * len(others)])
        node.quality = array("d", [*node.quality, *[0.0] * len(others)])
        node.wide = True
        self.tree.open += len(others)

    def state_of(self, number: int) -> Any:
        """Return a node's state; after a restart it is found again by the steps that led to it.

        Raises:
            LookupError: the steps no longer lead there.
        """
        known = self.tree.nodes[number].state
        if known is not None:
            return known
        for parent, via, met in self.tree.way(number):
            node, child = self.tree.nodes[parent], self.tree.nodes[met]
            if child.state is None:
                gone = self._step(node.state, node.actions[via])
                if gone is None or self.problem.key(gone.state) != child.key:
                    raise LookupError(f"'{node.actions[via].key}' no longer leads to what it led to")
                child.state = gone.state
        return self.tree.nodes[number].state

    def save(self, *, force: bool = False) -> None:
        """Keep the tree, as often as costs little."""
        if self.memory is None:
            return
        now = self.meter.clock()
        if not force and now - self._saved < self._saving / _SAVING:
            return
        self.memory.save({**self.tree.to_plain(), "spent": self.meter.spent, "before": dict(self.meter.before)})
        self._saved = self.meter.clock()
        self._saving = max(0.0, self._saved - now)

    def teach(self) -> None:
        """Tell the evaluator what was proven; where it cannot take that, what was found holds all the same."""
        try:
            self.evaluator.learn(self.tree.proven_states())
        except (AgentkitError, ArithmeticError, ValueError, LookupError, TypeError) as error:
            self.tree.note(f"the evaluator failed to learn: {type(error).__name__}: {error}"[:200])

    def _restored(self, state: S, key: bytes) -> bool:
        """Go on with a tree that was kept: this decision's, or what the last one's has below the step that was taken.

        The latter only if the world is as it was predicted to be. A tree that cannot be read is searched anew.
        """
        saved = self.memory.load() if self.memory is not None else None
        if saved is None:
            return False
        try:
            tree: Tree | None = Tree.from_plain(saved)
            same = tree is not None and tree.root.key == key
            if tree is not None and not same:
                tree = tree.rerooted(int(saved["chosen"]), key)
        except (ValueError, KeyError, TypeError, IndexError):
            return False
        if tree is None or not tree.root.actions or not (self.lazy or all(node.wide for node in tree.nodes)):
            return False
        tree.root.state = state
        self.tree = tree
        self.meter.charge(saved.get("before", {}))
        if same:
            self.meter.go_on_from(dict(saved.get("spent", {})))
        else:
            self.meter.charge(saved.get("spent", {}))
        return True

    def _attempt(self, edge: Edge, fresh: Container[bytes]) -> Met | int:
        """Take the step of an edge where that changes nothing; otherwise, or where it fails, return a code.

        What could be done next is asked only of states that are neither known nor among `fresh`.
        """
        node, action = self.tree.nodes[edge[0]], edge[1]
        self.tree.open -= node.child[action] == UNTRIED
        try:
            state = self.state_of(edge[0])
            gone = self._step(state, node.actions[action])
            if gone is None:
                node.child[action] = self._kept_for_real(node, action)
                return node.child[action]
            self.meter.tool_calls += 1
            key = self.problem.key(gone.state)
            known = gone.terminal or key in self.tree.index or key in fresh
            actions, wide = ([], True) if known else self._next(gone.state)
            return Met(key, gone.state, actions, wide, gone)
        except (Cancelled, DeadlineExceeded) as error:
            raise Halted(Ending.CANCELLED if isinstance(error, Cancelled) else Ending.DEADLINE) from error
        except Exception as error:  # noqa: BLE001  a step may raise anything; the search goes on without it
            self.tree.note(f"{node.actions[action].key}: {type(error).__name__}: {error}"[:200])
            node.child[action] = DEAD
            return DEAD

    def _next(self, state: S) -> tuple[list[Action], bool]:
        """Return what could be done next, and whether that is all."""
        own = self.problem.likeliest(state) if self.lazy else None
        if own is None:
            return list(self.problem.actions(state)), True
        self.meter.calls += 1
        return [own], False

    def _step(self, state: S, action: Action) -> Transition[S] | None:
        effect = self.problem.effect(state, action)
        if effect is not Effect.PURE:
            self.tree.effects[action.key] = effect.value
        if effect in (Effect.PURE, Effect.READ):
            return self.problem.step(state, action, "simulate")
        if effect is Effect.WRITE:
            fork = self.problem.fork(state)
            if fork is not None:
                return self.problem.step(fork, action, "simulate")
        return self.problem.step(state, action, "predict")

    def _kept_for_real(self, node: Node, action: int) -> int:
        """Return what becomes of an action that cannot be tried: at most one a node is kept."""
        if COMMIT not in node.child:
            return COMMIT
        kept = node.child.index(COMMIT)
        if action > kept:
            return DROPPED
        node.child[kept] = DROPPED
        return COMMIT

    def _linked(self, edge: Edge, met: Met, *, known: int) -> Tried:
        """Note where an edge led; nodes from number `known` on were opened just now."""
        assert met.gone is not None  # only the root was not gone to
        child = self.tree.index[met.key]
        reward = met.gone.reward if math.isfinite(met.gone.reward) else 0.0
        node, there = self.tree.nodes[edge[0]], self.tree.nodes[child]
        new = child >= known and (there.parent, there.via) == edge
        if self.deterministic:
            node.reward[edge[1]], node.child[edge[1]] = reward, child
        else:
            pair = self.tree.chances.setdefault(edge, {}).setdefault(child, [0, 0.0])
            pair[0] += 1
            pair[1] += reward
        return Tried(edge, child, reward, met.gone.terminal or not there.actions, met.gone.verified, new)

    def _opened(self, states: Sequence[Met], parents: Sequence[Edge], *, ask: bool) -> list[int]:
        """Add states to the tree, with the priors of their actions and with their values where these are trusted."""
        merged = [_merged(met.actions) for met in states]
        priors = self._priors([(met.state, actions) for met, actions in zip(states, merged, strict=True)], ask=ask)
        values = self._valued([met.state for met in states], [bool(actions) for actions in merged]) if ask else None
        numbers = []
        for n, met in enumerate(states):
            if not met.wide:
                priors[n] = [UNKNOWN if met.actions[0].logprob is None else math.exp(met.actions[0].logprob)]
            ranked = list(zip(merged[n], priors[n], strict=True))
            if ask:
                ranked.sort(key=lambda pair: (-pair[1], pair[0].key))
            count = len(ranked)
            value = values[n] if values and count else None
            node = Node(
                key=met.key,
                state=met.state,
                parent=parents[n][0],
                via=parents[n][1],
                actions=tuple(action for action, _ in ranked),
                priors=array("d", [prior for _, prior in ranked]),
                child=[UNTRIED] * count,
                visits=[0] * count,
                reward=array("d", bytes(8 * count)),
                quality=array("d", bytes(8 * count)),
                value=value,
                q=value or 0.0,
                exact=None if count or not self.deterministic else 0.0,
                wide=met.wide,
            )
            if met.gone is not None:
                node.opponent, node.verified = met.gone.opponent, met.gone.verified
                node.observation = met.gone.observation[:_OBSERVED]
            numbers.append(self.tree.add(node))
        return numbers

    def _priors(self, batch: list[tuple[Any, list[Action]]], *, ask: bool) -> list[list[float]]:
        """Return probabilities that sum to 1; even ones where nothing is asked or there is nothing to choose."""
        asked = [n for n, (_, actions) in enumerate(batch) if len(actions) > 1] if ask else []
        found = [[1.0 / len(actions)] * len(actions) if actions else [] for _, actions in batch]
        if not asked:
            return found
        self.meter.calls += len(asked)
        for n, logs in zip(asked, self._asked(self.evaluator.priors, [batch[n] for n in asked]), strict=True):
            found[n] = _normalised(logs, self.mix)
        return found

    def _valued(self, states: list[Any], alive: list[bool]) -> list[float] | None:
        if not self.valued or not any(alive):
            return None
        given = self._asked(self.evaluator.values, [s for s, lives in zip(states, alive, strict=True) if lives])
        if given is None:
            self.valued = False
            return None
        if not all(math.isfinite(mean) for mean, _ in given):
            self.valued = False
            self.tree.note("a value that is no number came back, so values are not used any more")
            return None
        rest = iter(given)
        return [next(rest)[0] if lives else 0.0 for lives in alive]

    def _asked(self, ask: Any, batch: list[Any]) -> Any:
        """Ask the evaluator; where it fails the search ends with what it has, or, at the root, fails."""
        try:
            return ask(batch)
        except Cancelled as error:
            raise Halted(Ending.CANCELLED) from error
        except DeadlineExceeded as error:
            raise Halted(Ending.DEADLINE) from error
        except (AgentkitError, ArithmeticError, ValueError, LookupError, TypeError) as error:
            if not self.tree.nodes:
                raise
            self.tree.note(f"the evaluator failed: {type(error).__name__}: {error}"[:200])
            raise Halted(Ending.FAILED) from error


def _merged(actions: list[Action]) -> list[Action]:
    """Return actions without those that another with the same key stands for."""
    return list({action.key: action for action in reversed(actions)}.values())[::-1]


def _normalised(logs: Sequence[float], mix: float) -> list[float]:
    """Return the softmax of log-probabilities, with `mix` of it spread evenly; what is no number counts as least."""
    finite = [log for log in logs if math.isfinite(log)]
    if not finite:
        return [1.0 / len(logs)] * len(logs)
    top, least = max(finite), min(finite)
    weights = [math.exp((log if math.isfinite(log) else least) - top) for log in logs]
    total = sum(weights)
    return [(1 - mix) * weight / total + mix / len(logs) for weight in weights]
