"""Fetching a web page as text."""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import WithJsonSchema

from agentkit.protocols import ToolContext
from agentkit.tools import tool
from agentkit.types import Outcome
from agentkit_basics.settings import BasicsSettings

TIMEOUT_S = 20.0
Url = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]


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
    from agentkit_basics.fetching import fetch  # noqa: PLC0415  httpx: 0.1 s

    deadline = context.deadline or time.monotonic() + TIMEOUT_S
    return fetch(url, context, BasicsSettings.of(context.settings), deadline)
