"""`agentkit synth tools`: conversations in which tools are used, invented ones or the user's own."""

from __future__ import annotations

from agentkit.cli.job_command import JobCommand

__all__ = ["tools"]


tools = JobCommand(
    "tools",
    job="agentkit_synthesis.tooluse.jobs:TOOLS",
    params="agentkit_synthesis.tooluse.params:ToolsParams",
    options={"source": "--from", "families": "--family"},
    help="""Make training examples of tools being used, and put them in the folder OUT.

    Without --from the tools are invented: shops, calendars, files, banks and more, each with working code behind it. Every
    conversation is executed, and kept only if what was asked for has come about. With --from they are yours.
    It is a job in a process of its own: Ctrl-C ends it after a checkpoint, and the same command goes on from there.

    \b
    agentkit synth tools traces --count 10000
    agentkit synth tools mine --from my_module --count 500
    agentkit synth tools mine --from tools/prices.py:convert,lookup
    agentkit synth tools sums --from calculator --count 500
    agentkit synth tools asks --family ask --family decline
    """,
)
