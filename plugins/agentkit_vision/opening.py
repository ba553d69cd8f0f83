"""Open a model by its name: the embedded one, a GGUF beside its `mmproj`, or one of transformers.

A model that was asked for by name is opened or refused, and never replaced by another. `auto` is the embedded one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from agentkit.errors import MissingDependency, UsageError
from agentkit_vision.contracts import Encoder, Speaker
from agentkit_vision.embedded.folder import ABOUT, SHIPPED

__all__ = ["open_encoder", "open_speaker"]

T = TypeVar("T")
EMBEDDED = ("auto", "embedded")
_HEAVY = ("torch", "transformers", "safetensors", "huggingface_hub", "PIL", "tokenizers")


def open_encoder(name: str = "auto", **options: Any) -> Encoder:
    """Return a model that puts pictures and texts into one space.

    Args:
        name: `auto` or `embedded`; a folder that `agentkit see train` made; a folder of transformers or an id of the Hub, as in
            `google/siglip2-base-patch16-224`.
        options: of the class that the name leads to: `HuggingEncoder`'s device, dtype, batch, download.

    Raises:
        UsageError: there is no name, a GGUF was named, which only speaks, or an option is none of this kind's.
        MissingDependency: the extra is not installed.
        ModelError: the model cannot be had or loaded; says why.
    """
    name = _checked(name)
    if (folder := _own(name)) is not None:
        with _extra():
            from agentkit_vision.embedded import EmbeddedEncoder  # noqa: PLC0415  torch: 2 s
        return _made(partial(EmbeddedEncoder, folder), name, options, named=False)
    if is_gguf(name):
        raise UsageError(
            f"{name}: a GGUF speaks about pictures and makes no vectors; give an encoder's id, or embedded"
        )
    with _extra():
        from agentkit_vision.hugging.encoding import HuggingEncoder  # noqa: PLC0415  torch, transformers: 4 s
    return _made(HuggingEncoder, name, options)


def open_speaker(name: str = "auto", **options: Any) -> Speaker:
    """Return a model that speaks about pictures.

    Args:
        name: `auto` or `embedded`; a folder that `agentkit see train` made; a GGUF (a path, or `hf:owner/repo/file.gguf`); a folder
            of transformers or an id of the Hub, as in `HuggingFaceTB/SmolVLM-256M-Instruct`.
        options: of the class that the name leads to: `HuggingSpeaker`'s device, dtype, max_tokens, download;
            `LlamaSpeaker`'s own.

    Raises:
        UsageError: there is no name, or an option is none of this kind's.
        MissingDependency: the extra is not installed.
        ModelError: the model cannot be had or loaded; says why.
    """
    name = _checked(name)
    if (folder := _own(name)) is not None:
        with _extra():
            from agentkit_vision.embedded import EmbeddedSpeaker  # noqa: PLC0415  torch: 2 s
        return _made(partial(EmbeddedSpeaker, folder), name, options, named=False)
    if is_gguf(name):
        with _extra():
            from agentkit_vision.llama import LlamaSpeaker  # noqa: PLC0415  llama.cpp
        return _made(LlamaSpeaker, name, options)
    with _extra():
        from agentkit_vision.hugging.speaking import HuggingSpeaker  # noqa: PLC0415  torch, transformers: 4 s
    return _made(HuggingSpeaker, name, options)


def is_gguf(name: str) -> bool:
    """Return whether a name leads to llama.cpp: a file's, or one in a repository, with `@revision` if need be."""
    return name.lower().partition("@")[0].endswith(".gguf") or name.lower().endswith(".gguf")


def _own(name: str) -> Path | None:
    """Return the folder of a model of this project: the one that ships, or one that was trained; None for others."""
    if name in EMBEDDED:
        return SHIPPED
    folder = Path(name).expanduser()
    return folder if (folder / ABOUT).is_file() else None


def _checked(name: str) -> str:
    if not name.strip():
        raise UsageError("model: give a name: embedded, a folder, an id like org/model, or a GGUF")
    return name.strip()


def _made(kind: Callable[..., T], name: str, options: dict[str, Any], *, named: bool = True) -> T:
    """Return a model of a class; an option that its class does not have is the caller's mistake."""
    known = [one for one in inspect.signature(kind).parameters if one != "name"]
    if unknown := sorted(set(options) - set(known)):
        raise UsageError(f"{name}: has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    return kind(name, **options) if named else kind(**options)


@contextmanager
def _extra() -> Iterator[None]:
    """Say how to install what is not here."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _HEAVY:
            raise
        raise MissingDependency(f"pictures need {error.name}: pip install 'agentkit-local[vision]'") from error
