"""A data set's files while it is made: appended to, with a checkpoint that an interrupted start goes on from.

A checkpoint is the number of bytes that count in each file and the index that comes next. Whatever was written after it is cut
off again, so that a start that was killed at any moment and one that was not end in the same bytes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import BinaryIO

from agentkit.errors import JobError
from agentkit.jobs import write_atomic
from agentkit_synthesis.dataset.chunks import Line
from agentkit_synthesis.dataset.rows import Rejected

__all__ = ["Files", "Progress"]

NAMES = {"train": "train.jsonl", "test": "test.jsonl", "pairs": "pairs.jsonl"}


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a data set is.

    Attributes:
        next: index of the row to make next; also how many were tried.
        kept: rows in the files.
        rows: rows of each file.
        families: rows of each family.
        rejected: rows rejected for each reason.
        bytes: of each file.
    """

    next: int = 0
    kept: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    families: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)

    def reasons(self, n: int = 3) -> str:
        """Return the most frequent reasons of rejection, with how often."""
        return "; ".join(f"{reason} ({count} times)" for reason, count in self.rejected.most_common(n))


class Files:
    """The open files; use it in a `with` block.

    Args:
        folder: where they are.
        checkpoint: the checkpoint's file.
        pairs: whether there is a file for preference pairs.
    """

    def __init__(self, folder: Path, checkpoint: Path, *, pairs: bool) -> None:
        self.folder, self.checkpoint = folder, checkpoint
        self.names = [name for name in NAMES if name != "pairs" or pairs]
        self.progress = self._found()
        self._open: dict[str, BinaryIO] = {}

    def __enter__(self) -> Files:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in self.names:
            file = self._path(name).open("ab")
            self._open[name] = file
            file.truncate(self.progress.bytes[name])
        return self

    def __exit__(self, *raised: object) -> None:
        for name, file in self._open.items():
            try:
                file.close()
            except OSError as error:
                if raised[0] is None:
                    raise self._full(name, error) from error
        if (
            raised[0] is not None
        ):  # what no checkpoint counts is cut off now: a full disk has room for the job's result then
            kept = self._found()
            for name in self.names:
                os.truncate(self._path(name), kept.bytes[name])

    def add(self, outcome: Line | Rejected) -> None:
        """Take the next row, kept or rejected.

        Raises:
            JobError: it cannot be written, as on a full disk.
        """
        self.progress.next += 1
        if isinstance(outcome, Rejected):
            self.progress.rejected[outcome.reason] += 1
            return
        self._append(outcome.split, outcome.text)
        if outcome.pairs:
            self._append("pairs", outcome.pairs)
        self.progress.kept += 1
        self.progress.families[outcome.family] += 1

    def save(self) -> None:
        """Write what is buffered, then the checkpoint.

        Raises:
            JobError: it cannot be written.
        """
        for name, file in self._open.items():
            try:
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                raise self._full(name, error) from error
        write_atomic(
            self.checkpoint, json.dumps({one.name: getattr(self.progress, one.name) for one in fields(Progress)})
        )

    def _append(self, name: str, text: bytes) -> None:
        if name not in self._open:
            raise JobError("a row has preference pairs, and none were asked for; mend the source")
        try:
            self._open[name].write(text)
        except OSError as error:
            raise self._full(name, error) from error
        self.progress.rows[name] += text.count(b"\n")
        self.progress.bytes[name] += len(text)

    def _full(self, name: str, error: OSError) -> JobError:
        return JobError(
            f"{self._path(name)}: cannot be written ({error.strerror}); free some space and give the same command: it goes on "
            f"after row {self._found().next}"
        )

    def _found(self) -> Progress:
        """Return what the checkpoint says, or a start from nothing where the files hold less than it says."""
        try:
            data = json.loads(self.checkpoint.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Progress()
        counters = {name: Counter(value) for name, value in data.items() if isinstance(value, dict)}
        found = Progress(next=data["next"], kept=data["kept"], **counters)
        whole = all(self._size(name) >= found.bytes[name] for name in self.names)
        return found if whole else Progress()

    def _size(self, name: str) -> int:
        return self._path(name).stat().st_size if self._path(name).exists() else 0

    def _path(self, name: str) -> Path:
        return self.folder / NAMES[name]
