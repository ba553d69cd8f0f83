"""Pictures by path, address, `data:` URL and bytes; and what is said where there is none."""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

pytest.importorskip("PIL")

from agentkit.errors import Cancelled, DeadlineExceeded, InvalidParams, PolicyError, ProviderError, UnsupportedPart
from agentkit.fetching import Fetched, NotFetched
from agentkit_vision.pictures import Limits, fetcher, load
from tests.plugins.vision.picture_files import RED, file, two_halves

PNG = file(two_halves(), "PNG")
DATA = "data:image/png;base64," + base64.b64encode(PNG).decode()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, body: bytes, kind: str = "image/png", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        port = self.headers["Host"].rpartition(":")[2]
        match self.path.split("?")[0]:
            case "/red.png":
                self.answer(PNG)
            case "/untold":
                self.answer(PNG, "application/octet-stream")
            case "/page.png":
                self.answer(b"<!DOCTYPE html><html><body>log in first</body></html>", "image/png")
            case "/empty.png":
                self.answer(b"")
            case "/hop.png":
                self.answer(b"", status=302, Location="/red.png")
            case "/inside.png":
                self.answer(b"", status=302, Location=f"http://127.0.0.2:{port}/red.png")
            case "/metadata.png":
                self.answer(b"", status=302, Location="http://169.254.169.254/latest/meta-data/")
            case "/slow.png":
                self.send_response(200)
                self.end_headers()
                try:
                    for byte in PNG * 100:
                        self.wfile.write(bytes([byte]))
                        time.sleep(0.05)
                except OSError:
                    pass
            case _:
                self.answer(b"not here", "text/plain", status=404)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.daemon_threads = True
        made.block_on_close = False
        thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def test_bytes_paths_and_data_urls_are_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "a picture.png"
    path.write_bytes(PNG)
    percent = "data:image/png," + quote_from_bytes(PNG)
    broken = DATA[:60] + "\r\n " + DATA[60:]
    names = {}
    for source in (PNG, path, str(path), DATA, broken, percent, "DATA:;BASE64," + DATA.partition(",")[2]):
        found = load(source)
        assert tuple(found.pixels[5, 5]) == RED
        names[found.sha256] = found.source
    assert len(names) == 1
    assert load(path).source == str(path)
    assert [load(source).source for source in (PNG, DATA, percent)] == ["bytes", "data:image/png", "data:image/png"]


def test_a_picture_by_address(server: str) -> None:
    for path in ("/red.png", "/untold", "/hop.png", "/red.png?size=large"):
        url = f"http://{server}{path}"
        found = load(url, fetch=fetcher([server]))
        assert (found.source, found.format, tuple(found.pixels[5, 5])) == (url, "PNG", RED)
        assert found.provenance.source == f"image:{url}"


def test_private_addresses_are_refused(server: str) -> None:
    for url in (
        f"http://{server}/red.png",
        "http://localhost/red.png",
        "http://[::1]/red.png",
        "http://10.0.0.1/a.png",
    ):
        with pytest.raises(PolicyError, match="which is refused"):
            load(url)
    for path in ("/inside.png", "/metadata.png"):
        with pytest.raises(PolicyError, match="which is refused"):
            load(f"http://{server}{path}", fetch=fetcher([server]))


def test_what_a_server_may_answer(server: str) -> None:
    fetch = fetcher([server])
    with pytest.raises(InvalidParams, match=r"page.png' is a web page \(HTML\); give a picture"):
        load(f"http://{server}/page.png", fetch=fetch)
    with pytest.raises(InvalidParams, match="is empty"):
        load(f"http://{server}/empty.png", fetch=fetch)
    with pytest.raises(ProviderError, match="answered 404 Not Found; check the address"):
        load(f"http://{server}/gone.png", fetch=fetch)
    with pytest.raises(InvalidParams, match="larger than the 100 bytes"):
        load(f"http://{server}/red.png", fetch=fetch, limits=Limits(max_bytes=100))
    with pytest.raises(ProviderError, match="could not be fetched"):
        load("http://127.0.0.1:9/red.png", fetch=fetcher(["127.0.0.1"]))


