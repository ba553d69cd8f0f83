"""Whether a folder holds just what is asked for: then a call that was cut off at its very end is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentkit_synthesis.images.params import ImagesParams, SourceParams, TrainImagesParams

__all__ = ["FREE", "asked", "made_before", "trained_before"]

FREE = {"out", "force", "threads", "save_every"}  # what the result does not depend on


def made_before(params: ImagesParams) -> dict[str, Any] | None:
    """Return the manifest of `out` where it was made by the same params."""
    manifest = None if params.force else _json(params.out / "manifest.json")
    return manifest if manifest is not None and manifest.get("params") == asked(params) else None


def trained_before(params: TrainImagesParams) -> dict[str, Any] | None:
    """Return what the model in `out` says of itself, where it was trained by the same params."""
    about = None if params.force else (_json(params.out / "model.json") or {}).get("about")
    return about if about is not None and about.get("params") == asked(params) else None


def asked(params: SourceParams) -> dict[str, Any]:
    """Return the params that the result depends on, as plain data."""
    return {name: value for name, value in params.model_dump(mode="json").items() if name not in FREE}


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found
