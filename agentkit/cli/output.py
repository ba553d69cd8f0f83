"""What goes where: the payload to stdout, everything else to stderr, colour only on a terminal.

Nothing here imports a library for looks: `run` must start quickly. `NO_COLOR` is honoured. Text that a
tool or a model produced is stripped of control characters before a terminal sees it.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TextIO

import click

SCHEMA_VERSION = 1

# C0 except tab and newline, DEL, and C1: what moves cursors, rings bells and sets titles.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


def keep_stdout() -> None:
    """Keep stdout for the payload alone: whatever writes to the descriptor itself (child processes of tools,
    libraries in C) goes to stderr from now on.
    """
    stdout, stderr = sys.stdout, sys.stderr
    if not isinstance(stdout, io.TextIOWrapper) or not isinstance(stderr, io.TextIOWrapper) or stdout.fileno() != 1:
        return  # closed, or replaced by somebody
    stdout.flush()
    own = os.dup(1)
    os.dup2(stderr.fileno(), 1)
    kept = open(own, "w", encoding=stdout.encoding, errors="replace")  # noqa: PTH123, SIM115  as long as the process
    kept.reconfigure(line_buffering=stdout.line_buffering)
    sys.stdout = kept


def clean(text: str) -> str:
    """Return `text` without anything that a terminal would obey."""
    return _CONTROL.sub("", text)


def document(command: str, data: Any) -> None:
    """Write the one JSON document of a command to stdout."""
    envelope = {"schema_version": SCHEMA_VERSION, "command": command, "data": data}
    sys.stdout.write(json.dumps(envelope, ensure_ascii=False, default=plain) + "\n")


def line(value: Mapping[str, Any]) -> None:
    """Write one event as one line of JSON, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=plain) + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """Return something JSON can hold for a value it cannot."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, Path) or not isinstance(value, (set, frozenset, tuple)) else list(value)


def colourful(stream: TextIO) -> bool:
    """Whether colour and motion are welcome there."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def dim(text: str, stream: TextIO) -> str:
    """Return `text` in a faint colour where that is welcome."""
    return f"\x1b[2m{text}\x1b[0m" if colourful(stream) else text


def say(text: str, *, faint: bool = False) -> None:
    """Write a line for a person to stderr."""
    sys.stderr.write((dim(text, sys.stderr) if faint else text) + "\n")
    sys.stderr.flush()


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """Write rows as an aligned table; on a terminal, lines are cut to its width."""
    if not rows:
        say(empty)
        return
    cells = [[clean(_cell(row.get(name))) for name in columns] for row in rows]
    heads = [name.replace("_", " ") for name in columns]
    widths = [max(len(row[n]) for row in [heads, *cells]) for n in range(len(columns))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for n, row in enumerate([heads, *cells]):
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        text = text if limit is None or len(text) <= limit else text[: limit - 1] + "…"
        click.echo(dim(text, sys.stdout) if n == 0 else text)


def pairs(values: Mapping[str, Any]) -> None:
    """Write names and values, one a line, aligned."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        click.echo(f"{name.replace('_', ' ').ljust(width)}  {clean(_cell(value))}")


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.2f}"
        case str():
            return " ".join(value.split())
        case int():
            return str(value)
        case _:
            return json.dumps(value, ensure_ascii=False, default=plain)
