"""`agentkit config`: the settings in force, where each comes from, and where files are looked for."""

from __future__ import annotations

import difflib
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click

from agentkit.cli.group import ListGroup
from agentkit.cli.output import document, json_option, plain, table
from agentkit.errors import UsageError
from agentkit.settings_file import PROJECT_FILE, find_project_file


class ShowGroup(ListGroup):
    """Without a verb, `show` is meant."""

    default = "show"


@click.group(cls=ShowGroup)
def command() -> None:
    """Show the settings in force and where they come from.

    Defaults < the user's config.toml < the project's agentkit.toml < AGENTKIT_* variables < flags.

    \b
    agentkit config show --origin
    agentkit config get engine.model
    AGENTKIT_RUN__MAX_TURNS=5 agentkit config get run.max_turns
    """


@command.command("show")
@click.option("--origin", is_flag=True, help="Also say where each value comes from.")
@json_option
def show(origin: bool, as_json: bool) -> None:
    """Show every setting with its value."""
    from agentkit import config

    loaded = config.load()
    rows = [
        {"key": key, "value": value, "origin": loaded.origins.get(key, "default")}
        for key, value in config.values(loaded.settings).items()
    ]
    if as_json:
        document("config show", rows if origin else {row["key"]: row["value"] for row in rows})
        return
    shown = [{**row, "value": _toml(row["value"])} for row in rows]
    table(shown, ("key", "origin", "value") if origin else ("key", "value"), empty="no settings")


@command.command("path")
@json_option
def path(as_json: bool) -> None:
    """Show which files are read, and where data is kept."""
    from agentkit import config

    project = find_project_file(Path.cwd())
    user = config.config_dir() / "config.toml"
    found = {
        "user file": user,
        "project file": project or Path.cwd() / PROJECT_FILE,
        "data folder": config.data_dir(),
    }
    rows = [{"what": what, "there": place.exists(), "path": str(place)} for what, place in found.items()]
    if as_json:
        document("config path", rows)
        return
    table(rows, ("what", "there", "path"), empty="")


@command.command("get")
@click.argument("key")
@json_option
def get(key: str, as_json: bool) -> None:
    """Show one setting's value alone, for scripts."""
    from agentkit import config

    values = config.values(config.load().settings)
    if key not in values:
        near = difflib.get_close_matches(key, values, 1, 0.5)
        hint = f"did you mean '{near[0]}'?" if near else "`agentkit config show` lists them"
        raise UsageError(f"{key}: there is no such setting; {hint}")
    if as_json:
        document("config get", {"key": key, "value": values[key]})
        return
    click.echo(_toml(values[key]))


def _inline(value: Any) -> str:
    """Return a table as TOML writes one in a line, what is default left out."""
    kept = {item.name: getattr(value, item.name) for item in fields(value)}
    said = [f"{name} = {json.dumps(one)}" for name, one in kept.items() if one not in ("", 0, None, (), {})]
    return f"{{{', '.join(said)}}}"


def _toml(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case tuple() | list() if value and is_dataclass(value[0]):
            return ", ".join(_inline(item) for item in value)
        case tuple() | list():
            return ", ".join(str(item) for item in value) or "none"
        case str() | int() | float():
            return str(value)
        case _:
            return str(plain(value))
