"""Render docs/cli.md from the commands themselves, so that it cannot differ from `--help`.

python scripts/render_cli.py        writes docs/cli.md; a test compares the two
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import click

from agentkit.cli.group import COMMANDS, cli
from agentkit.cli.repl import slash

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = """\
# Command line

Rendered from the program by `python scripts/render_cli.py`; `agentkit COMMAND --help` shows the same.

stdout carries the payload only: the answer, or JSON. Everything else, the progress of a run and llama.cpp's own words
included, goes to stderr. Every list has `--json`: one document `{"schema_version": 1, "command": ..., "data": ...}`. The exit
status is one of [these](exit-codes.md). A run, thread or approval can be named by the start of its id. A noun alone lists:
`agentkit models` is `agentkit models list`.
"""


def render() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for name in (*COMMANDS, *bundled_extensions()):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, name
        parts += section(command, (name,))
        if name == "chat":
            parts += ["\n".join(["### What can be typed in a chat\n", *slashes()]) + "\n"]
            parts += ["\n".join(["### Options that `chat` and `run` share\n", *rows(shared_options())]) + "\n"]
    return "\n".join(parts)


def bundled_extensions() -> list[str]:
    """Return the commands that agentkit's own plugins add."""
    found = entry_points(group="agentkit.commands")
    return sorted(
        entry.name
        for entry in found
        if entry.dist is not None and entry.dist.name == "agentkit-local" and "." not in entry.name
    )


def section(command: click.Command, path: tuple[str, ...]) -> Iterator[str]:
    """Yield a command's heading, text, examples and options, then those of its verbs."""
    arguments = [piece for item in command.params for piece in item.get_usage_pieces(click.Context(command))]
    usage = " ".join(["agentkit", *path, *(piece for piece in arguments if piece != "[OPTIONS]")])
    yield f"{'#' * (1 + len(path))} `{usage}`\n"
    yield from texts(command.help or "")
    options = [item for item in command.params if isinstance(item, click.Option) and not item.hidden]
    own = [item for item in options if len(path) > 1 or item.name not in {other.name for other in shared_options()}]
    if own:
        yield "\n".join(rows(own)) + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context := click.Context(command, info_name=path[-1])):
            verb = command.get_command(context, name)
            assert verb is not None, name
            yield from section(verb, (*path, name))


def texts(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; those that keep their lines are examples."""
    for paragraph in text.strip().split("\n\n"):
        if paragraph.lstrip().startswith("\b"):
            lines = [line.rstrip() for line in paragraph.lstrip().removeprefix("\b").strip("\n").splitlines()]
            yield "\n".join(["```sh", *(comment(line.strip()) for line in lines), "```\n"])
        else:
            yield " ".join(paragraph.split()) + "\n"


def comment(line: str) -> str:
    """Return an example with what is said about it, behind two spaces or more, as a shell comment."""
    command, gap, about = line.partition("  ")
    return f"{command}{gap}  # {about.strip()}" if gap and about.strip() else line


def shared_options() -> list[click.Option]:
    """Return the options that both `run` and `chat` have."""
    commands = [cli.get_command(click.Context(cli), name) for name in ("run", "chat")]
    found = [[item for item in command.params if isinstance(item, click.Option)] for command in commands if command]
    return [item for item in found[0] if item.name in {other.name for other in found[1]}]


def rows(options: list[click.Option]) -> Iterator[str]:
    """Yield a table of options."""
    yield "| option | |"
    yield "|---|---|"
    for option in options:
        names = ", ".join(option.opts)
        value = "" if option.is_flag else f" {metavar(option)}"
        about = (option.help or "").replace("|", "\\|")
        if option.show_default and option.default is not None:
            about += f" Default: `{option.default}`."
        yield f"| `{names}{value}` | {about} |"


def slashes() -> Iterator[str]:
    """Yield a table of the commands of the chat."""
    yield "| typed | |"
    yield "|---|---|"
    for name, command in slash.COMMANDS.items():
        others = "".join(f"; also `{alias}`" for alias, target in slash.ALIASES.items() if target == name)
        usage = command.usage.replace("|", "\\|")
        yield f"| `{usage}` | {command.what}{others} |"


def metavar(option: click.Option) -> str:
    """Return what stands for the option's value."""
    if isinstance(option.type, click.Choice):
        return "\\|".join(str(choice) for choice in option.type.choices)
    return option.metavar or option.type.name.upper()


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
