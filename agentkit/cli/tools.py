"""`agentkit tools`: what the agent can use, and under which rules."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from agentkit.cli.group import ListGroup
from agentkit.cli.output import document, json_option, pairs, table

if TYPE_CHECKING:
    from agentkit.protocols import Tool


@click.group(cls=ListGroup)
def command() -> None:
    """Show the tools the agent can use.

    \b
    agentkit tools
    agentkit tools show run_command
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the tools with what they do to the world."""
    tools = _tools()
    if as_json:
        document("tools list", [as_data(tool) for tool in tools])
        return
    rows = [
        {
            "name": tool.name,
            "effect": tool.spec.rules.effect.value + (" + network" if tool.spec.rules.egress else ""),
            "description": tool.spec.description,
        }
        for tool in tools
    ]
    table(rows, ("name", "effect", "description"), empty="no tools: no plugin is installed that brings any")


@command.command("show")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one tool: arguments, effect, limits, destinations."""
    from agentkit.cli.session import unknown
    from agentkit.errors import UsageError

    tools = {tool.name: tool for tool in _tools()}
    if name not in tools:
        raise UsageError(f"{name}: {unknown(name, list(tools), 'tool')}")
    data = as_data(tools[name])
    if as_json:
        document("tools show", data)
        return
    click.echo(f"{name}: {data['description']}\n")
    required = set(data["parameters"].get("required", ()))
    for argument, schema in data["parameters"].get("properties", {}).items():
        note = "" if argument in required else " (optional)"
        kind = schema.get("type") or "|".join(str(item) for item in schema.get("enum", ["any"]))
        click.echo(f"  {argument}: {kind}{note}  {schema.get('description', '')}".rstrip())
    click.echo("")
    pairs(data["rules"])


def as_data(tool: Tool) -> dict[str, Any]:
    """Return a tool as plain data."""
    spec = tool.spec
    rules = {name: value for name, value in asdict(spec.rules).items() if value not in ((), {}, None)}
    return {
        "name": spec.name,
        "description": spec.description,
        "parameters": dict(spec.parameters),
        "rules": {name: getattr(value, "value", value) for name, value in rules.items()},
    }


def _tools() -> list[Tool]:
    from agentkit import config
    from agentkit.cli.session import plugin_tools

    return plugin_tools(config.load().settings)
