"""The job `index_images`: a folder's pictures into a collection, skipping what is unchanged; it can be stopped and goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from agentkit.errors import InvalidParams
from agentkit.extensions import Plugin
from agentkit.jobs import Job, JobContext, JobPlan, write_atomic
from agentkit_vision.contracts import Encoder
from agentkit_vision.search.collection import Collection, home_in
from agentkit_vision.search.errors import NotMade
from agentkit_vision.search.listing import Listing, labels_in, list_images
from agentkit_vision.search.params import IndexParams
from agentkit_vision.search.tables import DATABASE
from agentkit_vision.search.updating import Changes, Thumbnail, is_unchanged, update
from agentkit_vision.search.values import Known, name_of, printable
from agentkit_vision.search.writer import Writer

__all__ = ["FAILURES", "INDEX", "refresh"]

NEEDS = ("PIL",)
FAILURES = "failures.jsonl"
TOLD = 5  # failures that the result names
START_S, IMAGES_S, SKIPPED_S = 1.0, 60.0, 20_000.0  # about: to start; images and unchanged files a second
ROW_BYTES, DIM = 500, 512  # of a row; of a vector, where there is no collection yet that says
THUMBNAIL_BYTES = 2.0  # a pixel, with some room
SPARSE = 0.5  # share of vectors without a file from which the collection is compacted


class _State(NamedTuple):
    """A collection as it is before a job."""

    root: Path
    told: dict[str, int]  # what a result depends on beside the files
    known: dict[str, Known]
    dim: int
    encoder: str


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return what indexing would do and cost.

    Raises:
        InvalidParams: a parameter is off, or the folder is none.
        MissingDependency: the extra `vision` is not installed.
        StoreError: the collection cannot be read.
    """
    checked = IndexParams.parse(params)
    Plugin(name="index_images", needs=NEEDS, extra="vision").require()
    folder, home = _places(checked)
    listing = list_images(folder, recursive=checked.recursive)
    state = _state(home, folder)
    known = {} if checked.reindex and state.encoder != checked.encoder else state.known
    new = [path for path in listing.files if not is_unchanged(path, known.get(name_of(path, state.root)))]
    stamp = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in listing.files]
    told = checked.model_dump(mode="json", exclude={"folder", "collection", "wait_s"})
    thumbnail = THUMBNAIL_BYTES * checked.thumbnail**2
    width = 2 if checked.dtype == "float16" else 4
    return JobPlan(
        config={
            **told,
            "folder": str(folder),
            "collection": str(home),
            "files": _digest([*stamp, *_metadata(folder)]),
            **state.told,
        },
        seconds=START_S + len(new) / IMAGES_S + (len(listing.files) - len(new)) / SKIPPED_S,
        memory_bytes=int(300e6 + checked.batch * 4e6 + len(listing.files) * 1_000),
        disk_bytes=int(len(new) * (ROW_BYTES + width * state.dim + thumbnail)),
        backend="this machine",
        why=f"{len(listing.files):,} pictures, {len(new):,} of them new or changed",
    )


