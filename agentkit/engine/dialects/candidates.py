"""Which values a grounded argument may have: spans that fit its schema, as texts, as numbers, or as a list of either."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from agentkit.engine.grammar import FREE_FORMATS
from agentkit.errors import CannotEnforce
from agentkit.types import JsonSchema, ToolSpec

__all__ = ["DEFINITIONS", "NOTES", "Candidates", "candidates_of"]

DEFINITIONS = ("$defs", "definitions")
NOTES = frozenset({"title", "description", "default", "examples"})
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+)(?:\.\d+)?")
_LIST = frozenset({"type", "items", "minItems", "maxItems"})
_ADDRESSES = frozenset({"uri", "iri"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The values of one argument, or of each item of a list."""

    texts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # numbers, and null, as JSON
    several: tuple[int, int | None] | None = None  # a list of so many; None: no list


def candidates_of(spans: tuple[str, ...], name: str, spec: ToolSpec) -> Candidates:
    """Return the spans that argument `name` may be.

    Raises:
        CannotEnforce: its schema holds something else than texts, numbers, or a list of those.
    """
    root = {key: spec.parameters[key] for key in DEFINITIONS if key in spec.parameters}
    about = {**root, **_without_notes(spec.parameters["properties"][name])}
    try:
        return _candidates(spans, json.dumps(about, sort_keys=True))
    except ValueError as error:
        raise CannotEnforce(
            f"tool '{spec.name}': argument '{name}' is grounded, but {error}; make it a text, a number, or a list of "
            "those, or leave it out of `grounded`"
        ) from error


@lru_cache(maxsize=128)
def _candidates(spans: tuple[str, ...], written: str) -> Candidates:
    schema: dict[str, Any] = json.loads(written)
    if schema.get("type") != "array":
        texts, others = _fitting(spans, schema)
        return Candidates(texts=texts, others=others)
    if unknown := schema.keys() - _LIST - set(DEFINITIONS):
        raise ValueError(f"its schema says '{min(unknown)}' of a list")
    definitions = {key: schema[key] for key in DEFINITIONS if key in schema}
    if schema.get("maxItems", 1) < 1:
        raise ValueError("its list is always empty")
    texts, others = _fitting(spans, {**definitions, **_without_notes(schema.get("items", {}))})
    return Candidates(texts=texts, others=others, several=(schema.get("minItems", 0), schema.get("maxItems")))


def _fitting(spans: tuple[str, ...], schema: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the texts and the other values among `spans`; null, which names nothing, is always there to be had."""
    if beyond := schema.keys() & {"$ref", "allOf"}:
        raise ValueError(f"its schema has a '{min(beyond)}'")
    types = _types(schema)
    if strange := types - {"string", "integer", "number", "null"}:
        raise ValueError(f"its schema takes values of type '{min(strange)}'")
    texts = spans if "string" in types else ()
    numbers = _numbers(spans) if types & {"integer", "number"} else ()
    others = (*numbers, *(("null",) if "null" in types else ()))
    form = schema.get("format", "path")
    if form in _ADDRESSES:
        texts = tuple(text for text in texts if "://" in text)
    if schema.keys() <= {"type"} or (schema.keys() == {"type", "format"} and form in FREE_FORMATS | _ADDRESSES):
        if types == {"integer"}:
            others = tuple(number for number in others if "." not in number)
        return texts, others
    fits = _validator(schema)
    return tuple(filter(fits, texts)), tuple(other for other in others if fits(json.loads(other)))


def _types(schema: Mapping[str, Any]) -> set[str]:
    if named := [schema["const"]] if "const" in schema else schema.get("enum"):
        return {_NAMES.get(type(value), "object") for value in named}
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return {name for option in schema[key] for name in _types(option)}
    stated = schema.get("type", "string")
    return {stated} if isinstance(stated, str) else set(stated)


_NAMES = {str: "string", int: "integer", float: "number", type(None): "null", bool: "boolean", list: "array"}


def _numbers(spans: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(span.replace(",", "") for span in spans if _NUMBER.fullmatch(span)))


def _validator(schema: Mapping[str, Any]) -> Any:
    """Return what tells whether a value fits `schema`."""
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415  0.1 s; only where a schema says more

    form = schema.get("format", "path")
    known = Draft202012Validator.FORMAT_CHECKER
    if form not in FREE_FORMATS | _ADDRESSES and form not in known.checkers:
        raise ValueError(f"its format '{form}' is not known")
    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        raise ValueError(f"its schema is none ({error.message})") from error
    return Draft202012Validator(dict(schema), format_checker=known).is_valid


def _without_notes(schema: JsonSchema) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in NOTES}
