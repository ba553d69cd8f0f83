"""Values for a tool's arguments, drawn from its JSON Schema and from the words of its descriptions.

Guarantees: a value that is given fits the schema; a schema that nothing can be drawn from is an error with a JSON pointer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any

from agentkit.errors import InvalidParams
from agentkit.schema import problems
from agentkit.types import ToolSpec
from agentkit_synthesis.arithmetic import sum_of
from agentkit_synthesis.tooluse.own.hints import examples_of, is_arithmetic, pool_of, varied
from agentkit_synthesis.tooluse.own.patterns import Undrawable, matching
from agentkit_synthesis.values import nonsense, value

__all__ = ["Drawn", "check_drawable", "draw_arguments", "spoiled"]

TRIES = 30
DEEPEST = 6
FORMATS = ("date", "date-time", "time", "email", "uri", "url", "uuid", "ipv4", "hostname", "duration")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Arguments of a call.

    Attributes:
        arguments: by name, in the schema's order.
        request: a request that says all of it in words, where there is one; the values need not stand in it as they are.
    """

    arguments: Mapping[str, Any]
    request: str = ""


def draw_arguments(spec: ToolSpec, rng: Random) -> Drawn:
    """Return arguments that fit the tool's schema; optional ones now and then.

    Raises:
        InvalidParams: nothing can be drawn; names the tool and the argument.
    """
    schema = spec.parameters
    required = set(schema.get("required", ()))
    arguments: dict[str, Any] = {}
    request = ""
    for name, about in schema.get("properties", {}).items():
        if name not in required and rng.random() < 0.6:
            continue
        try:
            arguments[name], said = _argument(name, about, spec, rng)
        except Undrawable as error:
            if name not in required:
                continue
            raise InvalidParams(f"/source: '{spec.name}' cannot be tried: /properties/{name}: {error}") from error
        request = said or request
    return Drawn(arguments=arguments, request=request if len(arguments) == 1 else "")


def check_drawable(spec: ToolSpec) -> None:
    """Raise `InvalidParams` if no arguments can be drawn for a tool."""
    draw_arguments(spec, Random(0))


def spoiled(drawn: Drawn, spec: ToolSpec, rng: Random) -> Drawn:
    """Return arguments that still fit the schema, and are likelier to fail: a sum divided by nothing, a name of nothing, -1."""
    arguments = dict(drawn.arguments)
    if not arguments:
        return drawn
    name = rng.choice(list(arguments))
    value, about = arguments[name], spec.parameters["properties"][name]
    if isinstance(value, str):
        description = str(about.get("description", ""))
        sum_of_numbers = is_arithmetic(name, description, spec.description, examples_of(description, about))
        arguments[name] = f"{value} / 0" if sum_of_numbers else f"{nonsense(rng, 'train')} {nonsense(rng, 'train')}"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        arguments[name] = rng.choice((0, -1, -value, value * 1_000_000))
    else:
        return drawn
    fits = not problems(arguments[name], {**about, "$defs": spec.parameters.get("$defs", {})})
    return Drawn(arguments=arguments) if fits else drawn


def _argument(name: str, about: Mapping[str, Any], spec: ToolSpec, rng: Random) -> tuple[Any, str]:
    """Return a value that fits, and a request in words for it, if it has one."""
    for _ in range(TRIES):
        found, said = _value(name, about, spec, rng)
        if not problems(found, {**about, "$defs": spec.parameters.get("$defs", {})}):
            return found, said
    raise Undrawable(f"none of {TRIES} values fits its schema; give an example or a default")


def _value(name: str, about: Mapping[str, Any], spec: ToolSpec, rng: Random) -> tuple[Any, str]:
    description = str(about.get("description", ""))
    free = (
        about.get("type", "string") == "string"
        and not {"enum", "const", "pattern", "format", "anyOf", "oneOf", "$ref", "allOf"} & about.keys()
    )
    if free:
        examples = examples_of(description, about)
        if is_arithmetic(name, description, spec.description, examples):
            asked = sum_of(rng, "train")
            return asked.expression, asked.text
    return _draw(about, rng, spec.parameters, f"{name}|{description}", 0), ""


