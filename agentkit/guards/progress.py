"""Was it progress? A call is, when it changes the world in a way not done before, or tells something new.

Progress: a state that never stood before; another outcome of the same call; an output a tenth of whose word
triples were in no earlier output; a change at a place, or in words, not used before. Not progress: failing, blocked
calls, the same arguments in another order or wording, and whatever the model says of its own progress. A new call that
looks and finds nothing new counts half: going through a list with "ok" after each item looks like that too. One that
touches nothing at all (`pure`) is worth what it says, so there it counts whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from agentkit.guards.canonical import masked
from agentkit.protocols import HistoryItem
from agentkit.types import Done, Effect

CHANGES = frozenset({Effect.WRITE, Effect.IRREVERSIBLE})
_SHINGLE = 3  # words
_NOVEL = 0.10  # share of an output that must be new
_NEW_WORDS = 0.15  # share of the words of a change that must be new where nothing else about it is
_A_PIECE = 200  # characters: a text of that length is a piece of work, and any change of it is one
_SAME_WORDS = 0.75  # Jaccard: a change told in so many of the words of an earlier one is told again
_LONG = 400  # characters: of longer outputs the history keeps the beginning, so that only their digest tells


def cost(item: HistoryItem, earlier: Sequence[HistoryItem]) -> float:
    """Return 0 for progress, 1 for none, 0.5 for a new call that told nothing new.

    Args:
        item: a call, its classes filled in.
        earlier: the calls before it.
    """
    if not (isinstance(item.outcome, Done) or item.failure_is_data) or item.outcome is None:
        return 1.0
    if item.state:
        return 1.0 if any(other.state == item.state for other in earlier) else 0.0
    same = [other.outcome_key for other in earlier if other.key == item.key]
    if same and item.outcome_key not in same:
        return 0.0
    if _tells_something_new(item, earlier):
        return 0.0
    if same or item.effect is Effect.PURE:
        return 1.0
    return _cost_of_change(item, earlier) if item.effect in CHANGES else 0.5


def _tells_something_new(item: HistoryItem, earlier: Sequence[HistoryItem]) -> bool:
    text = item.outcome.text if item.outcome is not None else ""
    if len(text) >= _LONG and not any(other.outcome_key == item.outcome_key for other in earlier):
        return True
    mine = shingles(text)
    wanted = max(1.0, _NOVEL * len(mine))
    new = mine.difference(*(shingles(other.outcome.text) for other in earlier if other.outcome is not None))
    return len(new) >= wanted


def _cost_of_change(item: HistoryItem, earlier: Sequence[HistoryItem]) -> float:
    """Return 0 for a change that names something new or is told in other words, 1 for one told before in much the same."""
    if item.call is not None and sum(map(len, _texts(item.call.arguments))) >= _A_PIECE:
        return 0.0
    names, words = _said(item)
    before = [_said(other) for other in earlier if other.call and item.call and other.call.tool == item.call.tool]
    if names.difference(*(known for known, _ in before)):
        return 0.0
    if len(words.difference(*(known for _, known in before))) >= max(1.0, _NEW_WORDS * len(words)):
        return 0.0
    return 1.0 if any(len(words & known) >= _SAME_WORDS * len(words | known) for _, known in before) else 0.5


def _said(item: HistoryItem) -> tuple[frozenset[str], frozenset[str]]:
    assert item.call is not None  # the caller looked
    return _names_and_words(" ".join(_texts(item.call.arguments))[:4_000])


def _texts(value: object) -> Iterator[str]:
    """Yield what stands in some arguments; what they are called is the same in every call."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)
    else:
        yield str(value)


@lru_cache(maxsize=1_024)
def _names_and_words(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the numbers, paths and other names of some arguments, and all words of theirs."""
    tokens = re.findall(r"[\w./@:-]+", text.casefold())
    return frozenset(token for token in tokens if re.search(r"[\d/@]|\w\.\w", token)), frozenset(tokens)


@lru_cache(maxsize=1_024)
def shingles(text: str) -> frozenset[str]:
    """Return the word triples of a text; a shorter text is one piece."""
    words = masked(text).split()
    if len(words) < _SHINGLE:
        return frozenset({" ".join(words)} if words else ())
    return frozenset(" ".join(words[n : n + _SHINGLE]) for n in range(len(words) - _SHINGLE + 1))
