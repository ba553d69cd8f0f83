"""When two calls are the same call, and two outcomes the same outcome.

Calls: argument order, white space, Unicode form, `./` in paths, absent against null and against the schema's
default do not matter, nor do the arguments that a tool calls volatile. Outcomes: colours, clock times, durations,
process ids, UUIDs, addresses and temporary paths do not matter, as long as something else is left to compare.
Error fingerprints also forget numbers and quotes.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from agentkit.types import Failed, Outcome, ToolCall, ToolSpec

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
_MASKS = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.I), "<uuid>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b\d\d?:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b\d+(?:\.\d+)?\s?(?:µs|us|ms|s|sec|secs|seconds|min|minutes)\b"), "<duration>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.I), "<address>"),
    (re.compile(r"(?:/private)?/(?:tmp|var/tmp|var/folders)/[^\s'\":,)]+"), "<temporary>"),
    (re.compile(r"\b(pid|process)([ =:#]+)\d+", re.I), r"\1\2<pid>"),
    (re.compile(r"\b(localhost|127\.0\.0\.1|0\.0\.0\.0):\d{2,5}\b"), r"\1:<port>"),
)
_LOOSE = (
    (re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`"), "<quoted>"),
    (re.compile(r"(?<!\w)(?:[\w.-]*/)+[\w.-]+"), "<path>"),
    (re.compile(r"\b[0-9a-f]{7,64}\b", re.I), "<id>"),
    (re.compile(r"\d+"), "<n>"),
)
_LITTLE = 4  # characters: less than that left after masking says nothing
_KEY = 200  # characters: a longer class is named by its digest
_INFRASTRUCTURE = re.compile(
    r"\b(?:429|500|502|503|504)\b|rate.?limit|too many requests|timed?.?out|temporarily unavailable|service unavailable|"
    r"connection (?:refused|reset|aborted|closed|error)|bad gateway|could not resolve|network is unreachable|try again later",
    re.I,
)
REFUSALS = frozenset({"unknown_tool", "invalid"})  # calls that cannot be made at all
BANNED = "banned"  # a call that a guard has ruled out
REPEATED = "repeated"  # one of many equal calls in one step, not made
BLOCKED = frozenset({BANNED, REPEATED})


def call_class(call: ToolCall, spec: ToolSpec | None = None) -> str:
    """Return a text that equal calls share: the tool and its canonical arguments, or their digest.

    Args:
        call: the call.
        spec: the tool's, for its defaults and volatile arguments.
    """
    text = json.dumps(canonical_arguments(call, spec), sort_keys=True, ensure_ascii=False, default=str)
    if len(text) > _KEY:
        text = f"sha256:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()}"
    return f"{call.tool} {text}"


def canonical_arguments(call: ToolCall, spec: ToolSpec | None = None) -> dict[str, Any]:
    """Return a call's arguments in their canonical form."""
    given: Mapping[str, Any] = call.arguments
    if spec is not None:
        given = {**_defaults(spec.parameters), **{key: value for key, value in given.items() if value is not None}}
        for path in spec.rules.volatile:
            given = without(given, path.split("."))
    return {str(key): _canonical(item) for key, item in given.items() if item is not None}


def without(value: Any, path: Sequence[str]) -> Any:
    """Return `value` without what lies at `path`, in every item where there is a list on the way."""
    if isinstance(value, (list, tuple)):
        return [without(item, path) for item in value]
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    if len(path) == 1:
        return {key: item for key, item in value.items() if key != path[0]}
    return {key: without(item, path[1:]) if key == path[0] else item for key, item in value.items()}


def outcome_class(outcome: Outcome | None, output_digest_: str = "") -> str:
    """Return a text that equal outcomes share; `output_digest_` is that of the whole output, where it was cut."""
    if outcome is None:
        return "none"
    if isinstance(outcome, Failed):
        text = masked(outcome.text)
        if len(text) > _KEY:
            text = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        return f"{outcome.kind} {text}"
    return f"{type(outcome).__name__.lower()} {output_digest_ or output_digest(outcome.text)}"


def output_digest(text: str) -> str:
    """Return the SHA-256 of an untruncated output with what varies by itself masked."""
    return hashlib.sha256(masked(text).encode("utf-8", "replace")).hexdigest()


def error_fingerprint(outcome: Failed) -> str:
    """Return a text that errors of the same cause share, whatever numbers, paths and names they quote."""
    return f"{outcome.kind} {_loosened(outcome.text[:2_000])[:300]}"


def is_infrastructure(outcome: Failed) -> bool:
    """Whether the world was in the way (overload, time-outs, connections), not the call."""
    return outcome.kind == "timeout" or (outcome.kind == "error" and _is_weather(outcome.text[:2_000]))


@lru_cache(maxsize=1_024)
def _loosened(text: str) -> str:
    text = masked(text)
    for pattern, mask in _LOOSE:
        text = pattern.sub(mask, text)
    return text


@lru_cache(maxsize=1_024)
def _is_weather(text: str) -> bool:
    return bool(_INFRASTRUCTURE.search(text))


@lru_cache(maxsize=1_024)
def masked(text: str) -> str:
    """Return `text` without colours, with volatile parts masked and white space folded."""
    plain = " ".join(_ANSI.sub("", text).split())
    result = plain
    for pattern, mask in _MASKS:
        result = pattern.sub(mask, result)
    left = re.sub(r"<\w+>|[\W_]", "", result)
    return result if len(left) >= _LITTLE or result == plain else plain


def _defaults(parameters: Mapping[str, Any]) -> dict[str, Any]:
    properties = parameters.get("properties", {})
    return {
        name: about["default"]
        for name, about in properties.items()
        if isinstance(about, Mapping) and "default" in about
    }


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        text = " ".join(unicodedata.normalize("NFC", value).split())
        return posixpath.normpath(text) if "/" in text and " " not in text and "://" not in text else text
    return value
