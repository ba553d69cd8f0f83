"""Looking things up in a world's state, and saying what differs between two of them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from agentkit_synthesis.tooluse.values import Fault, State

__all__ = ["by_name", "changed", "differences", "draw_id", "pick", "put", "record", "shown"]


def by_name(table: Mapping[str, Mapping[str, Any]], name: str, field: str = "name") -> tuple[str, Mapping[str, Any]]:
    """Return the key and the record whose `field` is `name`, whatever its case.

    Raises:
        Fault: there is none; names the nearest, if one is near.
    """
    for key, one in table.items():
        if str(one[field]).casefold() == name.casefold():
            return key, one
    raise Fault(_nothing(name, [str(one[field]) for one in table.values()]))


def record(table: Mapping[str, Any], key: str) -> Any:
    """Return the record of that key.

    Raises:
        Fault: there is none; names the nearest, if one is near.
    """
    found = table.get(key)
    if found is None:
        raise Fault(_nothing(key, list(table)))
    return found


def _nothing(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.casefold(), [one.casefold() for one in known], 1, 0.75)
    right = next((one for one in known if near and one.casefold() == near[0]), "")
    return f"there is no '{name}'" + (f"; did you mean '{right}'?" if right else "")


def pick(rng: Random, table: Mapping[str, Any]) -> tuple[str, Any]:
    """Return any key of a table, and what is there."""
    return rng.choice(list(table.items()))


def draw_id(rng: Random, prefix: str, taken: Mapping[str, Any]) -> str:
    """Return an identifier nobody could guess, such as `B-482`."""
    while True:
        made = f"{prefix}-{rng.randint(100, 9999)}"
        if made not in taken:
            return made


def differences(before: Any, after: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the JSON pointer of every value that differs, and what it is now; None where it is gone."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            place = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in after:
                yield place, None
            elif key not in before:
                yield place, after[key]
            else:
                yield from differences(before[key], after[key], place)
    elif before != after or type(before) is not type(after):
        yield pointer, after


def changed(before: State, after: State) -> dict[str, Any]:
    """Return all differences."""
    return dict(differences(before, after))


def put(state: State, pointer: str, value: Any) -> None:
    """Set what a JSON pointer leads to."""
    *path, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    for part in path:
        state = state[part]
    state[last] = value


def shown(value: Any, style: str) -> str:
    """Return a result as the text that a tool gives: `json`, or `lines` of `key: value`."""
    if isinstance(value, str):
        return value
    if style == "json" or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {shown(one, 'json')}" for key, one in value.items())
    return "\n".join(shown(one, "lines") for one in value) or "nothing"
