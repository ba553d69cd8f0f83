"""`agentkit plugins`: what is installed beside agentkit, and what of it does not load."""

from __future__ import annotations

from typing import Any

import click

from agentkit.cli.group import HELP_NAMES
from agentkit.cli.output import document, json_option, table

BROKEN = 3


@click.command(context_settings=HELP_NAMES)
@click.option("--strict", is_flag=True, help="Exit 3 if any extension is broken.")
@json_option
def command(strict: bool, as_json: bool) -> int:
    """Show installed extensions, the broken ones with the cause.

    Each extension is loaded to see whether it does. One that is broken harms no other.

    \b
    agentkit plugins
    agentkit plugins --strict --json      in a test of your own plugin
    """
    rows = [row for group in _groups() for row in _rows(group)]
    if as_json:
        document("plugins", rows)
    else:
        table(rows, ("kind", "name", "distribution", "status", "detail"), empty="no extensions are installed")
    return BROKEN if strict and any(row["status"] == "broken" for row in rows) else 0


def _groups() -> tuple[str, ...]:
    from agentkit.extensions import GROUPS

    return GROUPS


def _rows(group: str) -> list[dict[str, Any]]:
    from agentkit.extensions import contested, installed

    states = [(extension, _state(group, extension)) for extension in installed(group).values()]
    states += [(item.extension, {"status": "broken", "detail": str(item.error)}) for item in contested(group)]
    return [
        {
            "kind": group.rpartition(".")[2].removesuffix("s"),
            "name": extension.name,
            "distribution": f"{extension.dist} {extension.version}",
            **state,
        }
        for extension, state in sorted(states, key=lambda pair: (pair[0].name, pair[0].dist))
    ]


def _state(group: str, extension: Any) -> dict[str, str]:
    from agentkit.errors import AgentkitError
    from agentkit.extensions import Plugin

    try:
        value = extension.load()
        if group != "agentkit.plugins":
            return {"status": "ok", "detail": ""}
        if not isinstance(value, Plugin):
            return {"status": "broken", "detail": f"it is a {type(value).__name__}, not an agentkit.Plugin"}
        tools = ", ".join(tool.name for tool in value.tools())
        missing = _missing(value)
        if missing:
            return {"status": "limited", "detail": missing}
        return {"status": "ok", "detail": tools or value.description}
    except AgentkitError as error:
        return {"status": "broken", "detail": str(error)}
    except (Exception, SystemExit) as error:  # noqa: BLE001  a stranger's code: shown, never raised
        return {"status": "broken", "detail": f"{type(error).__name__}: {error}"}


def _missing(plugin: Any) -> str:
    from agentkit.errors import MissingDependency

    try:
        plugin.require()
    except MissingDependency as error:
        return str(error)
    return ""
