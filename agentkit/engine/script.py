"""A script: what a scripted engine is to say, as values and as a file.

A file is a JSON array of steps, or one step a line (JSON Lines). Whatever is wrong with it is a
`ModelFileError` that names file and line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkit.errors import EngineError, ModelFileError, ModelNotFound
from agentkit.protocols import Request
from agentkit.types import Step, StepKind, ToolCall

_KINDS: tuple[str, ...] = ("call", "calls", "final", "ask", "decline", "fail", "branch")
_BESIDE = {"thinking", "plan", "seconds"}
_TEXT_KINDS: dict[str, StepKind] = {"final": "final", "ask": "ask", "decline": "decline"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An entry of a script: raise this instead of replying."""

    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowly:
    """An entry of a script: reply, but take this long over it."""

    step: Step
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """An entry of a script: what `branch` returns, best first; `stream` gives the first."""

    steps: tuple[Step, ...]


Entry = Step | Failure | Slowly | Branches | Callable[[Request], Step]


def read_script(path: Path) -> list[Entry]:
    """Return the entries of a script file.

    Raises:
        ModelNotFound: there is no such file.
        ModelFileError: it is not a script; names file and line.
    """
    return [_entry(item, f"{path}:{line}", number) for number, (line, item) in enumerate(_items(path))]


def _items(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ModelNotFound(f"{path}: there is no such script; give a JSON file of steps") from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror}); check path and permissions") from error
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{path}: not UTF-8 text, so no script; write it as JSON") from error
    return _array_items(text, path) if text.lstrip().startswith("[") else _line_items(text, path)


def _line_items(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _decode(line, 0, f"{path}:{number}")[0]


def _array_items(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the elements of one JSON array, each with the line it begins on."""
    _decode(text, 0, str(path))
    position = _skip(text, text.index("[") + 1)
    while text[position] != "]":
        line = text.count("\n", 0, position) + 1
        item, end = json.JSONDecoder().raw_decode(text, position)
        yield line, item
        position = _skip(text, end)


def _skip(text: str, position: int) -> int:
    while text[position].isspace() or text[position] == ",":
        position += 1
    return position


def _decode(text: str, start: int, where: str) -> tuple[Any, int]:
    try:
        return json.loads(text[start:]), len(text)
    except json.JSONDecodeError as error:
        place = where if where.rsplit(":", 1)[-1].isdigit() else f"{where}:{error.lineno}"
        raise ModelFileError(f"{place}: not JSON ({error.msg}); mend the line") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{where}: nested too deeply, or a number of too many digits; simplify it") from error


def _entry(item: Any, where: str, number: int) -> Entry:
    if not isinstance(item, Mapping):
        raise ModelFileError(f'{where}: a step is a JSON object such as {{"final": "..."}}, not {item!r:.60}')
    unknown = sorted(set(item) - {*_KINDS, *_BESIDE})
    kinds = [kind for kind in _KINDS if kind in item]
    if unknown or len(kinds) != 1:
        what = f"'{unknown[0]}' is unknown" if unknown else f"it has {len(kinds)} of them"
        raise ModelFileError(f"{where}: a step has exactly one of {', '.join(_KINDS)}; {what}")
    kind = kinds[0]
    if kind == "branch":
        return Branches(steps=_alternatives(item[kind], where, number))
    if kind == "fail":
        return Failure(error=EngineError(_text(item, kind, where)))
    step = _step(item, kind, where, number)
    seconds = item.get("seconds")
    if seconds is None:
        return step
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < float("inf"):
        raise ModelFileError(f"{where}: 'seconds' is a number from 0 on, not {seconds!r:.60}")
    return Slowly(step=step, seconds=seconds)


def _alternatives(items: Any, where: str, number: int) -> tuple[Step, ...]:
    entries = [_entry(item, where, number) for item in items] if isinstance(items, list) else []
    steps = tuple(entry for entry in entries if isinstance(entry, Step))
    if not steps or len(steps) != len(entries):
        raise ModelFileError(f"{where}: 'branch' is a list of at least one plain step")
    return steps


def _step(item: Mapping[str, Any], kind: str, where: str, number: int) -> Step:
    thinking, plan = (_text(item, key, where) if key in item else "" for key in ("thinking", "plan"))
    if kind in _TEXT_KINDS:
        return Step(kind=_TEXT_KINDS[kind], text=_text(item, kind, where), thinking=thinking, plan=plan)
    calls = [item[kind]] if kind == "call" else item[kind]
    if not isinstance(calls, list) or not calls:
        raise ModelFileError(f"{where}: 'calls' is a list of at least one call")
    return Step(
        kind="calls",
        calls=tuple(_call(call, where, f"call_{number}_{index}") for index, call in enumerate(calls)),
        thinking=thinking,
        plan=plan,
    )


def _text(item: Mapping[str, Any], key: str, where: str) -> str:
    value = item[key]
    if not isinstance(value, str):
        raise ModelFileError(f"{where}: '{key}' is a text, not {value!r:.60}")
    return value


def _call(item: Any, where: str, call_id: str) -> ToolCall:
    arguments = item.get("arguments", {}) if isinstance(item, Mapping) else None
    if not isinstance(arguments, Mapping) or not isinstance(item.get("tool"), str) or set(item) - {"tool", "arguments"}:
        raise ModelFileError(f'{where}: a call is {{"tool": "name", "arguments": {{...}}}}, not {item!r:.60}')
    return ToolCall(id=call_id, tool=item["tool"], arguments=arguments)
