"""The embedded model: small towers and a resampler that this project trained, and sprout that reads what they see.

Importing this package loads nothing heavy; the classes need torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit_vision.embedded.folder import SHIPPED, read_about

if TYPE_CHECKING:
    from agentkit.extensions import EyeOffer
    from agentkit_vision.embedded.seeing import EmbeddedEncoder, EmbeddedEye, EmbeddedSpeaker

__all__ = ["EmbeddedEncoder", "EmbeddedEye", "EmbeddedSpeaker", "offers"]


def offers(folder: Path = SHIPPED) -> tuple[EyeOffer, ...]:
    """Return the eye for sprout; none where the folder holds no model."""
    from agentkit.extensions import EyeOffer  # noqa: PLC0415

    if not (folder / "about.json").is_file():
        return ()

    def make() -> EmbeddedEye:
        from agentkit_vision.embedded.seeing import EmbeddedEye  # noqa: PLC0415  torch: 2 s

        return EmbeddedEye(folder)

    return (EyeOffer(model=read_about(folder).language_model, make=make),)


def __getattr__(name: str) -> Any:
    """Import the classes when they are asked for (PEP 562)."""
    if name in __all__:
        from agentkit_vision.embedded import seeing  # noqa: PLC0415  torch: 2 s

        return getattr(seeing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
