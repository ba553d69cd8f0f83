"""Pictures as people have them: from a path, an address or bytes to upright sRGB pixels, and back to PNG.

Needs Pillow; reached late. No file, however damaged or hostile, raises anything but agentkit's errors.
"""

from __future__ import annotations

from agentkit_vision.pictures.finding import find_images
from agentkit_vision.pictures.limits import Limits
from agentkit_vision.pictures.loading import load
from agentkit_vision.pictures.shaping import resized, thumbnail, to_png
from agentkit_vision.pictures.sources import Fetch, fetcher

__all__ = ["Fetch", "Limits", "fetcher", "find_images", "load", "resized", "thumbnail", "to_png"]
