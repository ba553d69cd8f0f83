"""The tools of one agent by name, in the order given."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from agentkit.errors import ToolError
from agentkit.protocols import Tool
from agentkit.types import Failed, ToolSpec


class Registry:
    """A fixed set of tools whose names are unique."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        """Keep `tools`.

        Raises:
            ToolError: two of them go by one name.
        """
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise ToolError(f"two tools are called '{tool.name}'; rename one, or pass only one of them")
            self._tools[tool.name] = tool

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What models and policy see, in order."""
        return tuple(tool.spec for tool in self._tools.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self._tools)

    def get(self, name: str) -> Tool | None:
        """Return the tool of that name, or None."""
        return self._tools.get(name)

    def unknown(self, name: str) -> Failed:
        """Return what the model is told when it calls a tool that is not here."""
        near = difflib.get_close_matches(name, self._tools, 1, 0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(self._tools) or 'none'}"
        return Failed(text=f"no tool is called '{name}'; {hint}", kind="unknown_tool")

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools
