"""One TOML file of settings: its keys, dotted, and the line that each stands in."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentkit.errors import ConfigError

PROJECT_FILE = "agentkit.toml"
_HEADER = re.compile(r"\s*\[{1,2}\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?")
_KEY = re.compile(r"\s*([\w\-.\"' ]+?)\s*=")


def find_project_file(cwd: Path) -> Path | None:
    """Return the nearest `agentkit.toml`, upwards from `cwd`."""
    return next((path for folder in (cwd, *cwd.parents) if (path := folder / PROJECT_FILE).is_file()), None)


def entries(path: Path) -> Iterator[tuple[str, Any, str]]:
    """Yield each dotted key with its value and where it stands, `FILE:LINE`; an array of tables is one value.

    Raises:
        ConfigError: the file cannot be read, or is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error}); mend the line, or move the file away") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    lines = _lines(text)
    for key, value in _flatten(table):
        line = lines.get(key)
        yield key, value, f"{path}:{line}" if line else str(path)


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{key}.")
        else:
            yield key, value


def _lines(text: str) -> dict[str, int]:
    """Return the first line of each key; what is written in an unusual way may be missing, and nothing depends on it."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            table = _dotted(header[1])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault(f"{table}.{_dotted(key[1])}".lstrip("."), number)
    return found


def _dotted(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
