"""Names of files as a model gives them, held inside one folder.

Whatever the way out (`..`, an absolute path, a symbolic link anywhere in the path), a name that ends outside the
workspace is refused, and so is what is no ordinary file. Each refusal is a sentence the model can act on.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class Refused(Exception):
    """This path is not used; the message says why and what to do."""


def inside(path: str, workspace: Path) -> Path:
    """Return the real path that `path` names, which is in `workspace`."""
    name = path.strip()
    if not name:
        raise Refused("the path is empty; name a file")
    if "\x00" in name:
        raise Refused("the path holds a NUL character; name a file")
    try:
        root = workspace.resolve(strict=True)
        real = (root / Path(name).expanduser()).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise Refused(f"'{_short(name)}' cannot be followed: {getattr(error, 'strerror', None) or error}") from error
    if not real.is_relative_to(root):
        raise Refused(f"'{_short(name)}' is outside the workspace {root}; only files in it can be used")
    return real


def itself(path: str, workspace: Path) -> Path:
    """Return the real path that `path` names, with no link inside the workspace on the way: what is written is what was named."""
    real = inside(path, workspace)
    root = workspace.resolve(strict=True)
    given = Path(os.path.normpath(root / Path(path.strip()).expanduser()))
    ways = [given, *given.parents]
    start = next((n for n, way in enumerate(ways) if way.resolve() == root), len(ways) - 1)
    link = next((way for way in reversed(ways[:start]) if way.is_symlink()), None)
    if link is not None or ".." in Path(path).parts[1:]:
        where = f"'{shown(link, workspace)}' in it is a link, and " if link is not None else ""
        raise Refused(f"'{_short(path)}': {where}what is written must be named itself: {shown(real, workspace)}")
    return real


@contextmanager
def opened(path: str, workspace: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open an ordinary file in the workspace for reading; yield it with its size in bytes."""
    real = inside(path, workspace)
    try:
        # Not blocking on a pipe, and not through a link that was put there since it was checked.
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise Refused(f"there is no file '{path}'{nearest(real, workspace)}") from None
    except OSError as error:
        raise Refused(f"'{_short(path)}' cannot be opened: {error.strerror}") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        if stat.S_ISDIR(status.st_mode):
            raise Refused(f"'{path}' is a folder; list it, or name a file in it")
        raise Refused(f"'{path}' is a device or a pipe, not a file, so it is not read")
    with os.fdopen(handle, "rb") as file:
        yield file, status.st_size


def nearest(missing: Path, workspace: Path) -> str:
    """Return a hint at what `missing` may have meant: `; did you mean 'numbers.txt'?`, or what is there."""
    root = workspace.resolve()
    known = _names_near(missing, root)
    near = difflib.get_close_matches(missing.name.casefold(), {Path(name).name.casefold(): 0 for name in known}, 1, 0.6)
    if near:
        name = next(name for name in known if Path(name).name.casefold() == near[0])
        return f"; did you mean '{name}'?"
    return "; list the files to see what is there"


def shown(path: Path, workspace: Path) -> str:
    """Return `path` as it is written from the workspace."""
    root = workspace.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _names_near(missing: Path, root: Path, limit: int = 2_000) -> list[str]:
    """Return names in the folder of `missing` first, then all over the workspace, up to `limit`."""
    names: list[str] = []
    parent = missing.parent
    if parent.is_dir():
        names += [shown(path, root) for path in sorted(parent.iterdir())]
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names += [shown(Path(folder, name), root) for name in sorted(files)]
        if len(names) >= limit:
            break
    return names[:limit]


def _short(name: str) -> str:
    return name if len(name) <= 120 else f"{name[:100]}..."
