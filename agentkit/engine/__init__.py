"""Engines: what turns messages into steps. `open_engine` opens the one that the settings name.

Nothing heavy is imported before a model is opened.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit.errors import ModelError

if TYPE_CHECKING:
    from agentkit.config import EngineSettings, ExtensionSettings
    from agentkit.protocols import Engine, Eye

__all__ = ["open_engine"]


def open_engine(
    settings: EngineSettings, extensions: ExtensionSettings | None = None, *, eye: Eye | None = None
) -> Engine:
    """Return the engine that `settings` name; the caller closes it.

    A local model is loaded once a process for the same file and parameters, and shared. Where it has no eyes of its own,
    the plugins that `extensions` allow (None: all) are asked for some; they decode pictures, too. `eye` sees instead.

    Raises:
        ModelError: the model cannot be had or loaded, or is none of llama.cpp and cannot take an eye.
    """
    from agentkit.models import WEIGHTS, resolve  # noqa: PLC0415  models know engines' names, and load late as well

    found = resolve(settings.model, offline=settings.offline)
    if eye is not None and found.kind in ("scripted", "remote"):
        raise ModelError(f"{settings.model}: takes no eye of ours; name a model of llama.cpp")
    if found.kind == "scripted":
        from agentkit.engine.scripted import ScriptedEngine  # noqa: PLC0415

        return ScriptedEngine.from_file(_path(found.path, settings.model))
    if found.kind == "remote":
        from agentkit.engine.remote import RemoteEngine  # noqa: PLC0415  httpx

        return RemoteEngine(
            str(found.url), model=settings.remote_model, context=settings.context, timeout_s=settings.timeout_s
        )
    path = _path(found.path, settings.model)
    mmproj = None if settings.mmproj is None else resolve(settings.mmproj, offline=settings.offline).path
    if settings.trial and not path.is_relative_to(WEIGHTS):
        from agentkit.engine.trial import try_model  # noqa: PLC0415

        try_model(path, replace(settings, mmproj=None if mmproj is None else str(mmproj)))
    from agentkit.config import ExtensionSettings  # noqa: PLC0415
    from agentkit.engine.llama import LlamaEngine  # noqa: PLC0415  llama.cpp: 0.3 s
    from agentkit.extensions import Offers  # noqa: PLC0415

    return LlamaEngine(
        path,
        context=settings.context,
        threads=settings.threads,
        gpu_layers=settings.gpu_layers,
        dialect=settings.dialect,
        live=settings.live,
        cache_mb=settings.cache_mb,
        cache_dir=settings.cache_dir,
        adapters=dict(_named(adapter) for adapter in settings.adapters),
        mmproj=mmproj,
        eye=eye,
        offers=Offers(extensions or ExtensionSettings()),
    )


def _named(adapter: str) -> tuple[str, str]:
    name, equals, file = adapter.partition("=")
    if not (name and equals and file):
        raise ModelError(f"engine.adapters: '{adapter}' is not NAME=FILE")
    return name, file


def _path(path: Path | None, name: str) -> Path:
    if path is None:
        raise ModelError(f"{name}: resolved to no file; name a path or a model from `agentkit models list`")
    return path
