"""What grounded arguments may be taken from: a conversation's texts by trust, and the spans of their newest part.

The window is the newest `MAX_CHARS` characters; in `context` the user's words have one of their own, so that no long
result drives them out. Where a window begins, no span is cut in two: one that does not stand in it whole is left out.
Everything is kept by text, so a conversation that grows by a message costs that message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from langchain_core.messages import AIMessage, BaseMessage

from agentkit.clauses import clauses
from agentkit.literals import pointed, spans
from agentkit.messages import own_words, words_of
from agentkit.types import Grounding

__all__ = ["MAX_CHARS", "Sources", "Window", "newest", "runs", "sources_of", "spans_of", "window"]

Allowed = Mapping[tuple[str, str], tuple[str, ...]]  # (tool, argument) -> patterns
MAX_CHARS = 8_000  # of text that arguments are taken from; the newest
MAX_SPANS = 1_000  # from one window; the newest
MAX_SPAN = 2_000  # characters; a longer one is no name
MAX_RUN, MAX_RUN_WORDS = 12, 200  # words of a run, and words that runs are made of; the newest
_PHRASE = re.compile(r"\w(?:[\w'’/.-]*\w)?(?:[ \t-]+\w(?:[\w'’/.-]*\w)?)*")  # words with nothing but room between
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The texts that arguments may be taken from, oldest first."""

    trusted: tuple[str, ...]  # the user's words, and configuration's
    seen: tuple[str, ...]  # those, and what tools gave
    results: int = 0  # how many results can be referred to as `$N`
    quotes: bool = False  # whether free texts must be words of the conversation
    allowed: tuple[tuple[str, str, tuple[str, ...]], ...] = ()  # tool, argument, patterns of an allow list

    @classmethod
    def of(
        cls,
        told: Iterable[tuple[str, bool]],
        *,
        results: int = 0,
        quotes: bool = False,
        allowed: Allowed = MappingProxyType({}),
    ) -> Sources:
        """Return the sources of texts that are given with whether they are trusted."""
        pairs = list(told)
        trusted = tuple(text for text, is_trusted in pairs if is_trusted)
        lists = tuple((tool, name, patterns) for (tool, name), patterns in allowed.items())
        return cls(
            trusted=trusted, seen=tuple(text for text, _ in pairs), results=results, quotes=quotes, allowed=lists
        )

    def patterns(self, tool: str, argument: str) -> tuple[str, ...]:
        """Return the patterns that the allow lists have for an argument."""
        return next((patterns for name, of, patterns in self.allowed if (name, of) == (tool, argument)), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The spans that an argument may be."""

    spans: tuple[str, ...]  # distinct, newest first
    texts: int  # how many texts were looked through
    cut: bool  # whether there was more text, or there were more spans, than are looked at


def sources_of(
    messages: Sequence[BaseMessage], *, results: int = 0, quotes: bool = False, allowed: Allowed = MappingProxyType({})
) -> Sources:
    """Return the sources of a conversation; what the model said itself is none."""
    told = (said for message in messages if not isinstance(message, AIMessage) for said in _told(message))
    return Sources.of(told, results=results, quotes=quotes, allowed=allowed)


@lru_cache(maxsize=64)
def window(sources: Sources, *, trusted: bool) -> Window:
    """Return what an argument may be that comes from trusted texts, or from any."""
    own = _window(sources.trusted, quotes=sources.quotes)
    if trusted:
        return own
    seen = _window(sources.seen, quotes=sources.quotes)
    together = dict.fromkeys((*seen.spans, *own.spans))
    return Window(spans=tuple(together), texts=max(seen.texts, own.texts), cut=seen.cut)


def newest(texts: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the texts in the window, the newest first, each with how many of its last characters are in it."""
    room = MAX_CHARS
    for text in reversed(texts):
        if room <= 0:
            return
        yield text, min(room, len(text))
        room -= len(text)


@lru_cache(maxsize=64)
def runs(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the runs of whole words of the newest text, at most `MAX_RUN` long, none across a comma or the end of a sentence."""
    found: dict[str, None] = {}
    left = MAX_RUN_WORDS
    for text, length in newest(texts):
        start = len(text) - length
        if start and not text[start - 1].isspace():  # into a word
            start = next((match.end() for match in _WORD.finditer(text, start)), len(text))
        for phrase in reversed(_PHRASE.findall(text, start)):
            words = [match.span() for match in _WORD.finditer(phrase)][-left:] if left else []
            left -= len(words)
            for n, (start, _) in enumerate(words):
                found |= dict.fromkeys(phrase[start:end] for _, end in words[n : n + MAX_RUN])
    return tuple(found)


def spans_of(sources: Sources, how: Grounding) -> tuple[str, ...]:
    """Return what an argument may be that is grounded in `context`, `trusted` or `clause`; the newest first."""
    if how != "clause":
        return window(sources, trusted=how == "trusted").spans
    said = (
        clauses(text[-length:])[length < len(text) :] for text, length in newest(sources.trusted)
    )  # none cut in two
    found = (one for some in said for clause in some for one in (clause, clause.rpartition(": ")[2]))
    return tuple(dict.fromkeys(one for one in found if one and len(one) <= MAX_SPAN))[:MAX_SPANS]


def _window(texts: tuple[str, ...], *, quotes: bool) -> Window:
    found: dict[str, None] = {}
    looked = 0
    for text, length in newest(texts):
        found |= dict.fromkeys(_names(text, None if length == len(text) else length, quotes=quotes))
        looked += 1
    short = [span for span in found if len(span) <= MAX_SPAN]
    cut = sum(map(len, texts)) > MAX_CHARS or len(short) > MAX_SPANS
    return Window(spans=tuple(short[:MAX_SPANS]), texts=looked, cut=cut)


@lru_cache(maxsize=256)
def _names(text: str, room: int | None, *, quotes: bool) -> tuple[str, ...]:
    """Return the spans that may be an argument; a model that quotes is not left to tell names from words."""
    found = spans(text, room)
    names = pointed(text) if quotes else frozenset()
    return tuple(span for span in found if span in names) or found


def _told(message: BaseMessage) -> Iterator[tuple[str, bool]]:
    """Yield a message's words, and whether they are the user's or configuration's; a nudge may quote anybody."""
    whole, own = words_of(message), own_words(message)
    if own != [whole]:
        yield whole, False
    yield from ((text, True) for text in own)
