"""Pictures and sounds as a model reads them: rows that stand where embeddings of tokens would.

In a prompt each place of a picture is a pseudo-token: an id beyond the vocabulary, the same for the same picture under the
same eye as long as the model is loaded, and never given to another. It carries what is read in its place, so whoever holds
a prompt keeps its pictures alive, and the plain number is enough for whatever compares, counts and remembers tokens.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import EngineError

__all__ = ["Kept", "Row", "Rows", "Seen", "Span", "key_of", "kinds", "whole_before"]

ROWS_BYTES = 64 << 20  # of pictures kept for the next prompt
MAX_PICTURES = 10_000  # whose ids are remembered; their rows may be gone
_MOST = 2**31 - 1  # of llama.cpp's tokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """What is read for a picture, or for a part of one.

    Attributes:
        values: (n, width) float32.
        length: how many positions it takes, and so how many pseudo-tokens stand for it.
        positions: (4, n) int32 where it begins at position 0, for models whose pictures have several; None: one after
            another.
        moves: which of the four move along with where it begins: 1 or 0.
        causal: whether a row sees only those before it.
    """

    values: NDArray[np.float32]
    length: int
    positions: NDArray[np.int32] | None = None
    moves: tuple[int, ...] = (1, 1, 1, 0)
    causal: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """The rows that stand at the pseudo-tokens from `first` on."""

    first: int
    rows: Rows

    @property
    def is_whole(self) -> bool:
        """Whether it is read all at once or not at all."""
        return self.rows.positions is not None or not self.rows.causal


class Row(int):
    """A pseudo-token: a number beyond the vocabulary, and the span it is a place of."""

    span: Span

    @classmethod
    def of(cls, span: Span, place: int) -> Row:
        """Return the one at `place` of `span`, from 0."""
        row = cls(span.first + place)
        row.span = span
        return row

    @property
    def place(self) -> int:
        """Which of its span's it is, from 0."""
        return self - self.span.first


Seen = Sequence[int | Rows]  # the model's own tokens around a picture, and its rows


@dataclass(slots=True)
class Kept:
    """The pictures that one loaded model has seen; thread-safe.

    Attributes:
        begin: the first id beyond the vocabulary.
        width: of the model's embeddings.
    """

    begin: int
    width: int
    room: int = ROWS_BYTES
    _next: int = 0
    _ids: OrderedDict[Hashable, list[tuple[int, int]]] = field(default_factory=OrderedDict)
    _tokens: OrderedDict[Hashable, tuple[tuple[int, ...], int]] = field(default_factory=OrderedDict)
    _size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seeing: threading.Lock = field(default_factory=threading.Lock)

    def tokens(self, key: Hashable, see: Callable[[], Seen]) -> tuple[int, ...]:
        """Return the tokens of what `key` stands for; `see` is asked where that is not known, by one caller at a time.

        Raises:
            EngineError: the rows are none that the model can read.
        """
        if (found := self._known(key)) is not None:
            return found
        with self._seeing:
            if (found := self._known(key)) is not None:
                return found
            return self._keep(key, see())

    def _known(self, key: Hashable) -> tuple[int, ...] | None:
        with self._lock:
            if key not in self._tokens:
                return None
            self._tokens.move_to_end(key)
            self._ids.move_to_end(key)
            return self._tokens[key][0]

    def _keep(self, key: Hashable, seen: Seen) -> tuple[int, ...]:
        for part in seen:
            if isinstance(part, Rows):
                self._check(part)
        with self._lock:
            ids = iter(self._ids_of(key, [part.length for part in seen if isinstance(part, Rows)]))
            tokens = tuple(token for part in seen for token in _laid_out(part, ids))
            size = sum(part.values.nbytes for part in seen if isinstance(part, Rows))
            self._tokens[key] = (tokens, size)
            self._size += size
            while self._size > self.room and len(self._tokens) > 1:
                self._size -= self._tokens.popitem(last=False)[1][1]
            return tokens

    def _ids_of(self, key: Hashable, lengths: Sequence[int]) -> list[int]:
        """Return the first id of each span: those it had before, where it was seen before."""
        known = self._ids.get(key)
        if known is None or [length for _, length in known] != list(lengths):
            known = []
            for length in lengths:
                if self.begin + self._next + length > _MOST:
                    raise EngineError("this model has seen too many pictures since it was loaded; open it again")
                known.append((self.begin + self._next, length))
                self._next += length
            self._ids[key] = known
            while len(self._ids) > MAX_PICTURES:
                gone, _ = self._ids.popitem(last=False)
                self._size -= self._tokens.pop(gone, ((), 0))[1]
        self._ids.move_to_end(key)
        return [first for first, _ in known]

    def _check(self, rows: Rows) -> None:
        values, shape = rows.values, rows.values.shape
        if values.dtype != np.float32 or len(shape) != 2 or not shape[0] or not np.isfinite(values).all():
            raise EngineError(
                f"an eye gave {values.dtype} of shape {shape}: rows of a picture are finite float32, (n, {self.width})"
            )
        if shape[1] != self.width:
            raise EngineError(
                f"an eye gave rows of width {shape[1]}, and this model reads {self.width}; use the eye made for it"
            )
        if rows.positions is None and rows.length != len(values):
            raise EngineError(f"{len(values)} rows at {rows.length} positions; this is a defect of agentkit")


def key_of(fingerprint: str, data: bytes, words: str | None) -> Hashable:
    """Return what a picture is known by: the eye's fingerprint, its own hash, and the words if the eye reads them."""
    return fingerprint, hashlib.sha256(data).digest(), words


def kinds(tokens: Sequence[int], begin: int) -> list[tuple[int, Span | bool]]:
    """Return where each run of `tokens` ends, and what it is.

    A run is of tokens (False), of rows that can be cut anywhere (True), or one span that is read whole.

    Args:
        tokens: at least one.
        begin: the first id beyond the vocabulary.
    """
    if max(tokens) < begin:
        return [(len(tokens), False)]
    found: list[tuple[int, Span | bool]] = []
    for end, token in enumerate(tokens, 1):
        kind = _kind(token)
        begins = isinstance(token, Row) and token.span.is_whole and not token.place
        if found and found[-1][1] is kind and not begins:
            found[-1] = (end, kind)
        else:
            found.append((end, kind))
    return found


def whole_before(tokens: Sequence[int], length: int) -> int:
    """Return how many of the first `length` tokens can be held: no part of a span that is read whole."""
    if length < len(tokens) and isinstance(token := tokens[length], Row) and token.span.is_whole:
        return length - token.place
    return length


def _kind(token: int) -> Span | bool:
    if not isinstance(token, Row):
        return False
    return token.span if token.span.is_whole else True


def _laid_out(part: int | Rows, ids: Iterator[int]) -> Iterator[int]:
    if isinstance(part, Rows):
        span = Span(next(ids), part)
        yield from (Row.of(span, place) for place in range(part.length))
    else:
        yield part
