"""Bringing a collection in line with the files on disk: what is unchanged is skipped, the rest embedded in batches.

The collection itself is the record of progress: a batch is committed whole, so whoever stops between two, by asking or
by kill -9, goes on with the next and ends with the same collection, vector for vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentkit_vision.contracts import Encoder, Picture, Pixels
from agentkit_vision.search.values import Entry, Known, name_of
from agentkit_vision.search.writer import Writer

__all__ = ["Changes", "Failure", "Load", "Thumbnail", "is_unchanged", "update"]

Load = Callable[[Path], Picture]
Thumbnail = Callable[[Picture], bytes | None]
WAITING = 8  # times a batch: files without new contents that may wait for it to be full


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file that could not be made a picture of."""

    path: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Changes:
    """What an update did so far.

    Attributes:
        added: files that are new, or that hold other contents now.
        same: files that are as they were.
        removed: files that are gone, or cannot be read any more.
        embedded: different contents that the encoder was given.
        complete: whether every file was looked at.
    """

    added: int = 0
    same: int = 0
    removed: int = 0
    embedded: int = 0
    failures: list[Failure] = field(default_factory=list)
    complete: bool = False


def update(
    writer: Writer,
    encoder: Encoder,
    files: Iterable[Path],
    load: Load,
    *,
    labels: Mapping[Path, Mapping[str, str]] | None = None,
    thumbnail: Thumbnail = lambda picture: None,
    batch: int = 32,
    gone: Callable[[str], bool] = lambda name: False,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda done: None,
) -> Changes:
    """Bring a collection in line with `files`.

    Args:
        writer: the collection.
        encoder: its own.
        files: absolute paths, in the order in which they get their ids.
        load: reads a picture; what it raises is the file's own failure, noted and never fatal.
        labels: of the files that have any.
        thumbnail: picture -> a small PNG, or None.
        batch: images that are embedded at once.
        gone: whether a name that is in the collection and not among `files` is to be taken out, once all are done.
        should_stop: asked between batches.
        progress: told how many files are done.

    Raises:
        EncoderMismatch: the collection is another encoder's.
        StoreError: there is no room, or it cannot be written; all batches before stay.
    """
    writer.check_encoder(encoder)
    known, told = writer.known(), labels or {}
    work = _Work(writer, encoder, load, thumbnail, batch)
    names = {path: name_of(path, writer.root) for path in files}
    todo = [path for path, name in names.items() if not _is_same(path, known.get(name), told.get(path, {}))]
    work.changes.same = len(names) - len(todo)
    for n, path in enumerate(todo):
        if work.is_empty:
            progress(len(names) - len(todo) + n)
            if should_stop():
                return work.changes
        work.take(path, names[path], known.get(names[path]), told.get(path, {}))
        if work.is_full:
            work.commit()
    work.finish([name for name in known.keys() - names.values() if gone(name)])
    progress(len(names))
    return work.changes


def is_unchanged(path: Path, known: Known | None) -> bool:
    """Whether a file has the size and the time of change that the collection knows."""
    if known is None:
        return False
    try:
        stat = path.stat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (known.size, known.mtime_ns)


def _is_same(path: Path, known: Known | None, labels: Mapping[str, str]) -> bool:
    return known is not None and is_unchanged(path, known) and known.labels == labels


class _Work:
    """One update: the files that wait for their batch to be full, and what was done with those before."""

    def __init__(self, writer: Writer, encoder: Encoder, load: Load, thumbnail: Thumbnail, batch: int) -> None:
        self.changes = Changes()
        self._writer, self._encoder, self._load, self._thumbnail, self._batch = writer, encoder, load, thumbnail, batch
        self._entries: list[Entry] = []
        self._pixels: dict[str, Pixels] = {}  # of the contents that have no vector yet, by SHA-256
        self._lost: list[str] = []  # names that stand for nothing any more

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._entries and not self._lost

    @property
    def is_full(self) -> bool:
        """Whether what waits is a batch."""
        return len(self._pixels) >= self._batch or len(self._entries) + len(self._lost) >= WAITING * self._batch

    def take(self, path: Path, name: str, known: Known | None, labels: Mapping[str, str]) -> None:
        """Look at one file: write down that its contents are the same, note why it is no picture, or let it wait for its batch."""
        labels = dict(labels)
        try:
            stat = path.stat()  # before its contents: a change while they are read is seen the next time
            sha256 = _contents(path)
            if known is not None and sha256 == known.sha256:
                told = replace(known, size=stat.st_size, mtime_ns=stat.st_mtime_ns, labels=labels)
                self._writer.touch(name, told)
                self.changes.same += 1
                return
            entry = Entry(path=path, sha256=sha256, size=stat.st_size, mtime_ns=stat.st_mtime_ns, labels=labels)
            if sha256 not in self._pixels and not self._writer.holds(sha256):
                entry = self._read(entry)
        except Exception as error:  # noqa: BLE001  whatever a decoder raises is this file's failure
            self.changes.failures.append(Failure(path=name, reason=_reason(error)))
            self._lost += [name] if known is not None else []
            return
        self._entries.append(entry)

    def commit(self) -> None:
        """Embed what waits and put it into the collection."""
        if self._entries:
            vectors = self._encoder.embed_images(list(self._pixels.values())) if self._pixels else ()
            self._writer.add(self._entries, dict(zip(self._pixels, vectors, strict=True)))
        self.changes.removed += self._writer.forget(self._lost)  # afterwards: others may have their contents
        self.changes.added += len(self._entries)
        self.changes.embedded += len(self._pixels)
        self._entries, self._pixels, self._lost = [], {}, []

    def finish(self, gone: Iterable[str]) -> None:
        """Commit the last batch, and take out what stands for nothing any more."""
        self.commit()
        self.changes.removed += self._writer.forget(gone)
        self.changes.complete = True

    def _read(self, entry: Entry) -> Entry:
        picture = self._load(entry.path)
        (width, height), sha256 = picture.size, picture.sha256 or entry.sha256  # its own: it may just have changed
        if not self._writer.holds(sha256):
            self._pixels.setdefault(sha256, picture.pixels)
        return replace(entry, sha256=sha256, width=width, height=height, thumbnail=self._thumbnail(picture))


def _contents(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else str(error)) or ""
    return " ".join(text.split()) or type(error).__name__
