"""Copies of the workspace, for trying what changes files; they live as long as one decision takes."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

MAX_BYTES = 32 << 20
MAX_FILES = 2_000
MAX_FORKS = 64


class Forks:
    """A folder for copies, made with the first one."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._count = 0
        self._too_big: set[Path] = set()

    def copy(self, workspace: Path) -> Path | None:
        """Return a copy of a folder; None where it is too big, holds what cannot be copied, or there are enough copies.

        Links are copied as links if they lead to something inside, otherwise the folder is not copied: what is written
        through them would not stay here.
        """
        if self._count >= MAX_FORKS or workspace in self._too_big:
            return None
        if not _can_be_copied(workspace):
            self._too_big.add(workspace)
            return None
        self._count += 1
        target = self.folder() / str(self._count)
        try:
            shutil.copytree(workspace, target, symlinks=True)
        except (OSError, shutil.Error):
            shutil.rmtree(target, ignore_errors=True)
            return None
        return target

    @property
    def made(self) -> Path | None:
        """The folder that copies, and other files of a moment, are kept in; None before there are any."""
        return self._folder

    def folder(self) -> Path:
        """Return that folder; it is made if need be."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="agentkit-fork-"))
        return self._folder

    def close(self) -> None:
        """Remove all copies. Idempotent."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _can_be_copied(workspace: Path) -> bool:
    """Whether a folder is small, and holds files, folders, and links that stay inside."""
    root, files, size = workspace.resolve(), 0, 0
    for folder, names, others in os.walk(workspace):
        for name in [*names, *others]:
            path = Path(folder, name)
            about = path.lstat()
            if stat.S_ISLNK(about.st_mode):
                if path.readlink().is_absolute() or not path.resolve().is_relative_to(root):
                    return False
            elif not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
                return False
            files += 1
            size += about.st_size
            if files > MAX_FILES or size > MAX_BYTES:
                return False
    return True
