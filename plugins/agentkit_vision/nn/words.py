"""The words that the text tower knows: lower-case words and numbers, each with an id.

`3` and `three` are one word, up to twenty. What is not a word (punctuation, spaces) is not read. No torch here.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ModelFileError, ModelNotFound, UsageError

__all__ = ["PADDING", "UNKNOWN", "Words", "split"]

PADDING, UNKNOWN = 0, 1
FIRST = 2  # id of a word
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_WORD = re.compile(r"[0-9]+|[^\W\d_]+(?:'[^\W\d_]+)*")
_SPELT = {str(number): word for number, word in enumerate(NUMBERS)}


def split(text: str) -> list[str]:
    """Return the words of a text in lower case, numbers up to twenty spelt out.

    Letters of other widths become plain ones (Unicode NFKC), and both apostrophes are one.
    """
    plain = unicodedata.normalize("NFKC", text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return [_SPELT.get(word, word) for word in _WORD.findall(plain)]


@dataclass(frozen=True, slots=True)
class Words:
    """A vocabulary. Ids: 0 is padding, 1 an unknown word, then the words in their order.

    Attributes:
        words: the known words, each once, as `split` gives them.
    """

    words: tuple[str, ...]
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Number the words, and refuse what could never be met."""
        for word in self.words:
            if split(word) != [word]:
                raise UsageError(f"vocabulary: {word!r} is not a word as texts are split; it would never be met")
        ids = {word: place for place, word in enumerate(self.words, FIRST)}
        if len(ids) != len(self.words):
            twice = [word for word, count in Counter(self.words).items() if count > 1]
            raise UsageError(f"vocabulary: {', '.join(twice)} is there more than once")
        object.__setattr__(self, "_ids", ids)

    @classmethod
    def build(cls, texts: Iterable[str], *, least: int = 1) -> Words:
        """Return the words that texts hold at least `least` times, the most frequent first, equals by the alphabet.

        Number words from zero to twenty are known even where no text holds them.
        """
        counts = Counter(word for text in texts for word in split(text))
        kept = {word: count for word, count in counts.items() if count >= least}
        kept |= {word: counts[word] for word in NUMBERS}
        return cls(tuple(sorted(kept, key=lambda word: (-kept[word], word))))

    def __len__(self) -> int:
        """How many ids there are: padding, unknown and words."""
        return FIRST + len(self.words)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's words."""
        return [self._id(word) or UNKNOWN for word in split(text)]

    def batch(self, texts: Sequence[str], *, length: int) -> NDArray[np.int64]:
        """Return the ids of texts, (texts, longest of them), filled up with padding; at least one column.

        Raises:
            UsageError: a text has more than `length` words.
        """
        rows = [self.encode(text) for text in texts]
        longest = max((len(row) for row in rows), default=0)
        if longest > length:
            place = next(place for place, row in enumerate(rows) if len(row) > length)
            raise UsageError(f"{texts[place][:60]!r}: {len(rows[place])} words, and the model reads at most {length}; shorten it")  # fmt: skip
        ids = np.full((len(rows), max(longest, 1)), PADDING, np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
        return ids

    def unknown(self, text: str) -> list[str]:
        """Return the words of a text that are not known, each once, in their order."""
        return list(dict.fromkeys(word for word in split(text) if not self._id(word)))

    def _id(self, word: str) -> int | None:
        """Return the id of a word, or of what is before its apostrophe: `colour` of `colour's`; None where it knows neither."""
        return self._ids.get(word) or self._ids.get(word.partition("'")[0])

    def save(self, path: Path) -> None:
        """Write the words as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text(json.dumps({"words": self.words}, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Words:
        """Return saved words.

        Raises:
            ModelNotFound: there is no such file.
            ModelFileError: it is not a list of words.
        """
        try:
            told: Any = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ModelNotFound(
                f"{path}: there is no such file; it holds the words that the text tower knows"
            ) from error
        except ValueError as error:
            raise ModelFileError(f"{path}: not JSON: {error}") from error
        words = told.get("words") if isinstance(told, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ModelFileError(f"{path}: not a vocabulary, which is an object with a list of `words`")
        try:
            return cls(tuple(words))
        except UsageError as error:
            raise ModelFileError(f"{path}: {error}") from error
