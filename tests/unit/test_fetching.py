"""Fetching: to checked addresses only, redirects checked again, not too much, not too long."""

from __future__ import annotations

import gzip
import shutil
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.fetching import Fetched, NotFetched, fetch

BODY = b"some bytes, some more bytes"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        port = self.headers["Host"].rpartition(":")[2]
        match self.path.split("?")[0]:
            case "/body":
                self.answer(BODY, Content_Type="Image/PNG; charset=latin-1")
            case "/headers":
                self.answer(str(self.headers).encode(), Set_Cookie="a=b")
            case "/untyped":
                self.answer(BODY)
            case "/missing":
                self.answer(b"not here", status=404)
            case "/not-modified":
                self.answer(b"", status=304)
            case "/gzip":
                self.answer(gzip.compress(BODY), Content_Encoding="gzip")
            case "/bomb":
                self.answer(gzip.compress(bytes(30_000_000)), Content_Encoding="gzip")
            case "/bombs":
                self.answer(gzip.compress(gzip.compress(bytes(30_000_000))), Content_Encoding="gzip, gzip")
            case "/zstd":
                self.answer(b"(\xb5/\xfd", Content_Encoding="zstd")
            case "/not-gzip":
                self.answer(BODY, Content_Encoding="gzip")
            case "/deflate":
                self.answer(zlib.compress(BODY), Content_Encoding="deflate")
            case "/hop":
                self.answer(b"", status=302, Location="/body", Set_Cookie="a=b")
            case "/to-headers":
                self.answer(b"", status=307, Location=f"http://other.test:{port}/headers", Set_Cookie="a=b")
            case "/loop":
                self.answer(b"", status=302, Location="/loop")
            case "/inside":
                self.answer(b"", status=302, Location=f"http://127.0.0.2:{port}/body")
            case "/file":
                self.answer(b"", status=302, Location="file:///etc/passwd")
            case "/crooked":
                self.answer(b"", status=302, Location="http://[")
            case "/drip-body":
                self.drip(b"HTTP/1.0 200 OK\r\n\r\n")
            case "/drip-headers":
                self.drip(b"HTTP/1.0 200 OK\r\nX: ")
            case "/silent":
                time.sleep(3)
            case "/nonsense":
                self.wfile.write(b"this is no HTTP at all\r\n\r\n")

    def drip(self, head: bytes) -> None:
        try:
            self.wfile.write(head)
            for _ in range(600):
                self.wfile.write(b".")
                time.sleep(0.05)
        except OSError:
            pass


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.daemon_threads = True
        made.block_on_close = False
        thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def get(server: ThreadingHTTPServer, path: str, **more: Any) -> Any:
    port = server.server_address[1]
    url = path if "://" in path else f"http://127.0.0.1:{port}{path}"
    return fetch(url, **{"allow_hosts": (f"127.0.0.1:{port}",), **more})


def test_what_the_server_answers(server: ThreadingHTTPServer) -> None:
    found = get(server, "/body?x=1#part")
    assert found == Fetched(
        url=f"http://127.0.0.1:{server.server_address[1]}/body?x=1", status=200, reason="OK",
        content_type="image/png", charset="latin-1", data=BODY, whole=True,
    )  # fmt: skip
    assert (get(server, "/untyped").content_type, get(server, "/untyped").charset) == ("", None)
    missing = get(server, "/missing")
    assert (missing.status, missing.reason, missing.data) == (404, "Not Found", b"not here")
    assert get(server, "/not-modified").status == 304


def test_redirects_are_followed_and_checked_again(server: ThreadingHTTPServer) -> None:
    hop = get(server, "/hop")
    assert (hop.data, hop.url.rpartition("/")[2]) == (BODY, "body")
    loop = get(server, "/loop")
    assert (loop.kind, "more than 5 times" in loop.text) == ("failed", True)
    inside = get(server, "/inside")
    assert (inside.kind, "127.0.0.2" in inside.text, "127.0.0.2" in inside.url) == ("refused", True, True)
    assert (get(server, "/file").kind, get(server, "/crooked").kind) == ("invalid", "invalid")


def test_private_addresses_are_refused_unless_allowed(server: ThreadingHTTPServer) -> None:
    for allowed in ((), ("127.0.0.1:1",), ("example.com",)):
        found = get(server, "/body", allow_hosts=allowed)
        assert (found.kind, "which is refused" in found.text) == ("refused", True)


def test_a_name_is_looked_up_once_a_hop(server: ThreadingHTTPServer) -> None:
    port = server.server_address[1]
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["8.8.8.8"] if len(asked) == 1 else ["127.0.0.1"]

    found = fetch(f"http://rebind.test:{port}/body", resolver=rebinding, deadline=time.monotonic() + 0.5)
    assert isinstance(found, NotFetched)  # what was checked is what was tried, and tests do not reach it
    assert (asked, found.kind) == (["rebind.test"], "failed")


