"""Pictures as they are named on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentkit_vision.contracts import Picture

__all__ = ["typed_picture"]


def typed_picture(name: str) -> Picture:
    """Return the picture at a path, or at an address, which is fetched as `policy.allow_hosts` allows.

    Raises:
        as `agentkit_vision.pictures.load`.
    """
    from agentkit import config  # noqa: PLC0415
    from agentkit_vision.pictures import fetcher, load  # noqa: PLC0415  Pillow

    return load(name, fetch=fetcher(config.load().settings.policy.allow_hosts))
