"""Text that has begun to repeat itself, seen while it is being written.

Small models fall into repeating a phrase for ever. Works on characters or token ids. Rows of dashes,
tables and code are not speech: units without a letter or digit, table rows and fenced code are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_PERIOD_TOKENS = 64
MAX_PERIOD_CHARS = 240
REPEATS = 6
MIN_TOKENS = 24
MIN_CHARS = 120


def repeated_suffix(
    sequence: Sequence[int] | str, *, max_period: int, repeats: int = REPEATS, at_least: int = 0
) -> int | None:
    """Return the period of the unit that `sequence` ends with `repeats` times over, or None.

    Args:
        sequence: token ids, or text.
        max_period: the longest unit looked for.
        repeats: how often the unit must stand there in a row.
        at_least: how long the whole repetition must be.
    """
    length = len(sequence)
    for period in range(1, min(max_period, length // repeats) + 1):
        span = max(period * repeats, -(-at_least // period) * period)
        if span <= length and sequence[length - span + period :] == sequence[length - span : length - period]:
            return period
    return None


def degenerate_tokens(tokens: Sequence[int]) -> bool:
    """Whether these token ids end in a repetition that will not end by itself."""
    tail = tokens[-MAX_PERIOD_TOKENS * REPEATS :]
    return repeated_suffix(tail, max_period=MAX_PERIOD_TOKENS, at_least=MIN_TOKENS) is not None


class DegenerationWatch:
    """Reads a stream piece by piece: `feed` returns True from the moment it repeats itself."""

    def __init__(self) -> None:
        self._tail = ""
        self._fences = 0
        self._line = ""

    def feed(self, text: str) -> bool:
        """Take the next piece of text; return whether it has degenerated."""
        for char in text:
            if char == "\n":
                self._end_line()
            else:
                self._line += char
        self._tail = (self._tail + text)[-MAX_PERIOD_CHARS * REPEATS :]
        if self._fences % 2 or self._line.lstrip().startswith("|"):
            return False
        period = repeated_suffix(self._tail, max_period=MAX_PERIOD_CHARS, at_least=MIN_CHARS)
        return period is not None and any(char.isalnum() for char in self._tail[-period:])

    def _end_line(self) -> None:
        line = self._line.strip()
        self._line = ""
        if line.startswith("```"):
            self._fences += 1
        if line.startswith(("```", "|")):
            self._tail = ""
