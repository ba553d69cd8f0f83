"""Does a value fit a JSON Schema? One answer, in words a person or a model can mend it by.

Wraps the `jsonschema` library; nothing is ever fetched, so a `$ref` to another document is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkit.errors import CannotEnforce

_LONGEST = 200  # characters of one problem; the library repeats whole instances


def problems(instance: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with `instance`, one sentence a problem, each led by its JSON pointer.

    Raises:
        CannotEnforce: `schema` is not a JSON Schema, or refers to another document.
    """
    return [text for _, text in located_problems(instance, schema)]


def located_problems(instance: Any, schema: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """Return `problems` with the path of the value that each is about."""
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415  0.1 s; only where something is checked
    from referencing.exceptions import Unresolvable  # noqa: PLC0415  comes with jsonschema
    from referencing.jsonschema import EMPTY_REGISTRY  # noqa: PLC0415  comes with jsonschema

    try:
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema, registry=EMPTY_REGISTRY)
        found = sorted(validator.iter_errors(instance), key=lambda error: [str(step) for step in error.absolute_path])
    except SchemaError as error:
        raise CannotEnforce(f"not a JSON Schema ({_shorten(error.message)}); mend the schema") from error
    except Unresolvable as error:
        raise CannotEnforce(f"the schema refers to {error.ref!r}, which is not in it; define it under $defs") from error
    except RecursionError as error:
        raise CannotEnforce("the schema, or the value, is nested too deeply to be checked; flatten it") from error
    return [(tuple(error.absolute_path), _sentence(error.absolute_path, error.message)) for error in found]


def _sentence(path: Any, message: str) -> str:
    pointer = "".join(f"/{step}" for step in path)
    return f"{pointer}: {_shorten(message)}" if pointer else _shorten(message)


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
