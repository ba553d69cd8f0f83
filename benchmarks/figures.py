"""Figures as rows: what was measured, by which command, on which machine, and whether it is what was wanted.

Rows live in `benchmarks/results/<area>.json` and are written by the command they name, never by hand. A target
that was missed stays in the file as missed.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
SHARE = "share"  # a unit that is better when it is higher; all others are better when lower
Z = 1.959964  # 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure."""

    id: str
    what: str
    value: float
    interval: tuple[float, float] | None  # 95 %
    unit: str  # "share", "s", "MB", ...
    target: float | None  # None: reported only
    holds: bool | None  # None where there is no target
    n: int
    command: str
    seconds: float  # the whole command took
    machine: str
    commit: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a command found out; `rows` adds where, when and by what."""

    id: str
    what: str
    value: float
    unit: str
    n: int
    interval: tuple[float, float] | None = None
    target: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the target is met: at least it for a share, at most it for all else."""
        if self.target is None:
            return None
        return self.value >= self.target - 1e-9 if self.unit == SHARE else self.value <= self.target + 1e-9


def share(id: str, what: str, right: int, n: int, target: float | None = None) -> Measured:
    """Return a share with its Wilson interval."""
    value = right / n if n else 0.0
    return Measured(id=id, what=what, value=round(value, 4), unit=SHARE, n=n, interval=wilson(right, n), target=target)


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `n`."""
    if n == 0:
        return (0.0, 1.0)
    p = right / n
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return (round(max(0.0, middle - half), 4), round(min(1.0, middle + half), 4))


def rows(measured: Iterable[Measured], *, command: str, seconds: float) -> list[Row]:
    """Return what was measured as rows of this machine, commit and day."""
    about: dict[str, Any] = {
        "command": command,
        "seconds": round(seconds, 1),
        "machine": machine(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    return [
        Row(id=m.id, what=m.what, value=m.value, interval=m.interval, unit=m.unit, target=m.target,
            holds=m.holds, n=m.n, **about)
        for m in measured
    ]  # fmt: skip


def write(area: str, new: Sequence[Row], *, folder: Path = RESULTS) -> Path:
    """Put `new` into the area's file in place of rows with the same ids; the file changes whole or not at all."""
    path = folder / f"{area}.json"
    merged = {row.id: row for row in read(path)} if path.exists() else {}
    merged.update((row.id, row) for row in new)
    text = json.dumps([asdict(row) for row in merged.values()], indent=1, ensure_ascii=False) + "\n"
    write_whole(path, text)
    return path


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: after a crash it is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".partial", delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def read(path: Path) -> list[Row]:
    """Return the rows of one file."""
    names = {item.name for item in fields(Row)}
    found = []
    for plain in json.loads(path.read_text(encoding="utf-8")):
        if set(plain) != names:
            raise ValueError(f"{path.name}: row {plain.get('id')!r} has not the fields of a row; run its command again")
        interval = tuple(plain["interval"]) if plain["interval"] is not None else None
        found.append(Row(**{**plain, "interval": interval}))
    return found


def areas(folder: Path = RESULTS) -> Iterator[tuple[str, list[Row]]]:
    """Yield every area with its rows."""
    for path in sorted(folder.glob("*.json")):
        yield path.stem, read(path)


def mistakes(folder: Path = RESULTS) -> dict[str, list[dict[str, Any]]]:
    """Return the most frequent wrong picks that stand beside the rows, by what was asked."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((folder / "details").glob("*.json")):
        found |= json.loads(path.read_text(encoding="utf-8")).get("confusions", {})
    return found


def machine() -> str:
    """Return the processor's model and how many cores may be used; nothing that says whose it is."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_processor()}, {cores} cores"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def commit() -> str:
    """Return the commit measured, with a `+` where files differ from it; empty outside a checkout."""
    said = [_git("rev-parse", "--short=10", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")]
    return f"{said[0]}{'+' if said[1] else ''}" if said[0] else ""


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
