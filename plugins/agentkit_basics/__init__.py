"""The tools everyone expects: a calculator, files, programs, web pages, the clock.

Importing this package loads nothing heavy; the tools are made when they are asked for.
"""

from __future__ import annotations

from agentkit.extensions import Plugin
from agentkit.protocols import Tool
from agentkit_basics.settings import BasicsSettings


def tools() -> tuple[Tool, ...]:
    """Return the plugin's tools."""
    from agentkit_basics.calculator import calculator  # noqa: PLC0415  pydantic: 0.2 s
    from agentkit_basics.clock import now  # noqa: PLC0415
    from agentkit_basics.files import list_files, read_file, search_files, write_file  # noqa: PLC0415
    from agentkit_basics.shell import run_command  # noqa: PLC0415
    from agentkit_basics.web import fetch_url  # noqa: PLC0415

    return (calculator, read_file, write_file, list_files, search_files, run_command, fetch_url, now)


plugin = Plugin(
    name="basics",
    tools=tools,
    settings=BasicsSettings,
    description="calculator, files, programs, web pages, the clock",
)
