"""Any OpenAI-compatible server as an engine: llama-server, vLLM, Ollama, or a provider.

Nothing is constrained there that we could rely on, so every step is validated here, with one repair.
A server's questions back and refusals are `final` texts. Counts of tokens are estimates until the server
has told what it used. The API key is read from `OPENAI_API_KEY` or the file `OPENAI_API_KEY_FILE` names,
is sent over https or to this machine only, and stands in no message.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from langchain_core.messages import BaseMessage

from agentkit.engine.checks import TEXT_KINDS, refuse_parts, refuse_unknown, stop_if_over
from agentkit.engine.pump import watched
from agentkit.engine.sse import Reading
from agentkit.engine.validated import Draft, replies
from agentkit.engine.wire import estimate, messages_to_wire, tools_to_wire
from agentkit.errors import CannotEnforce, ConfigError, ContextFull, EngineError, ModelNotFound, ProviderError
from agentkit.protocols import Capabilities, Delta, Reply, Request, Score, TextDelta, ThinkingDelta
from agentkit.types import Step, Usage

DEFAULT_CONTEXT = 8192
_CONNECT_S = 10.0
_BODY_BYTES = 64_000
_HEAD_CHARS = 200
_HEADER = re.compile(r"[\x21-\x7e]+")
_LOCAL = {"localhost", "127.0.0.1", "::1"}
_TOO_LONG = (
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "exceeds the available context",
)


def api_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the key from `OPENAI_API_KEY`, or from the file that `OPENAI_API_KEY_FILE` names.

    Raises:
        ConfigError: the file cannot be read.
    """
    if key := environ.get("OPENAI_API_KEY", "").strip():
        return key
    path = environ.get("OPENAI_API_KEY_FILE")
    if not path:
        return None
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"OPENAI_API_KEY_FILE: {path} cannot be read; check path and permissions") from error