def test_a_slow_server_is_given_up(server: str) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="did not answer in time"):
        load(f"http://{server}/slow.png", fetch=fetcher([server], deadline=began + 0.3))
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(Cancelled):
        load(f"http://{server}/slow.png", fetch=fetcher([server], cancel=cancel))
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("kind", ["refused", "invalid", "unwanted", "timeout", "cancelled", "failed"])
def test_every_reason_is_an_error_with_its_words(kind: Any) -> None:
    expected = {"refused": PolicyError, "invalid": InvalidParams, "timeout": DeadlineExceeded, "cancelled": Cancelled}

    def fetch(url: str, *, max_bytes: int) -> Fetched | NotFetched:
        return NotFetched(url=url, text=f"{url} because of {kind}", kind=kind)

    with pytest.raises(expected.get(kind, ProviderError)) as caught:
        load("https://example.com/a.png", fetch=fetch)
    assert str(caught.value) == f"https://example.com/a.png because of {kind}"


def test_it_is_told_how_much_may_be_fetched() -> None:
    asked: list[tuple[str, int]] = []

    def fetch(url: str, *, max_bytes: int) -> Fetched | NotFetched:
        asked.append((url, max_bytes))
        return Fetched(url=url, status=200, reason="OK", content_type="", charset=None, data=PNG, whole=True)

    load("https://example.com/a.png", fetch=fetch, limits=Limits(max_bytes=5_000))
    assert asked == [("https://example.com/a.png", 5_000)]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "no picture was named"),
        ("ftp://example.com/a.png", "begins with ftp://, which is not read"),
        ("file:///etc/passwd", "begins with file://, which is not read"),
        ("http://nowhere.test/a.png", "cannot be found"),
        ("http://user:pass@example.com/a.png", "user name"),
        ("http://[", "is no web address"),
        ("data:image/png;base64", "no comma"),
        ("data:image/png;base64,", "is empty"),
        ("data:image/png;base64,a", "no base64"),
        ("data:image/png;base64,é", "no base64"),
        ("data:,hello", "is a text file"),
        ("no\0such.png", "cannot be read"),
        ("x" * 5_000, "cannot be read"),
    ],
)
def test_sources_that_are_none(source: str, why: str) -> None:
    with pytest.raises(InvalidParams, match=why) as caught:
        load(source)
    assert len(str(caught.value)) < 500


def test_paths_that_lead_to_no_picture(tmp_path: Path) -> None:
    with pytest.raises(InvalidParams, match=r"there is no file '.*gone.png'; check the path"):
        load(tmp_path / "gone.png")
    with pytest.raises(InvalidParams, match="is a folder, not a picture"):
        load(tmp_path)
    (tmp_path / "plain.png").write_bytes(PNG)
    with pytest.raises(InvalidParams, match="cannot be read"):
        load(tmp_path / "plain.png" / "inside.png")
    (tmp_path / "round.png").symlink_to("round.png")
    with pytest.raises(InvalidParams, match="cannot be read"):
        load(tmp_path / "round.png")


def test_special_files_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(InvalidParams, match="is no regular file"):
            load(path)


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(PNG)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # whom no permission holds
        os.seteuid(65_534)
    try:
        with pytest.raises(InvalidParams, match=r"secret\.png' may not be read"):
            load(path)
    finally:
        os.seteuid(user)


def test_files_that_are_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(PNG)
    limits = Limits(max_bytes=len(PNG) - 1)
    for source in (path, PNG, DATA, "data:image/png," + quote_from_bytes(PNG)):
        with pytest.raises(InvalidParams, match="larger than the"):
            load(source, limits=limits)
        load(source, limits=Limits(max_bytes=len(PNG)))
    with path.open("ab") as sparse:
        sparse.truncate(10**12)
    with pytest.raises(InvalidParams, match="larger than the"):
        load(path)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, None])
def test_limits_are_positive_whole_numbers(wrong: Any) -> None:
    for name in ("max_bytes", "max_pixels", "max_side"):
        with pytest.raises(InvalidParams, match=f"/{name}: "):
            Limits(**{name: wrong})


def test_the_name_of_a_file_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "really.jpg").write_bytes(PNG)
    assert load(tmp_path / "really.jpg").format == "PNG"
    (tmp_path / "drawing.png").write_bytes(b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>')
    with pytest.raises(UnsupportedPart, match="is an SVG drawing, which is not taken; turn it into PNG"):
        load(tmp_path / "drawing.png")
