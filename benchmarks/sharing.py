"""Is a continuation worth the same after a prefix that was forked, parked or spilled as when it is read alone?

`differences` reads many continuations of a few trunks side by side, in random pieces, in a context so small that
prefixes are given up and brought back; then each again, alone, in a context that knows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.engine.llama import Model
from agentkit.engine.llama.context import Context, ContextOptions, Logits, NoRoom, Part
from agentkit.engine.llama.library import C
from agentkit.engine.llama.prefixes import Prefixes
from agentkit.engine.llama.sampler import log_softmax
from agentkit.engine.llama.spill import Spill

__all__ = ["SETTINGS", "Found", "Setting", "differences", "read_alone"]

TOKENS, BATCH, LIVE = 2048, 512, 16
TRUNKS = (40, 90, 200, 300, 450, 450)  # tokens of each
PIECES = (1, 2, 5, 20, 64, 200)
TOGETHER = 6  # at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How attention is computed and what is kept of the tokens."""

    kind: type[Context] = Context
    kv_type: int = C.GGML_TYPE_F16
    exact: bool = False

    def context(self, model: Model, live: int = LIVE) -> Context:
        """Return a new context of this kind."""
        options = ContextOptions(
            tokens=TOKENS, threads=1, batch=BATCH, live=live, kv_type=self.kv_type, exact=self.exact
        )
        return self.kind(model, options)


class Plain(Context):
    """Without flash attention, and with a cache in F16."""

    def _params(self, options: ContextOptions) -> Any:
        params = super()._params(options)
        params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_DISABLED
        return params


SETTINGS = {
    "exact": Setting(exact=True),
    "plain": Setting(kind=Plain),
    "default": Setting(),
    "flash-f32": Setting(kv_type=C.GGML_TYPE_F32),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How far apart log-probabilities are, and what happened on the way."""

    greatest: float  # nats, over all tokens of the vocabulary
    median: float  # of the greatest at each place
    places: int
    spilled: int
    restored: int


@dataclass(slots=True)
class _Reader:
    """One continuation that is being read."""

    sequence: int
    path: list[int]
    start: int  # where the continuation begins
    rows: list[NDArray[np.float64]]


def differences(model: Model, setting: Setting, *, rounds: int = 40, seed: int = 0) -> Found:
    """Return how far continuations that share what they can are from each alone."""
    rng = Random(seed)
    words = [token for token in range(model.n_vocab) if not model.is_control(token)]
    trunks = [rng.choices(words, k=length) for length in TRUNKS]
    context, alone = setting.context(model), setting.context(model, live=1)
    prefixes = Prefixes(context, Spill(ram_bytes=1 << 28))
    found: list[float] = []
    try:
        for _ in range(rounds):
            readers = []
            for _ in range(rng.randint(1, TOGETHER)):
                trunk = rng.choice(trunks)
                start = rng.randint(1, len(trunk))
                path = [*trunk[:start], *rng.choices(words, k=rng.randint(3, 40))]
                opened = prefixes.open(path)
                context.keep_first(opened.sequence, min(opened.length, start))
                readers.append(_Reader(opened.sequence, path, start, []))
            while any(context.length(one.sequence) < len(one.path) for one in readers):
                _read_some(context, prefixes, readers, rng)
            for one in readers:
                expected = read_alone(alone, one.path, one.start)
                found += [float(np.abs(a - b).max()) for a, b in zip(one.rows, expected, strict=True)]
                prefixes.close(one.sequence, one.path)
        return Found(
            greatest=max(found), median=float(np.median(found)), places=len(found), spilled=prefixes.spilled,
            restored=prefixes.restored,
        )  # fmt: skip
    finally:
        context.close()
        alone.close()


def read_alone(context: Context, tokens: Sequence[int], first: int = 0, most: int = BATCH) -> list[NDArray[np.float64]]:
    """Return log P(next token) after each of `tokens` from number `first` on, read anew by sequence 0."""
    context.keep_first(0, 0)
    rows: list[NDArray[np.float64]] = []
    while (at := context.length(0)) < len(tokens):
        part = _part(0, tokens, at, first, min(most, context.batch_tokens), context.max_rows)
        rows += _logprobs(context.decode([part])[0])
    return rows


def _read_some(context: Context, prefixes: Prefixes, readers: Sequence[_Reader], rng: Random) -> None:
    """Read one batch: a piece of each reader that has not come to its end."""
    room, rows = context.batch_tokens, context.max_rows
    parts, reading = [], []
    for one in readers:
        at = context.length(one.sequence)
        if at < len(one.path) and room:
            part = _part(one.sequence, one.path, at, one.start, min(room, rng.choice(PIECES)), rows)
            if part.tokens:
                room, rows = room - len(part.tokens), rows - len(part.rows)
                parts.append(part)
                reading.append(one)
    while True:
        try:
            found = context.decode(parts)
        except NoRoom:
            assert prefixes.make_room(sum(len(part.tokens) for part in parts)), "a pool of this size is enough"
            continue
        break
    for one, new in zip(reading, found, strict=True):
        one.rows += _logprobs(new)


def _part(sequence: int, tokens: Sequence[int], at: int, first: int, size: int, rows: int) -> Part:
    """Return the next piece of `tokens`; rows are wanted from number `first` on, and at most `rows`."""
    piece = tokens[at : at + size]
    wanted = [n for n in range(len(piece)) if at + n >= first]
    if len(wanted) > rows:
        piece, wanted = piece[: wanted[rows]], wanted[:rows]
    return Part(sequence, piece, wanted)


def _logprobs(rows: Sequence[Logits]) -> list[NDArray[np.float64]]:
    return [log_softmax(row) for row in rows]