def _draw(schema: Mapping[str, Any], rng: Random, root: Mapping[str, Any], hint: str, depth: int) -> Any:
    """Return a value for a schema; `hint` is the argument's `name|description`."""
    if depth > DEEPEST:
        raise Undrawable("its schema goes round in a circle, or is nested too deep")
    if "$ref" in schema:
        return _draw(_referred(str(schema["$ref"]), root), rng, root, hint, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return rng.choice(list(schema["enum"]))
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            choices = [one for one in schema[key] if one != {"type": "null"}] or list(schema[key])
            return _draw(rng.choice(choices), rng, root, hint, depth + 1)
    if schema.get("allOf"):
        merged: dict[str, Any] = {}
        for one in schema["allOf"]:
            merged |= one
        return _draw(merged, rng, root, hint, depth + 1)
    if "default" in schema and schema["default"] is not None and rng.random() < 0.1:
        return schema["default"]
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = rng.choice([one for one in kinds if one != "null"] or ["null"]) if isinstance(kinds, list) else kinds
    match kind:
        case "string":
            return _text(schema, rng, hint)
        case "integer" | "number":
            return _number(schema, rng, whole=kind == "integer")
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
        case "array":
            return _list(schema, rng, root, hint, depth)
        case "object":
            return _object(schema, rng, root, depth)
    raise Undrawable(f"there is no type {kind!r}")


def _referred(name: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for part in name.removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    if not name.startswith("#/") or not isinstance(found, Mapping):
        raise Undrawable(f"the schema refers to {name!r}, which is not in it")
    return found


def _text(schema: Mapping[str, Any], rng: Random, hint: str) -> str:
    name, _, description = hint.partition("|")
    examples = examples_of(description, schema)
    if "pattern" in schema:
        return matching(schema["pattern"], rng)
    if schema.get("format") in FORMATS:
        return _formatted(schema["format"], rng)
    if examples and (rng.random() < 0.7 or not pool_of(name, description)):
        return varied(rng.choice(examples), rng)
    pool = pool_of(name, description)
    kind = next((one for one in ("date", "time") if one in name.casefold().split("_")), "")
    if kind:
        return _formatted(kind, rng)
    text = value(pool, rng, "train") if pool else " ".join(nonsense(rng, "train") for _ in range(rng.choice((1, 2))))
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    while len(text) < least:
        text += f" {nonsense(rng, 'train')}"
    return text if most is None else text[: int(most)].strip() or "a" * max(least, 1)


def _formatted(kind: str, rng: Random) -> str:
    day = (date(2026, 1, 5) + timedelta(days=rng.randrange(350))).isoformat()
    hour = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
    match kind:
        case "date":
            return day
        case "time":
            return f"{hour}:00"
        case "date-time":
            return f"{day}T{hour}:00Z"
        case "email":
            return f"{nonsense(rng, 'train')}@{nonsense(rng, 'train')}.example"
        case "uri" | "url":
            return f"https://{nonsense(rng, 'train')}.example/{nonsense(rng, 'train')}"
        case "uuid":
            drawn = f"{rng.getrandbits(128):032x}"
            return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-a{drawn[17:20]}-{drawn[20:]}"
        case "ipv4":
            return f"192.0.2.{rng.randint(1, 254)}"
        case "duration":
            return f"PT{rng.randint(1, 59)}M"
        case _:
            return f"{nonsense(rng, 'train')}.example"


def _number(schema: Mapping[str, Any], rng: Random, *, whole: bool) -> int | float:
    for key, values in (("default", [schema.get("default")]), ("examples", list(schema.get("examples", ())))):
        if values and values[0] is not None and rng.random() < 0.15 and key in schema:
            found: int | float = rng.choice(values)
            return found
    step = schema.get("multipleOf")
    unit = float(step) if step else 1.0 if whole else 0.5
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    low = 1 if low is None and (high is None or high >= 1) else float(high) - 100 * unit if low is None else float(low)
    high = low + rng.choice((10, 100, 1000)) * unit if high is None else float(high)
    first, last = -int(-low // unit), int(high // unit)
    first += first * unit <= schema.get("exclusiveMinimum", float("-inf"))
    last -= last * unit >= schema.get("exclusiveMaximum", float("inf"))
    if first > last:
        if whole or step or low >= high:
            raise Undrawable(f"there is no number from {low:g} to {high:g} that fits")
        return round(rng.uniform(low, high), 6)
    found = rng.randint(first, last) * unit
    return int(found) if whole or found == int(found) else round(found, 6)


def _list(schema: Mapping[str, Any], rng: Random, root: Mapping[str, Any], hint: str, depth: int) -> list[Any]:
    least = int(schema.get("minItems", 1))
    most = min(int(schema.get("maxItems", least + 3)), least + 3)
    wanted = rng.randint(least, max(least, most))
    found: list[Any] = []
    for _ in range(20 * max(1, wanted)):
        if len(found) == wanted:
            return found
        one = _draw(schema.get("items") or {"type": "string"}, rng, root, hint, depth + 1)
        if not schema.get("uniqueItems") or one not in found:
            found.append(one)
    if len(found) < least:
        raise Undrawable(f"there are not {least} different items")
    return found


def _object(schema: Mapping[str, Any], rng: Random, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    required = set(schema.get("required", ()))
    found = {}
    for name, about in schema.get("properties", {}).items():
        if name in required or (rng.random() < 0.5 and depth < 3):
            found[name] = _draw(about, rng, root, f"{name}|{about.get('description', '')}", depth + 1)
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping) and not found:
        for _ in range(rng.randint(1, 2)):
            found[nonsense(rng, "train")] = _draw(extra, rng, root, "", depth + 1)
    return found
