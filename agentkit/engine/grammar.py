"""Constrained decoding by llguidance: what may come next, and what must.

Guarantees: what is decoded under a `Constraint` is in its grammar; JSON has ", " and ": " as separators, keys
in the schema's order and no other white space, as `json.dumps(..., ensure_ascii=False)` writes it. A
schema that llguidance cannot hold is refused by tool and path; nothing is loosened in silence, except that
`format`s that say nothing about the text (such as `path`) are left out.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from agentkit.errors import CannotEnforce, EngineError
from agentkit.types import JsonSchema

__all__ = ["FREE_FORMATS", "Constraint", "Grammars", "json_rule", "lark_text"]

_JSON = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": '"\\bfnrt',
}
FREE_FORMATS = frozenset({"path", "file-path", "directory-path", "password", "binary", "byte", "json-string"})
_KEPT = 64  # compiled grammars
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x7f-\x9f\u2028\u2029]")


def lark_text(text: str) -> str:
    """Return `text` as a Lark string; llguidance's lexer refuses bare control characters, and knows `\\u`."""
    written = json.dumps(text, ensure_ascii=False)
    if written.isascii() and "\x7f" not in written:
        return written
    return _CONTROL.sub(lambda odd: f"\\u{ord(odd[0]):04x}", written)


def json_rule(schema: JsonSchema) -> str:
    """Return the Lark expression of JSON texts that fit `schema`; an object has no other keys than it names."""
    held = _without_what_says_nothing(dict(schema))
    if "properties" in held or held.get("type") == "object":
        held = {"type": "object", "additionalProperties": False, **held}
    return f"%json {json.dumps({**held, 'x-guidance': _JSON}, ensure_ascii=False)}"


class Grammars:
    """Compiles grammars for one vocabulary, and remembers the last of them; thread-safe."""

    def __init__(self, vocabulary: LLTokenizer, n_vocab: int) -> None:
        self._vocabulary, self._n_vocab = vocabulary, n_vocab
        self._kept: OrderedDict[str, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def constraint(self, lark: str, schemas: Mapping[str, JsonSchema]) -> Constraint:
        """Return a fresh constraint; `schemas` are those inside `lark`, by whose they are.

        Raises:
            CannotEnforce: llguidance refuses one of them; names it and the path in it.
        """
        with self._lock:
            return Constraint(self._compiled(lark, schemas).deep_copy(), self._n_vocab)

    def _compiled(self, lark: str, schemas: Mapping[str, JsonSchema]) -> LLMatcher:
        if lark not in self._kept:
            for owner, schema in schemas.items():
                if _HALF_PAIR.search(json_rule(schema)):
                    raise CannotEnforce(f"{owner} holds half of a surrogate pair, which no text can; take it out")
            source = LLMatcher.grammar_from_lark(_HALF_PAIR.sub("?", lark))  # as in the prompt
            matcher = LLMatcher(self._vocabulary, source, log_level=0)
            if matcher.is_error():
                raise CannotEnforce(self._blame(matcher.get_error(), schemas))
            self._kept[lark] = matcher
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(lark)
        return self._kept[lark]

    def _blame(self, error: str, schemas: Mapping[str, JsonSchema]) -> str:
        for owner, schema in schemas.items():
            if refused := self._refused(schema, schema, ""):
                path, why = refused
                return f"{owner}: the schema at '{path or '/'}' cannot be enforced ({why}); state it in other words"
        return f"the grammar cannot be compiled ({_first_line(error)})"

    def _refused(self, schema: Any, root: JsonSchema, path: str) -> tuple[str, str] | None:
        """Return the deepest path in `schema` that llguidance refuses, with its reason."""
        definitions = {key: root[key] for key in ("$defs", "definitions") if key in root}
        alone = {**definitions, **schema} if isinstance(schema, Mapping) else {}
        error = LLMatcher.validate_grammar(f"start: {json_rule(alone)}", self._vocabulary)
        if not error or error.startswith("WARNING"):
            return None
        for key, inner in _inner_schemas(schema):
            if found := self._refused(inner, root, f"{path}/{key}"):
                return found
        return path, _first_line(error).partition("failed to compile JSON schema: ")[2] or _first_line(error)


class Constraint:
    """Where one decoding stands in its grammar."""

    is_free = False

    def __init__(self, matcher: LLMatcher, n_vocab: int) -> None:
        self._matcher, self._n_vocab = matcher, n_vocab
        self._bits = b""  # of the tokens that may come next, where they have been asked for

    @property
    def is_complete(self) -> bool:
        """Whether nothing but an end can follow."""
        return bool(self._matcher.is_stopped())

    def forced(self) -> list[int]:
        """Return the tokens that must come next, none where there is a choice; they are not taken yet."""
        found = list(self._matcher.compute_ff_tokens())
        if not found and (only := int.from_bytes(self._allowed(), "little")).bit_count() == 1:
            found = [only.bit_length() - 1]
        return found

    def mask(self) -> NDArray[np.uint8]:
        """Return 1 for each token that may come next, 0 for the others."""
        return np.unpackbits(np.frombuffer(self._allowed(), np.uint8), bitorder="little")[: self._n_vocab]

    def take(self, tokens: Sequence[int]) -> None:
        """Go on by `tokens`.

        Raises:
            EngineError: they are not in the grammar, or it has become too complex to follow.
        """
        self._bits = b""
        self._matcher.consume_tokens(list(tokens))
        self._check()

    def _allowed(self) -> bytes:
        if not self._bits:
            self._bits = self._matcher.compute_bitmask()
            self._check()
        return self._bits

    def _check(self) -> None:
        if self._matcher.is_error():
            raise EngineError(f"the grammar cannot go on: {_first_line(self._matcher.get_error())}")


def _inner_schemas(schema: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(schema, Mapping):
        return
    for key in ("properties", "$defs", "definitions"):
        named = schema.get(key)
        for name, inner in named.items() if isinstance(named, Mapping) else ():
            yield f"{key}/{name}", inner
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        listed = schema.get(key)
        for n, inner in enumerate(listed if isinstance(listed, list | tuple) else ()):
            yield f"{key}/{n}", inner
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            yield key, schema[key]


def _without_what_says_nothing(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        kept = {key: value for key, value in schema.items() if not _says_nothing(key, value)}
        return {
            key: value if key in ("enum", "const", "default") else _without_what_says_nothing(value)
            for key, value in kept.items()
        }
    return [_without_what_says_nothing(item) for item in schema] if isinstance(schema, list | tuple) else schema


def _says_nothing(key: str, value: Any) -> bool:
    if key == "format":
        return isinstance(value, str) and value in FREE_FORMATS
    return key == "uniqueItems" and value is False


def _first_line(error: str) -> str:
    return error.strip().splitlines()[0] if error.strip() else "no reason given"
