"""Web pages: public ones only, text only, not too much of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agentkit.errors import Cancelled
from agentkit.tools import Limits, run_call
from agentkit.tools.convert import bare_context
from agentkit.types import Done, Failed, ToolCall
from agentkit_basics.page import readable
from agentkit_basics.web import fetch_url

NO_LIMITS = Limits()
HTML = b"""<!doctype html><html><head><title>The title</title><style>p {color: red}</style></head>
<body><script>alert(1)</script><h1>Head&shy;ing</h1><p>One
 <b>bold</b> &amp; <a href="/x">link</a>.</p><ul><li>first<li>second</ul>
<table><tr><td>a</td><td>1</td></tr></table></body></html>"""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, body: bytes, kind: str = "text/plain", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        port = self.headers["Host"].rpartition(":")[2]
        match self.path.split("?")[0]:
            case "/page":
                self.answer(HTML, "text/html; charset=utf-8")
            case "/host":
                self.answer(self.headers["Host"].encode())
            case "/json":
                self.answer(b'{"a": 1}', "application/problem+json")
            case "/latin":
                self.answer(b"caf\xe9", "text/plain; charset=latin-1")
            case "/image":
                self.answer(b"\x89PNG", "image/png")
            case "/binary":
                self.answer(b"\x00\x01" * 100)
            case "/missing":
                self.answer(b"not here", status=404)
            case "/hop":
                self.answer(b"", status=302, Location="/page")
            case "/loop":
                self.answer(b"", status=302, Location="/loop")
            case "/inside":
                self.answer(b"", status=302, Location=f"http://127.0.0.2:{port}/page")
            case "/file":
                self.answer(b"", status=302, Location="file:///etc/passwd")
            case "/big":
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                try:
                    for _ in range(1_000):
                        self.wfile.write(b"x" * 100_000)
                except OSError:
                    self.server.cut_off = True  # type: ignore[attr-defined]
            case "/slow":
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                try:
                    for _ in range(600):
                        self.wfile.write(b".")
                        time.sleep(0.05)
                except OSError:
                    pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.daemon_threads = True
        made.block_on_close = False
        thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def fetch(server: ThreadingHTTPServer, path: str, limits: Limits = NO_LIMITS, **more: Any) -> Any:
    port = server.server_address[1]
    settings = {"allow_hosts": (f"127.0.0.1:{port}",), "max_page_bytes": 300_000, **more.pop("settings", {})}
    url = path if "://" in path else f"http://127.0.0.1:{port}{path}"
    call = ToolCall(id="1", tool="fetch_url", arguments={"url": url})
    return run_call(fetch_url, call, replace(bare_context(), settings=settings, **more), limits=limits)


def test_a_page_is_readable_text(server: ThreadingHTTPServer) -> None:
    outcome = fetch(server, "/page")
    assert isinstance(outcome, Done)
    assert outcome.text.replace("\xad", "").split("\n\n") == [
        "The title", "Heading", "One bold & link.", "- first\n- second", "a | 1",
    ]  # fmt: skip
    assert outcome.data == {"url": f"http://127.0.0.1:{server.server_address[1]}/page", "status": 200}


def test_text_types(server: ThreadingHTTPServer) -> None:
    assert fetch(server, "/json").text == '{"a": 1}'
    assert fetch(server, "/latin").text == "café"
    assert "is image/png, not text" in fetch(server, "/image").text
    assert "binary data" in fetch(server, "/binary").text
    assert fetch(server, "/missing").text.endswith("answered 404 Not Found\nnot here")
    assert fetch(server, "/host").text == f"127.0.0.1:{server.server_address[1]}"


def test_redirects_are_followed_and_checked_again(server: ThreadingHTTPServer) -> None:
    assert "Heading" in fetch(server, "/hop").text.replace("\xad", "")
    assert "more than 5 times" in fetch(server, "/loop").text
    assert "127.0.0.2" in fetch(server, "/inside").text
    assert "which is refused" in fetch(server, "/inside").text
    assert "is no web address" in fetch(server, "/file").text


def test_too_much_is_cut_off(server: ThreadingHTTPServer) -> None:
    outcome = fetch(server, "/big")
    assert "(only the first 300,000 bytes were fetched)" in outcome.text
    assert len(outcome.text) <= 20_000
    for _ in range(100):
        if getattr(server, "cut_off", False):
            break
        time.sleep(0.02)
    assert getattr(server, "cut_off", False)


def test_a_server_that_drips_is_given_up(server: ThreadingHTTPServer) -> None:
    began = time.monotonic()
    assert fetch(server, "/slow", Limits(timeout_s=0.5)).kind == "timeout"
    assert time.monotonic() - began < 3
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(Cancelled):
        fetch(server, "/slow", cancel=cancel)


def test_a_loopback_address_is_refused_unless_allowed(server: ThreadingHTTPServer) -> None:
    for allowed in ((), ("127.0.0.1:1",), ("example.com",)):
        outcome = fetch(server, "/page", settings={"allow_hosts": allowed})
        assert isinstance(outcome, Failed)
        assert "which is refused" in outcome.text


def test_a_dead_port_is_a_sentence(server: ThreadingHTTPServer) -> None:
    outcome = fetch(server, "http://127.0.0.1:9/x", settings={"allow_hosts": ("127.0.0.1",)})
    assert isinstance(outcome, Failed)
    assert "could not be fetched" in outcome.text


def test_broken_html_is_read_too() -> None:
    assert readable("<p>a<script>b") == "a"
    assert readable("a<style>x</style>b<!-- c -->d<unknown>e</p>") == "abde"
    assert readable("") == ""
    assert readable("1 < 2 & 3") == "1 < 2 & 3"
