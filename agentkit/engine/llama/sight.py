"""What one engine sees with: an eye that was given, the model's own mmproj, or an eye that a plugin offers.

An eye or an mmproj is opened when the first picture comes. Pictures are encoded on the caller's thread, one at a time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agentkit.engine.llama.loaded import Loaded
from agentkit.engine.llama.rows import Rows, Seen, key_of
from agentkit.errors import ModelError, UnsupportedPart
from agentkit.extensions import Offers
from agentkit.media import IMAGES, bytes_of
from agentkit.models.mmproj import MmprojInfo, beside, inspect_mmproj
from agentkit.protocols import Eye

__all__ = ["Sight"]

_log = logging.getLogger("agentkit.engine")


class Sight:
    """The eyes and ears of one engine; thread-safe."""

    def __init__(self, loaded: Loaded, *, eye: Eye | None, mmproj: Path | str | None, offers: Offers | None) -> None:
        """Look at the mmproj's header, where there is one: named, or alone beside the model's file.

        Raises:
            ModelNotFound, ModelFileError: the mmproj cannot be had, or is none.
        """
        self._loaded, self._eye, self._offers = loaded, eye, offers
        self._lock = threading.Lock()
        self._make: Callable[[], Eye] | None = None
        self._has_asked = False
        self._info: MmprojInfo | None = None
        if mmproj is not None:
            self._info = inspect_mmproj(Path(mmproj))
        elif eye is None and (path := beside(loaded.key.path)) is not None:
            try:
                self._info = inspect_mmproj(path)
            except ModelError as error:  # nobody asked for it, and texts do without
                _log.warning("%s; going on without it", error)

    @property
    def images(self) -> bool:
        """Whether pictures can be seen."""
        return self._eye is not None or self._has_own or self._offered() is not None

    @property
    def audio(self) -> bool:
        """Whether sounds can be heard."""
        return self._info is not None and self._info.audio

    def look(self, block: Mapping[str, Any], words: str) -> Sequence[int]:
        """Return the tokens that stand for a content block, in a message that says `words`.

        Raises:
            UnsupportedPart: the model cannot take it, or it is not what it should be.
            ModelFileError: llama.cpp cannot load the mmproj, or it belongs to another model.
            ExtensionError: the plugin that offers an eye cannot give it, or the one that decodes pictures failed.
        """
        is_image = block.get("type") in IMAGES
        if not (self.images if is_image else self.audio):
            raise UnsupportedPart(
                f"{self._loaded.model.name} takes no part of type '{block.get('type')}': it cannot "
                f"{'see' if is_image else 'hear'}; use a model that can, or leave it out"
            )
        data = bytes_of(block)
        if self._info is not None and (not is_image or (self._eye is None and self._has_own)):
            return self._by_mmproj(self._info, data, is_image=is_image)
        eye = self._opened()
        key = key_of(eye.fingerprint, data, words if eye.reads_words else None)
        return self._loaded.pictures.tokens(key, lambda: _seen(eye, data, words))

    def _by_mmproj(self, info: MmprojInfo, data: bytes, *, is_image: bool) -> Sequence[int]:
        offers = self._offers if is_image and self._offers is not None and self._offers.decodes else None
        how = "" if offers is None else " decoded by a plugin"

        def see() -> Seen:
            projector = self._loaded.projector(info)
            return projector.see(data, None if offers is None else offers.pixels(data))

        return self._loaded.pictures.tokens(key_of(info.sha256() + how, data, None), see)

    @property
    def _has_own(self) -> bool:
        return self._info is not None and self._info.images

    def _offered(self) -> Callable[[], Eye] | None:
        with self._lock:
            if not self._has_asked and self._offers is not None:
                self._make = self._offers.eye(self._loaded.model.fingerprint)
            self._has_asked = True
            return self._make

    def _opened(self) -> Eye:
        make = self._offered() if self._eye is None else None
        with self._lock:
            if self._eye is None:
                assert make is not None
                self._eye = make()
            return self._eye


def _seen(eye: Eye, data: bytes, words: str) -> Seen:
    values = np.ascontiguousarray(eye.see(data, words), np.float32)
    return [Rows(values=values, length=len(values) if values.ndim else 0)]
