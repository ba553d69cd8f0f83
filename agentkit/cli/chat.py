"""`agentkit chat`: talk in a terminal."""

from __future__ import annotations

import sys

import click

from agentkit.cli.group import HELP_NAMES, terminals
from agentkit.cli.options import AgentFlags, agent_options


@click.command(context_settings=HELP_NAMES)
@agent_options
def command(flags: AgentFlags) -> int:
    """Talk with the agent in this terminal.

    Enter sends, Esc-Enter starts a new line, Tab completes /commands and @files. Ctrl-C stops an answer,
    twice leaves (130), Ctrl-D leaves (0). /help lists the commands.

    \b
    agentkit chat
    agentkit chat -c                       go on with the last conversation
    agentkit chat -m hf:owner/repo:Q4_K_M
    """
    if not terminals(sys.stdin, sys.stdout):
        raise click.UsageError("chat needs a terminal for input and output; without one use: agentkit run 'a task'")
    from agentkit.cli.repl.loop import chat

    return chat(flags)
