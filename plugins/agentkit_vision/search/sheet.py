"""What a search found as a contact sheet: one page of HTML that needs nothing besides itself, and one PNG."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from agentkit.jobs import write_atomic
from agentkit_vision.search.query import Found, Hit
from agentkit_vision.search.values import printable

__all__ = ["sheet_html", "sheet_image", "write_sheet"]

TEMPLATE = "sheet.html"
Draw = Callable[[Hit], bytes | None]  # a hit's thumbnail, a PNG


def sheet_html(found: Found, *, title: str, thumbnail: Draw, photo: bytes | None = None) -> str:
    """Return the page of what was found.

    Args:
        found: the images, with their scores.
        title: what was asked for.
        thumbnail: of a hit, a PNG, or None.
        photo: the photo that was searched by, as a small PNG.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["printable"] = printable
    text = files("agentkit_vision.search").joinpath(TEMPLATE).read_text(encoding="utf-8")
    hits = [(hit, _base64(thumbnail(hit)), hit.file.as_uri()) for hit in found.hits]
    return environment.from_string(text).render(found=found, title=printable(title), hits=hits, photo=_base64(photo))


def sheet_image(found: Found, *, title: str, thumbnail: Draw) -> bytes:
    """Return the same as a PNG: thumbnails, names, scores and reasons."""
    from agentkit_vision.search.drawing import sheet_png  # noqa: PLC0415  Pillow

    tiles = [
        (thumbnail(hit), (f"{n}. {printable(hit.file.name)}", *hit.explain().split("; ")))
        for n, hit in enumerate(found.hits, 1)
    ]
    return sheet_png(printable(title), tiles)


def write_sheet(
    found: Found, out: Path, *, title: str, thumbnail: Draw, photo: bytes | None = None
) -> tuple[Path, Path]:
    """Write `out` with the endings .html and .png; return both paths.

    Raises:
        JobError: one cannot be written.
    """
    page, image = out.with_name(f"{out.name}.html"), out.with_name(f"{out.name}.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(page, sheet_html(found, title=title, thumbnail=thumbnail, photo=photo))
    write_atomic(image, sheet_image(found, title=title, thumbnail=thumbnail))
    return page, image


def _base64(data: bytes | None) -> str:
    return b64encode(data).decode("ascii") if data else ""
