"""Text that has begun to repeat itself, seen while it is being written.

Small models fall into repeating a phrase for ever. Works on characters, so that it is the same for every engine; 240
of them are some 64 tokens. Rows of dashes, tables and code are not speech: units without a letter or digit, table
rows and fenced code are left alone. What is written into a tool's arguments may well be rows of zeros: there it takes
far more.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_PERIOD = 240  # characters
REPEATS, MIN_CHARS = 6, 120  # in speech
ARGUMENT_REPEATS, ARGUMENT_MIN_CHARS = 24, 1_200  # in arguments


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


class DegenerationWatch:
    """Reads a stream piece by piece: `feed` returns True from the moment it repeats itself.

    Args:
        arguments: whether it is a tool call's arguments rather than speech.
    """

    def __init__(self, *, arguments: bool = False) -> None:
        self._repeats = ARGUMENT_REPEATS if arguments else REPEATS
        self._least = ARGUMENT_MIN_CHARS if arguments else MIN_CHARS
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
        self._tail = (self._tail + text)[-MAX_PERIOD * self._repeats :]
        if self._fences % 2 or self._line.lstrip().startswith("|"):
            return False
        period = repeated_suffix(self._tail, max_period=MAX_PERIOD, repeats=self._repeats, at_least=self._least)
        return period is not None and any(char.isalnum() for char in self._tail[-period:])

    def _end_line(self) -> None:
        line = self._line.strip()
        self._line = ""
        if line.startswith("```"):
            self._fences += 1
        if line.startswith(("```", "|")):
            self._tail = ""
