"""A tokenizer for small worlds: whole words, single digits, single signs.

Numbers are read digit by digit, so that every number can be read and written. A word that training rows never had falls apart into
letters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["ASK_END", "END", "PAD", "Tokenizer"]

PAD, ASK_END, END, UNKNOWN = 0, 1, 2, 3
SPECIAL = ("<pad>", "<answer>", "<end>", "<unknown>")
WORDS = 2_000  # most frequent ones
TWICE = 2  # times a word has to be there

_PIECE = re.compile(r" ?[^\W\d_]+|\d| ?[^\w\s]|.", re.DOTALL)


class Tokenizer:
    """Words of some texts, each with a number.

    Args:
        texts: what it will have to read and write; the same texts give the same tokenizer.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_PIECE.findall(text))
        letters = sorted({letter for piece in counts for letter in piece})
        words = [piece for piece, often in counts.most_common() if len(piece) > 1 and often >= TWICE]
        words = sorted(words, key=lambda piece: (-counts[piece], piece))[:WORDS]
        self.pieces: list[str] = [*SPECIAL, *letters, *words]
        self._numbers = {piece: number for number, piece in enumerate(self.pieces)}

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens."""
        found: list[int] = []
        for piece in _PIECE.findall(text):
            number = self._numbers.get(piece)
            found += [number] if number is not None else [self._numbers.get(letter, UNKNOWN) for letter in piece]
        return found

    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text of tokens, without the special ones."""
        return "".join(self.pieces[number] for number in numbers if number >= len(SPECIAL))
