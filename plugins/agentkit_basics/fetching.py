"""The fetching itself: to checked addresses only, redirects checked again, no more than there is room for.

The only module that imports httpx, and reached late.
"""

from __future__ import annotations

import time
from urllib.parse import urljoin

import httpx

from agentkit.protocols import ToolContext
from agentkit.tools import looks_binary
from agentkit.types import Done, Failed, Outcome
from agentkit_basics.address import NotAllowed, Target, check
from agentkit_basics.page import readable
from agentkit_basics.settings import BasicsSettings

MAX_REDIRECTS = 5
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/xhtml+xml", "application/javascript")
_TEXT_ENDINGS = ("+json", "+xml", "/yaml", "/x-yaml", "/toml", "/x-ndjson")


class _Stopped(Exception):
    """The fetch ends here; the message says why."""


def fetch(url: str, context: ToolContext, settings: BasicsSettings, deadline: float) -> Outcome:
    """Return the page at `url`, or why it is not fetched."""
    # Proxies of the environment are not used: one would connect to an address that nobody checked. No connection is
    # used twice: two hosts may share an address, and each host's certificate is to be checked.
    limits = httpx.Limits(max_keepalive_connections=0)
    agent = {"User-Agent": "agentkit"}
    with httpx.Client(follow_redirects=False, trust_env=False, limits=limits, headers=agent) as client:
        try:
            for _ in range(MAX_REDIRECTS + 1):
                target = check(url, settings.allow_hosts)
                found = _get(client, target, settings.max_page_bytes, deadline, context)
                if not isinstance(found, str):
                    return found
                url = urljoin(target.url, found)
        except (NotAllowed, _Stopped) as refusal:
            return Failed(text=str(refusal))
        except httpx.TimeoutException:
            return Failed(text=f"{url} did not answer in time", kind="timeout")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            return Failed(text=f"{url} could not be fetched: {str(error) or type(error).__name__}")
    return Failed(text=f"{url} redirects more than {MAX_REDIRECTS} times, and was given up")


def _get(client: httpx.Client, target: Target, max_bytes: int, deadline: float, context: ToolContext) -> Outcome | str:
    """Return the page, or where it redirects to."""
    left = max(deadline - time.monotonic(), 0.1)
    request = client.build_request(
        "GET",
        target.connect_url,
        headers={"Host": target.host_header, "Accept": "text/html, text/*, application/json;q=0.9, */*;q=0.1"},
        extensions={"sni_hostname": target.host},
        timeout=httpx.Timeout(min(left, 10.0)),
    )
    response = client.send(request, stream=True)
    try:
        if response.is_redirect:
            return response.headers["location"]
        kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind and not kind.startswith(_TEXT_TYPES) and not kind.endswith(_TEXT_ENDINGS):
            return Failed(text=f"{target.url} is {kind}, not text, and was not fetched")
        data, whole = _body(response, max_bytes, deadline, context)
    finally:
        response.close()
    if looks_binary(data):
        return Failed(text=f"{target.url} is binary data, not text")
    text = _decode(data, response.charset_encoding)
    if "html" in kind or (not kind and text.lstrip()[:1] == "<"):
        text = readable(text)
    text = text.strip() + ("" if whole else f"\n(only the first {max_bytes:,} bytes were fetched)")
    if response.status_code >= 400:
        return Failed(
            text=f"{target.url} answered {response.status_code} {response.reason_phrase}\n{text[:500]}".strip()
        )
    return Done(text=text or "(the page is empty)", data={"url": target.url, "status": response.status_code})


def _body(response: httpx.Response, max_bytes: int, deadline: float, context: ToolContext) -> tuple[bytes, bool]:
    data = bytearray()
    for chunk in response.iter_bytes():  # as it comes: with a chunk size, a server that drips would never be seen
        data += chunk
        if len(data) > max_bytes:
            return bytes(data[:max_bytes]), False
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("time is up")
        if context.cancel.is_set():
            raise _Stopped("the fetch was cancelled")
    return bytes(data), True


def _decode(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(charset or "utf-8-sig", "replace")
    except LookupError:
        return data.decode("utf-8-sig", "replace")
