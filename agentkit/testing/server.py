"""An OpenAI-compatible server on this machine that says what a test wants: for engines, and for programs.

`ChatServer(answer)` is a context manager. `answer` gets the body of each chat request and returns the
deltas of the reply, or `Raw` for an answer that is wrong on purpose.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """An HTTP answer as it stands; the connection is closed after it."""

    status: int = 200
    content_type: str = "application/json"
    body: bytes = b""


Answer = Callable[[Mapping[str, Any]], Raw | Iterable[Mapping[str, Any]]]


class ChatServer:
    """Serves `/v1/models` and `/v1/chat/completions` on loopback, and records what it is asked."""

    def __init__(self, answer: Answer, *, models: Raw | None = None) -> None:
        self.answer = answer
        self.models = models or Raw(body=b'{"data": [{"id": "test-model", "meta": {"n_ctx_train": 4096}}]}')
        self.requests: list[dict[str, Any]] = []  # bodies of the chat requests
        self.headers: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The address that stands before `/chat/completions`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(owner.models)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.requests.append(body)
                owner.headers.append(dict(self.headers))
                answer = owner.answer(body)
                if isinstance(answer, Raw):
                    self._send(answer)
                else:
                    self._stream(answer)

            def _send(self, raw: Raw) -> None:
                self.send_response(raw.status)
                self.send_header("Content-Type", raw.content_type)
                self.end_headers()
                self.wfile.write(raw.body)

            def _stream(self, deltas: Iterable[Mapping[str, Any]]) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                try:
                    for delta in deltas:
                        self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
                    self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                    self._event({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 5}})
                    self.wfile.write(b"data: [DONE]\n\n")
                except OSError:
                    return  # the client has gone, as some tests want

            def _event(self, data: Mapping[str, Any]) -> None:
                self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
                self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing: a test's output is its own."""

        return Handler
