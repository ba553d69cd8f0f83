"""Which sequence holds what: live ones that are read into, parked ones that keep what was read for the next prompt.

Guarantees: what was read once under the same adapters is not read again while there is room; room is made by giving up the
tails that were longest not used, into the spill where that is worth it. Owned by the context's thread.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from agentkit.engine.llama.context import MAX_SEQUENCES, Context, Logits
from agentkit.engine.llama.radix import Cut, Radix, Tokens
from agentkit.engine.llama.rows import whole_before
from agentkit.engine.llama.spill import Spill

__all__ = ["Opened", "Prefixes"]

WORTH_PARKING = 8  # tokens
WORTH_SPILLING = 64
ROOM_SHARE = 16  # room is made by at least this part of the context
ROWS_BYTES = 32 << 20  # of last rows kept, so that branching again from a place decodes nothing


@dataclass(frozen=True, slots=True)
class Opened:
    """A live sequence: its number, how many tokens of the prompt it holds already, and the logits after all of them."""

    sequence: int
    length: int
    row: Logits | None = None


class Prefixes:
    """The sequences of one context."""

    def __init__(self, context: Context, spill: Spill | None = None) -> None:
        self._context, self._spill = context, spill
        self._radix = Radix()
        self._live = list(range(context.live))[::-1]
        self._parked = list(range(context.spare + 1, MAX_SEQUENCES))[::-1]
        self.evicted = self.spilled = self.restored = 0

    @property
    def is_free(self) -> bool:
        """Whether a live sequence can be had."""
        return bool(self._live)

    @property
    def held(self) -> int:
        """How many tokens are parked, shared ones counted once."""
        return len(self._radix)

    def open(self, tokens: Sequence[int], key: Hashable = ()) -> Opened:
        """Return a live sequence that holds as much of `tokens` as is known; ask `is_free` before."""
        self._restore(tokens, key)
        match = self._radix.match(tokens, key)
        sequence = self._live.pop()
        if match is None:
            return Opened(sequence, 0)
        self._context.copy(match.holder, sequence, match.length)
        length = self._context.length(sequence)
        if (whole := whole_before(tokens, length)) < length:
            length = self._context.keep_first(sequence, whole)
        return Opened(sequence, length, match.row if length == len(tokens) else None)

    def close(
        self,
        sequence: int,
        tokens: Sequence[int] | Tokens,
        key: Hashable = (),
        rows: Mapping[int, Logits] = MappingProxyType({}),
    ) -> None:
        """Give a live sequence back; what it holds, which begins `tokens`, is parked.

        `rows` are logits worth keeping, by how many of the tokens they come after; they are not copied.
        """
        if self._park(sequence, tokens, key):
            for after, row in rows.items() if self._context.can_cut else ():
                if after <= self._context.length(sequence):
                    self._radix.keep_row(tokens[:after], row, key)
            self._trim_rows()
        self._context.keep_first(sequence, 0)
        self._live.append(sequence)

    def make_room(self, need: int) -> bool:
        """Give up at least `need` tokens, or all that can be; whether anything was given up. Pinned ones go last."""
        given = False
        need = max(need, self._context.size // ROOM_SHARE)  # not token by token
        while need > 0:
            before = self.held
            if self._evict(need) is None:
                break
            given, need = True, need - (before - self.held)  # what others share with it is not given up
        return given

    def pin(self, tokens: Sequence[int], key: Hashable = (), *, on: bool = True) -> bool:
        """Protect what begins so, or no longer; whether it is held. Where nothing else is left it goes all the same."""
        return self._context.can_cut and self._radix.pin(tokens, key, 1 if on else -1)

    def forget(self) -> None:
        """Drop everything that is parked."""
        for holder in self._radix.holders():
            self._free(holder)
        self._radix.clear()

    def _park(self, sequence: int, tokens: Sequence[int] | Tokens, key: Hashable) -> bool:
        """Have a parked number hold what a sequence holds, if that is worth one and one can be had."""
        length = self._context.length(sequence)
        if length < WORTH_PARKING or not self._has_number():
            return False
        holder = self._parked.pop()
        self._context.copy(sequence, holder, length)
        for freed in self._radix.insert(tokens[:length], holder, key):
            self._free(freed)
        return True

    def _has_number(self) -> bool:
        """Whether a number to park under can be had, by giving up another where it must be."""
        while not self._parked:  # a leaf above may go on holding with the number of the one given up
            if self._evict(self._context.size) is None:
                return False
        return True

    def _evict(self, need: int) -> Cut | None:
        least = 0 if self._context.can_cut else self._context.size
        cut = self._radix.evict(need, least=least) or self._radix.evict(need, pinned=True, least=least)
        if cut is None:
            return None
        self.evicted += 1
        self._to_spill(cut)
        if cut.length == 0:
            self._free(cut.holder)
        elif self._context.keep_first(cut.holder, cut.length) < cut.length:
            self._radix.forget(cut.holder)
            self._free(cut.holder)
        return cut

    def _restore(self, tokens: Sequence[int], key: Hashable) -> None:
        """Bring back a spilled sequence where it holds more of `tokens` than memory does."""
        if self._spill is None:
            return
        match = self._radix.match(tokens, key)
        found = self._spill.longest(key, tokens, beyond=match.length if match else 0)
        if found is None or not self._has_number():  # before the spare one is in use
            return
        held, data = found
        spare = self._context.spare  # llama.cpp saves and restores only numbers that can be read into
        if not self._context.restore(spare, data, len(held)) and not (
            self.make_room(len(held)) and self._context.restore(spare, data, len(held))
        ):
            if not self.held:
                self._spill.forget(key, held)  # all the room there is was not enough: it is not what it seems
            return
        self.restored += 1
        self._park(spare, held, key)
        self._context.keep_first(spare, 0)

    def _to_spill(self, cut: Cut) -> None:
        if self._spill is None or len(cut.tokens) < WORTH_SPILLING:
            return
        spare = self._context.spare
        self._context.copy(cut.holder, spare, len(cut.tokens))
        self.spilled += self._spill.put(cut.key, cut.tokens, self._context.save(spare))
        self._context.keep_first(spare, 0)

    def _free(self, holder: int) -> None:
        self._context.keep_first(holder, 0)
        self._parked.append(holder)

    def _trim_rows(self) -> None:
        rows = self._radix.rows()
        size = sum(size for _, size in rows)
        last = 0
        for used, bytes_ in rows:
            if size <= ROWS_BYTES:
                break
            size, last = size - bytes_, used
        if last:
            self._radix.drop_rows(last)
