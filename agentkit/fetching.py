"""Fetch what is at a web address, and never from inside this machine or network unless a host is allowed.

Every address is checked before it is connected to (`agentkit.addresses`), redirects again; proxies of the
environment are not used; no more is read than there is room for, and no longer than there is time. What goes
wrong is a value, `NotFetched`, never an exception. Import it late: httpx takes 0.1 s.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urljoin

import httpx

from agentkit.addresses import NotAllowed, PrivateAddress, Resolve, Target, check, resolve
from agentkit.protocols import CancelFlag

__all__ = ["MAX_REDIRECTS", "TIMEOUT_S", "Fetched", "NotFetched", "fetch"]

MAX_REDIRECTS = 5
TIMEOUT_S = 20.0  # of a fetch for which no deadline is given
_STEP_S = 10.0  # of connecting, and of waiting for anything to arrive
_POLL_S = 0.05
_CODINGS = ("identity", "gzip", "deflate")  # at most 1 : 1032; zstd and Brotli can hide gigabytes in a packet

Kind = Literal["refused", "invalid", "unwanted", "timeout", "cancelled", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a server answered; also an error page, which `status` tells.

    Attributes:
        url: where it was in the end, after redirects, without a fragment.
        status: HTTP status, 200 to 599.
        reason: the status in words, as the server has it; may be empty.
        content_type: as the server says, in lower case and without parameters; empty where it does not say.
        charset: of the body, as the server says.
        data: the body, with gzip undone.
        whole: whether that is all of it; False where the body was cut off at `max_bytes`.
    """

    url: str
    status: int
    reason: str
    content_type: str
    charset: str | None
    data: bytes
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFetched:
    """Why nothing was fetched.

    Attributes:
        url: the one that failed, which may be where a redirect led.
        text: a sentence that names the address and says what to do, where something can be done.
        kind: `refused` (a private address), `invalid` (no web address, or an unknown host), `unwanted` (by its content
            type), `timeout`, `cancelled`, or `failed`.
    """

    url: str
    text: str
    kind: Kind


def fetch(
    url: str,
    *,
    allow_hosts: Sequence[str] = (),
    max_bytes: int = 2_000_000,
    deadline: float | None = None,
    cancel: CancelFlag | None = None,
    accept: str = "*/*",
    unwanted: Callable[[str], str] = lambda content_type: "",
    resolver: Resolve = resolve,
) -> Fetched | NotFetched:
    """GET what is at `url`.

    Args:
        url: with http:// or https://; `example.com/x` is taken for https.
        allow_hosts: hosts, or host:port, that may be reached although their addresses are private.
        max_bytes: of the body, with its gzip undone; more is cut off.
        deadline: in `time.monotonic()` seconds; without one, 20 s from now. Looking up a name is not cut short.
        cancel: set it, and the fetch ends.
        accept: the `Accept` header.
        unwanted: given a content type, says why the body is not wanted, in words that go after the address
            (`is image/png, not text`), or nothing; asked before the body is read.
        resolver: turns a name into addresses.
    """
    end = time.monotonic() + TIMEOUT_S if deadline is None else deadline
    here = url
    with _Watch(end, cancel) as watch:
        try:
            for _ in range(MAX_REDIRECTS + 1):
                target = check(here, allow_hosts, resolver=resolver)
                with _client(accept) as client:  # a new one, without cookies of the last
                    found = _get(client, target, watch, max_bytes, unwanted)
                if not isinstance(found, str):
                    return found
                here = urljoin(target.url, found)
        except PrivateAddress as refusal:
            return NotFetched(url=here, text=str(refusal), kind="refused")
        except (NotAllowed, ValueError) as refusal:  # ValueError: of urljoin
            return NotFetched(url=here, text=str(refusal), kind="invalid")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            return _failed(here, error, watch)
    return NotFetched(
        url=here, text=f"{url} redirects more than {MAX_REDIRECTS} times, and was given up", kind="failed"
    )


