"""A model of the Hub, from a Hub on this machine: the small files first, the weights only of what can be used."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentkit.errors import ModelError, ModelFileError, ModelNotFound, OfflineModelUnavailable  # noqa: E402
from agentkit.models.machine import Memory  # noqa: E402
from agentkit_vision.hugging.encoding import HuggingEncoder  # noqa: E402
from agentkit_vision.hugging.speaking import HuggingSpeaker  # noqa: E402
from tests.plugins.vision import hugging_models as make  # noqa: E402

COMMIT, NEWER = "0123456789abcdef0123456789abcdef01234567", "f" * 40


class Handler(BaseHTTPRequestHandler):
    """Answers what huggingface_hub asks about `tiny/clip`, and 404, 403 or 500 about others."""

    files: dict[str, bytes]
    commit: str
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        if body:
            type(self).asked.append(path)
        name = path.rsplit("/", 1)[-1]
        if path.startswith("/api/models/tiny/clip/tree"):
            rows = [self._row(file) for file in self.files]
            self._send(200, json.dumps(rows).encode(), body=body)
        elif path.startswith("/api/models/tiny/clip"):
            files = [{"rfilename": file, "size": len(data)} for file, data in self.files.items()]
            self._send(200, json.dumps({"id": "tiny/clip", "sha": self.commit, "siblings": files}).encode(), body=body)
        elif path.startswith("/tiny/clip/resolve/") and name in self.files:
            found = self.files[name]
            tag = hashlib.sha256(found).hexdigest()
            self._send(200, found, body=body, headers={"ETag": f'"{tag}"', "X-Repo-Commit": path.split("/")[4]})
        elif "/gated/" in path:
            self._send(403, b"{}", body=body, headers={"X-Error-Code": "GatedRepo"})
        elif "/broken/" in path:
            self._send(500, b"oops", body=body)
        else:
            self._send(404, b"{}", body=body, headers={"X-Error-Code": "RepoNotFound"})

    def _row(self, file: str) -> dict[str, object]:
        data = self.files[file]
        return {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def _send(self, status: int, data: bytes, *, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    torch.set_num_threads(1)
    folder = make.clip(tmp_path_factory.mktemp("hub") / "clip")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def hub(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Handler]]:
    Handler.files, Handler.commit, Handler.asked = dict(files), COMMIT, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    yield Handler
    server.shutdown()
    server.server_close()


def fetched(hub: type[Handler]) -> set[str]:
    return {path.rsplit("/", 1)[-1] for path in hub.asked if "/resolve/" in path}


def test_an_id_is_fetched_once_and_then_found_without_asking(hub: type[Handler]) -> None:
    hub.files |= {"pytorch_model.bin": b"a pickle", "evil.py": b"raise SystemExit", "onnx.bin": b"more"}
    first = HuggingEncoder("tiny/clip")
    assert fetched(hub) >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not fetched(hub) & {"pytorch_model.bin", "evil.py", "onnx.bin"}
    hub.asked.clear()
    again = HuggingEncoder("tiny/clip")
    assert hub.asked == []
    assert again.fingerprint == first.fingerprint
    assert (again.embed_texts(["a"]) == first.embed_texts(["a"])).all()


def test_a_model_of_another_kind_costs_no_weights(hub: type[Handler]) -> None:
    with pytest.raises(ModelFileError, match="is a CLIPModel, which does not read pictures and write text"):
        HuggingSpeaker("tiny/clip")
    assert "config.json" in fetched(hub)
    assert "model.safetensors" not in fetched(hub)


def test_a_model_that_does_not_fit_costs_no_weights(hub: type[Handler]) -> None:
    small = Memory(place="this machine", total=1000, free=1000)
    with pytest.raises(ModelError, match=r"tiny/clip: it does not fit"):
        HuggingEncoder("tiny/clip", free=lambda: small)
    assert "model.safetensors" not in fetched(hub)


def test_weights_are_of_the_commit_that_the_small_files_are_of(hub: type[Handler]) -> None:
    """The branch moves on between the two."""
    with pytest.raises(ModelError):
        HuggingEncoder("tiny/clip", free=lambda: Memory(place="this machine", total=1, free=1))
    hub.commit = NEWER
    hub.asked.clear()
    HuggingEncoder("tiny/clip")
    assert {path.split("/")[4] for path in hub.asked if "/resolve/" in path} == {COMMIT}


def test_an_id_with_pickles_only_is_refused(hub: type[Handler]) -> None:
    hub.files = {**hub.files, "pytorch_model.bin": hub.files["model.safetensors"]}
    del hub.files["model.safetensors"]
    with pytest.raises(ModelFileError, match=r"the repository has no safetensors, only pytorch_model.bin"):
        HuggingEncoder("tiny/clip")
    assert "pytorch_model.bin" not in fetched(hub)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("tiny/nowhere", ModelNotFound, "no such repository or revision on the Hub"),
        ("gated/clip", ModelNotFound, "accept its licence"),
        ("broken/clip", OfflineModelUnavailable, "the Hub cannot be reached"),
        ("tiny/-clip-", ModelNotFound, "is no name of a repository"),
    ],
)
def test_what_the_hub_says_is_explained(name: str, error: type[ModelError], words: str) -> None:
    with pytest.raises(error) as caught:
        HuggingEncoder(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_downloads_nothing_is_asked(hub: type[Handler]) -> None:
    with pytest.raises(OfflineModelUnavailable, match="hf download tiny/clip"):
        HuggingEncoder("tiny/clip", download=False)
    assert hub.asked == []
