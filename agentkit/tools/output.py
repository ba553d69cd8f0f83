"""What a tool gave, made fit for a model, a terminal and a database.

Whatever comes in, what goes out is bounded, is valid Unicode, and holds no escape sequence, no invisible
tag and no binary. What is cut is cut in the middle, with a note of the whole text's size and SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

from agentkit.types import Done, Failed, Outcome, Pending

MAX_DATA_CHARS = 1_000_000
_SNIFF = 4_096
_CLEANED_WHOLE = 20_000  # characters: no need to guess from the ends
_SLACK = 4  # characters kept for each one shown, so that cleaning does not leave too few

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x9b[0-?]*[ -/]*[@-~]"  # the same in one C1 byte
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"  # all other escapes
)
_UNWANTED = re.compile(
    r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f"  # controls but tab, newline and carriage return
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, overrides and isolates
    r"\ufff9-\ufffb\ufeff"  # interlinear annotation, byte order mark
    r"\ud800-\udfff"  # lone surrogates
    r"\U000e0000-\U000e0fff]"  # tags and variation selectors: invisible words
)
_CUT = re.compile(r"\[\.\.\. cut: [\d,]+ (?:characters|bytes) in all; SHA-256 [0-9a-f]* ?\.\.\.\]")
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x7fELF", "an ELF program"),
    (b"GGUF", "a GGUF model"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"RIFF", "RIFF audio, video or WebP"),
    (b"OggS", "Ogg audio"),
    (b"ID3", "MP3 audio"),
)


def clean(text: str) -> str:
    """Return `text` without escapes, control, bidirectional and tag characters, and lone surrogates."""
    text = _ESCAPES.sub("", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNWANTED.sub("", text)


def digest(text: str) -> str:
    """Return the SHA-256 of `text`, in hexadecimal."""
    state = hashlib.sha256()
    for start in range(0, len(text), 1 << 20):
        state.update(text[start : start + (1 << 20)].encode("utf-8", "surrogatepass"))
    return state.hexdigest()


def cap(text: str, limit: int) -> str:
    """Return `text` cleaned and at most `limit` characters long: head, note, tail."""
    if len(text) <= max(limit * _SLACK, _CLEANED_WHOLE):
        cleaned = clean(text)
        if len(cleaned) <= limit:
            return cleaned
        head = tail = cleaned
    else:
        head, tail = clean(text[: limit * 2]), clean(text[-limit * 2 :])
    note = note_of(text)
    room = max(limit - len(note), 0)
    if not room:
        return note.strip()[:limit]
    end = room // 3
    return head[: room - end] + note + (tail[-end:] if end else "")


def cut_note(size: int, sha256: str) -> str:
    """Return what stands where the middle of a text of `size` characters was left out."""
    return f"\n[... cut: {size:,} characters in all; SHA-256 {sha256} ...]\n"


def note_of(text: str) -> str:
    """Return the note for cutting `text`; where it was cut before, what it was before that counts."""
    before = _CUT.search(text)
    return f"\n{before[0]}\n" if before else cut_note(len(text), digest(text))


def was_cut(text: str) -> bool:
    """Whether something is missing from `text`: it must not be counted or summed."""
    return _CUT.search(text) is not None


def looks_binary(data: bytes) -> bool:
    """Whether `data` begins like something that is not text."""
    head = data[:_SNIFF]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and len(head) % 2 == 0:
        return False  # UTF-16 with its mark
    if any(head.startswith(magic) for magic, _ in _SIGNATURES) or b"\x00" in head:
        return True
    odd = sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 or byte == 127 for byte in head)
    broken = head.decode("utf-8", "replace").count("\ufffd")
    return odd * 10 > len(head) or (broken > 4 and broken * 10 > len(head) * 3)


def describe(data: bytes) -> str:
    """Return one line on binary `data`."""
    kind = next((name for magic, name in _SIGNATURES if data.startswith(magic)), "not text")
    return f"[binary data: {kind}, {len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}]"


def decode(data: bytes) -> str:
    """Return `data` as text, or a description of it where it is not text."""
    if looks_binary(data):
        return describe(data)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def one_line(error: BaseException, limit: int = 500) -> str:
    """Return type and message of `error` in one line, without the traceback."""
    try:
        message = str(error)
    except Exception as second:  # noqa: BLE001  a stranger's __str__ may do anything
        message = f"(its message cannot be read: {type(second).__name__})"
    message = " ".join(clean(message[: limit * _SLACK]).split())
    return f"{type(error).__name__}: {message}"[:limit] if message else type(error).__name__


def outcome_of(value: Any, *, limit: int, printed: str = "") -> Outcome:
    """Return what a tool returned as an outcome that is safe to show and to keep.

    Args:
        value: an outcome, text, bytes, a number, or anything that JSON can say.
        limit: characters of text at most.
        printed: what the tool wrote to stdout; the text where it returned nothing.
    """
    if isinstance(value, Done):
        artifacts = tuple(cap(str(path), 4_096) for path in value.artifacts)
        state = {str(place): str(stands) for place, stands in value.state.items()}
        text = _capped(_text_of(value.text), limit)
        brief = cap(value.brief, limit)
        return Done(text=text, data=plain_data(value.data), artifacts=artifacts, state=state, brief=brief)
    if isinstance(value, Failed):
        text, brief = cap(str(value.text), limit), cap(value.brief, limit)
        return Failed(text=text, kind=value.kind, data=plain_data(value.data), brief=brief)
    if isinstance(value, Pending):
        return replace(value, text=cap(value.text, limit), brief=cap(value.brief, limit))
    if value is None:
        return Done(text=_capped(printed, limit).strip() or "done")
    data = None if isinstance(value, str | bytes | bytearray | memoryview) else plain_data(value)
    return Done(text=_capped(_text_of(value), limit), data=data)


def plain_data(value: Any) -> Any:
    """Return `value` as plain JSON data, or None where it has no such form or is too big."""
    if value is None:
        return None
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=True)
        if len(text) > MAX_DATA_CHARS:
            return None
        return _scrub(json.loads(text, parse_constant=str))
    except (TypeError, ValueError, RecursionError, OverflowError):
        return None


def _scrub(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_scrub(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): _scrub(item) for key, item in value.items()}
    return value


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return decode(bytes(value))
    if isinstance(value, bool | int | float | Decimal):
        return _number_text(value)
    try:
        return json.dumps(value, default=_plain, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError, OverflowError):
        return str(value)


def _number_text(value: bool | int | float | Decimal) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return str(value)
    except ValueError:  # Python refuses to write integers of more than 4300 digits
        return f"[an integer of about {int(value).bit_length() * 3 // 10:,} digits]"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes | bytearray):
        return decode(bytes(value))
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if hasattr(value, "tolist"):  # numpy
        return value.tolist()
    return str(value)


def _capped(text: str, limit: int) -> str:
    head = text[:_SNIFF]
    odd = sum(char == "\ufffd" or (char < " " and char not in "\t\n\r\x1b\f\b") for char in head)
    if odd * 10 > len(head) * 3:
        return f"[binary data: {len(text):,} characters that are not text, SHA-256 {digest(text)}]"
    return cap(text, limit)
