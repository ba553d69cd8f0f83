"""`delegate`: the tool with which a model hands a part of its task to a sub-run.

What a sub-run is, and what it may use, is settled in `agentkit.graph.subruns`; here is only what the model sees.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.config import DelegateSettings
from agentkit.protocols import Tool, ToolContext
from agentkit.tools.declare import tool
from agentkit.types import Effect, Failed, Outcome

NAME = "delegate"


# It only looks, as far as policy and ledger are concerned: every call of the sub-run passes both by itself.
@tool(name=NAME, effect=Effect.READ, egress=False, timeout_s=86_400.0)
def delegate(goal: str, context: ToolContext) -> Outcome:
    """Hand a part of the task to a helper who starts afresh, works on it alone with the same tools, and reports back.

    Args:
        goal: what the helper must find out or do, with everything it needs to know; it has not read this conversation.
    """
    if context.delegate is None:
        return Failed(text="nothing can be handed to a helper from here", kind="denied")
    if not goal.strip():
        return Failed(text="the goal is empty; say what the helper must do", kind="invalid")
    return context.delegate(goal.strip(), context.cancel)


def with_delegate(tools: Sequence[Tool], settings: DelegateSettings) -> list[Tool]:
    """Return the tools with `delegate` after them, where the settings switch it on."""
    return [*tools, delegate] if settings.enabled else list(tools)
