"""Arguments that can only be what somebody said: the grammar of a call's arguments.

Ways to hold an argument, all by alternatives worked out before decoding, so that a small model chooses and cannot
garble:

- **grounded** (`ToolRules.grounded`): a whole literal of anything seen (`context`), or of the user's and
  configuration's words only (`trusted`); a run of whole words of those, such as its schema allows (`words`), or a whole
  clause (`clause`); or any text with no number in it that was not seen (`numbers`);
- **quoted**: a text is a run of whole words of the conversation, where the model was trained to quote; what is
  grounded is then rather a name than a word (`agentkit.literals.pointed`);
- otherwise whatever the schema allows.

A piece of a literal is never a literal (`agentkit.literals`). Where nothing can stand in a required argument, the tool
cannot be called. A model that was not trained to quote is bigger, and held less (`ArgumentRules.held`).
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVar, cast

from agentkit.engine.dialects.allowed import expression, is_anything
from agentkit.engine.dialects.candidates import DEFINITIONS, NOTES, Candidates, candidates_of
from agentkit.engine.dialects.grounding import MAX_CHARS, Sources, newest, runs, spans_of, window
from agentkit.engine.grammar import json_rule, lark_text
from agentkit.errors import CannotEnforce
from agentkit.literals import spans
from agentkit.protocols import Ground
from agentkit.spoken_numbers import spoken_numbers
from agentkit.types import Effect, Grounding, JsonSchema, ToolSpec

__all__ = ["ArgumentRules", "Form", "check_grounded", "declared_grounds", "definitions_of", "text_terminal"]

MAX_KNOWN = 400  # numbers, and words of a text that must have been seen; the newest
SMALL_NUMBERS = (*range(13), 100)  # may stand in a calculation without having been seen: squares, halves, per cent
_PLAIN = frozenset({"type", "title", "description", "default"})
_OBJECT = frozenset({"type", "properties", "required", "additionalProperties", "$schema", *NOTES, *DEFINITIONS})
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_PRIVATE = range(0xF0000, 0xFFFFD)  # characters that mean nothing
_UNQUOTED, _UNBROKEN = re.compile(r'["\\\x00-\x1f]+'), re.compile(r"[\x00-\x1f]+")
_WORD = re.compile(r"\S*")
_PROBES = ("x", "x://x")
_NO_NUMBER = r"/([^0-9.,\"\\\x00-\x1f]|, )+/"
_NO_NUMBER_RAW = r"/([^0-9.,\x00-\x1f]|, )+/"
_MARKED = re.compile(r"[0-9./\\_@]")

T = TypeVar("T")
_KEPT = 256  # of what was written about tools
_kept: dict[Hashable, tuple[ToolSpec, Any, dict[str, str]]] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Form:
    """How a text is written as an argument: what stands around it, and whether inside it is JSON."""

    opens: str = '"'
    closes: str = '"'
    is_json: bool = True

    def alternatives(self, texts: Sequence[str]) -> str:
        """Return `texts` as Lark writes alternatives; those whose end one could not tell are left out."""
        if not self.is_json:
            texts = [text for text in texts if (text + self.closes).find(self.closes) == len(text)]
        if not texts:
            return ""
        everything = "".join(texts)
        between = next(letter for letter in chain("|^~`", map(chr, _PRIVATE)) if letter not in everything)
        together = between.join(texts)  # all at once, which is far quicker
        if self.is_json:
            together = json.dumps(together, ensure_ascii=False)[1:-1]
        return lark_text(together).replace(between, '" | "')


JSON_TEXT = Form()


class ArgumentRules:
    """The arguments of one request's tools as Lark expressions; the terminals that these name are in `terminals`."""

    def __init__(self, sources: Sources) -> None:
        """Keep what arguments may be taken from."""
        self._sources = sources
        self._terminals: dict[str, str] = {}  # name: body

    @property
    def terminals(self) -> list[str]:
        """The rules of the terminals used so far."""
        return [f"{name}: {body}" for name, body in self._terminals.items()]

    def kept(self, spec: ToolSpec, way: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` writes about a tool, once for the same tool, `way` and texts."""
        key = (id(spec), way, self._sources)
        found = _kept.get(key)
        if found is None:
            before, self._terminals = self._terminals, {}
            try:
                found = (spec, make(), self._terminals)  # the tool too: while it is here, its id is nobody else's
            finally:
                self._terminals = before
            with _lock:
                _kept[key] = found
                while len(_kept) > _KEPT:
                    del _kept[next(iter(_kept))]
        self._terminals |= found[2]
        return cast("T", found[1])

    def call(self, spec: ToolSpec) -> str | None:
        """Return the expression of a tool's arguments as a JSON object; None where a required one cannot be given.

        Raises:
            CannotEnforce: an argument is grounded, but the schema says more than its properties can hold.
        """
        schema = spec.parameters
        if self.held(spec):
            check_grounded(spec)
        elif schema.keys() - _OBJECT or not schema.get("properties"):
            return json_rule(schema)
        required = set(schema.get("required", ()))
        members: list[tuple[str, bool]] = []
        for name in schema["properties"]:
            value = self.value(name, spec)
            if value is None and name in required:
                return None
            if value is not None:
                key = lark_text(json.dumps(name, ensure_ascii=False))
                members.append((f'{key} ": " {value}', name in required))
        return _object(members)

    def value(self, name: str, spec: ToolSpec, form: Form = JSON_TEXT) -> str | None:
        """Return the expression of argument `name`; None where it cannot be given."""
        about, how, sources = spec.parameters["properties"][name], self.held(spec).get(name), self._sources
        references = _references(name, spec, sources)
        if how == "context":
            return self._choice(candidates_of(spans_of(sources, how), name, spec), references, form)
        if how in ("trusted", "clause"):  # what stands for a result is nobody's word
            held = candidates_of(spans_of(sources, how), name, spec)
            return self._choice(held, (), form, self._allowed(name, spec))
        if how == "words" and about.keys() - _PLAIN:  # some runs of words are no value of it
            held = candidates_of(runs(sources.trusted), name, spec)
            return self._choice(held, (), form, self._allowed(name, spec))
        if how == "words":
            listed = self._allowed(name, spec)
            choices = [_quotation(sources.trusted, (), form), _around(listed, form) if listed else None]
            return f"({' | '.join(filter(None, choices))})" if any(choices) else None
        if how == "numbers":
            return _with_numbers(sources.seen, form)
        if sources.quotes and about.keys() <= _PLAIN:
            if about.get("type", "string") == "string":
                return _quotation(sources.seen, references, form) or json_rule(about)
            if about.get("type") in ("integer", "number"):
                seen = _numbers(sources.seen)
                return _lark_choice([one for one in seen if about["type"] == "number" or "." not in one])
        return json_rule({**definitions_of(spec.parameters), **about})

    def held(self, spec: ToolSpec) -> Mapping[str, Grounding]:
        """Return which arguments are held to be grounded, and how.

        All that the tool declares, and the sinks of its effects, for a model that quotes. Others find numbers of their
        own (seconds in a day), and may name a destination of their own as long as nobody but the user has spoken.
        """
        declared, sources = declared_grounds(spec), self._sources
        if not declared or (sources.quotes and not sources.allowed):
            return declared
        free: set[str] = set()
        if not sources.quotes:
            free = (
                {"numbers"} if len(sources.seen) > len(sources.trusted) else {"numbers", "trusted", "words", "clause"}
            )
        return {name: how for name, how in declared.items() if how not in free and not self._is_open(name, how, spec)}

    def _is_open(self, name: str, how: Grounding, spec: ToolSpec) -> bool:
        """Whether an allow list allows every destination."""
        return how in ("trusted", "words", "clause") and is_anything(self._sources.patterns(spec.name, name))

    def _allowed(self, name: str, spec: ToolSpec) -> str:
        """Return what an allow list lets a text be; nothing for what is no text of any kind."""
        patterns = self._sources.patterns(spec.name, name)
        return expression(patterns) if patterns and candidates_of(_PROBES, name, spec).texts else ""

    def grounds(self, spec: ToolSpec) -> dict[str, Ground]:
        """Return what each grounded argument may be taken from."""
        return {name: self._ground(name, how, spec) for name, how in self.held(spec).items()}

    def _ground(self, name: str, how: Grounding, spec: ToolSpec) -> Ground:
        sources = self._sources
        if how in ("context", "trusted"):
            found = window(sources, trusted=how == "trusted")
            held = candidates_of(found.spans, name, spec)
            own = candidates_of(window(sources, trusted=True).spans, name, spec)
            values = {*held.texts, *held.others}
            trusted = len(values & {*own.texts, *own.others})
            return Ground(source=how, alternatives=len(values), trusted=trusted, texts=found.texts, cut=found.cut)
        texts = sources.seen if how == "numbers" else sources.trusted
        cut = sum(map(len, texts)) > MAX_CHARS
        if how == "clause":
            said = candidates_of(spans_of(sources, how), name, spec).texts
            return Ground(source=how, alternatives=len(said), trusted=len(said), texts=len(texts), cut=cut)
        values = set(_lines(texts, JSON_TEXT) if how == "words" else _numbers(texts, written=True))
        trusted = len(values if how == "words" else values & set(_numbers(sources.trusted, written=True)))
        return Ground(source=how, alternatives=len(values), trusted=trusted, texts=len(texts), cut=cut)

    def _choice(self, held: Candidates, references: Sequence[str], form: Form, listed: str = "") -> str | None:
        name, body = _terminal(held.texts + tuple(references), held.others, form, listed)
        if not body:
            return None
        self._terminals[name] = body
        if held.several is None:
            return name
        least, most = held.several
        more = f'{name} (", " {name}){{{max(least, 1) - 1},{"" if most is None else most - 1}}}'
        return f'"[" {more} "]"' if least else f'"[" ({more})? "]"'


@lru_cache(maxsize=64)
def text_terminal(sources: Sources, names: tuple[str, ...]) -> str:
    """Return the Lark terminal TEXT of what a model that quotes may say: what looks like a number, a path, an address or
    an identifier was seen, or is one of `names`; everything else is free.
    """
    words = (word for text in reversed(sources.seen) for word in _marked(text))
    known = " | ".join(map(lark_text, _newest([*names, *words, *_numbers(sources.seen, written=True)])))
    free, literal = r"(/[^0-9.\\\/_@]/ | /\.[ \n]/)+", f"({known})"
    return f'TEXT: ({literal}? {free})+ {literal}? "."? | {literal} "."? | "."'  # two literals never touch


def declared_grounds(spec: ToolSpec) -> Mapping[str, Grounding]:
    """Return how the tool's arguments are grounded: as it says, and in trust where an effect or the network gets them.

    A sink of which nothing is said, and whose schema is such that it cannot be held, is left to policy.
    """
    rules = spec.rules
    if rules.effect in {Effect.PURE, Effect.READ} and not rules.egress:
        return rules.grounded
    left = [name for name in rules.sinks if name not in rules.grounded and _can_be_held(name, spec)]
    return {**rules.grounded, **dict.fromkeys(left, "trusted")} if left else rules.grounded


def _can_be_held(name: str, spec: ToolSpec) -> bool:
    if spec.parameters.keys() - _OBJECT or name not in spec.parameters.get("properties", {}):
        return False
    try:
        candidates_of((), name, spec)
    except CannotEnforce:
        return False
    return True


def check_grounded(spec: ToolSpec) -> None:
    """Refuse a tool whose grounded arguments cannot be held.

    Raises:
        CannotEnforce: its schema says more than its properties can hold, or lacks one of the arguments.
    """
    properties, grounded = spec.parameters.get("properties", {}), spec.rules.grounded
    if extra := spec.parameters.keys() - _OBJECT:
        raise CannotEnforce(f"tool '{spec.name}': its schema's '{min(extra)}' cannot be combined with grounding")
    if missing := grounded.keys() - properties.keys():
        raise CannotEnforce(f"tool '{spec.name}': it has no argument '{min(missing)}' to ground; mend `grounded`")
    for name in sorted(name for name, how in grounded.items() if how in ("words", "clause", "numbers")):
        if properties[name].get("type", "string") != "string":
            raise CannotEnforce(
                f"tool '{spec.name}': argument '{name}' is grounded in {grounded[name]}, but is no text"
            )


def definitions_of(schema: JsonSchema) -> dict[str, Any]:
    """Return the definitions that parts of `schema` may refer to."""
    return {key: schema[key] for key in DEFINITIONS if key in schema}


def _object(members: Sequence[tuple[str, bool]]) -> str:
    """Return the object of these members in their order, those not required left out at will."""
    needed = next((n for n, (_, required) in enumerate(members) if required), None)
    if needed is None:
        bodies = [""]
        for first, (member, _) in enumerate(members):
            bodies.append(" ".join([member, *(f'(", " {later})?' for later, _ in members[first + 1 :])]))
        return f'"{{" ({" | ".join(body for body in bodies if body)})? "}}"' if members else '"{" "}"'
    before = [f'({member} ", ")?' for member, _ in members[:needed]]
    after = [f'", " {member}' if required else f'(", " {member})?' for member, required in members[needed + 1 :]]
    return " ".join(['"{"', *before, members[needed][0], *after, '"}"'])


def _references(name: str, spec: ToolSpec, sources: Sources) -> list[str]:
    """Return the texts that stand for results, where the argument is a text that takes them."""
    takes = name in spec.rules.references and spec.parameters["properties"][name].get("type", "string") == "string"
    return [f"${n}" for n in range(1, sources.results + 1)] if takes else []


@lru_cache(maxsize=128)
def _terminal(texts: tuple[str, ...], others: tuple[str, ...], form: Form, listed: str) -> tuple[str, str]:
    """Return the name and the body of the terminal of these values; no body where there are none.

    One terminal, since as many rules take the lexer three times as long to build.
    """
    choices = list(map(lark_text, others))
    if listed:
        choices.append(_around(listed, form))
    if written := form.alternatives(texts):
        choices.append(_around(f"({written})", form))
    body = " | ".join(choices)
    return f"SPAN_{hashlib.blake2b(body.encode(), digest_size=12).hexdigest().upper()}", body


def _quotation(texts: tuple[str, ...], references: Sequence[str], form: Form) -> str | None:
    """Return the text of a run of whole words of one line of the texts."""
    runs = [f"%regex {json.dumps({'substring_words': line}, ensure_ascii=False)}" for line in _lines(texts, form)]
    choices = [*runs, *map(lark_text, references)]
    return _around(f"({' | '.join(choices)})", form) if choices else None


@lru_cache(maxsize=64)
def _lines(texts: tuple[str, ...], form: Form) -> tuple[str, ...]:
    """Return the lines of the window, none of its words cut in two."""
    lines: dict[str, None] = {}
    for text, length in newest(texts):
        shown = text[-length:] if length else ""
        if length < len(text) and not text[-length - 1].isspace():
            shown = shown[len(_WORD.match(shown)[0]) :]  # type: ignore[index]  # may be empty
        lines |= {line: None for line in (_UNQUOTED if form.is_json else _UNBROKEN).split(shown) if line.strip()}
    return tuple(lines)


def _with_numbers(seen: tuple[str, ...], form: Form) -> str:
    """Return the text in which every number was seen, is small, or refers to a result."""
    numbers = " | ".join(map(lark_text, _numbers(seen, written=True)))
    free = _NO_NUMBER if form.is_json else _NO_NUMBER_RAW
    return _around(f"({free})? (({numbers}) {free})* ({numbers})?", form)


def _around(inside: str, form: Form) -> str:
    opens = f"{lark_text(form.opens)} " if form.opens else ""
    return f"{opens}{inside} {lark_text(form.closes)}"


@lru_cache(maxsize=64)
def _numbers(texts: tuple[str, ...], *, written: bool = False) -> tuple[str, ...]:
    """Return the numbers of the texts, newest first, with the small ones; `written` keeps thousands separators."""
    found = [number for text in reversed(texts) for number in _numbers_in(text, written=written)]
    return _newest([*found, *map(str, SMALL_NUMBERS)])


@lru_cache(maxsize=256)
def _numbers_in(text: str, *, written: bool) -> tuple[str, ...]:
    found: list[str] = []
    start = max(0, len(text) - MAX_CHARS)
    while 0 < start < len(text) and (text[start - 1].isdigit() or text[start - 1] in ",."):
        start += 1  # into no number
    for match in _NUMBER.findall(text, start):
        bare = match.replace(",", "")
        found += [match, bare] if written else [str(int(bare)) if bare.isdigit() else bare.lstrip("0") or "0"]
    found += map(str, spoken_numbers(text[start:]))
    return _newest(found)


@lru_cache(maxsize=256)
def _marked(text: str) -> tuple[str, ...]:
    return tuple(word for word in spans(text, None) if " " not in word and _MARKED.search(word))


def _newest(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))[:MAX_KNOWN]


def _lark_choice(texts: Sequence[str]) -> str | None:
    return f"({' | '.join(map(lark_text, texts))})" if texts else None
