"""The pictures in a folder, in an order that does not change from one day to the next."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from agentkit.errors import InvalidParams
from agentkit_vision.pictures.magic import EXTENSIONS, HEAD_BYTES, kind_of

__all__ = ["find_images"]


def find_images(
    folder: str | Path, recursive: bool = True, *, skipped: Callable[[Path, str], None] = lambda path, why: None
) -> Iterator[Path]:
    """Yield the pictures in a folder: by extension, and those without one by their first bytes.

    A file that is named like a picture is yielded whatever it holds, so that whoever loads it can say what is wrong
    with it. Within a folder, files come first, then folders, both by name. Names that begin with a dot are left out;
    a link to a folder is followed, and no folder is entered twice.

    Args:
        folder: where to look; its own name may begin with a dot.
        recursive: look into the folders in it, too.
        skipped: told of a folder that could not be listed, and why.

    Raises:
        InvalidParams: it is no folder, or cannot be listed.
    """
    root = Path(folder)
    try:
        entries = _entries(root)
    except FileNotFoundError as error:
        raise InvalidParams(f"there is no folder '{root}'; check the path") from error
    except NotADirectoryError as error:
        raise InvalidParams(f"'{root}' is no folder; name the folder that holds the pictures") from error
    except (OSError, ValueError) as error:
        raise InvalidParams(f"the folder '{root}' cannot be listed ({error})") from error
    return _walk(entries, recursive, {_identity(root)}, skipped)


def _walk(
    entries: list[Path], recursive: bool, seen: set[tuple[int, int]], skipped: Callable[[Path, str], None]
) -> Iterator[Path]:
    # A stack of our own: folders may be nested more deeply than Python calls.
    waiting = [iter(_files_first(entries))]
    while waiting:
        path = next(waiting[-1], None)
        if path is None:
            waiting.pop()
        elif _is(path, stat.S_ISREG):
            if _is_picture(path):
                yield path
        elif recursive and _is(path, stat.S_ISDIR):
            try:
                identity = _identity(path)
                if identity not in seen:
                    seen.add(identity)
                    waiting.append(iter(_files_first(_entries(path))))
            except OSError as error:
                skipped(path, error.strerror or str(error))


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _files_first(entries: list[Path]) -> list[Path]:
    return sorted(entries, key=lambda path: _is(path, stat.S_ISDIR))


def _is(path: Path, test: Callable[[int], bool]) -> bool:
    """Whether a path, or what it links to, is there and of a kind; one that cannot be looked at is of none."""
    try:
        return test(path.stat().st_mode)
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    about = folder.stat()
    return about.st_dev, about.st_ino


def _is_picture(path: Path) -> bool:
    if path.suffix.lower() in EXTENSIONS:
        return True
    try:
        with path.open("rb") as file:
            return bool(kind_of(file.read(HEAD_BYTES)).format)
    except OSError:
        return False