class _Watch:
    """Breaks a connection off when time is up or somebody cancels: a server that drips its headers, too."""

    def __init__(self, end: float, cancel: CancelFlag | None) -> None:
        self._end, self._cancel = end, cancel
        self._over = threading.Event()
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._look, name="fetch-watch", daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    @property
    def left(self) -> float:
        """Seconds that one step may take."""
        return min(max(self._end - time.monotonic(), 0.1), _STEP_S)

    @property
    def why(self) -> Literal["", "timeout", "cancelled"]:
        """Why the fetch is to end, or nothing."""
        if time.monotonic() >= self._end:  # first: whoever set the deadline may set the flag as well when it passes
            return "timeout"
        return "cancelled" if self._cancel is not None and self._cancel.is_set() else ""

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Note the socket of the connection in use; httpx calls this."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")

    def _look(self) -> None:
        while not self._over.wait(_POLL_S):
            if self.why and self._socket is not None:
                with contextlib.suppress(OSError):  # closed already, or a later one is on its way
                    # Of the plain class: an SSLSocket would drop its TLS state under the reader's hands.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _client(accept: str) -> httpx.Client:
    # Proxies of the environment are not used: one would connect to an address that nobody checked. No connection is
    # used twice: two hosts may share an address, and each host's certificate is to be checked.
    return httpx.Client(
        follow_redirects=False,
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"User-Agent": "agentkit", "Accept": accept, "Accept-Encoding": "gzip, deflate"},
    )


def _get(
    client: httpx.Client, target: Target, watch: _Watch, max_bytes: int, unwanted: Callable[[str], str]
) -> Fetched | NotFetched | str:
    """Return the answer, or where it redirects to."""
    response = _sent(client, target, watch)
    try:
        if response.has_redirect_location:
            return response.headers["location"]
        content_type = response.headers.get("content-type", "").split(";")[0].strip().lower()
        if reason := unwanted(content_type):
            return NotFetched(url=target.url, text=f"{target.url} {reason}", kind="unwanted")
        codings = response.headers.get_list("content-encoding", split_commas=True)
        if len(codings) > 1 or any(coding.strip().lower() not in _CODINGS for coding in codings):
            text = f"{target.url} is packed as {', '.join(codings)[:100]}, which was not asked for; it was not read"
            return NotFetched(url=target.url, text=text, kind="failed")
        data, whole = _body(response, max_bytes, watch)
    finally:
        response.close()
    return Fetched(
        url=target.url,
        status=response.status_code,
        reason=response.reason_phrase,
        content_type=content_type,
        charset=response.charset_encoding,
        data=data,
        whole=whole,
    )


def _sent(client: httpx.Client, target: Target, watch: _Watch) -> httpx.Response:
    """Return the answer's head; the host's addresses are tried in turn until one can be connected to."""
    for n, address in enumerate(target.addresses, start=1):
        if watch.why:
            break
        request = client.build_request(
            "GET",
            target.connect_url(address),
            headers={"Host": target.host_header},
            extensions={"sni_hostname": target.host, "trace": watch.trace},
            timeout=httpx.Timeout(watch.left),
        )
        try:
            return client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if n == len(target.addresses):
                raise
    raise httpx.ConnectTimeout("time is up")


def _body(response: httpx.Response, max_bytes: int, watch: _Watch) -> tuple[bytes, bool]:
    data = bytearray()
    for chunk in response.iter_bytes():  # as it comes: with a chunk size, a server that drips would never be seen
        data += chunk
        if len(data) > max_bytes:
            return bytes(data[:max_bytes]), False
        if watch.why:
            break
    if watch.why:  # a body without a length looks whole when the connection is broken off
        raise httpx.ReadTimeout("time is up")
    return bytes(data), True


def _failed(url: str, error: Exception, watch: _Watch) -> NotFetched:
    if watch.why == "cancelled":
        return NotFetched(url=url, text=f"the fetch of {url} was cancelled", kind="cancelled")
    if watch.why == "timeout" or isinstance(error, httpx.TimeoutException):
        return NotFetched(url=url, text=f"{url} did not answer in time", kind="timeout")
    return NotFetched(url=url, text=f"{url} could not be fetched: {str(error) or type(error).__name__}", kind="failed")