def test_a_host_s_addresses_are_tried_in_turn(server: ThreadingHTTPServer) -> None:
    port = server.server_address[1]
    names = {"two.test": ["127.0.0.2", "127.0.0.1"], "none.test": ["127.0.0.2", "127.0.0.3"]}
    found = get(server, f"http://two.test:{port}/body", allow_hosts=("two.test",), resolver=lambda host, _: names[host])
    assert (found.data, found.url) == (BODY, f"http://two.test:{port}/body")
    dead = get(server, f"http://none.test:{port}/", allow_hosts=("none.test",), resolver=lambda host, _: names[host])
    assert (dead.kind, "could not be fetched" in dead.text) == ("failed", True)


def test_what_is_sent(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # a proxy would connect to what nobody checked
    hosts = ("one.test", "other.test")
    url = f"http://one.test:{server.server_address[1]}/to-headers"
    sent = get(server, url, allow_hosts=hosts, resolver=lambda *_: ["127.0.0.1"], accept="image/*").data.decode()
    assert f"Host: other.test:{server.server_address[1]}" in sent
    assert "accept: image/*" in sent.lower()
    assert "accept-encoding: gzip, deflate\n" in sent.lower().replace("\r", "")
    assert "cookie" not in sent.lower()  # of another host, which has the same address


def test_what_is_not_wanted_is_not_read(server: ThreadingHTTPServer) -> None:
    seen: list[str] = []

    def no_pictures(content_type: str) -> str:
        seen.append(content_type)
        return "is a picture" if content_type == "image/png" else ""

    found = get(server, "/hop", unwanted=no_pictures)
    assert (found.kind, found.text, seen) == ("unwanted", f"{found.url} is a picture", ["image/png"])
    assert get(server, "/untyped", unwanted=no_pictures).data == BODY


def test_too_much_is_cut_off(server: ThreadingHTTPServer) -> None:
    found = get(server, "/body", max_bytes=4)
    assert (found.data, found.whole) == (b"some", False)
    assert get(server, "/body", max_bytes=len(BODY)).whole


def test_packed_bodies(server: ThreadingHTTPServer) -> None:
    assert get(server, "/gzip").data == get(server, "/deflate").data == BODY
    bomb = get(server, "/bomb", max_bytes=1_000)
    assert (bomb.data, bomb.whole) == (bytes(1_000), False)
    for path in ("/bombs", "/zstd"):
        found = get(server, path)
        assert (found.kind, "was not asked for" in found.text) == ("failed", True)
    assert "could not be fetched" in get(server, "/not-gzip").text


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A server for https://good.test, whose certificate is trusted."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    line = f"req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=good.test"
    more = "-addext subjectAltName=DNS:good.test"
    subprocess.run([openssl, *line.split(), *more.split()], check=True, capture_output=True, timeout=60)
    monkeypatch.setattr("certifi.where", lambda: str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.daemon_threads = True
        made.block_on_close = False
        made.handle_error = lambda *_: None  # type: ignore[method-assign]  clients that break off are the test
        made.socket = context.wrap_socket(made.socket, server_side=True)
        thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_certificates_are_those_of_the_host_and_not_of_its_address(secure: ThreadingHTTPServer) -> None:
    def get(host: str, path: str, **more: Any) -> Any:
        url = f"https://{host}:{secure.server_address[1]}{path}"
        return fetch(url, allow_hosts=(host,), resolver=lambda *_: ["127.0.0.1"], **more)

    assert get("good.test", "/body").data == BODY
    wrong = get("bad.test", "/body")
    assert (wrong.kind, "not valid for 'bad.test'" in wrong.text) == ("failed", True)
    for path in ("/drip-body", "/drip-headers"):
        began = time.monotonic()
        assert get("good.test", path, deadline=began + 0.3).kind == "timeout"
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("path", ["/drip-body", "/drip-headers", "/silent"])
def test_a_slow_server_is_given_up(server: ThreadingHTTPServer, path: str) -> None:
    began = time.monotonic()
    found = get(server, path, deadline=began + 0.3)
    assert (found.kind, "did not answer in time" in found.text) == ("timeout", True)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("path", ["/drip-body", "/drip-headers", "/silent"])
def test_a_cancelled_fetch_ends(server: ThreadingHTTPServer, path: str) -> None:
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    began = time.monotonic()
    assert get(server, path, cancel=cancel).kind == "cancelled"
    assert time.monotonic() - began < 2


def test_no_time_and_no_server(server: ThreadingHTTPServer) -> None:
    assert get(server, "/body", deadline=time.monotonic() - 1).kind == "timeout"
    dead = get(server, "http://127.0.0.1:9/x", allow_hosts=("127.0.0.1",))
    assert (dead.kind, "could not be fetched" in dead.text) == ("failed", True)
    assert get(server, "/nonsense").kind == "failed"


def test_no_thread_is_left_behind(server: ThreadingHTTPServer) -> None:
    for path in ("/body", "/inside", "/nonsense"):
        get(server, path)
    assert [thread.name for thread in threading.enumerate() if thread.name == "fetch-watch"] == []


@given(url=st.text(max_size=60) | st.text("htps:/.@[]%#?x0\\\n\0é", max_size=40).map("http://".__add__))
def test_any_text_is_answered_with_a_value(url: str) -> None:
    found = fetch(url, resolver=lambda host, port: ["127.0.0.1"], deadline=time.monotonic() + 0.5)
    assert isinstance(found, NotFetched)
    assert (found.kind in ("refused", "invalid"), bool(found.text)) == (True, True)
