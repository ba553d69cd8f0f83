"""Control tokens, and contents that can never become one, whatever they say and wherever a template puts them.

The text of a control token in a content is split by a character that means nothing, and so is a content's edge
that the template's own text next to it could make one of; the parts are tokenised apart. A picture is another such
character while the template renders, and its tokens take that place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from agentkit.engine.dialects import Look, Vocabulary, pieces_of
from agentkit.engine.dialects.chat_template import as_json
from agentkit.engine.grammar import lark_text
from agentkit.errors import EngineError
from agentkit.messages import words_of

__all__ = ["Controls", "Shown"]

_PRIVATE = range(0xF0000, 0xFFFFD)  # characters that mean nothing
_FREE = frozenset({"content", "arguments"})  # may say anything; the other short texts are names and kinds


@dataclass(frozen=True, slots=True)
class Shown:
    """The pictures of a conversation: the character that stands for each, and their tokens in order."""

    mark: str = ""
    tokens: tuple[Sequence[int], ...] = ()


class Controls:
    """The control tokens of one vocabulary, by their texts."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Read them from `vocabulary`."""
        self._vocabulary = vocabulary
        self._ids = {piece.decode("utf-8", "replace"): token for piece, token in vocabulary.control_ids.items()}
        self.ids = frozenset(self._ids.values())
        self._texts = sorted((text for text in self._ids if len(text) > 1), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._texts)) or r"(?!)")
        self.literal = lru_cache(maxsize=1024)(self._literal)  # the same few texts for each request

    def __contains__(self, text: str) -> bool:
        """Whether `text` is a control token's."""
        return text in self._ids

    def opening(self, text: str) -> int | None:
        """Return the control token that `text` begins with, if it does."""
        found = self._pattern.match(text)
        return self._ids[found.group()] if found else None

    def _literal(self, text: str) -> str:
        """Return `text` in Lark, its control tokens as themselves; nothing for nothing."""
        parts, place = [], 0
        for found in self._pattern.finditer(text):
            parts += [_quoted(text[place : found.start()]), f"<[{self._ids[found.group()]}]>"]
            place = found.end()
        return " ".join(part for part in (*parts, _quoted(text[place:])) if part)

    def without_spaces(self, text: str) -> str:
        """Return `text` without the spaces after control tokens."""
        return re.sub(rf"({self._pattern.pattern}) +", r"\1", text)

    def marked(self, messages: Sequence[BaseMessage], look: Look) -> tuple[list[BaseMessage], Shown]:
        """Return `messages` with a mark on a line of its own for each picture or sound, and what the marks stand for."""
        pieces = [list(pieces_of(message)) if isinstance(message, HumanMessage) else [] for message in messages]
        if all(isinstance(piece, str) for said in pieces for piece in said):
            return list(messages), Shown()
        mark = _unused("".join(words_of(message) for message in messages))
        found: list[BaseMessage] = []
        tokens: list[Sequence[int]] = []
        for message, said in zip(messages, pieces, strict=True):
            media = [piece for piece in said if not isinstance(piece, str)]
            tokens += [look(piece, words_of(message)) for piece in media]
            text = "\n".join(piece if isinstance(piece, str) else mark for piece in said)
            found.append(message.model_copy(update={"content": text}) if media else message)
        return found, Shown(mark, tuple(tokens))

    def tokens(self, contents: Any, render: Callable[[Any], str], shown: Shown = Shown()) -> list[int]:
        """Return the tokens of `render(contents)`; `contents` are JSON values, with the marks of `shown` in them.

        Raises:
            EngineError: the template leaves out a picture, or repeats one.
        """
        splitter = _unused(as_json(contents))
        text = render(self._guarded(contents, splitter))
        if shown.mark and text.count(shown.mark) != len(shown.tokens):
            raise EngineError("the model's chat template has no place for pictures where they stand; leave them out")
        found: list[int] = []
        pictures = iter(shown.tokens)
        for n, between in enumerate(text.split(shown.mark) if shown.mark else [text]):
            found += next(pictures) if n else ()
            for part in between.split(splitter):
                found += self._vocabulary.tokenise(part, special=True)
        return found

    def _guarded(self, value: Any, splitter: str, key: str = "") -> Any:
        """Return `value` with its texts split; `key` says what it is a part of."""
        if isinstance(value, str):
            return self._split(value, splitter, is_free=key in _FREE)
        if isinstance(value, Mapping):
            inner = {name: key if key in _FREE else name for name in value}
            return {self._split(n, splitter): self._guarded(value[n], splitter, inner[n]) for n in value}
        return [self._guarded(one, splitter, key) for one in value] if isinstance(value, list | tuple) else value

    def _split(self, text: str, splitter: str, *, is_free: bool = False) -> str:
        text = self._starts.sub(lambda found: found.group() + splitter, text)
        words = text.strip()  # templates may trim
        if not words:
            return text
        before, after = text[: text.index(words)], text[text.index(words) + len(words) :]
        longest = min(len(words), self._longest)
        is_inside = is_free and any(words in control for control in self._texts)
        if is_inside or any(words[:n] in self._tails for n in range(1, longest + 1)):
            before += splitter
        if is_inside or any(words[-n:] in self._heads for n in range(1, longest + 1)):
            after = splitter + after
        return before + words + after

    @cached_property
    def _starts(self) -> re.Pattern[str]:
        return re.compile(rf"(?=(?:{self._pattern.pattern})).", re.DOTALL)

    @cached_property
    def _heads(self) -> frozenset[str]:
        return frozenset(text[:n] for text in self._texts for n in range(1, len(text)))

    @cached_property
    def _tails(self) -> frozenset[str]:
        return frozenset(text[n:] for text in self._texts for n in range(1, len(text)))

    @cached_property
    def _longest(self) -> int:
        return len(self._texts[0]) if self._texts else 0


def _unused(text: str) -> str:
    """Return a character that means nothing and is not in `text`."""
    return next(chr(code) for code in _PRIVATE if chr(code) not in text)


def _quoted(text: str) -> str:
    return lark_text(text) if text else ""
