"""What a measurement's figures depend on besides its parameters: the data itself."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentkit_synthesis.measure.pictured import Images
    from agentkit_synthesis.measure.told import Traces

__all__ = ["digest_of_images", "digest_of_traces"]


def digest_of_images(images: Images) -> str:
    """Return a hash of all images and labels."""
    parts = "".join(one.digest for one in (images.real, images.test, images.made))
    return hashlib.sha256(parts.encode()).hexdigest()


def digest_of_traces(traces: Traces) -> str:
    """Return a hash of all problems."""
    told = [[[astuple(one) for one in several] for several in of.values()] for of in (traces.train, traces.test)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
