"""One piece of decoding, ready for the thread that owns the context: what to begin with, under what, read by whom."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agentkit.engine.dialects import Reader
from agentkit.engine.llama.adapters import AdapterSet
from agentkit.engine.llama.context import Context
from agentkit.engine.llama.drafts import Drafting
from agentkit.engine.llama.prefixes import Prefixes
from agentkit.engine.stopping import StopFilter
from agentkit.errors import ContextFull
from agentkit.protocols import Delta, Ground, Sampling, TextDelta
from agentkit.types import Step

__all__ = ["Free", "Guide", "TextReader", "Work"]


class Guide(Protocol):
    """What may come next; `engine.grammar.Constraint` is one."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing but an end can follow."""
        ...

    def forced(self) -> list[int]:
        """Return the tokens that must come next; none where there is a choice."""
        ...

    def mask(self) -> NDArray[np.uint8]:
        """Return 1 for each token that may come next."""
        ...

    @property
    def is_free(self) -> bool:
        """Whether any text may come, so that nothing is ever forced."""
        ...

    def take(self, tokens: Sequence[int]) -> None:
        """Go on by `tokens`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one generation needs; everything here may be read by any thread, only `context` and `prefixes` belong to one."""

    prompt: Sequence[int]
    context: Context
    prefixes: Prefixes
    guide: Callable[[], Guide]
    drafting: Drafting
    reader: Callable[[], Reader]
    ends: frozenset[int]  # tokens that end it
    end_id: int  # the one that is put where a grammar is complete
    adapters: AdapterSet = ()
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int = 1024
    logprobs: int = 0
    tool_prior: Mapping[str, float] = field(default_factory=dict)
    choices: frozenset[int] = frozenset()  # tokens that choose a kind of step or a tool
    has_output: bool = False  # a final answer is JSON
    only_tool: str = ""  # the one there is
    grounds: Callable[[], Mapping[str, Mapping[str, Ground]]] = dict  # of the arguments of each tool
    emit: Callable[[Delta], None] = field(default=lambda _: None)

    def room(self) -> int:
        """Return how many tokens the reply may have.

        Raises:
            ContextFull: none.
        """
        room = min(self.max_tokens, self.context.size - len(self.prompt))
        if room < 1:
            raise ContextFull(
                f"the prompt has {len(self.prompt)} tokens, the context {self.context.size}: no room for a reply; "
                "shorten the conversation, or set engine.context higher"
            )
        return room


class Free:
    """No grammar: any token that is not a control token may come, and the ends."""

    is_complete, is_free = False, True

    def __init__(self, allowed: NDArray[np.uint8]) -> None:
        """Take what is allowed, 1 for each such token."""
        self._allowed = allowed

    def forced(self) -> list[int]:
        """Return nothing."""
        return []

    def mask(self) -> NDArray[np.uint8]:
        """Return the same at each place."""
        return self._allowed

    def take(self, tokens: Sequence[int]) -> None:
        """Go on."""


class TextReader:
    """Reads plain text: incremental UTF-8, and stop strings wherever the borders of tokens fall."""

    def __init__(self, pieces: Sequence[bytes], ends: frozenset[int], stop: Sequence[str] = ()) -> None:
        """Take the bytes of each token, the tokens that end the text, and the strings that do."""
        self._pieces, self._ends = pieces, ends
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._filter = StopFilter(stop)
        self._text: list[str] = []
        self._ids: list[int] = []

    @property
    def is_done(self) -> bool:
        """Whether a stop string has come."""
        return self._filter.stopped

    def feed(self, token: int) -> list[Delta]:
        """Take one token; return what may be shown."""
        self._ids.append(token)
        ended = token in self._ends
        text = self._filter.feed(self._utf8.decode(b"" if ended else self._pieces[token], final=ended))
        return self._shown(text + (self._filter.end() if ended and not self.is_done else ""))

    def tools_ahead(self, allowed: Iterable[int]) -> Mapping[int, tuple[str, ...]]:
        """Return nothing: there are no tools in a text."""
        return {}

    def finish(self, *, whole: bool) -> Step:
        """Return the text as a final step; `whole` or not, all that came before a stop is in it."""
        if not self.is_done:
            self._shown(self._filter.feed(self._utf8.decode(b"", final=True)) + self._filter.end())
        return Step(kind="final", text="".join(self._text), token_ids=tuple(self._ids))

    def _shown(self, text: str) -> list[Delta]:
        if text:
            self._text.append(text)
        return [TextDelta(text=text)] if text else []
