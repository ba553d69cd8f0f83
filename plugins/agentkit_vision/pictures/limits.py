"""How much of a picture is read and kept."""

from __future__ import annotations

from dataclasses import dataclass, fields

from agentkit.errors import InvalidParams

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is refused, and what is made smaller.

    Attributes:
        max_bytes: of a file, as it is stored or sent; a larger one is refused.
        max_pixels: width times height, as the file's header says; more is refused before anything is decoded.
        max_side: pixels of the longer side that are kept; a larger picture is made smaller, its aspect kept.

    Raises:
        InvalidParams: one is no positive whole number.
    """

    max_bytes: int = 50_000_000
    max_pixels: int = 50_000_000
    max_side: int = 2_048

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidParams(f"/{item.name}: {value!r} is no positive whole number")
