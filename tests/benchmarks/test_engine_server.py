"""The peer llama-server: how it is started and asked, on a stand-in, and what is said where it is not built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import llama_server

STAND_IN = """#!{python}
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply({{}})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked["n_predict"] == 1 and asked["cache_prompt"] is True
        self.reply({{"timings": {{"prompt_n": len(asked["prompt"]) - 1}}}})

    def reply(self, what):
        data = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass

given = sys.argv[1:]
assert given[given.index("-np") + 1] == "4" and "-kvu" in given and given[given.index("-c") + 1] == "64"
HTTPServer(("127.0.0.1", int(given[given.index("--port") + 1])), Handler).serve_forever()
"""


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_it_says_how_many_tokens_it_had_to_read(tmp_path: Path) -> None:
    built = program(tmp_path / "llama-server", STAND_IN.format(python=sys.executable))
    with llama_server.Server(built, tmp_path / "model.gguf", context=64, threads=1) as server:
        assert server.reads([1, 2, 3]) == 2
        process = server._process
    assert process.poll() is not None


def test_one_that_ends_at_once_is_an_error(tmp_path: Path) -> None:
    built = program(tmp_path / "llama-server", f"#!{sys.executable}\nraise SystemExit(3)\n")
    with pytest.raises(RuntimeError, match="status 3"):
        llama_server.Server(built, tmp_path / "model.gguf", context=64, threads=1)


def test_it_is_found_where_it_was_built(tmp_path: Path) -> None:
    assert llama_server.binary(tmp_path) is None
    unpacked = f"llama_cpp_python-{llama_server.version('llama-cpp-python')}"
    built = program(tmp_path / unpacked / "build" / "bin" / "llama-server", "")
    assert llama_server.binary(tmp_path) == built
    assert llama_server.build(tmp_path) == built


def test_where_it_cannot_be_built_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert llama_server.main(["--build", str(tmp_path / "nothing")]) == 1
    assert capsys.readouterr().err == "llama-server cannot be built: cmake is not installed\n"
