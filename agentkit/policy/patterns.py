"""Whether a value fits a pattern: narrowly where that allows something, and broadly where it forbids.

A pattern that allows has to fit the whole of one thing, as it is written: what a program further on might read as
two recipients, another host, or a second command does not fit. One that forbids fits a value in any of its spellings.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_SHELL = frozenset(";&|`$<>()\n\\")
_ADDRESS = frozenset("@:!%\"'")
_PORTS = {"http": 80, "https": 443}
_UNQUOTED = 3  # times that a URL may be escaped


def texts(value: Any, names: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield every non-empty text in an argument's value, however deep; keys too, but not those that are in `names`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in names:
                yield from texts(key)
            yield from texts(inner, names)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from texts(inner, names)
    elif value is not None and str(value).strip():
        yield str(value)


def property_names(schema: Any) -> frozenset[str]:
    """Return the names that a JSON Schema gives to properties, at any depth: they are no values."""
    found: set[str] = set()
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, Mapping):
            properties = node.get("properties")
            found |= set(properties) if isinstance(properties, Mapping) else set()
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return frozenset(found)


def fits(value: str, pattern: str) -> bool:
    """Whether all of `value` fits a pattern that allows; `*` alone fits everything."""
    if pattern in {"*", value}:
        return True
    if not value.isprintable() or unicodedata.normalize("NFKC", value) != value:
        return False  # it may be read as something else than it looks like
    if "://" in pattern:
        return _url_fits(value, pattern)
    if _SHELL & set(value) or "://" in value or ".." in value.split("/"):
        return False
    if any(char in value and char not in pattern for char in " \t,"):
        return False  # one pattern, one thing: `*@example.com` is not a list of recipients
    if "@" in pattern and any(value.count(char) > pattern.count(char) for char in _ADDRESS):
        return False  # nor a route by way of example.com
    return fnmatchcase(value, pattern)


def touches(value: str, pattern: str, workspace: Path | None = None) -> bool:
    """Whether `value`, in any way of writing it, fits a pattern that forbids or asks; capitals do not matter."""
    wanted = {pattern.casefold(), *(form.casefold() for form in _url_forms(pattern))}
    return any(fnmatchcase(form.casefold(), one) for form in _forms(value, workspace) for one in wanted)


def host_of(value: str) -> tuple[str, str]:
    """Return a URL's host and its `host:port`; empty where it is no URL, or hides its host behind a user name."""
    parts = _split(value) if "://" in value and "\\" not in value and value.isprintable() else None
    if parts is None or "@" in parts.netloc:
        return "", ""
    host = (parts.hostname or "").lower().rstrip(".")
    return host, f"{host}:{parts.port or _PORTS.get(parts.scheme, '')}"


def leaves(value: str) -> bool:
    """Whether a path may lie outside the workspace."""
    path = posixpath.normpath(value.replace("\\", "/"))
    return path.startswith(("/", "~")) or path.split("/")[0] == ".." or path[1:2] == ":"


def looks_alike(value: str) -> str:
    """Return a note on characters of `value` that a reader may take for others; empty where there are none."""
    strange = dict.fromkeys(char for char in value if not char.isascii())
    named = [f"U+{ord(char):04X} {unicodedata.name(char, 'without a name')}" for char in strange]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return f" [not ASCII: {', '.join(named[:3])}{more}]" if named else ""


def _forms(value: str, workspace: Path | None) -> Iterator[str]:
    """Yield the spellings of a value."""
    seen = {value, " ".join(value.split()), unicodedata.normalize("NFKC", value)}
    for text in list(seen):
        for _ in range(_UNQUOTED):
            text = unquote(text)
            seen.add(text)
    for text in list(seen):
        seen.update(_url_forms(text))
        path = posixpath.normpath(text.replace("\\", "/"))
        seen.add(path)
        if workspace is not None and "\x00" not in text:
            seen |= _path_forms(text, workspace)
    yield from seen


def _path_forms(text: str, workspace: Path) -> set[str]:
    """Return what a path comes to, from the workspace and from the root, links followed."""
    try:
        root = workspace.resolve()
        real = (root / Path(text).expanduser()).resolve()
    except (OSError, RuntimeError, ValueError):
        return set()
    inside = {real.relative_to(root).as_posix()} if real.is_relative_to(root) else set()
    return {str(real), *inside}


def _url_forms(text: str) -> list[str]:
    parts = _split(text) if "://" in text else None
    if parts is None or not parts.hostname:
        return []
    host = parts.hostname.rstrip(".").lower()
    port = f":{parts.port}" if parts.port and parts.port != _PORTS.get(parts.scheme) else ""
    rest = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return [f"{parts.scheme}://{host}{port}{rest}", f"{host}{port}{rest}"]


def _url_fits(value: str, pattern: str) -> bool:
    one, other = _split(value), _split(pattern)
    if one is None or other is None or (one.scheme, one.port) != (other.scheme, other.port):
        return False
    path = one.path + (f"?{one.query}" if one.query else "")
    if "@" in one.netloc or "\\" in value or _climbs(one.path):
        return False
    return fnmatchcase(one.hostname or "", other.hostname or "") and fnmatchcase(path or "/", other.path or "/")


def _climbs(path: str) -> bool:
    """Whether a URL's path goes up, escaped or not."""
    for _ in range(_UNQUOTED):
        if ".." in path.replace("\\", "/").split("/"):
            return True
        path = unquote(path)
    return False


def _split(value: str) -> Any:
    """Return the parts of a URL, or None."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  it is read here, and may be none
    except ValueError:
        return None
    return parts
