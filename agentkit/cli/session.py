"""From flags to an agent: settings read, tools chosen by name, and somebody to ask.

A name on the command line that no tool has is refused with the nearest one, before a model is loaded.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from agentkit import config
from agentkit.cli.interrupts import Interrupts
from agentkit.cli.lines import call_text, visible
from agentkit.cli.options import AgentFlags
from agentkit.cli.output import say
from agentkit.errors import UsageError
from agentkit.extensions import load_tools

if TYPE_CHECKING:
    from agentkit.agent import Agent
    from agentkit.approvals import ApprovalRequest
    from agentkit.protocols import Engine, Store, Tool


class Asker:
    """Asks a person on the terminal about one call at a time; remembers "always", but not for where a call leads.

    Where a destination is in doubt, yesterday's yes is no answer: those calls are asked about one by one.
    """

    def __init__(
        self, interrupts: Callable[[], Interrupts | None], *, before: Callable[[], None] = lambda: None
    ) -> None:
        self._interrupts, self._before = interrupts, before
        self._always: set[str] = set()

    def __call__(self, request: ApprovalRequest) -> bool:
        """Whether the call may run."""
        if request.tool in self._always and not request.once:
            return True
        self._before()
        call = call_text(request.tool, request.arguments, limit=2_000)
        say(f"? {call}\n  {request.effect}: {visible(request.why)}")
        if request.foreseen:
            say(f"  {visible(request.foreseen)}")
        word = self._word("" if request.once else ", [a]lways this tool")
        always = word in {"a", "always"} and not request.once
        if always:
            self._always.add(request.tool)
        return always or word in {"y", "yes"}

    def _word(self, more: str) -> str:
        interrupts = self._interrupts()
        sys.stderr.write(f"  allow it? [y]es, [n]o{more}: ")
        sys.stderr.flush()
        try:
            if interrupts is None:
                return sys.stdin.readline().strip().lower()
            with interrupts.asking():
                return sys.stdin.readline().strip().lower()
        except KeyboardInterrupt:
            say("")
            return "no"


def settings_for(flags: AgentFlags) -> config.Settings:
    """Return the settings in force under these flags; lists of tools are added to what files say."""
    loaded = config.load(flags=flags.settings(), cwd=flags.workspace).settings
    more = {
        "policy.allow_tools": (*loaded.policy.allow_tools, *flags.allow_tool) if flags.allow_tool else None,
        "policy.deny_tools": (*loaded.policy.deny_tools, *flags.deny_tool) if flags.deny_tool else None,
    }
    if not any(more.values()):
        return loaded
    return config.load(flags={**flags.settings(), **more}, cwd=flags.workspace).settings


def open_agent(
    flags: AgentFlags, settings: config.Settings, *, ask: Asker | None, engine: Engine | None = None
) -> Agent:
    """Return an agent that is ready to run; without an `engine`, the model is loaded when it is first needed."""
    from agentkit.agent import Agent

    if settings.engine.model == "auto" and engine is None:
        from agentkit.models import resolve

        say(resolve("auto", offline=settings.engine.offline).note, faint=True)
    tools = plugin_tools(settings)
    names = [tool.name for tool in tools]
    for flag, wanted in (("-T", flags.tools), ("--allow-tool", flags.allow_tool), ("--deny-tool", flags.deny_tool)):
        for entry in wanted:
            name = entry.partition(":")[0] if flag != "-T" else entry  # a pattern of destinations may follow
            if not any(fnmatchcase(known, name) for known in names):
                raise UsageError(f"{flag} {name}: {unknown(name, names, 'tool')}")
    if flags.tools:
        tools = [tool for tool in tools if tool.name in flags.tools]
    return Agent(engine, tools, settings=settings, system=flags.system, workspace=flags.workspace, approve=ask)


def plugin_tools(settings: config.Settings) -> list[Tool]:
    """Return the tools of the plugins that load; the others are named on stderr."""
    tools, broken = load_tools(settings)
    for why in dict.fromkeys(str(item.error) for item in broken):  # two that share a name share the reason
        say(f"agentkit: {why}; going on without it", faint=True)
    if settings.delegate.enabled:
        from agentkit.tools import with_delegate

        return with_delegate(tools, settings.delegate)
    return tools


def unknown(name: str, known: Sequence[str], what: str) -> str:
    """Return the end of a sentence about a name that nothing has."""
    near = difflib.get_close_matches(name, known, 1, 0.5)
    if near:
        return f"there is no such {what}; did you mean '{near[0]}'?"
    shown = ", ".join(known[:12])
    return f"there is no such {what}; there are: {shown}" if known else f"there is no such {what}, and none at all"


def pick(rows: Iterable[str], prefix: str, what: str, where: str) -> str:
    """Return the one id that starts with `prefix`, as git does; a usage error otherwise."""
    found = [row for row in rows if row.startswith(prefix)]
    if prefix in found:
        return prefix
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"'{prefix}' could be any of {len(found)} {what}s; give more of the id")
    raise UsageError(f"there is no {what} '{prefix}'; `{where}` shows them")


def thread_for(flags: AgentFlags, store: Store) -> str | None:
    """Return the conversation to go on with; None for a new one."""
    threads = [str(row["thread_id"]) for row in store.threads(limit=1 if flags.last_thread else 10_000)]
    if flags.last_thread:
        if not threads:
            raise UsageError("there is no conversation to continue yet; leave out -c to start one")
        return threads[0]
    if flags.thread is None:
        return None
    return pick(threads, flags.thread, "thread", "agentkit threads list")


def run_for(flags: AgentFlags, store: Store) -> str:
    """Return the whole id of the run to resume."""
    return pick(
        (str(row["run_id"]) for row in store.runs(limit=10_000)), flags.resume or "", "run", "agentkit runs list"
    )
