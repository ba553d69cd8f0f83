"""A job's folder: whole files or none, logs that survive a torn line, one runner at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentkit.errors import JobError
from agentkit.jobs.values import Artifact

if sys.platform != "win32":
    import fcntl

CONFIG, RESULT, EVENTS, METRICS, LOG = "config.json", "result.json", "events.jsonl", "metrics.jsonl", "log.txt"
CHECKPOINTS, ARTIFACTS, EARLIER, LOCK, CANCEL = "checkpoints", "artifacts", "earlier", ".lock", ".cancel"


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file that is there whole, or as it was before, whatever happens meanwhile."""
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise JobError(
            f"{path}: cannot be written ({error.strerror}); free some space, or choose another folder"
        ) from error


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write plain data, atomically."""
    write_atomic(path, json.dumps(data, indent=1, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a file's data, or None if there is no such file.

    Raises:
        JobError: it is not JSON.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise JobError(f"{path}: cannot be read ({error}); start the job in another folder") from error
    return data


def append_line(path: Path, data: Mapping[str, Any]) -> None:
    """Append one JSON line; a line torn by a crash before it stays alone."""
    torn = path.exists() and path.stat().st_size > 0 and _last_byte(path) != b"\n"
    line = json.dumps(data, ensure_ascii=True, default=str)
    with path.open("a", encoding="ascii") as file:
        file.write(("\n" if torn else "") + line + "\n")


def read_lines(path: Path, *, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the whole JSON lines after `offset`, and the offset after them; torn ones are left out."""
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    found = []
    for line in whole.splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found, offset + len(whole)


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` as it comes back from JSON, so that a job sees the same params in every process."""
    result: dict[str, Any] = json.loads(json.dumps(data, default=str))
    return result


def config_hash(job: str, config: Mapping[str, Any], seed: int) -> str:
    """Return the SHA-256 that equal jobs share."""
    text = json.dumps({"job": job, "config": config, "seed": seed}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return `key: old -> new` for every dotted key in which two configurations differ."""
    one, other = dict(_flat(old)), dict(_flat(new))
    keys = [key for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
    return [f"{key}: {one.get(key, 'absent')!s} -> {other.get(key, 'absent')!s}" for key in keys]


def artifacts(run_dir: Path, kinds: Mapping[Path, str]) -> tuple[Artifact, ...]:
    """Return what the job made: all files under `artifacts/`, and what it named besides."""
    paths = {path for path in (run_dir / ARTIFACTS).rglob("*") if path.is_file()} | set(kinds)
    found = []
    for path in sorted(paths):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = path.relative_to(run_dir) if path.is_relative_to(run_dir) else path
        kind = kinds.get(path) or path.suffix.removeprefix(".") or "file"
        found.append(Artifact(path=str(name), kind=kind, sha256=digest, bytes=path.stat().st_size))
    return tuple(found)


def set_aside(run_dir: Path) -> None:
    """Move an earlier run's files into `earlier/N`; nothing is deleted."""
    n = sum(1 for _ in (run_dir / EARLIER).glob("*")) + 1
    target = run_dir / EARLIER / str(n)
    target.mkdir(parents=True)
    for entry in list(run_dir.iterdir()):
        if entry.name not in {EARLIER, LOCK}:
            entry.rename(target / entry.name)


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[int]:
    """Hold the folder; gives the lock's file number, which a child process may inherit and so go on holding.

    Raises:
        JobError: somebody else runs a job in it.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        file = (run_dir / LOCK).open("a+")
    except OSError as error:
        raise JobError(f"{run_dir}: cannot be written ({error.strerror}); choose another folder") from error
    with file:
        if not _try_lock(file.fileno(), shared=False):
            raise JobError(f"{run_dir}: a job is running in this folder; wait for it, cancel it, or choose another")
        yield file.fileno()


def is_running(run_dir: Path) -> bool:
    """Whether a process holds the folder now."""
    if not (run_dir / LOCK).exists():
        return False
    with (run_dir / LOCK).open("a+") as file:
        return not _try_lock(file.fileno(), shared=True)


def _try_lock(number: int, *, shared: bool) -> bool:
    if sys.platform == "win32":
        return True  # one runner a folder is not enforced there
    try:
        fcntl.flock(number, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)
