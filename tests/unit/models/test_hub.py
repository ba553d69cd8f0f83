"""The real way through huggingface_hub, against a small Hub on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agentkit.errors import AgentkitError, ModelNotFound, OfflineModelUnavailable
from agentkit.models import pull, resolve
from agentkit.models.hub import Hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"m-Q4_K_M.gguf": b"GGUF" + b"x" * 3000, "mmproj.gguf": b"GGUF", "README.md": b"hello"}


class Handler(BaseHTTPRequestHandler):
    """Answers what huggingface_hub asks about `o/r`, and 404, 401 or 500 about others."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        type(self).asked.append(self.path)
        path = self.path.partition("?")[0]
        file = FILES.get(path.rsplit("/", 1)[-1])
        if path.startswith("/api/models/o/r"):
            siblings = [{"rfilename": name} for name in FILES]
            self._send(200, json.dumps({"id": "o/r", "sha": COMMIT, "siblings": siblings}).encode(), body=body)
        elif path.startswith("/o/r/resolve/") and file is not None:
            self._send(200, file, body=body, headers={"ETag": f'"{len(file):064x}"', "X-Repo-Commit": COMMIT})
        elif "/gated/" in path:
            self._send(403, b"{}", body=body, headers={"X-Error-Code": "GatedRepo"})
        elif "/broken/" in path:
            self._send(500, b"oops", body=body)
        else:
            self._send(404, b"{}", body=body, headers={"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, data: bytes, *, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    Handler.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_model_is_downloaded_once_and_then_found_offline(endpoint: str, tmp_path: Path) -> None:
    hub, told = Hub(tmp_path, endpoint=endpoint), list[tuple[str, int, int]]()
    found = pull("hf:o/r", lambda *progress: told.append(progress), hub=hub)
    assert found.path is not None
    assert found.path.read_bytes() == FILES["m-Q4_K_M.gguf"]
    assert told[-1] == ("m-Q4_K_M.gguf", 3004, 3004)
    Handler.asked.clear()
    for name in ("hf:o/r", "hf:o/r:Q4_K_M", f"hf:o/r/m-Q4_K_M.gguf@{COMMIT}"):
        assert resolve(name, offline=True, hub=hub).path == found.path
        assert resolve(name, hub=hub).path == found.path
    assert Handler.asked == []


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("hf:o/nowhere", ModelNotFound, "no such repository, revision or file on the Hub"),
        ("hf:gated/r", ModelNotFound, "accept its licence"),
        ("hf:broken/r", OfflineModelUnavailable, "the Hub cannot be reached"),
        ("hf:o/r:Q8_0", ModelNotFound, "it has Q4_K_M"),
        ("hf:-o/r", ModelNotFound, "not a repository's name"),
    ],
)
def test_what_the_hub_says_is_explained(
    name: str, error: type[AgentkitError], words: str, endpoint: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        resolve(name, hub=Hub(tmp_path, endpoint=endpoint))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AgentkitError, match="make room or mend permissions"):
        resolve("hf:o/r", hub=Hub(tmp_path / "file", endpoint=endpoint))
