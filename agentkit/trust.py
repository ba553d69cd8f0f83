"""Values are earned: a source is used once it has told good states from bad ones nine times out of ten, and not before.

Searching with a worse one loses to searching with none (Chen et al. 2024, arXiv 2402.10890; and what small models say of
their own states is near chance). So each source is measured on states whose worth a search has proven, in the shadow: it
is asked, and its answer is compared and not used. Sources are tried in the order of how much they can be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol

from agentkit.protocols import Action, Evaluator, S

__all__ = ["EarnedValues", "Record", "RecordMemory", "ValueSource"]

Kind = Literal["check", "heuristic", "head", "self"]
ORDER: tuple[Kind, ...] = ("check", "heuristic", "head", "self")
NEEDED = 0.9  # balanced accuracy
LEAST = 20  # good and bad states each, before a verdict
ENOUGH = 100  # of each, after which a source is not measured any more; one that learns is, and the older ones fade
SHADOW = 8  # states a search that a source is asked about while it is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSource(Generic[S]):
    """Says what states are worth.

    `kind` says how: `check` runs what decides (an exit status, a schema, a test), and is trusted as it is; `heuristic` was
    registered for the task; `head` was learnt; `self` asks the model itself.
    """

    name: str
    kind: Kind
    values: Callable[[Sequence[S]], Sequence[tuple[float, float]]]  # (mean, variance) in [0, 1], one a state
    learn: Callable[[Sequence[tuple[S, float]]], None] | None = None  # from states whose worth is proven, once measured


@dataclass(slots=True)
class Record:
    """How often a source was right, about good states and about bad ones."""

    good: int = 0
    good_right: int = 0
    bad: int = 0
    bad_right: int = 0

    @property
    def accuracy(self) -> float:
        """Balanced accuracy: the mean of both shares; 0 before there are `LEAST` states of each kind."""
        if min(self.good, self.bad) < LEAST:
            return 0.0
        return (self.good_right / self.good + self.bad_right / self.bad) / 2

    def add(self, said: float, worth: float, *, most: float = 1.0) -> None:
        """Count one answer; what is worth more than half of `most` is good. An answer that is no number is wrong."""
        good = worth > most / 2
        right = math.isfinite(said) and (said > most / 2) is good
        if good:
            self.good, self.good_right = self.good + 1, self.good_right + right
        else:
            self.bad, self.bad_right = self.bad + 1, self.bad_right + right

    @property
    def is_settled(self) -> bool:
        """Whether there are `ENOUGH` of each kind."""
        return min(self.good, self.bad) >= ENOUGH

    def fade(self) -> None:
        """Count what was seen so far for half."""
        self.good, self.good_right, self.bad, self.bad_right = (
            count // 2 for count in (self.good, self.good_right, self.bad, self.bad_right)
        )

    def to_plain(self) -> dict[str, int]:
        """Return the counts."""
        return {name: getattr(self, name) for name in self.__slots__}


class RecordMemory(Protocol):
    """Where records are kept from one search to the next."""

    def load(self, name: str) -> Mapping[str, int] | None:
        """Return a source's counts, None if there are none."""
        ...

    def save(self, name: str, counts: Mapping[str, int]) -> None:
        """Keep them in place of those before."""
        ...


@dataclass(kw_only=True)
class EarnedValues(Generic[S]):
    """An evaluator whose values come from the best source that has earned it; priors and counts are another's."""

    evaluator: Evaluator[S]
    sources: Sequence[ValueSource[S]]
    records: dict[str, Record] = field(default_factory=dict)  # by source
    memory: RecordMemory | None = None  # keeps the records
    needed: float = NEEDED
    asked: bool = False  # whether a planner wanted to know

    def trusted(self) -> ValueSource[S] | None:
        """Return the source that values are taken from."""
        for source in sorted(self.sources, key=lambda source: ORDER.index(source.kind)):
            if source.kind == "check" or self._record(source).accuracy >= self.needed:
                return source
        return None

    def why(self) -> str:
        """Return in words which source is used, or why none is."""
        source = self.trusted()
        if source is not None:
            known = "" if source.kind == "check" else f", right in {self._record(source).accuracy:.0%}"
            return f"values by {source.name}{known}"
        measured = [f"{s.name} {self._record(s).accuracy:.0%}" for s in self.sources if self._record(s).accuracy]
        return f"no values: {', '.join(measured) or 'none measured'}, {self.needed:.0%} needed"

    def priors(self, batch: Sequence[tuple[S, Sequence[Action]]]) -> list[list[float]]:
        """Return the evaluator's."""
        return self.evaluator.priors(batch)

    def values(self, batch: Sequence[S]) -> list[tuple[float, float]] | None:
        """Return the trusted source's values, None where there is none."""
        self.asked = True
        source = self.trusted()
        return None if source is None else list(source.values(batch))

    def learn(self, proven: Sequence[tuple[S, float]]) -> None:
        """Measure every source that can be measured on some of these states, as many good ones as bad ones."""
        self.evaluator.learn(proven)
        good = [pair for pair in proven if pair[1] > 0.5][: SHADOW // 2]
        bad = [pair for pair in proven if pair[1] <= 0.5][: SHADOW // 2]
        chosen = [*good, *bad]
        if not chosen:
            return
        for source in self.sources:
            if source.kind == "check":
                continue
            record = self._record(source)
            if record.is_settled and source.learn is None:
                continue
            if record.is_settled:
                record.fade()
            for (said, _), (_, worth) in zip(source.values([state for state, _ in chosen]), chosen, strict=True):
                record.add(said, worth)
            if self.memory is not None:
                self.memory.save(source.name, record.to_plain())
            if source.learn is not None:
                source.learn(chosen)

    def tokens(self) -> int:
        """Return the evaluator's."""
        return self.evaluator.tokens()

    def _record(self, source: ValueSource[S]) -> Record:
        if source.name not in self.records:
            kept = self.memory.load(source.name) if self.memory is not None else None
            self.records[source.name] = Record(**kept) if kept else Record()
        return self.records[source.name]
