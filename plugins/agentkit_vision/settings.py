"""The section `plugins.vision`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["VisionSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionSettings:
    """Which models look at pictures, and how much is done at once."""

    model: str = "auto"  # speaks about pictures: embedded, a GGUF with its mmproj, a folder or an id of the Hub
    encoder: str = "auto"  # searches: embedded, a folder or an id of the Hub
    at_once: int = 500  # new pictures of a folder that find_images indexes itself; for more it says to index first

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> VisionSettings:
        """Return the settings that `section` holds; what is not in it keeps its default."""
        known = {item.name for item in fields(cls)}
        given = {key: value for key, value in section.items() if key in known}
        if "at_once" in given:
            given["at_once"] = int(given["at_once"])
        return cls(**given)
