"""Arguments that can only be what somebody said: the grammar of a call's JSON object.

Three ways to hold an argument, all by alternatives worked out before decoding, so that a small model chooses and
cannot garble:

- **grounded** (`ToolRules.grounded`): a whole literal of anything seen (`context`), or of the user's and
  configuration's words only (`trusted`); a run of whole words of those (`words`); or any text with no number in it that
  was not seen (`numbers`);
- **quoted**: a text is a run of whole words of the conversation, where the model was trained to quote; what is
  grounded is then rather a name than a word (`agentkit.literals.pointed`);
- otherwise whatever the schema allows.

A piece of a literal is never a literal (`agentkit.literals`). Where nothing can stand in a required argument, the tool
cannot be called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agentkit.engine.grammar import json_rule
from agentkit.errors import CannotEnforce
from agentkit.literals import literals, pointed
from agentkit.types import JsonSchema, ToolSpec

__all__ = ["Sources", "call_rule", "text_terminal"]

MAX_CHARS = 8_000  # of text that arguments are taken from; the newest
MAX_LITERALS = 400
SMALL_NUMBERS = (*range(13), 100)  # may stand in a calculation without having been seen: squares, halves, per cent
_PLAIN = frozenset({"type", "title", "description", "default"})
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_CONTROL = re.compile(r"[\x7f-\x9f\u2028\u2029]")
_MARKED = re.compile(r"[0-9./\\_@]")
_NO_NUMBER = r"/([^0-9.,\"\\\x00-\x1f]|, )+/"
_WORDS = {
    word: number
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {
    word: 10 * n
    for n, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The texts that arguments may be taken from, oldest first."""

    trusted: Sequence[str]  # the user's words, and configuration's
    seen: Sequence[str]  # those, and what tools gave
    results: int = 0  # how many results can be referred to as `$N`
    quotes: bool = False  # whether free texts must be words of the conversation


def call_rule(spec: ToolSpec, sources: Sources) -> str | None:
    """Return the Lark expression of a tool's arguments; None where a required one cannot be given.

    Raises:
        CannotEnforce: an argument is grounded, but the schema says more than its properties can hold.
    """
    schema = spec.parameters
    extra = schema.keys() - _PLAIN - {"properties", "required", "additionalProperties"}
    if extra or not schema.get("properties"):
        if spec.rules.grounded:
            raise CannotEnforce(f"tool '{spec.name}': its schema's '{min(extra)}' cannot be combined with grounding")
        return json_rule(schema)
    required = set(schema.get("required", ()))
    members: list[tuple[str, bool]] = []
    for name, about in schema["properties"].items():
        value = _value(name, about, spec, sources)
        if value is None and name in required:
            return None
        if value is not None:
            members.append((f"{_lark(json.dumps(name, ensure_ascii=False) + ': ')} {value}", name in required))
    return _object(members)


def text_terminal(sources: Sources, names: Iterable[str]) -> str:
    """Return the Lark terminal TEXT of what a model that quotes may say: what looks like a number, a path, an address or
    an identifier was seen, or is one of `names`; everything else is free.
    """
    words = (literal for text in reversed(sources.seen) for literal in sorted(literals(text)) if " " not in literal)
    seen = _newest([*names, *(word for word in words if _MARKED.search(word)), *_numbers(sources.seen, written=True)])
    known = " | ".join(_lark(word) for word in seen)
    free, literal = r"(/[^0-9.\\\/_@]/ | /\.[ \n]/)+", f"({known})"
    return f'TEXT: ({literal}? {free})+ {literal}? "."? | {literal} "."? | "."'  # two literals never touch


def _object(members: Sequence[tuple[str, bool]]) -> str:
    """Return the object of these members in their order, those not required left out at will."""
    needed = next((n for n, (_, required) in enumerate(members) if required), None)
    if needed is None:
        bodies = [""]
        for first, (member, _) in enumerate(members):
            bodies.append(" ".join([member, *(f'(", " {later})?' for later, _ in members[first + 1 :])]))
        return f'"{{" ({" | ".join(body for body in bodies if body)})? "}}"' if members else '"{}"'
    before = [f'({member} ", ")?' for member, _ in members[:needed]]
    after = [f'", " {member}' if required else f'(", " {member})?' for member, required in members[needed + 1 :]]
    return " ".join(['"{"', *before, members[needed][0], *after, '"}"'])