class RemoteEngine:
    """A model behind an OpenAI-compatible HTTP interface."""

    def __init__(
        self,
        url: str,
        *,
        model: str = "",
        context: int | None = None,
        timeout_s: float = 120.0,
        key: str | None = None,
    ) -> None:
        """Make an engine for the server at `url` (`http://localhost:8080/v1`); nothing is sent yet.

        Args:
            url: what stands before `/chat/completions`.
            model: the model's name there; empty: the first that the server lists.
            context: tokens it takes; None: what the server says, or 8192.
            timeout_s: how long the server may be silent.
            key: the API key; None: the one in the environment, over https or to this machine only.
        """
        try:
            self._url = httpx.URL(url.rstrip("/"))
        except httpx.InvalidURL as error:
            raise ModelNotFound(f"{url}: not an address ({error}); write http://localhost:8080/v1") from error
        self._model, self._context, self._timeout_s = model, context, timeout_s
        may_send = self._url.scheme == "https" or self._url.host in _LOCAL
        self._key = key if key is not None else api_key() if may_send else None
        if self._key and not _HEADER.fullmatch(self._key):
            raise ConfigError("OPENAI_API_KEY: holds characters that no key has; copy it again")
        authorization = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(
            headers={**authorization, "Content-Type": "application/json"},
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
        )
        self._known: Capabilities | None = None
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:
        """What the server offers; asks it once for its models.

        Raises:
            ProviderError: no model was named, and the server cannot be asked.
        """
        with self._lock:
            if self._known is None:
                self._known = self._ask_what_it_is()
            return self._known

    def stream(self, request: Request) -> Iterator[Delta]:
        """Yield the reply as it comes, then a validated `Reply`.

        Raises:
            ProviderError: the server refused, broke off, or its model's reply was unusable twice.
            ContextFull: the server says that the prompt does not fit.
            Cancelled, DeadlineExceeded: soon after the flag or the deadline, also while the server is silent.
        """
        if self._client.is_closed:
            raise EngineError(f"{self._url}: this engine has been closed; open another")
        capabilities = self.capabilities
        stop_if_over(request)
        refuse_parts(request, capabilities)
        refuse_unknown(request, capabilities)

        def attempt(messages: Sequence[BaseMessage]) -> Iterator[TextDelta | ThinkingDelta | Draft]:
            return self._attempt(request, messages, capabilities.model)

        return replies(attempt, request, capabilities.model)

    def branch(self, request: Request, n: int) -> list[Reply]:
        """Refuse: distinct steps cannot be had from a server."""
        raise CannotEnforce(f"{self._url}: a server gives no distinct branches; use a model in this process")

    def score(self, request: Request, candidates: Sequence[Step]) -> list[Score]:
        """Refuse: a server does not score given steps."""
        raise CannotEnforce(f"{self._url}: a server does not score steps; use a model in this process")

    def count(self, request: Request) -> int:
        """Return an estimate of the prompt's tokens: a server's template cannot be seen from here."""
        return estimate(messages_to_wire(request.messages), tools_to_wire(request.tools))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Refuse: vectors come from a model in this process."""
        raise CannotEnforce(f"{self._url}: no vectors from here; use a model in this process")

    def close(self) -> None:
        """Close the connections; idempotent."""
        self._client.close()

    # ── one request ──────────────────────────────────────────────────────────────────────────────

    def _attempt(
        self, request: Request, messages: Sequence[BaseMessage], model: str
    ) -> Iterator[TextDelta | ThinkingDelta | Draft]:
        body = self._body(request, messages, model)
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", errors="replace")  # lone surrogates
        reading = Reading(str(self._url))
        began = time.monotonic()
        open_now: list[httpx.Response] = []

        def source() -> Iterator[bytes]:
            with self._client.stream("POST", f"{self._url}/chat/completions", content=content) as response:
                open_now.append(response)
                if response.status_code != httpx.codes.OK:
                    raise self._refusal(response.status_code, _head(response))
                reading.begin(response.headers.get("content-type", ""))
                yield from response.iter_bytes()

        try:
            for chunk in watched(source, request, release=lambda: _hang_up(open_now)):
                yield from reading.feed(chunk)
        except httpx.TimeoutException as error:
            raise ProviderError(
                f"{self._url}: silent for {self._timeout_s:g} s; raise engine.timeout_s, or see what the server does"
            ) from error
        except httpx.HTTPError as error:
            raise ProviderError(self._unreachable(error)) from error
        yield from reading.end()
        seconds = time.monotonic() - began
        guess = Usage(prompt=estimate(body["messages"], body.get("tools", [])), seconds=seconds)
        yield reading.draft(guess)

    def _body(self, request: Request, messages: Sequence[BaseMessage], model: str) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": model,
            "messages": messages_to_wire(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": request.max_tokens,
            "temperature": sampling.temperature,
        }
        if sampling.temperature > 0:
            body["seed"] = sampling.seed  # means nothing to a greedy decoder, and some servers refuse it
        if sampling.top_p != 1.0:
            body["top_p"] = sampling.top_p
        if request.tools:
            words = any(kind in request.allow for kind in TEXT_KINDS)
            body["tools"] = tools_to_wire(request.tools)
            body["tool_choice"] = "none" if "calls" not in request.allow else "auto" if words else "required"
        if request.output is not None and "final" in request.allow:
            schema = {"name": "answer", "schema": dict(request.output), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    # ── what the server is, and what it says when it says no ─────────────────────────────────────

    def _ask_what_it_is(self) -> Capabilities:
        model, context = self._model, self._context
        if not model or context is None:
            try:
                rows = self._models()
            except ProviderError:
                if not model:
                    raise
                rows = []
            row = next((row for row in rows if not model or row.get("id") == model), {})
            model = model or str(row.get("id", ""))
            if not model:
                raise ProviderError(f"{self._url}: the server lists no models; name one with engine.remote_model")
            context = context or _context_of(row) or DEFAULT_CONTEXT
        identity = hashlib.sha256(f"{self._url}\n{model}".encode()).hexdigest()
        return Capabilities(model=model, context=context, fingerprint=identity)

    def _models(self) -> list[dict[str, Any]]:
        try:
            with self._client.stream("GET", f"{self._url}/models", timeout=_CONNECT_S) as response:
                head = _head(response)
                if response.status_code != httpx.codes.OK:
                    raise self._refusal(response.status_code, head)
            rows = httpx.Response(200, content=head).json()["data"]
            return [row for row in rows if isinstance(row, dict)]
        except httpx.HTTPError as error:
            raise ProviderError(self._unreachable(error)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ProviderError(f"{self._url}/models: not an OpenAI-compatible answer{_page_hint(head)}") from error

    def _refusal(self, status: int, body: bytes) -> ProviderError | ContextFull:
        text = " ".join(body.decode("utf-8", errors="replace").split())
        if self._key:
            text = text.replace(self._key, "***")
        if status in (400, 413, 422, 500) and any(mark in text for mark in _TOO_LONG):
            return ContextFull(f"{self._url}: the prompt does not fit; shorten it, or use a larger context")
        mend = {
            401: "set OPENAI_API_KEY (it is sent over https, or to this machine, only)",
            403: "check what the key in OPENAI_API_KEY may do",
            404: "check the address (it ends in /v1) and engine.remote_model",
            429: "wait, and try again",
        }.get(status, "see the server's log" if status >= 500 else "check address, model and request")
        return ProviderError(f"{self._url}: HTTP {status}: {text[:_HEAD_CHARS] or '(no text)'}; {mend}")

    def _unreachable(self, error: httpx.HTTPError) -> str:
        what = str(error) or type(error).__name__
        if isinstance(error, httpx.ConnectError):
            return f"{self._url}: cannot be reached ({what}); is the server running, and the address right?"
        return f"{self._url}: broke off ({what}); see the server's log"


def _context_of(row: Mapping[str, Any]) -> int | None:
    """Return the context that llama-server or vLLM states for a model."""
    meta = row.get("meta")
    places = (row, meta if isinstance(meta, Mapping) else {})
    found = (place.get(key) for place in places for key in ("max_model_len", "context_length", "n_ctx", "n_ctx_train"))
    return next((value for value in found if isinstance(value, int) and value > 0), None)


def _head(response: httpx.Response) -> bytes:
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _BODY_BYTES:
            break
    return body[:_BODY_BYTES]


def _page_hint(body: bytes) -> str:
    page = body.lstrip()[:1] == b"<"
    return ", but a web page; the address should end in /v1" if page else "; the address should end in /v1"


def _hang_up(responses: Sequence[httpx.Response]) -> None:
    """End a read that another thread may be waiting in."""
    for response in responses:
        stream = response.extensions.get("network_stream")
        connection = stream.get_extra_info("socket") if stream is not None and not response.is_closed else None
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
