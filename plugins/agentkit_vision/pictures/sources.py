"""The bytes of a picture, wherever they are: a file, a web address, a `data:` URL, or bytes already.

A file is read once, and never more of it than is allowed; what is hashed is what is decoded. Addresses go
through the guarded fetch of the core.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes

from agentkit.errors import AgentkitError, Cancelled, DeadlineExceeded, InvalidParams, PolicyError, ProviderError
from agentkit.protocols import CancelFlag
from agentkit_vision.pictures.limits import Limits

if TYPE_CHECKING:
    from agentkit.fetching import Fetched, NotFetched

__all__ = ["Fetch", "Found", "fetcher", "read"]

ACCEPT = "image/avif, image/webp, image/png, image/jpeg, image/*;q=0.8, */*;q=0.1"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):(?=//)|(data):", re.IGNORECASE)
_SHOWN = 200  # characters of a source in a message


class Fetch(Protocol):
    """Fetches what is at an address: `agentkit.fetching.fetch`, with hosts, deadline and cancel filled in."""

    def __call__(self, url: str, *, max_bytes: int) -> Fetched | NotFetched:
        """Return what is there, or why not; more than `max_bytes` is cut off."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The bytes, and what people know them by."""

    data: bytes
    name: str


def fetcher(
    allow_hosts: Sequence[str] = (), *, deadline: float | None = None, cancel: CancelFlag | None = None
) -> Fetch:
    """Return a guarded fetch.

    Args:
        allow_hosts: hosts, or host:port, that may be reached although their addresses are private.
        deadline: in `time.monotonic()` seconds; without one, 20 s from each start.
        cancel: set it, and a fetch ends.
    """

    def fetch(url: str, *, max_bytes: int) -> Fetched | NotFetched:
        from agentkit import fetching  # noqa: PLC0415  httpx: 0.1 s

        return fetching.fetch(
            url, allow_hosts=allow_hosts, max_bytes=max_bytes, deadline=deadline, cancel=cancel, accept=ACCEPT
        )

    return fetch


def read(source: str | Path | bytes, fetch: Fetch, limits: Limits) -> Found:
    """Return the bytes of `source`.

    Raises:
        InvalidParams: there is nothing there, nothing that can be read, or too much.
        PolicyError: the address leads inside this machine or network.
        ProviderError: the server said no, or broke off.
        DeadlineExceeded: the server did not answer in time.
        Cancelled: somebody cancelled the fetch.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        _check_size(len(data), "the picture", limits)
        return Found(data=data, name="bytes")
    scheme = _SCHEME.match(source) if isinstance(source, str) else None
    if scheme is None:
        return Found(data=_of_file(Path(source), limits), name=str(source))
    match (scheme[1] or scheme[2]).lower():
        case "data":
            return _of_data_url(str(source), limits)
        case "http" | "https":
            return Found(data=_of_address(str(source).strip(), fetch, limits), name=_short(str(source).strip()))
        case other:
            raise InvalidParams(
                f"'{_short(str(source))}' begins with {other}://, which is not read; give a path, or an address with "
                f"http:// or https://"
            )


def _of_file(path: Path, limits: Limits) -> bytes:
    name = _short(str(path))
    if not path.name and not path.root:
        raise InvalidParams("no picture was named; give a path, or an address with http:// or https://")
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise InvalidParams(f"'{name}' is no regular file; name a picture's file")
            _check_size(about.st_size, f"'{name}'", limits)
            data = file.read(limits.max_bytes + 1)
    except FileNotFoundError as error:
        raise InvalidParams(f"there is no file '{name}'; check the path") from error
    except IsADirectoryError as error:
        raise InvalidParams(f"'{name}' is a folder, not a picture; name a file in it") from error
    except PermissionError as error:
        raise InvalidParams(f"'{name}' may not be read ({error.strerror}); change its permissions") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        why = getattr(error, "strerror", None) or error
        raise InvalidParams(f"'{name}' cannot be read ({why}); check the path") from error
    _check_size(len(data), f"'{name}'", limits)
    return data


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to does not keep us waiting."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _of_data_url(url: str, limits: Limits) -> Found:
    head, comma, body = url[len("data:") :].partition(",")
    kind, *rest = (part.strip().lower() for part in head[:_SHOWN].split(";"))
    name = f"data:{kind}" if kind else "data:"
    if not comma:
        raise InvalidParams(f"the address '{_short(url)}' has no comma before its data; give data:image/png;base64,...")
    data = unquote_to_bytes(body)
    if "base64" in rest:
        try:
            data = base64.b64decode(b"".join(data.split()), validate=True)
        except binascii.Error as error:
            raise InvalidParams(f"what '{name}' holds is no base64 ({error}); encode the picture again") from error
    _check_size(len(data), f"what '{name}' holds", limits)
    return Found(data=data, name=name)


def _of_address(url: str, fetch: Fetch, limits: Limits) -> bytes:
    from agentkit.fetching import NotFetched  # noqa: PLC0415  httpx: 0.1 s

    found = fetch(url, max_bytes=limits.max_bytes)
    if isinstance(found, NotFetched):
        raise _ERRORS.get(found.kind, ProviderError)(found.text)
    if found.status >= 400:
        raise ProviderError(
            f"{_short(found.url)} answered {found.status} {found.reason}".strip() + "; check the address"
        )
    if not found.whole:
        raise InvalidParams(
            f"{_short(found.url)} is larger than the {limits.max_bytes:,} bytes that may be read; make it smaller, or "
            f"raise max_bytes"
        )
    return found.data


_ERRORS: Mapping[str, type[AgentkitError]] = {
    "refused": PolicyError,
    "invalid": InvalidParams,
    "timeout": DeadlineExceeded,
    "cancelled": Cancelled,
}


def _check_size(size: int, what: str, limits: Limits) -> None:
    if size > limits.max_bytes:
        raise InvalidParams(
            f"{what} is larger than the {limits.max_bytes:,} bytes that may be read; make it smaller, or raise max_bytes"
        )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
