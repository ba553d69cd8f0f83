"""`read_result`: how a model reads on in a result that was too long to be shown whole."""

from __future__ import annotations

from agentkit.protocols import ToolContext
from agentkit.tools.declare import tool
from agentkit.types import Done, Effect, Failed, Outcome

NAME = "read_result"
PAGE = 1_500  # characters, unless asked for otherwise
MOST = 3_000  # so that a page is not itself too long


@tool(name=NAME, effect=Effect.READ, egress=False, idempotent=True)
def read_result(number: int, context: ToolContext, offset: int = 0, limit: int = PAGE) -> Outcome:
    """Read a part of an earlier result that was shown cut.

    Args:
        number: which result of this conversation, from 1.
        offset: the character to begin at, from 0.
        limit: how many characters, at most 3000.
    """
    if not 1 <= number <= len(context.results):
        return Failed(text=f"there is no result {number}; there are {len(context.results)}", kind="invalid")
    text = context.results[number - 1]
    start = max(0, offset)
    if start >= len(text):
        return Failed(text=f"result {number} has {len(text):,} characters; begin before that", kind="invalid")
    end = min(len(text), start + max(1, min(limit, MOST)))
    more = f"; offset {end} goes on" if end < len(text) else ", the end"
    return Done(text=f"{text[start:end]}\n[characters {start:,} to {end:,} of {len(text):,}{more}]")
