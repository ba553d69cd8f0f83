"""The contact sheet: everything in one file, everything escaped."""

from __future__ import annotations

import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from agentkit_vision.search.collection import Collection
from agentkit_vision.search.filters import Filters
from agentkit_vision.search.query import Searcher
from agentkit_vision.search.sheet import sheet_html, sheet_image, write_sheet
from tests.plugins.vision.search_toys import ToyEncoder, index, picture, write

pytest.importorskip("PIL")
from PIL import Image

from agentkit_vision.pictures import to_png
from agentkit_vision.search.drawing import sheet_png

EVIL = "<img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture
def searcher(tmp_path: Path):
    names = [
        f"{EVIL.replace('/', '')}.png",
        "schön 鞋.png",
        "\udcff.png" if sys.platform == "linux" else "d.png",
        "e.png",
    ]
    values = [("shoe", "red", "plain"), ("shoe", "blue", "plain"), ("bag", "red", "stripes"), ("hat", "red", "plain")]
    files = [write(tmp_path / name, thing, n) for n, (name, thing) in enumerate(zip(names, values, strict=True))]
    index(tmp_path / "c", files, labels={files[0]: {"<b>brand</b>": EVIL}}, thumbnail=lambda picture: small())
    with Collection(tmp_path / "c") as collection:
        yield Searcher(collection, ToyEncoder())


def small() -> bytes:
    return to_png(np.full((16, 32, 3), 90, np.uint8))


def test_the_page_needs_nothing_and_believes_nobody(searcher: Searcher) -> None:
    found = searcher.find("red, not stripes, <script>alert(2)</script>", picture(("shoe", "blue", "plain"), 9))
    page = sheet_html(found, title=EVIL, thumbnail=lambda hit: searcher.collection.thumbnail(hit.id), photo=small())
    page.encode("utf-8")
    tags = Seen(page).tags
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == len(found.hits) + 1 == 4
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in images)
    assert not any(tag == "script" or any(name.startswith("on") for name in attributes) for tag, attributes in tags)
    assert not re.search(r"https?://", page)
    assert all((attributes["href"] or "").startswith("file:///") for tag, attributes in tags if tag == "a")
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert "{{ 7 * 7 }}" in page
    for told in ("as asked", "as in the photo", "schön 鞋.png", "pattern: not stripes", "script, alert, 2"):
        assert told in page


def test_a_page_without_thumbnails_and_without_results(searcher: Searcher) -> None:
    found = searcher.find("red")
    page = sheet_html(found, title="red", thumbnail=lambda hit: None)
    assert page.count("no thumbnail") == 4
    none = searcher.find("red", filters=Filters(paths=["nothing"]))
    assert "Nothing was found." in sheet_html(none, title="red", thumbnail=lambda hit: None)


def test_the_sheet_as_a_png(searcher: Searcher, tmp_path: Path) -> None:
    found = searcher.find("red")
    paths = write_sheet(found, tmp_path / "out" / "sheet", title="red", thumbnail=lambda hit: searcher.collection.thumbnail(hit.id))  # fmt: skip
    assert [path.name for path in paths] == ["sheet.html", "sheet.png"]
    with Image.open(paths[1]) as image:
        assert image.width > image.height
        size = image.size
        assert (90, 90, 90) in {color for _, color in image.getcolors(1 << 20)}
    empty = sheet_image(found, title="x" * 500, thumbnail=lambda hit: None)
    assert Image.open(io.BytesIO(empty)).size == size
    assert Image.open(io.BytesIO(sheet_png("none", []))).width > 100