def _value(name: str, about: JsonSchema, spec: ToolSpec, sources: Sources) -> str | None:
    how = spec.rules.grounded.get(name)
    references = [f"${n}" for n in range(1, sources.results + 1)] if name in spec.rules.references else []
    if how in ("context", "trusted"):
        texts = sources.trusted if how == "trusted" else sources.seen
        found = _newest(literal for text in reversed(texts) for literal in sorted(_names(text, sources)))
        if about.get("format") == "uri":
            found = [literal for literal in found if "://" in literal]
        return _choice([json.dumps(text, ensure_ascii=False) for text in (*found, *references)])
    if how == "words":
        return _quotation(sources.trusted, references)
    if how == "numbers":
        return _with_numbers(sources)
    if about.keys() <= _PLAIN and sources.quotes:
        if about.get("type", "string") == "string":
            return _quotation(sources.seen, references) or json_rule(about)
        if about.get("type") in ("integer", "number"):
            whole = about["type"] == "integer"
            return _choice([number for number in _numbers(sources.seen) if not (whole and "." in number)])
    return json_rule(about)


def _names(text: str, sources: Sources) -> frozenset[str]:
    """Return the literals of a text that may be an argument; a model that quotes is not left to tell names from words."""
    return (pointed(text) if sources.quotes else frozenset()) or literals(text)


def _quotation(texts: Sequence[str], references: Sequence[str]) -> str | None:
    """Return the string of a run of whole words of one line of the texts."""
    lines: list[str] = []
    room = MAX_CHARS
    for text in reversed(texts):
        for line in re.split(r'["\\\x00-\x1f]+', text):
            if line.strip() and room > 0 and line not in lines:
                lines.append(line[:room])
                room -= len(line)
    runs = [f"%regex {json.dumps({'substring_words': line}, ensure_ascii=False)}" for line in lines]
    whole = [_lark(reference) for reference in references]
    return f'"\\"" ({" | ".join([*runs, *whole])}) "\\""' if runs or whole else None


def _with_numbers(sources: Sources) -> str:
    """Return the string in which every number was seen, is small, or refers to a result."""
    numbers = " | ".join(_lark(number) for number in _numbers(sources.seen, written=True))
    return f'"\\"" ({_NO_NUMBER})? (({numbers}) {_NO_NUMBER})* ({numbers})? "\\""'


def _numbers(texts: Sequence[str], *, written: bool = False) -> list[str]:
    """Return the numbers of the texts, newest first, with the small ones; `written` keeps thousands separators."""
    found: list[str] = []
    for text in reversed(texts):
        for match in _NUMBER.findall(text[-MAX_CHARS:]):
            bare = match.replace(",", "")
            found += [match, bare] if written else [str(int(bare)) if bare.isdigit() else bare.lstrip("0") or "0"]
        found += [str(_WORDS[word]) for word in re.findall(r"[a-z]+", text.lower()) if word in _WORDS]
    return _newest([*found, *(str(number) for number in SMALL_NUMBERS)])


def _newest(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(found))[:MAX_LITERALS]


def _choice(texts: Sequence[str]) -> str | None:
    return f"({' | '.join(_lark(text) for text in texts)})" if texts else None


def _lark(text: str) -> str:
    """Return `text` as a Lark string; llguidance's lexer refuses bare control characters, and knows `\\u`."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def texts_by_trust(told: Iterable[tuple[str, bool]]) -> Mapping[str, list[str]]:
    """Return texts as `Sources` takes them; each is given with whether it is trusted."""
    pairs = list(told)
    return {"trusted": [text for text, trusted in pairs if trusted], "seen": [text for text, _ in pairs]}
