"""The flags that `run` and `chat` share, and what they mean as settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from agentkit.errors import UsageError
from agentkit.types import ImagePart

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFlags:
    """What the command line said about the agent; `None` and empty mean: not said."""

    model: str | None = None
    system: str | None = None
    tools: tuple[str, ...] = ()
    max_turns: int | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    planner: str | None = None
    approval_mode: str | None = None
    on_approval: str | None = None
    allow_tool: tuple[str, ...] = ()
    deny_tool: tuple[str, ...] = ()
    workspace: Path | None = None
    thread: str | None = None
    last_thread: bool = False
    resume: str | None = None
    offline: bool = False
    no_plugins: bool = False

    def settings(self) -> Mapping[str, Any]:
        """Return these flags as dotted settings, those not given left out."""
        found = {
            "engine.model": self.model,
            "engine.offline": self.offline or None,
            "run.max_turns": self.max_turns,
            "run.max_tokens": self.max_tokens,
            "run.timeout_s": self.timeout,
            "run.planner": self.planner,
            "policy.mode": self.approval_mode,
            "policy.on_approval": self.on_approval,
            "extensions.enabled": False if self.no_plugins else None,
        }
        return {key: value for key, value in found.items() if value is not None}


_OPTIONS = (
    click.option("-m", "--model", metavar="NAME", help="sprout, a GGUF file, hf:owner/repo, http://server/v1, …"),
    click.option("-s", "--system", metavar="TEXT", help="Instructions for the model."),
    click.option("-T", "--tool", "tools", metavar="NAME", multiple=True, help="Offer only this tool; repeatable."),
    click.option("--max-turns", type=click.IntRange(min=1), metavar="N", help="Model calls before it must answer."),
    click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Tokens, of all model calls."),
    click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Time for the run."),
    click.option(
        "--planner", metavar="NAME", help="Look ahead before each step: auto, or another of `agentkit plugins`."
    ),
    click.option(
        "--approval-mode",
        type=click.Choice(["manual", "auto", "yolo"]),
        help="Ask before every effect, before what cannot be undone, or never.",
    ),
    click.option(
        "--on-approval",
        type=click.Choice(["deny", "queue"]),
        help="Ask nobody: refuse (exit 5), or put it in the queue (exit 8; see `agentkit approvals`).",
    ),
    click.option(
        "--allow-tool",
        metavar="NAME",
        multiple=True,
        help="Never ask about this tool, or, as NAME:PATTERN, about these destinations of it; repeatable.",
    ),
    click.option(
        "--deny-tool",
        metavar="NAME",
        multiple=True,
        help="Never use this tool, or, as NAME:PATTERN, not for these; repeatable.",
    ),
    click.option(
        "-C",
        "--workspace",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="FOLDER",
        help="The folder that file tools stay inside; default: this one.",
    ),
    click.option("-c", "--continue", "last_thread", is_flag=True, help="Go on with the last conversation."),
    click.option("--thread", metavar="ID", help="Go on with this conversation."),
    click.option("--resume", metavar="RUN", help="Finish this unfinished run."),
    click.option("--offline", is_flag=True, help="Download nothing."),
    click.option("--no-plugins", is_flag=True, help="Load no plugins, and so none of their tools."),
)


def agent_options(command: F) -> F:
    """Add the shared flags to a command; it takes them as one argument, `flags`."""

    def gathered(**values: Any) -> Any:
        names = {item.name for item in fields(AgentFlags)}
        given = {name: values.pop(name) for name in list(values) if name in names}
        return command(flags=checked(AgentFlags(**given)), **values)

    gathered.__doc__ = command.__doc__
    gathered.__name__ = command.__name__
    wrapped: Any = gathered
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    wrapped.__click_params__ = [*getattr(command, "__click_params__", []), *wrapped.__click_params__]
    return wrapped  # type: ignore[no-any-return]


def image_part(text: str, folder: Path | None = None) -> ImagePart:
    """Return the picture of a path or a URL; a path begins in `folder`, or here.

    Raises:
        UsageError: there is no such file, or it is none of a picture.
    """
    from agentkit.media import mime_type

    if text.startswith(("http://", "https://")):
        return ImagePart(url=text)
    path = (folder or Path()) / Path(text).expanduser()
    try:
        with path.open("rb") as file:
            kind = mime_type(file.read(64))
    except (OSError, ValueError) as error:
        raise UsageError(f"{text}: cannot be read ({getattr(error, 'strerror', error)}); check the path") from error
    if kind is None or not kind.startswith("image/"):
        raise UsageError(f"{text}: not a picture; give a PNG, a JPEG or another file of an image")
    return ImagePart(path=path)


def checked(flags: AgentFlags) -> AgentFlags:
    """Return the flags if they make sense together; raise a usage error otherwise."""
    said = [
        name
        for name, value in (("--continue", flags.last_thread), ("--thread", flags.thread), ("--resume", flags.resume))
        if value
    ]
    if len(said) > 1:
        raise click.UsageError(f"{' and '.join(said)} exclude each other; use one")
    both = sorted(set(flags.allow_tool) & set(flags.deny_tool))
    if both:
        raise click.UsageError(f"tool '{both[0]}' is both allowed and denied; use one of the two flags")
    return replace(flags, tools=tuple(dict.fromkeys(flags.tools)))
