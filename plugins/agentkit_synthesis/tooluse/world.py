"""A world in one row: states of some domains, and tools under the names that this row has for them.

Guarantees: all of it follows from the row's id, the domains, what is planted and which tools fail at first; the same
calls give the same results in any process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from agentkit_synthesis.tooluse.state import put, shown
from agentkit_synthesis.tooluse.values import Domain, Fault, Op, State
from agentkit_synthesis.values import nonsense
from agentkit_synthesis.wording import SLOT, shape

__all__ = ["BUSY", "Given", "ToolFace", "World", "worded"]

BUSY = ("the service is busy, try again", "timed out, please retry", "temporarily unavailable: try again")
NONSENSE = 0.22  # share of nouns that mean nothing
_ARTICLE = re.compile(r"\b([Aa]n?) \{(\w+)\}")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,)
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Given:
    """What a call came to."""

    text: str
    ok: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFace:
    """An operation as a row shows it.

    Attributes:
        domain: where it belongs.
        op: what it does.
        name: of the tool.
        description: of the tool.
        names: argument's key -> its name here.
        abouts: argument's key -> its description here.
        style: how results are written.
    """

    domain: str
    op: Op
    name: str
    description: str
    names: Mapping[str, str]
    abouts: Mapping[str, str]
    style: str

    def schema(self) -> dict[str, Any]:
        """Return the tool as chat templates take it."""
        properties: dict[str, Any] = {}
        for param in self.op.params:
            about: dict[str, Any] = {"type": param.kind, "description": self.abouts[param.key]}
            if param.enum:
                about["enum"] = list(param.enum)
            properties[self.names[param.key]] = about
        required = [self.names[param.key] for param in self.op.params if param.required]
        parameters = {"type": "object", "properties": properties, "required": required}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments by their names here, in the signature's order."""
        return {self.names[param.key]: given[param.key] for param in self.op.params if param.key in given}


class World:
    """States and tools."""

    def __init__(
        self,
        id: str,
        domains: Sequence[Domain],
        *,
        edits: Mapping[str, Any] | None = None,
        busy: Mapping[str, int] | None = None,
    ) -> None:
        """Make it.

        Args:
            id: the row's.
            domains: the first is the one that tasks are about.
            edits: JSON pointer -> what is planted there.
            busy: `domain.op` -> calls that fail before the first that does not.
        """
        self.id, self.domains = id, tuple(domains)
        self.edits, self.busy = dict(edits or {}), dict(busy or {})
        self.state = self.fresh()

    def fresh(self) -> State:
        """Return the state as it is before any call."""
        state = {one.key: one.build(Random(f"{self.id}/{one.key}")) for one in self.domains}
        for pointer, value in self.edits.items():
            put(state, pointer, value)
        return state

    @cached_property
    def nouns(self) -> dict[str, dict[str, str]]:
        """Domain -> slot -> this row's word."""
        return {one.key: _nouns(one, Random(f"{self.id}/{one.key}/nouns")) for one in self.domains}

    @cached_property
    def faces(self) -> dict[str, ToolFace]:
        """`domain.op` -> its tool here; of two with one name only the first is there."""
        found: dict[str, ToolFace] = {}
        names: set[str] = set()
        for domain in self.domains:
            rng = Random(f"{self.id}/{domain.key}/faces")
            style = rng.choice(("snake", "snake", "snake", "snake", "camel", "kebab"))
            for op in domain.ops:
                face = _face(domain.key, op, self.nouns[domain.key], rng, style)
                if face.name not in names:
                    found[f"{domain.key}.{op.key}"] = face
                    names.add(face.name)
        return found

    def named(self, name: str) -> ToolFace | None:
        """Return the tool of that name."""
        return next((face for face in self.faces.values() if face.name == name), None)

    def call(self, name: str, arguments: Mapping[str, Any], among: Iterable[str] | None = None) -> Given:
        """Call a tool; what is wrong with the call is a result too.

        Args:
            name: the tool's.
            arguments: by their names here.
            among: the names that there are in the conversation; all where nothing is said.
        """
        face = self.named(name)
        if face is None or (among is not None and name not in set(among)):
            return Given(f"there is no tool '{name}'", ok=False)
        key = f"{face.domain}.{face.op.key}"
        try:
            given = _checked(face, arguments)
            if self.busy.get(key, 0) > 0:
                self.busy[key] -= 1
                raise Fault(BUSY[len(name) % len(BUSY)])
            return Given(shown(face.op.run(self.state[face.domain], **given), face.style))
        except Fault as fault:
            return Given(f"Error: {fault}", ok=False)


def worded(template: str, rng: Random, values: Mapping[str, Any]) -> str:
    """Return a wording with its alternatives chosen and its slots filled; "a" or "an" before a slot goes with its value.

    Raises:
        KeyError: a slot has no value.
    """
    texts = {name: str(value) for name, value in values.items()}
    shaped = shape(template, rng, frozenset(texts))
    shaped = _ARTICLE.sub(lambda found: f"{_article(found[1], texts[found[2]])} {{{found[2]}}}", shaped)
    return SLOT.sub(lambda found: texts[found[1]], shaped)


def _article(written: str, word: str) -> str:
    right = "an" if re.match(r"[aeio]|u(?!ni)", word, re.IGNORECASE) else "a"
    return right.capitalize() if written[0].isupper() else right


def _nouns(domain: Domain, rng: Random) -> dict[str, str]:
    taken: set[str] = set()
    found = {}
    for slot, words in domain.nouns.items():
        word = nonsense(rng, "train") if rng.random() < NONSENSE else rng.choice(words)
        while word in taken:
            word = nonsense(rng, "train")
        taken.add(word)
        found[slot] = word
    return found


def _face(domain: str, op: Op, nouns: Mapping[str, str], rng: Random, style: str) -> ToolFace:
    names: dict[str, str] = {}
    abouts: dict[str, str] = {}
    for param in op.params:
        name = _name(rng.choice(param.names), nouns, rng, "snake" if style == "kebab" else style)
        names[param.key] = name if name not in names.values() else param.key
        abouts[param.key] = worded(param.about, rng, nouns)
    return ToolFace(
        domain=domain,
        op=op,
        name=_name(rng.choice(op.names), nouns, rng, style),
        description=worded(rng.choice(op.about), rng, nouns),
        names=names,
        abouts=abouts,
        style=rng.choice(("json", "json", "lines")),
    )


def _name(template: str, nouns: Mapping[str, str], rng: Random, style: str) -> str:
    name = re.sub(r"\W+", "_", worded(template, rng, nouns)).strip("_")
    if style == "camel":
        first, *rest = name.split("_")
        return first + "".join(word.capitalize() for word in rest)
    return name.replace("_", "-") if style == "kebab" else name


def _checked(face: ToolFace, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by key."""
    keys = {name: key for key, name in face.names.items()}
    for name in arguments:
        if name not in keys:
            raise Fault(f"unexpected argument '{name}'")
    given = {keys[name]: value for name, value in arguments.items()}
    for param in face.op.params:
        name = face.names[param.key]
        if param.key not in given:
            if param.required:
                raise Fault(f"missing argument '{name}'")
            continue
        value = given[param.key]
        if not isinstance(value, _TYPES[param.kind]) or (isinstance(value, bool) and param.kind != "boolean"):
            raise Fault(f"'{name}' must be of type {param.kind}")
        if param.enum and value not in param.enum:
            raise Fault(f"'{name}' must be one of {', '.join(param.enum)}")
    return given
