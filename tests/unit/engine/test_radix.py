"""The radix tree against a naive model: a set of beginnings per adapter set, searched in full at every step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agentkit.engine.llama.radix import Radix

Held = tuple[int, ...]
Place = tuple[str, Held]  # under which adapters, after which tokens

KEYS = st.sampled_from(["", "adapter"])
TOKENS = st.lists(st.integers(0, 2), max_size=7).map(tuple)  # so few that most sequences share a beginning


def common(one: Held, other: Held) -> int:
    """How many tokens two sequences share from the first on."""
    n = 0
    while n < min(len(one), len(other)) and one[n] == other[n]:
        n += 1
    return n


class Naive:
    """What a radix tree must say, told without a tree: every node is a place, found by looking at all of them."""

    def __init__(self) -> None:
        self.used: dict[Place, int] = {}  # every node
        self.holder: dict[Place, int] = {}  # the leaves
        self.pins: dict[Place, int] = {}
        self.row: dict[Place, np.ndarray] = {}
        self.clock = 0

    def held(self, key: str) -> list[Held]:
        return [path for at, path in self.holder if at == key]

    def shared(self, key: str, tokens: Held) -> int:
        return max((common(path, tokens) for path in self.held(key)), default=0)

    def below(self, key: str, path: Held) -> list[Place]:
        return [place for place in self.used if place[0] == key and place[1][: len(path)] == path]

    def start(self, key: str, path: Held) -> int:
        """Where the edge to a node begins: after the longest node above it."""
        return max((len(up) for at, up in self.used if at == key and up != path and path[: len(up)] == up), default=0)

    def node(self, key: str, path: Held) -> Place:
        """Make a node in the middle of an edge."""
        if (key, path) not in self.used:
            self.used[key, path] = self.used[min(self.below(key, path), key=lambda place: len(place[1]))]
        return key, path

    def touch(self, key: str, path: Held) -> None:
        self.clock += 1
        _, end = min(self.below(key, path), key=lambda place: len(place[1]))
        for at, up in self.used:
            if at == key and end[: len(up)] == up:
                self.used[at, up] = self.clock

    def insert(self, key: str, tokens: Held, holder: int) -> list[int]:
        if not tokens:
            return [holder]
        shared = self.shared(key, tokens)
        if shared == len(tokens):
            self.touch(key, tokens)
            return [holder]
        if shared:
            self.node(key, tokens[:shared])
        freed = [self.holder.pop((key, tokens[:shared]))] if (key, tokens[:shared]) in self.holder else []
        self.used[key, tokens] = 0
        self.holder[key, tokens] = holder
        self.touch(key, tokens)
        return freed

    def remove(self, place: Place) -> None:
        for of in (self.used, self.holder, self.pins, self.row):
            of.pop(place, None)

    def forget(self, place: Place) -> None:
        """Take out a leaf, and what is above it as long as nothing else needs it."""
        key, path = place
        self.remove(place)
        for length in range(len(path) - 1, 0, -1):
            if self.below(key, path[:length]) == [(key, path[:length])]:
                self.remove((key, path[:length]))

    def evict(self, need: int, pinned: bool, least: int) -> tuple[int, int, Held, str] | None:
        leaves = [place for place in self.holder if pinned or not self.pins.get(place)]
        if not leaves:
            return None
        key, path = place = min(leaves, key=self.used.__getitem__)
        holder, used, start = self.holder[place], self.used[place], self.start(key, path)
        self.remove(place)
        length = len(path) - need
        if length - start > least:
            self.used[key, path[:length]] = used
        else:
            length = start if start and self.below(key, path[:start]) == [(key, path[:start])] else 0
        if length:
            self.holder[key, path[:length]] = holder
        return holder, length, path, key


class RadixAgainstNaive(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.radix, self.naive = Radix(), Naive()
        self.free = list(range(64))

    @rule(key=KEYS, tokens=TOKENS)
    def insert(self, key: str, tokens: Held) -> None:
        holder = self.free.pop() if self.free else None
        if holder is None:
            return
        freed = self.radix.insert(tokens, holder, key)
        assert freed == self.naive.insert(key, tokens, holder)
        assert not set(freed) & set(self.radix.holders())
        self.free += freed

    @rule(key=KEYS, tokens=TOKENS)
    def match(self, key: str, tokens: Held) -> None:
        shared = self.naive.shared(key, tokens)
        match = self.radix.match(np.array(tokens, np.int32), key)
        if not shared:
            assert match is None
            return
        assert match is not None
        assert match.length == shared
        assert (key, tuple(self.radix.holders()[match.holder].tolist())) in self.naive.holder
        assert tuple(self.radix.holders()[match.holder][:shared].tolist()) == tokens[:shared]
        assert match.row is self.naive.row.get((key, tokens[:shared]))
        self.naive.touch(key, tokens[:shared])

    @rule(key=KEYS, tokens=TOKENS)
    def keep_row(self, key: str, tokens: Held) -> None:
        row = np.zeros(4, np.float32)
        self.radix.keep_row(tokens, row, key)
        if tokens and self.naive.shared(key, tokens) == len(tokens):
            self.naive.row[self.naive.node(key, tokens)] = row

    @rule(key=KEYS, tokens=TOKENS, by=st.sampled_from([1, -1]))
    def pin(self, key: str, tokens: Held, by: int) -> None:
        is_held = bool(tokens) and self.naive.shared(key, tokens) == len(tokens)
        assert self.radix.pin(tokens, key, by) is is_held
        if is_held:
            place = self.naive.node(key, tokens)
            self.naive.pins[place] = max(0, self.naive.pins.get(place, 0) + by)

    @rule(need=st.integers(1, 8), pinned=st.booleans(), least=st.integers(0, 3))
    def evict(self, need: int, pinned: bool, least: int) -> None:
        cut = self.radix.evict(need, pinned=pinned, least=least)
        wanted = self.naive.evict(need, pinned, least)
        if cut is None:
            assert wanted is None
            return
        assert (cut.holder, cut.length, tuple(cut.tokens.tolist()), cut.key) == wanted
        if not cut.length:
            self.free.append(cut.holder)

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        places = sorted(self.naive.holder)
        if places:
            place = data.draw(st.sampled_from(places))
            holder = self.naive.holder[place]
            self.radix.forget(holder)
            self.naive.forget(place)
            self.free.append(holder)

    @invariant()
    def every_leaf_has_exactly_one_holder(self) -> None:
        if not hasattr(self, "radix"):
            return
        told = {holder: tuple(tokens.tolist()) for holder, tokens in self.radix.holders().items()}
        assert told == {holder: path for (_, path), holder in self.naive.holder.items()}
        for key, path in self.naive.holder:
            assert self.naive.shared(key, path) == len(path)
            assert sum(other[: len(path)] == path for other in self.naive.held(key)) == 1  # none begins another
        assert sorted([*told, *self.free]) == list(range(64))  # no number is lost or used twice

    @invariant()
    def shared_tokens_count_once(self) -> None:
        if hasattr(self, "radix"):
            begun = {(key, path[:n]) for key, path in self.naive.holder for n in range(1, len(path) + 1)}
            assert len(self.radix) == len(begun)

    @invariant()
    def rows_are_told_oldest_first(self) -> None:
        if hasattr(self, "radix"):
            rows = self.radix.rows()
            assert len(rows) == len(self.naive.row)
            assert rows == sorted(rows)
            assert sum(size for _, size in rows) == 16 * len(rows)


TestRadixAgainstNaive = RadixAgainstNaive.TestCase
TestRadixAgainstNaive.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_nothing_is_held_at_first() -> None:
    radix = Radix()
    assert radix.match([1, 2, 3]) is None
    assert radix.evict(1) is None
    assert radix.evict(1, pinned=True) is None
    assert not radix.pin([1])
    assert (len(radix), radix.holders(), radix.rows()) == (0, {}, [])


def test_what_extends_a_leaf_takes_its_place_and_a_beginning_is_not_needed() -> None:
    radix = Radix()
    assert radix.insert([1, 2], 7) == []
    assert radix.insert([1, 2, 3], 8) == [7]
    assert radix.insert([1, 2], 9) == [9]
    assert radix.insert([1, 2, 3], 9) == [9]
    assert radix.insert([], 9) == [9]
    assert {holder: list(tokens) for holder, tokens in radix.holders().items()} == {8: [1, 2, 3]}


def test_what_was_read_under_other_adapters_is_not_found() -> None:
    radix = Radix()
    radix.insert([1, 2, 3], 1, (("a", 1.0),))
    radix.insert([1, 2, 4], 2, (("a", 0.5),))
    assert radix.match([1, 2, 3]) is None
    match = radix.match([1, 2, 3], (("a", 0.5),))
    assert match is not None
    assert (match.length, match.holder) == (2, 2)
    radix.keep_row([1, 2, 3], "row", (("a", 0.5),))
    match = radix.match([1, 2, 3], (("a", 1.0),))
    assert match is not None
    assert match.row is None


def test_a_row_belongs_to_its_place_only() -> None:
    radix = Radix()
    radix.insert([1, 2, 3, 4], 1)
    radix.keep_row([1, 2], "after two")
    radix.keep_row([9], "not held")
    rows = [(match.length, match.row) for n in range(1, 5) if (match := radix.match([1, 2, 3, 4][:n]))]
    assert rows == [(1, None), (2, "after two"), (3, None), (4, None)]
    radix.insert([1, 2, 5], 2)
    match = radix.match([1, 2, 6])
    assert match is not None
    assert (match.length, match.row) == (2, "after two")


def test_a_row_goes_with_the_tokens_it_came_after() -> None:
    radix = Radix()
    radix.insert([1, 2, 3, 4], 1)
    radix.keep_row([1, 2, 3, 4], np.zeros(2))
    assert radix.evict(1) is not None
    assert radix.rows() == []
    radix.insert([1, 2, 3, 4], 2)
    match = radix.match([1, 2, 3, 4])
    assert match is not None
    assert match.row is None


def test_rows_are_dropped_by_last_use() -> None:
    radix = Radix()
    for n in range(4):
        radix.insert([n, n], n)
        radix.keep_row([n, n], np.zeros(n + 1, np.float32))
    radix.match([0, 0])
    rows = radix.rows()
    assert [size for _, size in rows] == [8, 12, 16, 4]
    radix.drop_rows(rows[1][0])
    assert [size for _, size in radix.rows()] == [16, 4]


def test_pinned_ones_go_only_if_nothing_else_will_do() -> None:
    radix = Radix()
    radix.insert([1, 2, 3], 1)
    radix.insert([4, 5, 6], 2)
    assert radix.pin([1, 2])
    cut = radix.evict(9)
    assert cut is not None
    assert (cut.holder, cut.length) == (1, 2)  # the tail after what is pinned
    cut = radix.evict(9)
    assert cut is not None
    assert (cut.holder, cut.length) == (2, 0)
    assert radix.evict(9) is None
    cut = radix.evict(1, pinned=True)
    assert cut is not None
    assert (cut.holder, cut.length, list(cut.tokens)) == (1, 1, [1, 2])


def test_two_pins_need_two_releases() -> None:
    radix = Radix()
    radix.insert([1, 2], 1)
    radix.pin([1, 2])
    radix.pin([1, 2])
    radix.pin([1, 2], by=-1)
    assert radix.evict(1) is None
    radix.pin([1, 2], by=-1)
    radix.pin([1, 2], by=-1)  # once too often
    assert radix.evict(1) is not None


def test_what_was_cut_although_pinned_is_not_pinned_for_ever() -> None:
    radix = Radix()
    radix.insert([1, 2, 3, 4], 1)
    radix.pin([1, 2, 3, 4])
    assert radix.evict(2, pinned=True) is not None
    radix.pin([1, 2, 3, 4], by=-1)  # the owner lets go of what is no longer held
    assert radix.evict(1) is not None


@pytest.mark.parametrize(("need", "left"), [(1, 9), (7, 3), (8, 0), (10, 0), (99, 0)])
def test_a_short_stub_is_not_left_standing(need: int, left: int) -> None:
    radix = Radix()
    radix.insert(range(10), 1)
    cut = radix.evict(need, least=2)
    assert cut is not None
    assert (cut.length, list(cut.tokens), len(radix)) == (left, list(range(10)), left)


def test_cleared_means_empty() -> None:
    radix = Radix()
    radix.insert([1, 2], 1)
    radix.insert([1, 2], 2, "adapter")
    radix.clear()
    assert (len(radix), radix.holders(), radix.match([1, 2], "adapter")) == (0, {}, None)
