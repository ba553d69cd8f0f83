"""Fetching a web page as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import WithJsonSchema

from agentkit.protocols import ToolContext
from agentkit.tools import looks_binary, tool
from agentkit.types import Done, Failed, Outcome
from agentkit_basics.page import readable
from agentkit_basics.settings import BasicsSettings

if TYPE_CHECKING:
    from agentkit.fetching import Fetched

TIMEOUT_S = 20.0
Url = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/xhtml+xml", "application/javascript")
_TEXT_ENDINGS = ("+json", "+xml", "/yaml", "/x-yaml", "/toml", "/x-ndjson")


@tool(
    effect="read",
    egress=True,
    idempotent=True,
    timeout_s=TIMEOUT_S,
    sinks=("url",),
    grounded={"url": "trusted"},
    keywords=("#url http website site link download open read",),
)
def fetch_url(url: Url, context: ToolContext) -> Outcome:
    """Fetch a web page.

    Args:
        url: its address, with http:// or https://.
    """
    from agentkit.fetching import NotFetched, fetch  # noqa: PLC0415  httpx: 0.1 s

    settings = BasicsSettings.of(context.settings)
    found = fetch(
        url,
        allow_hosts=settings.allow_hosts,
        max_bytes=settings.max_page_bytes,
        deadline=context.deadline,
        cancel=context.cancel,
        accept="text/html, text/*, application/json;q=0.9, */*;q=0.1",
        unwanted=_no_text,
    )
    if isinstance(found, NotFetched):
        return Failed(text=found.text, kind="timeout" if found.kind == "timeout" else "error")
    if looks_binary(found.data):
        return Failed(text=f"{found.url} is binary data, not text")
    text = _readable(found) + (
        "" if found.whole else f"\n(only the first {settings.max_page_bytes:,} bytes were fetched)"
    )
    if found.status >= 400:
        return Failed(text=f"{found.url} answered {found.status} {found.reason}\n{text[:500]}".strip())
    return Done(text=text or "(the page is empty)", data={"url": found.url, "status": found.status})


def _no_text(content_type: str) -> str:
    if not content_type or content_type.startswith(_TEXT_TYPES) or content_type.endswith(_TEXT_ENDINGS):
        return ""
    return f"is {content_type}, not text, and was not fetched"


def _readable(found: Fetched) -> str:
    """Return the text of what was fetched."""
    try:
        text = found.data.decode(found.charset or "utf-8-sig", "replace")
    except LookupError:
        text = found.data.decode("utf-8-sig", "replace")
    if "html" in found.content_type or (not found.content_type and text.lstrip()[:1] == "<"):
        text = readable(text)
    return text.strip()
