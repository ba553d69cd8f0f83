"""What two pictures have in common: how near their vectors are, and which attributes an encoder reads in both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from agentkit_vision.contracts import Encoder, Picture
from agentkit_vision.search.attributes import AttributeReader

__all__ = ["Compared", "compare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two pictures beside each other.

    Attributes:
        one: what people know the first by.
        other: the same of the second.
        similarity: cosine of their vectors, -1 to 1.
        same: attribute -> the value that both have, as the encoder reads them.
        different: attribute -> the first one's value and the other one's.
        is_same_file: whether their files are equal, byte for byte.
        model: the encoder's name.
    """

    one: str
    other: str
    similarity: float
    same: Mapping[str, str] = field(default_factory=dict)
    different: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    is_same_file: bool = False
    model: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def compare(one: Picture, other: Picture, encoder: Encoder) -> Compared:
    """Return what two pictures have in common."""
    vectors = np.asarray(encoder.embed_images([one.pixels, other.pixels]), np.float32)
    reader = AttributeReader(encoder)
    first, second = reader.read_one(vectors[0]), reader.read_one(vectors[1])
    return Compared(
        one=one.source,
        other=other.source,
        similarity=float(np.clip(vectors[0] @ vectors[1], -1, 1)),
        same={name: value for name, value in first.items() if second[name] == value},
        different={name: (value, second[name]) for name, value in first.items() if second[name] != value},
        is_same_file=one.sha256 == other.sha256,
        model=encoder.name,
    )
