"""agentkit: a local-first agent framework.

`from agentkit import Agent, tool` is all that most programs need. Importing this package loads
nothing heavy; each name is fetched when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentkit.agent import Agent
    from agentkit.errors import AgentkitError
    from agentkit.events import Event
    from agentkit.extensions import Plugin
    from agentkit.protocols import Engine, Guard, Planner, Store, Tool, ToolContext
    from agentkit.tools import tool
    from agentkit.types import Done, Effect, Failed, Pending, RunResult, StopReason, Task

_HOMES = {
    "Agent": "agentkit.agent",
    "AgentkitError": "agentkit.errors",
    "Done": "agentkit.types",
    "Effect": "agentkit.types",
    "Engine": "agentkit.protocols",
    "Event": "agentkit.events",
    "Failed": "agentkit.types",
    "Guard": "agentkit.protocols",
    "Pending": "agentkit.types",
    "Planner": "agentkit.protocols",
    "Plugin": "agentkit.extensions",
    "RunResult": "agentkit.types",
    "StopReason": "agentkit.types",
    "Store": "agentkit.protocols",
    "Task": "agentkit.types",
    "Tool": "agentkit.protocols",
    "ToolContext": "agentkit.protocols",
    "tool": "agentkit.tools",
}

__all__ = [
    "Agent",
    "AgentkitError",
    "Done",
    "Effect",
    "Engine",
    "Event",
    "Failed",
    "Guard",
    "Pending",
    "Planner",
    "Plugin",
    "RunResult",
    "StopReason",
    "Store",
    "Task",
    "Tool",
    "ToolContext",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("agentkit-local")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'agentkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
