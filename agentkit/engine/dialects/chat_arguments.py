"""Two ways in which chat models write the arguments of a call: a JSON object, and a tag for each argument."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agentkit.engine.dialects.arguments import JSON_TEXT, ArgumentRules, Form, check_grounded, definitions_of
from agentkit.engine.dialects.plain import arguments_json
from agentkit.engine.grammar import FREE_FORMATS, json_rule, lark_text
from agentkit.errors import CannotEnforce
from agentkit.types import JsonSchema, ToolSpec

__all__ = ["JSON", "TAGS", "Arguments"]

_NOTES = frozenset({"type", "title", "description", "default", "examples"})
_LIMITS = frozenset({"minLength", "maxLength", "pattern"})


class Arguments(Protocol):
    """One way of writing arguments."""

    ends_with: str  # the character that whole arguments end with
    streams: bool  # whether what is written so far is the beginning of their JSON text

    def rules(self, name: str, spec: ToolSpec, grounding: ArgumentRules) -> list[str] | None:
        """Return the Lark rules of the arguments, the first called `name`; None where a required one cannot be given.

        Raises:
            CannotEnforce: the schema says more than this way of writing can hold.
        """
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

    def rules(self, name: str, spec: ToolSpec, grounding: ArgumentRules) -> list[str] | None:
        held = grounding.call(spec) if grounding.held(spec) else json_rule(spec.parameters)
        return None if held is None else [f"{name}: {held}"]

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
    _form = Form(opens="", closes=_close, is_json=False)

    def rules(self, name: str, spec: ToolSpec, grounding: ArgumentRules) -> list[str] | None:
        required = set(spec.parameters.get("required", ()))
        members, rules = [], []
        if grounding.held(spec):
            check_grounded(spec)
        for n, (key, schema) in enumerate(_properties(spec).items()):
            member = f"{name}_{n}"
            value = self._value(f"{member}_value", key, schema, spec, grounding)
            if not value and key in required:
                return None
            if value:
                members.append(f"{member}{'' if key in required else '?'}")
                rules.append(f"{member}: {lark_text(f'{self._open}{key}>' + chr(10))} {member}_value")
                rules += value
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

    def _value(self, name: str, key: str, schema: JsonSchema, spec: ToolSpec, grounding: ArgumentRules) -> list[str]:
        """Return the rules of a value and of what closes it; none where it cannot be given."""
        if key in grounding.held(spec):
            is_raw = _is_text(schema)
            held = grounding.value(key, spec, self._form if is_raw else JSON_TEXT)
            closed = "" if is_raw else f" {lark_text(self._close)}"
            return [] if held is None else [f"{name}: {held}{closed}"]
        if not _is_text(schema):
            return [f"{name}: {json_rule({**definitions_of(spec.parameters), **schema})} {lark_text(self._close)}"]
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
