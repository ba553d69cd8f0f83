"""A function's signature and Google docstring, as a description and a JSON Schema.

The schema is as flat as it can be: no titles, no references where they can be written out, and an optional
argument is one that may be left out, not one that may also be null.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SECTION = re.compile(
    r"^(?:Args|Arguments|Parameters|Returns?|Yields?|Raises|Notes?|Examples?|Attributes|Warnings?):\s*$"
)
_ARGUMENTS = re.compile(r"^(?:Args|Arguments|Parameters):\s*$")
_ENTRY = re.compile(r"^(\*{0,2}\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Docs:
    """What a docstring says."""

    description: str  # the first paragraph, in one line
    arguments: Mapping[str, str]


def read_docstring(text: str | None) -> Docs:
    """Return the first paragraph and the entries under `Args:` of a Google docstring."""
    lines = inspect.cleandoc(text or "").splitlines()
    first: list[str] = []
    for line in lines:
        if not line.strip() or _SECTION.match(line):
            break
        first.append(line.strip())
    start = next((n for n, line in enumerate(lines) if _ARGUMENTS.match(line)), None)
    entries = {} if start is None else _entries(lines[start + 1 :])
    return Docs(description=" ".join(first), arguments=entries)


def simplify(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return pydantic's schema of an object without what models and grammars do not need."""
    definitions = schema.get("$defs", {})
    body = {key: value for key, value in schema.items() if key not in {"$defs", "title", "description"}}
    simple: dict[str, Any] = _simple(body, definitions, ())
    simple.setdefault("properties", {})
    simple.setdefault("required", [])
    kept = {name: _simple(value, {}, ()) for name, value in definitions.items() if f'#/$defs/{name}"' in _text(simple)}
    return {**simple, "$defs": kept} if kept else simple


def _entries(lines: list[str]) -> dict[str, str]:
    entries: dict[str, str] = {}
    indent, name = None, ""
    for line in lines:
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        if depth == 0:
            break
        indent = depth if indent is None else indent
        match = _ENTRY.match(line.strip()) if depth == indent else None
        if match:
            name = match[1].lstrip("*")
            entries[name] = match[2].strip()
        elif name:
            entries[name] = f"{entries[name]} {line.strip()}".strip()
    return entries


def _simple(node: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_simple(item, definitions, inside) for item in node]
    if not isinstance(node, Mapping):
        return node
    reference = node.get("$ref", "")
    name = reference.removeprefix("#/$defs/")
    if name in definitions and name not in inside and not _recursive(name, definitions):
        rest = {key: value for key, value in node.items() if key != "$ref"}
        target = {
            key: value for key, value in definitions[name].items() if key != "description" or "description" not in rest
        }
        return _simple({**target, **rest}, definitions, (*inside, name))
    choices = [choice for choice in node.get("anyOf", ()) if choice != {"type": "null"}]
    if "anyOf" in node and node.get("default", ...) is None and len(choices) == len(node["anyOf"]) - 1:
        rest = {key: value for key, value in node.items() if key not in {"anyOf", "default"}}
        merged = {**choices[0], **rest} if len(choices) == 1 else {**rest, "anyOf": choices}
        return _simple(merged, definitions, inside)
    return {
        key: (
            {field: _simple(value, definitions, inside) for field, value in item.items()}
            if key == "properties"
            else item
            if key in {"enum", "const", "default", "examples"}
            else _simple(item, definitions, inside)
        )
        for key, item in node.items()
        if key != "title" or not isinstance(item, str)
    }


def _recursive(name: str, definitions: Mapping[str, Any]) -> bool:
    seen: set[str] = set()
    todo = [name]
    while todo:
        text = _text(definitions[todo.pop()])
        for other in definitions:
            if f'#/$defs/{other}"' in text:
                if other == name:
                    return True
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
    return False


def _text(node: Any) -> str:
    return json.dumps(node, default=str)
