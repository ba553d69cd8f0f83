"""Values to JSON text and back; what is large goes into the `blobs` table, compressed.

Text is ASCII JSON, so lone surrogates and NUL in what a tool or a model said can be stored and come back.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from agentkit.store.database import Statements

MAX_INLINE_CHARS = 32_768
TASK_CHARS = 200
_BLOB = "blob:"


def pack(db: Statements, run_id: str, value: Any) -> str:
    """Return the column text for `value`: its JSON, or the name of the blob that now holds it."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=_plain)
    if len(text) <= MAX_INLINE_CHARS:
        return text
    data = text.encode("ascii")
    digest = hashlib.sha256(data).hexdigest()
    db.execute(
        "INSERT INTO blobs (run_id, digest, data) VALUES (?,?,?) ON CONFLICT DO NOTHING",
        (run_id, digest, zlib.compress(data, 6)),
    )
    return _BLOB + digest


def unpack(db: Statements, run_id: str, text: str) -> Any:
    """Return the value that `pack` wrote."""
    if text.startswith(_BLOB):
        key = (run_id, text.removeprefix(_BLOB))
        (data,) = db.execute("SELECT data FROM blobs WHERE run_id = ? AND digest = ?", key).fetchone()
        text = zlib.decompress(data).decode("ascii")
    return json.loads(text)


def clean(value: Any) -> str | None:
    """Return `value` as text that every database can hold."""
    return None if value is None else str(value).replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def first_words(task: Any) -> str | None:
    """Return the start of a task on one line, for lists."""
    text = clean(task)
    return None if text is None else " ".join(text[: 4 * TASK_CHARS].split())[:TASK_CHARS]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)
