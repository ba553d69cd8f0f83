"""Pictures that go with the next message: named after /image, or dropped on the terminal as a path.

Terminals paste a dropped file as its path: quoted, with escaped spaces, or as a file:// address.
"""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agentkit.cli.options import image_part
from agentkit.media import looks_like
from agentkit.types import ImagePart

__all__ = ["dropped", "named"]


def dropped(line: str) -> tuple[list[ImagePart], str]:
    """Return the pictures whose whole paths a line begins with, and the rest of it; relative paths are words."""
    stream = io.StringIO(line)
    lexer = shlex.shlex(stream, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    found: list[ImagePart] = []
    end = 0
    while True:
        try:
            token = lexer.get_token()
        except ValueError:  # a quotation that is not closed: somebody is writing
            break
        path = _path(token) if token else None
        if path is None:
            break
        found.append(ImagePart(path=path))
        end = stream.tell()
    return found, line[end:].strip()


def named(text: str, folder: Path) -> list[ImagePart]:
    """Return the pictures that /image was given: dropped ones, else one path, which may have spaces, or a URL.

    Raises:
        UsageError: there is no such file, or it is no picture.
    """
    found, rest = dropped(text)
    if found and not rest:
        return found
    words = shlex.split(text) if text[:1] in "'\"" else [text.replace("\\ ", " ")]
    return [image_part(word, folder) for word in words]


def _path(token: str) -> Path | None:
    """Return the picture that a word is the whole path of."""
    if token.startswith("file://"):
        token = unquote(urlsplit(token).path)
    try:
        path = Path(token).expanduser()
        return path if path.is_absolute() and looks_like(path) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long for a name, an unknown user, a NUL
        return None
