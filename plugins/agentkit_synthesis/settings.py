"""The section `plugins.synthesis`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SynthesisSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisSettings:
    """How the tools make what they are asked for."""

    products: str = "diffusion"  # how make_images makes shapes; "render" draws them, exactly and without a model
