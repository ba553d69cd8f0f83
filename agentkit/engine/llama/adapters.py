"""LoRA adapters: loaded once beside a model, chosen request by request.

What was read under one set of adapters is wrong under another, so everything that is kept is kept by `AdapterSet`.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from agentkit.engine.llama.library import C
from agentkit.engine.llama.model import Model
from agentkit.errors import CannotEnforce, ModelFileError, ModelNotFound

__all__ = ["AdapterSet", "Adapters"]


class Scaled(NamedTuple):
    """One adapter in use: which file it is, whatever its name, and how strongly it counts."""

    id: str
    scale: float


AdapterSet = tuple[Scaled, ...]


class Adapters:
    """The adapters loaded for one model, by name."""

    def __init__(self, model: Model) -> None:
        """Begin with none."""
        self._model, self._lock = model, threading.Lock()
        self._named: dict[str, Scaled] = {}
        self._handles: dict[str, Any] = {}

    @property
    def handles(self) -> Mapping[str, Any]:
        """llama.cpp's pointer of each adapter by its id."""
        return MappingProxyType(self._handles)

    @property
    def names(self) -> tuple[str, ...]:
        """What is loaded."""
        return tuple(self._named)

    def load(self, name: str, path: Path, scale: float = 1.0) -> None:
        """Load an adapter, or put another in its name's place.

        Raises:
            ModelNotFound, ModelFileError: there is no such file, or it is no adapter of this model.
        """
        if not path.is_file():
            raise ModelNotFound(f"{path}: no such adapter; name a LoRA in GGUF form")
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelFileError(f"{path}: not a GGUF; convert the adapter (agentkit train export_gguf)")
        real = path.resolve()
        told = os.fsencode(real) + f" {real.stat().st_mtime_ns} {real.stat().st_size}".encode()
        id_ = hashlib.sha256(told).hexdigest()[:16]
        with self._lock:
            if id_ not in self._handles:
                handle = C.llama_adapter_lora_init(self._model.handle, os.fsencode(path))
                if not handle:
                    raise ModelFileError(
                        f"{path}: llama.cpp cannot use it with {self._model.name}; an adapter fits only the model that it "
                        "was trained on (AGENTKIT_LOG_LEVEL=debug shows why)"
                    )
                self._handles[id_] = handle  # freed with the model
            self._named[name] = Scaled(id_, scale)

    def unload(self, name: str) -> None:
        """Forget a name; unknown ones are no error."""
        with self._lock:
            self._named.pop(name, None)

    def of(self, name: str | None) -> AdapterSet:
        """Return the set that a request's `adapter` asks for.

        Raises:
            CannotEnforce: none of that name is loaded.
        """
        if name is None:
            return ()
        if name not in self._named:
            known = f"; there are: {', '.join(self._named)}" if self._named else "; none is"
            raise CannotEnforce(f"adapter '{name}' is not loaded{known}")
        return (self._named[name],)
