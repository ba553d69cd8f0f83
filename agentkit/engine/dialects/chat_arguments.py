"""Two ways in which chat models write the arguments of a call: a JSON object, and a tag for each argument."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agentkit.engine.dialects.plain import arguments_json
from agentkit.engine.grammar import FREE_FORMATS, json_rule
from agentkit.errors import CannotEnforce
from agentkit.types import JsonSchema, ToolSpec

__all__ = ["JSON", "TAGS", "Arguments", "lark_text"]

_NOTES = frozenset({"type", "title", "description", "default", "examples"})
_LIMITS = frozenset({"minLength", "maxLength", "pattern"})


class Arguments(Protocol):
    """One way of writing arguments."""

    ends_with: str  # the character that whole arguments end with
    streams: bool  # whether what is written so far is the beginning of their JSON text

    def rules(self, name: str, spec: ToolSpec) -> list[str]:
        """Return the Lark rules of the arguments, the first of them called `name`."""
        ...

    def write(self, arguments: Mapping[str, Any], spec: ToolSpec | None) -> str:
        """Return the arguments as the model writes them."""
        ...

    def shown(self, arguments: Mapping[str, Any], spec: ToolSpec | None) -> dict[str, Any]:
        """Return what the template is given, so that it writes them so too."""
        ...

    def read(self, text: str, spec: ToolSpec) -> tuple[dict[str, Any], int] | None:
        """Return the arguments that `text` begins with and their length; None while they are not whole."""
        ...


class _Json:
    """`{"city": "Rome", "day": 3}`."""

    ends_with = "}"
    streams = True

    def rules(self, name: str, spec: ToolSpec) -> list[str]:
        return [f"{name}: {json_rule(spec.parameters)}"]

    def write(self, arguments: Mapping[str, Any], spec: ToolSpec | None) -> str:
        return arguments_json(arguments)

    def shown(self, arguments: Mapping[str, Any], spec: ToolSpec | None) -> dict[str, Any]:
        return dict(arguments)

    def read(self, text: str, spec: ToolSpec) -> tuple[dict[str, Any], int] | None:
        try:
            found, end = json.JSONDecoder().raw_decode(text)
        except json.JSONDecodeError:
            return None
        return (found, end) if isinstance(found, dict) else None


class _Tags:
    r"""`<parameter=city>\nRome\n</parameter>\n`: texts as they are, all else as JSON."""

    ends_with = ">"
    streams = False
    _open, _close, _after = "<parameter=", "\n</parameter>\n", "</function>"

    def rules(self, name: str, spec: ToolSpec) -> list[str]:
        required = set(spec.parameters.get("required", ()))
        members, rules = [], []
        for n, (key, schema) in enumerate(_properties(spec).items()):
            member = f"{name}_{n}"
            members.append(f"{member}{'' if key in required else '?'}")
            rules.append(f"{member}: {lark_text(f'{self._open}{key}>' + chr(10))} {member}_value")
            rules += self._value(f"{member}_value", key, schema, spec)
        return [f"{name}: {' '.join(members) or lark_text('')}", *rules]

    def write(self, arguments: Mapping[str, Any], spec: ToolSpec | None) -> str:
        shown = self.shown(arguments, spec)
        return "".join(f"{self._open}{key}>\n{text}{self._close}" for key, text in shown.items())

    def shown(self, arguments: Mapping[str, Any], spec: ToolSpec | None) -> dict[str, Any]:
        properties = _properties(spec) if spec else {}
        texts = {}
        for key, value in arguments.items():
            raw = isinstance(value, str) and _is_text(properties.get(key, {"type": "string"}))
            texts[key] = value if raw else json.dumps(value, ensure_ascii=False)
        return texts

    def read(self, text: str, spec: ToolSpec) -> tuple[dict[str, Any], int] | None:
        properties, found, place = _properties(spec), dict[str, Any](), 0
        while text.startswith(self._open, place):
            key, opened, rest = text[place + len(self._open) :].partition(">\n")
            value, closed, after = rest.partition(self._close)
            if not opened or not closed:
                return None
            found[key] = value if _is_text(properties.get(key, {"type": "string"})) else _json_or_text(value)
            place = len(text) - len(after)
        return (found, place) if text.startswith(self._after, place) else None

    def _value(self, name: str, key: str, schema: JsonSchema, spec: ToolSpec) -> list[str]:
        if not _is_text(schema):
            root = {word: spec.parameters[word] for word in ("$defs", "definitions") if word in spec.parameters}
            return [f"{name}: {json_rule({**root, **schema})} {lark_text(self._close)}"]
        choices = [schema["const"]] if "const" in schema else schema.get("enum", ())
        if choices:
            return [f"{name}: ({' | '.join(map(lark_text, choices))}) {lark_text(self._close)}"]
        unknown = schema.keys() - _NOTES - _LIMITS - {"format"}
        if unknown or schema.get("format", "path") not in FREE_FORMATS:
            raise CannotEnforce(
                f"tool '{spec.name}': '{min(unknown, default='format')}' of argument '{key}' cannot be enforced in "
                "this model's calls; leave it out of the schema, or set engine.dialect to chatml"
            )
        return [f"{name}[suffix={json.dumps(self._close)}]: {' & '.join(_patterns(schema))}"]


JSON: Arguments = _Json()
TAGS: Arguments = _Tags()


def lark_text(text: str) -> str:
    """Return `text` as a Lark string; llguidance's lexer refuses some bare control characters."""
    return re.sub(r"[\x7f-\x9f\u2028\u2029]", lambda odd: f"\\u{ord(odd[0]):04x}", json.dumps(text, ensure_ascii=False))


def _patterns(schema: JsonSchema) -> Sequence[str]:
    """Return the Lark regular expressions that a text of this schema fits, all of them."""
    least, most = schema.get("minLength", 0), schema.get("maxLength", "")
    found = [rf"/(.|\n){{{least},{most}}}/" if least or most != "" else r"/(.|\n)*/"]
    if "pattern" in schema:
        anywhere = r"(.|\n)*"
        pattern = str(schema["pattern"])
        before, after = "" if pattern.startswith("^") else anywhere, "" if pattern.endswith("$") else anywhere
        middle = pattern.removeprefix("^").removesuffix("$").replace("/", r"\/")
        found.append(f"/{before}({middle}){after}/")
    return found


def _properties(spec: ToolSpec) -> Mapping[str, JsonSchema]:
    properties: Mapping[str, JsonSchema] = spec.parameters.get("properties", {})
    return properties


def _is_text(schema: JsonSchema) -> bool:
    """Whether every value is a text, and so needs no quotes to be known as one."""
    named = [schema["const"]] if "const" in schema else schema.get("enum", ())
    return all(isinstance(value, str) for value in named) if named else schema.get("type") == "string"


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
