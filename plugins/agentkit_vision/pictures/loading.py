"""From what people name to a `Picture`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from agentkit.types import Provenance, Trust
from agentkit_vision.contracts import Picture
from agentkit_vision.pictures.decoding import decode
from agentkit_vision.pictures.limits import Limits
from agentkit_vision.pictures.sources import Fetch, fetcher, read

__all__ = ["load"]

_FETCH, _LIMITS = fetcher(), Limits()


def load(
    source: str | Path | bytes,
    *,
    fetch: Fetch = _FETCH,
    limits: Limits = _LIMITS,
    provenance: Provenance | None = None,
) -> Picture:
    """Return a picture, upright, in sRGB, without alpha, made smaller where it is large.

    Args:
        source: a path, an address with http:// or https://, a `data:` URL, or the bytes of a file.
        fetch: fetches an address; made by `fetcher`, which knows the hosts that are allowed.
        limits: what is refused, and what is made smaller.
        provenance: whose the picture is; without it, a stranger's, as the words in it may be anybody's.

    Raises:
        InvalidParams: there is no such file, or it is no picture, damaged, or too large.
        UnsupportedPart: it is a picture of a format that is not taken, such as SVG or HEIC.
        PolicyError: the address leads inside this machine or network.
        ProviderError: the server said no, or broke off.
        DeadlineExceeded: the server did not answer in time.
        Cancelled: somebody cancelled the fetch.
    """
    found = read(source, fetch, limits)
    decoded = decode(found.data, found.name, limits)
    return Picture(
        pixels=decoded.pixels,
        source=found.name,
        sha256=hashlib.sha256(found.data).hexdigest(),
        format=decoded.format,
        size=decoded.size,
        frames=decoded.frames,
        notes=decoded.notes,
        provenance=provenance or Provenance(source=f"image:{found.name}", trust=Trust.UNTRUSTED),
    )