def run(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Index, and return what was done."""
    checked = IndexParams.parse(params)
    folder, home = _places(checked)
    from agentkit_vision.opening import open_encoder  # noqa: PLC0415  a model

    listing = list_images(folder, recursive=checked.recursive)
    total = len(listing.files)
    encoder = open_encoder(checked.encoder)
    with Writer(home, encoder, root=_root(checked, folder), dtype=checked.dtype, reindex=checked.reindex, wait_s=checked.wait_s) as writer:  # fmt: skip
        if lost := writer.mend():
            context.warn(f"{lost} vectors were damaged; their images are embedded again")
        changes = refresh(
            writer,
            encoder,
            folder,
            listing,
            recursive=checked.recursive,
            thumbnail=checked.thumbnail,
            batch=checked.batch,
            should_stop=context.should_stop,
            progress=lambda done: context.step(done, total, phase="index"),
        )
        info = writer.info()
        if changes.complete and info.dead > SPARSE * (info.vectors + info.dead):
            writer.compact()
    _tell(changes, listing, context)
    context.artifact(home / DATABASE, "collection")
    return {**_figures(changes), "images": info.images, "collection": str(home), "encoder": encoder.name}


def refresh(
    writer: Writer,
    encoder: Encoder,
    folder: Path,
    listing: Listing,
    *,
    recursive: bool = True,
    thumbnail: int = 96,
    batch: int = 32,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda done: None,
) -> Changes:
    """Bring a collection in line with what was listed in a folder, with its labels, thumbnails and what is gone.

    Args:
        thumbnail: pixels of a thumbnail's longer side; 0 keeps none.

    Raises:
        EncoderMismatch, StoreError: as `update`.
    """
    from agentkit_vision.pictures import load  # noqa: PLC0415  Pillow

    return update(
        writer,
        encoder,
        listing.files,
        load,
        labels=labels_in(folder),
        thumbnail=_thumbnails(thumbnail),
        batch=batch,
        gone=_gone(writer.root, folder, listing, recursive),
        should_stop=should_stop,
        progress=progress,
    )


def _places(checked: IndexParams) -> tuple[Path, Path]:
    """Return the folder of pictures and that of the collection.

    Raises:
        InvalidParams: the first is none.
    """
    folder = checked.folder.expanduser().resolve()
    if not folder.is_dir():
        there = "a file, not a folder" if folder.exists() else "not there"
        raise InvalidParams(f"/folder: {checked.folder} is {there}; give a folder of pictures")
    home = checked.collection.expanduser().resolve() if checked.collection is not None else home_in(folder)
    return folder, home


def _root(checked: IndexParams, folder: Path) -> Path | None:
    """Return what names are relative to; None where a collection that is there says so itself."""
    home = checked.collection
    return folder if home is None or not (home.expanduser() / DATABASE).exists() else None


def _state(home: Path, folder: Path) -> _State:
    """Return what is there already.

    Raises:
        StoreError: it cannot be read.
    """
    if not (home / DATABASE).exists():
        return _State(folder, {"edits": 0}, {}, DIM, "")
    try:
        with Collection(home) as found:
            damaged = len(found.damaged())
            told = {"edits": found.edits, **({"damaged": damaged} if damaged else {})}
            return _State(
                folder if home == home_in(folder) else found.root, told, found.known(), found.dim, found.encoder
            )
    except NotMade:
        return _State(folder, {"edits": 0}, {}, DIM, "")


def _gone(root: Path, folder: Path, listing: Listing, recursive: bool) -> Callable[[str], bool]:
    """Return whether a name that was not listed stands for a file that is not there any more."""

    def gone(name: str) -> bool:
        path = root / name
        if not path.is_relative_to(folder) or any(path.is_relative_to(closed) for closed in listing.closed):
            return False
        return recursive or path.parent == folder

    return gone


def _thumbnails(side: int) -> Thumbnail:
    from agentkit_vision.pictures import thumbnail  # noqa: PLC0415  Pillow

    return partial(thumbnail, side=side) if side else lambda picture: None


def _tell(changes: Changes, listing: Listing, context: JobContext) -> None:
    """Put failures where people find them."""
    for closed, reason in listing.closed.items():
        context.warn(f"{printable(str(closed))}: cannot be read ({reason}); what is in it was left as it is")
    if changes.failures:
        lines = [json.dumps(asdict(failure), ensure_ascii=True) for failure in changes.failures]
        write_atomic(context.artifact_dir / FAILURES, "\n".join(lines) + "\n")
        context.artifact(context.artifact_dir / FAILURES, "failures")


def _figures(changes: Changes) -> dict[str, Any]:
    told = [f"{printable(failure.path)}: {printable(failure.reason)}" for failure in changes.failures[:TOLD]]
    counts = {name: getattr(changes, name) for name in ("added", "same", "removed", "embedded")}
    return {**counts, "failed": len(changes.failures), **({"failures": told} if told else {})}


def _metadata(folder: Path) -> list[Any]:
    return sorted((str(path), labels) for path, labels in labels_in(folder).items())


def _digest(stamp: object) -> str:
    return sha256(json.dumps(stamp, ensure_ascii=True).encode()).hexdigest()


INDEX = Job(name="index_images", home="agentkit_vision.search.indexing:INDEX", plan=plan, run=run)
