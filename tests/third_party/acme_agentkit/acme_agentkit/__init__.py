"""A stranger's plugin: one tool, and the settings it reads."""

from __future__ import annotations

from dataclasses import dataclass

from agentkit import Effect, Plugin, Tool, ToolContext, tool


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeSettings:
    """The section `plugins.acme`."""

    greeting: str = "Hello"
    times: int = 1


@tool(effect=Effect.PURE, egress=False)
def acme_greet(name: str, context: ToolContext) -> str:
    """Greet somebody in the house style.

    Args:
        name: who is greeted.
    """
    greeting, times = context.settings["greeting"], context.settings["times"]
    return " ".join([f"{greeting}, {name}!"] * times)


def _tools() -> tuple[Tool, ...]:
    return (acme_greet,)


plugin = Plugin(name="acme", tools=_tools, settings=AcmeSettings, description="Greetings in the house style.")
