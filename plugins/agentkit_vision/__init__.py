"""Pictures as input: captions, questions, and finding things that look alike.

Importing this package loads nothing heavy.
"""

from importlib.util import find_spec
from typing import Any

from agentkit.extensions import EyeOffer, Plugin
from agentkit.protocols import Tool
from agentkit_vision.settings import VisionSettings

NEEDS = ("PIL", "torch", "transformers", "safetensors")


def _tools() -> tuple[Tool, ...]:
    """Return the plugin's tools; none where the extra is not installed, which `agentkit plugins` says."""
    if not _is_whole():
        return ()
    from agentkit_vision.tools import TOOLS  # noqa: PLC0415  pydantic: 0.2 s

    return TOOLS


def _eyes() -> tuple[EyeOffer, ...]:
    """Return the eye of the embedded model; none where the extra or the weights are not there."""
    if not _is_whole() or find_spec("agentkit_vision.embedded") is None:
        return ()
    from agentkit_vision.embedded import offers  # noqa: PLC0415  only where a model is opened

    return offers()


def _decode(data: bytes) -> Any:
    """Return the pixels of a picture's bytes, upright, (height, width, 3) uint8.

    Raises:
        MissingDependency: the extra is not installed.
        InvalidParams, UnsupportedPart: it is no picture, damaged, too large, or of a format that is not taken.
    """
    plugin.require()
    from agentkit_vision.pictures import load  # noqa: PLC0415  Pillow

    return load(data).pixels


def _is_whole() -> bool:
    return all(find_spec(name) is not None for name in NEEDS)


plugin = Plugin(
    name="vision",
    tools=_tools,
    eyes=_eyes,
    decode=_decode,
    settings=VisionSettings,
    needs=NEEDS,
    extra="vision",
    description="pictures: captions, questions about them, and finding those that look like a photo or fit words",
)
