"""The commands by name, each imported only when it is run.

`agentkit --help` imports click, this table and the names of installed command extensions; a command's
module, and what it needs in turn, is imported when the command is. A core command cannot be shadowed. An extension
named `NOUN.VERB` adds a verb to a core noun.
"""

from __future__ import annotations

import difflib
import sys
from importlib import import_module
from typing import TextIO

import click

GROUP = "agentkit.commands"
HELP_NAMES = {"help_option_names": ["-h", "--help"]}

COMMANDS = {
    "chat": "Talk with the agent in this terminal.",
    "run": "Do one task and print the answer.",
    "models": "List, inspect and fetch models.",
    "tools": "Show the tools the agent can use.",
    "plugins": "Show installed extensions, the broken ones with the cause.",
    "threads": "List, show and remove conversations.",
    "runs": "List, show and export runs.",
    "trees": "Show the search trees that planners leave.",
    "approvals": "Decide about calls that wait for a person.",
    "jobs": "Show, watch, cancel and resume long actions.",
    "graph": "Draw the state machine.",
    "config": "Show the settings in force and where they come from.",
    "db": "Look after the database of runs and threads.",
    "doctor": "Check this installation, and say how to speed it up.",
}
NOUNS = frozenset(
    {"models", "tools", "threads", "runs", "trees", "approvals", "jobs", "config", "db"}
)  # they have verbs


class PipeClosed(Exception):
    """Nobody reads stdout any more; said in a way that click does not turn into status 1."""


class LazyGroup(click.Group):
    """The root: knows every command by name, imports none of them to say so."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise PipeClosed from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return core commands in reading order, then those of extensions."""
        return [*COMMANDS, *_extension_nouns()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None if there is none of that name."""
        if cmd_name in COMMANDS:
            command = import_module(f"agentkit.cli.{cmd_name}").command
            assert isinstance(command, click.Command)
            return command
        if cmd_name in _extension_nouns():
            return _extension_command(cmd_name)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        command = self.get_command(ctx, args[0])
        if command is None:
            ctx.fail(_unknown(args[0], self.list_commands(ctx)))
        return args[0], command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        others = _extension_nouns()
        if others:
            with formatter.section("Commands of extensions"):
                formatter.write_dl([(name, f"see: agentkit {name} --help") for name in others])


class ListGroup(click.Group):
    """A noun with verbs, of which `list` is the one meant when none is given."""

    default = "list"

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("context_settings", HELP_NAMES)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, then those of extensions."""
        own = super().list_commands(ctx)
        return [*own, *(verb for verb in self._verbs(ctx) if verb not in own)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one verb; an extension's is imported."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in self._verbs(ctx):
            return own
        return _extension_command(f"{ctx.info_name}.{cmd_name}")

    def _verbs(self, ctx: click.Context) -> list[str]:
        start = f"{ctx.info_name}."
        return [name.removeprefix(start) for name in _extension_names() if name.startswith(start)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` in front where no verb stands there."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was probably meant."""
        if args[0] not in (known := self.list_commands(ctx)):
            ctx.fail(_unknown(args[0], known))
        return super().resolve_command(ctx, args)


def terminals(*streams: TextIO | None) -> bool:
    """Whether all of these are terminals; a closed one is not."""
    return all(stream is not None and stream.isatty() for stream in streams)


def _unknown(word: str, known: list[str]) -> str:
    if " " in word.strip():
        return f"no such command; did you mean: agentkit run {word[:60]!r}"
    near = difflib.get_close_matches(word, known, 1, 0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
    return f"no such command '{word}'; {hint}"


def _extension_names() -> list[str]:
    from importlib.metadata import entry_points

    return sorted({entry.name for entry in entry_points(group=GROUP)})


def _extension_nouns() -> list[str]:
    return [name for name in _extension_names() if name not in COMMANDS and "." not in name]


def _extension_command(name: str) -> click.Command:
    from agentkit.errors import ExtensionError
    from agentkit.extensions import contested, installed

    rivals = [item.error for item in contested(GROUP) if item.extension.name == name]
    if rivals:
        raise rivals[0]
    extension = installed(GROUP)[name]
    command = extension.load()
    if not isinstance(command, click.Command):
        raise ExtensionError(
            f"{GROUP} '{name}' from {extension.dist} is a {type(command).__name__}, not a click command; "
            f"uninstall {extension.dist}, or tell its authors"
        )
    return command


def nested(words: list[str]) -> list[str]:
    """Return the words that name an extension's command: its noun, and the verbs below it as deep as they go."""
    from agentkit.errors import AgentkitError

    try:
        command = _extension_command(words[0]) if words[0] in _extension_nouns() else None
    except AgentkitError:
        return []
    path: list[str] = []
    for word in words:
        if command is None:
            break
        path.append(word)
        ctx = click.Context(command, info_name=word)
        following = words[len(path)] if len(path) < len(words) else ""
        command = command.get_command(ctx, following) if isinstance(command, click.Group) else None
    return path


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"agentkit {version('agentkit-local')}")
        ctx.exit()


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings=HELP_NAMES)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """A local agent: a quantised Llama that uses tools on this machine.

    \b
    agentkit                                    talk, in a terminal
    agentkit run "What is 15% of 200?"          one task, the answer on stdout
    agentkit run -f task.txt --output-format json
    agentkit models list                        which models there are
    """
    if ctx.invoked_subcommand is not None:
        return
    if not terminals(sys.stdin, sys.stdout):
        ctx.fail("chat needs a terminal for input and output; without one say what to do, as in: agentkit run 'a task'")
    from agentkit.cli.chat import command

    ctx.invoke(command)
