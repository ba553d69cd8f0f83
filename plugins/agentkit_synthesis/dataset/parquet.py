"""Parquet beside JSON Lines, streamed: for the Hub and for data frames.

Texts, numbers and truth values keep their type, and conversations are lists of messages. All else that is nested (steps, tools,
a call's arguments) is JSON text, because Arrow would give every row the keys of all others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentkit.errors import JobError, MissingDependency

try:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter
except ImportError as error:
    raise MissingDependency("Parquet needs pyarrow; pip install 'agentkit-local[synth]'") from error

__all__ = ["to_parquet"]

ROWS = 1_000  # of a batch
CONVERSATIONS = ("messages", "prompt", "chosen", "rejected")
CALL = pa.struct([("id", pa.string()), ("type", pa.string()), ("function", pa.struct([("name", pa.string()), ("arguments", pa.string())]))])  # fmt: skip
TEXTS = (
    "role",
    "content",
    "name",
    "tool_call_id",
    "kind",
    "status",
    "trust",
)  # of a message; the last three are plain/1's
SCALARS: Mapping[type, Any] = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}


def to_parquet(path: Path) -> Path:
    """Write `name.parquet` beside `name.jsonl`; return its path. An empty file has none and gives the old path.

    Raises:
        JobError: it cannot be written.
    """
    columns = _columns(path)
    if not columns:
        return path
    schema = pa.schema(list(columns.items()))
    target = path.with_suffix(".parquet")
    try:
        with ParquetWriter(target, schema, compression="zstd") as writer:
            for rows in _batches(path):
                table = {
                    name: pa.array([_value(row.get(name), kind) for row in rows], kind)
                    for name, kind in columns.items()
                }
                writer.write_batch(pa.RecordBatch.from_pydict(table, schema=schema))
    except OSError as error:
        raise JobError(f"{target}: cannot be written ({error}); free some space, or go without Parquet") from error
    return target


def _columns(path: Path) -> dict[str, Any]:
    """Return the type of every column, from all rows."""
    found: dict[str, Any] = {}
    for rows in _batches(path):
        for row in rows:
            for name, value in row.items():
                if value is not None:
                    kind = _kind(name, value)
                    found[name] = kind if found.get(name, kind) == kind else pa.string()
    return found


def _kind(name: str, value: Any) -> Any:
    if name in CONVERSATIONS and isinstance(value, list):
        message: list[tuple[str, Any]] = [(key, pa.string()) for key in TEXTS]
        return pa.list_(pa.struct([*message, ("tool_calls", pa.list_(CALL))]))
    return SCALARS.get(type(value), pa.string())


def _value(value: Any, kind: Any) -> Any:
    if value is None:
        return None
    if pa.types.is_list(kind):
        return [_message(message) for message in value]
    if pa.types.is_string(kind) and not isinstance(value, str):
        return _text(value)
    return value


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {key: message.get(key) for key in TEXTS}
    calls = message.get("tool_calls")
    if calls:
        found["tool_calls"] = [_call(call) for call in calls]
    return found


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function", {})
    arguments = function.get("arguments")
    said = arguments if isinstance(arguments, str) or arguments is None else _text(arguments)
    return {
        "id": call.get("id"),
        "type": call.get("type"),
        "function": {"name": function.get("name"), "arguments": said},
    }


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _batches(path: Path) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for line in file:
            rows.append(json.loads(line))
            if len(rows) == ROWS:
                yield rows
                rows = []
    if rows:
        yield rows
