"""Keeping Pillow and the libraries below it from writing to the terminal; what matters of it is an error or a note.

All three doors are the process's own: Python's `warnings`, the logger `PIL`, and libtiff's error handler, which
would print a line to stderr for each damaged row.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import PIL
from PIL import Image

__all__ = ["keep_quiet"]


def keep_quiet() -> None:
    """Close all three doors; call it before each decoding, as whoever runs us may open the first one again.

    A filter that is there already is not added twice, and no state is restored afterwards: `warnings` knows no
    threads, so that a restored one could be another thread's.
    """
    for category in (UserWarning, Image.DecompressionBombWarning):
        warnings.filterwarnings("ignore", category=category, module=r"PIL\.")


def _hush_libtiff() -> None:
    """Take libtiff's handlers away, where it is found: in Pillow's wheels for Linux and macOS, or the system's."""
    for library in _libtiffs():
        try:
            loaded = ctypes.CDLL(library)
            for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                function = getattr(loaded, name)
                function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
                function(None)
        except (OSError, AttributeError):  # not a library, or one without handlers: its lines are printed
            continue


def _libtiffs() -> Iterator[str]:
    home = Path(PIL.__file__).parent
    bundled = [*home.parent.glob("[pP]illow.libs/libtiff*"), *home.glob(".dylibs/libtiff*")]
    if bundled:
        yield from map(str, bundled)
    elif found := ctypes.util.find_library("tiff"):
        yield found


logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors go to stderr where no logging is set up
_hush_libtiff()
