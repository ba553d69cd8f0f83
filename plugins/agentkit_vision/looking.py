"""What tools and commands share: models that are opened once, pictures by path or address, and a folder's collection, up to date."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock

from agentkit import config
from agentkit.errors import Cancelled, InvalidParams, PolicyError, StoreError
from agentkit.job_tools import within
from agentkit.protocols import ToolContext
from agentkit.types import Done, Failed, ImagePart
from agentkit_vision.contracts import Encoder, Picture, Speaker
from agentkit_vision.search.collection import Collection, home_in
from agentkit_vision.search.errors import CollectionBusy
from agentkit_vision.search.indexing import refresh
from agentkit_vision.search.listing import list_images
from agentkit_vision.search.tables import DATABASE
from agentkit_vision.search.updating import Changes, is_unchanged
from agentkit_vision.search.values import Known
from agentkit_vision.search.writer import Writer

__all__ = [
    "Ready", "encoder", "fetched_copy", "home_of", "inside", "is_address", "is_own", "picture_in", "ready", "speaker",
]  # fmt: skip

FETCH = "fetch_image"
WAIT_S = 30.0  # for another writer of the same collection
_opening = Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A collection that can be searched.

    Attributes:
        home: its folder.
        new: pictures that were embedded just now.
        failed: files in the folder that are no pictures, with the reason.
        stale: pictures that are not in it, as another process is writing to it, or it cannot be written.
    """

    home: Path
    new: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    stale: int = 0


def speaker(name: str) -> Speaker:
    """Return a model that speaks about pictures, opened once a process.

    Raises:
        AgentkitError: as `open_speaker`.
    """
    with _opening:
        return _speaker(name)


def encoder(name: str) -> Encoder:
    """Return a model that pictures are searched with, opened once a process.

    Raises:
        AgentkitError: as `open_encoder`.
    """
    with _opening:
        return _encoder(name)


def home_of(folder: Path, model: str) -> Path:
    """Return where a folder's collection lies: in the folder where there is one, else in agentkit's own data.

    Args:
        folder: an absolute path.
        model: the name of the encoder, as it was asked for.
    """
    own = home_in(folder)
    if (own / DATABASE).exists():
        return own
    told = hashlib.sha256(f"{folder}\n{model}".encode()).hexdigest()
    return config.data_dir() / "images" / f"{folder.name}-{told[:12]}"


def is_own(home: Path) -> bool:
    """Whether a collection is one of agentkit's own data, which may be made anew without asking."""
    return home.is_relative_to(config.data_dir() / "images")


def ready(
    folder: Path,
    home: Path,
    model: Encoder,
    *,
    most: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Ready:
    """Return a folder's collection, in line with its files.

    Args:
        folder: an absolute path.
        home: where its collection lies, or is to lie.
        model: whose vectors it has, or is to have.
        most: new or changed pictures that may be embedded now; None: all.
        should_stop: asked between batches.

    Raises:
        InvalidParams: it is no folder, has no pictures, or more new ones than `most`.
        EncoderMismatch: the collection is another encoder's.
        StoreError: the collection cannot be read, or not be made.
        Cancelled: `should_stop` said so.
    """
    listing = list_images(folder)
    if not listing.files:
        raise InvalidParams(f"there are no pictures in '{folder.name}'; name a folder that has some")
    exists = (home / DATABASE).exists()
    known = _known(home, folder, model) if exists else {}
    new = [path for path in listing.files if not is_unchanged(path, known.get(path))]
    if not new and len(known) == len(listing.files):
        return Ready(home=home)
    if most is not None and len(new) > most:
        raise InvalidParams(
            f"'{folder.name}' has {len(new):,} pictures that are not indexed yet, too many to do at once; call index_images "
            f"on it first"
        )
    try:
        with Writer(home, model, root=None if exists else folder, reindex=is_own(home), wait_s=WAIT_S) as writer:
            writer.mend()
            changes = refresh(writer, model, folder, listing, should_stop=should_stop)
    except CollectionBusy:
        if not exists:
            raise
        return Ready(home=home, stale=len(new))
    return _told(home, folder, changes)


def _known(home: Path, folder: Path, model: Encoder) -> dict[Path, Known]:
    """Return what a collection knows of files, by path; nothing where it is to be made anew for another encoder."""
    with Collection(home) as found:
        if is_own(home) and found.fingerprint != model.fingerprint:
            return {}
        found.check_encoder(model)
        return {found.root / name: known for name, known in found.known().items()}


def _told(home: Path, folder: Path, changes: Changes) -> Ready:
    if not changes.complete:
        raise Cancelled(f"stopped while the pictures in '{folder.name}' were indexed; what was done is kept")
    failed = tuple((failure.path, failure.reason) for failure in changes.failures)
    with Collection(home) as found:
        if not len(found.snapshot()):
            why = f" ({failed[0][0]}: {failed[0][1]})" if failed else ""
            raise StoreError(f"none of the pictures in '{folder.name}' can be read{why}; name a folder with pictures")
    return Ready(home=home, new=changes.embedded, failed=failed)


def picture_in(name: str, context: ToolContext) -> Picture:
    """Return a picture of the workspace, or one at an address, which the tool `fetch_image` fetches: policy decides about that.

    Raises:
        InvalidParams, UnsupportedPart: it is outside, not there, or no picture; says which, and what to do.
        PolicyError: the address may not be reached from here.
    """
    from agentkit_vision.pictures import load  # noqa: PLC0415  Pillow

    if not is_address(name):
        return replace(load(inside(name, context.workspace)), source=name)
    fetched = context.call(FETCH, {"url": name})
    if isinstance(fetched, Done):
        return replace(load(Path(fetched.data["path"])), source=name)
    raise (PolicyError if isinstance(fetched, Failed) and fetched.kind == "denied" else InvalidParams)(fetched.text)


def fetched_copy(url: str, context: ToolContext) -> tuple[Path, Picture]:
    """Fetch a picture by the guarded fetch, and keep a copy in agentkit's own data; return both.

    Raises:
        AgentkitError: it cannot be had, or is no picture.
    """
    from agentkit import media  # noqa: PLC0415
    from agentkit_vision.pictures import Limits, fetcher, load  # noqa: PLC0415  Pillow
    from agentkit_vision.pictures.sources import read  # noqa: PLC0415

    if not is_address(url):
        raise InvalidParams(f"'{url}' is no address; give one with http:// or https://")
    fetch = fetcher(tuple(context.settings.get("allow_hosts", ())), deadline=context.deadline, cancel=context.cancel)
    data = read(url, fetch, Limits(max_bytes=media.MAX_BYTES)).data
    picture = load(data)
    path = media.kept(media.fetched(ImagePart(url=url), data)).path
    assert path is not None, "what is kept has a path"
    return path, replace(picture, source=url)


def is_address(name: str) -> bool:
    """Whether a picture is named by its address on the web."""
    return name.lower().startswith(("http://", "https://"))


def inside(name: str, workspace: Path) -> Path:
    """Return the real path of a file or folder in the workspace, which may be the workspace itself.

    Raises:
        InvalidParams: it is outside, or no name at all.
    """
    return within(name, workspace, itself=True)


@lru_cache(maxsize=4)
def _speaker(name: str) -> Speaker:
    from agentkit_vision.opening import open_speaker  # noqa: PLC0415  a model

    return open_speaker(name)


@lru_cache(maxsize=4)
def _encoder(name: str) -> Encoder:
    from agentkit_vision.opening import open_encoder  # noqa: PLC0415  a model

    return open_encoder(name)
