"""What the Llamas of a sweep read, as bytes: Python's own docstrings, or a file, with a part held out.

A passage is held out by its own hash, whatever stands around it, and passages that stand there twice are kept once, so that
none that is held out is trained on. A byte is a token.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from agentkit.errors import InvalidParams
from agentkit_training.tokenizer import standard_library_texts

__all__ = ["HELD_OUT", "Text", "read_text"]

HELD_OUT = 16  # one passage of so many
PASSAGES = 64  # a file of fewer is cut into lines
BETWEEN = b"\n\n"


@dataclass(frozen=True)
class Text:
    """What is trained on, and what the loss is measured on."""

    name: str
    train: bytes
    held_out: bytes

    @property
    def digest(self) -> str:
        """The SHA-256 of both parts."""
        return hashlib.sha256(self.train + b"\0" + self.held_out).hexdigest()


def read_text(path: str | None) -> Text:
    """Return the text in a file, or the docstrings of Python's standard library where `path` is None.

    Raises:
        InvalidParams: the file cannot be read, or nothing of it is left to measure on.
    """
    if path is None:
        return _standard_library()
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InvalidParams(f"/text: {path} cannot be read ({error.strerror}); name a file of text") from error
    passages = re.split(rb"\n\s*\n", data)
    return _parted(Path(path).name, passages if len(passages) >= PASSAGES else data.split(b"\n"))


@lru_cache(maxsize=1)
def _standard_library() -> Text:
    """Return the docstrings; reading them takes seconds, and they do not change."""
    return _parted("docstrings of Python's standard library", (text.encode() for text in standard_library_texts()))


def _parted(name: str, passages: Iterable[bytes]) -> Text:
    kept: dict[bool, list[bytes]] = {False: [], True: []}
    for passage in dict.fromkeys(passages):
        if passage.strip():
            kept[hashlib.sha256(passage).digest()[0] % HELD_OUT == 0].append(passage)
    if not kept[True] or not kept[False]:
        raise InvalidParams(
            f"/text: {name} has too few different passages to hold some out; give more text, in paragraphs or lines"
        )
    return Text(name, BETWEEN.join(kept[False]), BETWEEN.join(kept[True]))
