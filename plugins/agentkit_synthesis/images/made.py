"""Whether a folder holds just the images that are asked for: then a call that was cut off at its very end is done."""

from __future__ import annotations

import json
from typing import Any

from agentkit_synthesis.images.params import ImagesParams, SourceParams

__all__ = ["FREE", "asked", "made_before"]

FREE = {"out", "force", "threads", "save_every"}  # what the images do not depend on


def made_before(params: ImagesParams) -> dict[str, Any] | None:
    """Return the manifest of `out` where it was made by the same params."""
    path = params.out / "manifest.json"
    if params.force or not path.is_file():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if manifest.get("params") == asked(params) else None


def asked(params: SourceParams) -> dict[str, Any]:
    """Return the params that the result depends on, as plain data."""
    return {name: value for name, value in params.model_dump(mode="json").items() if name not in FREE}
