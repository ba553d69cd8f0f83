"""Prompt lookup: what followed the same tokens before is read ahead as a draft, where that is measured to pay.

After A. Saxena, "Prompt Lookup Decoding" (2023, github.com/apoorvumang/prompt-lookup-decoding). A draft changes how fast
a reply comes, not what it is: each of its tokens is taken only if it is what is chosen from the logits before it. Those
are rounded otherwise in a larger batch, which can change what a seed draws: so nothing is guessed where tokens are drawn.

Whether one pays depends on the machine: on two cores a batch of 8 tokens of a 1B model takes as long as 4 or 7 alone, on
a GPU as long as one. So both sides are learnt while decoding: how often the next token is the one looked up (`Odds`, also
where nothing is drafted), and what batches cost (`Pace`). Under a grammar nothing is guessed: what is forced comes for
nothing already, and in calls the guesses saved one batch in six and cost a tenth more time. Not thread-safe: both belong
to the scheduler's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Drafting", "Lookup", "Odds", "Pace"]

MIN_MATCH = 3  # tokens alike before what follows them is worth a guess
MAX_MATCH = 16  # tokens; longer ones are no surer
MAX_DRAFT = 15  # with the token before it a batch of 16
_ASSUMED = {False: (0.8, 0.35), True: (0.05, 0.05)}  # by GPU or not: what token 2, and each later one, adds; measured
_GAIN = 1.1  # a draft must promise that much more speed
_MEMORY = 0.98  # what one more observation leaves of the earlier ones
_FEW = 4  # batches of a size: one may have been held up by something else
_STALE = 256  # single tokens, after which the other sizes are tried anew


class Lookup:
    """The tokens so far, and what came after the last of them when they came before."""

    def __init__(self, tokens: Sequence[int]) -> None:
        """Take the prompt; guesses begin with what is appended."""
        self._tokens, self._first = list(tokens), len(tokens)
        self._after: dict[tuple[int, ...], int] | None = None  # the latest place after each MIN_MATCH tokens
        self._next = -1  # where the guess stands
        self.match = 0
        """How many tokens before the guess are alike, at most MAX_MATCH; 0: there is no guess."""

    def append(self, token: int) -> None:
        """Go on by one token."""
        tokens = self._tokens
        was_right = self.match and tokens[self._next] == token
        tokens.append(token)
        size = len(tokens)
        if size - self._first < MIN_MATCH:
            return
        if self._after is None:
            runs = zip(*(tokens[n:-1] for n in range(MIN_MATCH)), strict=False)
            self._after = dict(zip(runs, range(MIN_MATCH, size), strict=False))
        last = tuple(tokens[-MIN_MATCH:])
        before = self._after.get(last, 0)
        self._after[last] = size
        if was_right:
            self._next, self.match = self._next + 1, min(self.match + 1, MAX_MATCH)
        else:
            self._next, self.match = before, self._matching(before) if before else 0

    def ahead(self, most: int) -> list[int]:
        """Return the guess for the next `most` tokens; empty where there is none."""
        if not self.match:
            return []
        found = self._tokens[self._next : self._next + most]
        for n in range(most - len(found)):  # what repeats goes on repeating
            found.append(found[n])
        return found

    def _matching(self, place: int) -> int:
        """Return how many tokens before `place` are the last ones."""
        tokens, size = self._tokens, len(self._tokens)
        most = min(MAX_MATCH, place, size - self._first)
        return next((n for n in range(MIN_MATCH, most) if tokens[place - 1 - n] != tokens[size - 1 - n]), most)


class Odds:
    """How often a guess was right, by the length of its match; what is long ago counts less and less."""

    def __init__(self) -> None:
        self._right = np.ones(MAX_MATCH + 1)
        self._seen = np.full(MAX_MATCH + 1, 3.0)

    def note(self, match: int, right: bool) -> None:
        """Remember one guess."""
        self._right[match] = _MEMORY * self._right[match] + right
        self._seen[match] = _MEMORY * self._seen[match] + 1

    def of(self, match: int) -> float:
        """Return the probability that a guess is right."""
        return float(self._right[match] / self._seen[match])


class Pace:
    """How long a batch takes by its number of tokens, each with its logits; in seconds."""

    def __init__(self, *, on_gpu: bool = False) -> None:
        """Begin with what is usual on a CPU, or on a GPU."""
        second, later = _ASSUMED[on_gpu]
        sizes = np.arange(1, 2 * MAX_DRAFT)
        self._usual = 1 + second * (sizes > 1) + later * np.maximum(0, sizes - 2)
        self._last = dict[int, deque[float]]()  # the last few of each size; the least of them counts
        self._begun = set[int]()  # sizes read once: the first time llama.cpp makes room for it
        self._singles = 0
        self._curve: list[float] = []

    def note(self, tokens: int, rows: int, seconds: float) -> None:
        """Remember one batch; those that ask for few rows, or are large, tell nothing."""
        if 2 * rows < tokens or tokens > MAX_DRAFT + 1:
            return
        if tokens not in self._begun:
            self._begun.add(tokens)
            return
        self._singles += tokens == 1
        if self._singles == _STALE:
            self._last, self._singles = {1: self._last.get(1, deque(maxlen=_FEW))}, 0
        self._last.setdefault(tokens, deque(maxlen=_FEW)).append(seconds)
        self._curve = []

    def of(self, tokens: int) -> float:
        """Return the seconds that a batch of `tokens` takes; 0 where no single token was read yet."""
        if 1 not in self._last:
            return 0.0
        if not self._curve:
            known = sorted((size, min(seconds)) for size, seconds in self._last.items())
            sizes = [size for size, _ in known]
            factors = [seconds / self._usual[size - 1] for size, seconds in known]
            self._curve = (self._usual * np.interp(np.arange(1, 2 * MAX_DRAFT), sizes, factors)).tolist()
        return self._curve[min(tokens, len(self._curve)) - 1]


@dataclass(slots=True)
class Drafting:
    """What is learnt about drafts, for all replies of one model."""

    pace: Pace = field(default_factory=Pace)
    odds: Odds = field(default_factory=Odds)
    is_on: bool = True
    drafted: int = 0  # tokens read ahead
    accepted: int = 0  # of these, taken

    def length(self, match: int, waiting: int, most: int) -> int:
        """Return how many tokens to read ahead, so that the most are taken a second; 0: none.

        Args:
            match: of the guess.
            waiting: tokens that must be read anyway, 1 or more.
            most: not more than these.
        """
        if not match or not self.is_on or not self.pace.of(1):
            return 0
        taken, chance, best, best_rate = 1.0, 1.0, 0, _GAIN / self.pace.of(waiting)
        for n in range(1, min(most, MAX_DRAFT) + 1):
            chance *= self.odds.of(min(match + n - 1, MAX_MATCH))
            taken += chance
            if (rate := taken / self.pace.of(waiting + n)) > best_rate:
                best, best_rate = n, rate
        return best
