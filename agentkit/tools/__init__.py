"""Tools: declaring them, converting LangChain's, ranking them, and running one safely.

Importing this package loads neither pydantic nor LangChain; each name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentkit.tools.children import Kept, scrubbed, stop_group, wrapped
    from agentkit.tools.convert import as_tool, from_langchain, to_langchain
    from agentkit.tools.declare import tool
    from agentkit.tools.delegating import delegate, with_delegate
    from agentkit.tools.output import decode, describe, looks_binary, was_cut
    from agentkit.tools.paging import read_result
    from agentkit.tools.ranking import rank, shortlist, without_idle_jobs
    from agentkit.tools.references import resolve_references
    from agentkit.tools.registry import Registry
    from agentkit.tools.run import Limits, run_call

_HOMES = {
    "Kept": "children",
    "Limits": "run",
    "Registry": "registry",
    "as_tool": "convert",
    "decode": "output",
    "delegate": "delegating",
    "describe": "output",
    "from_langchain": "convert",
    "looks_binary": "output",
    "rank": "ranking",
    "read_result": "paging",
    "resolve_references": "references",
    "run_call": "run",
    "scrubbed": "children",
    "shortlist": "ranking",
    "stop_group": "children",
    "to_langchain": "convert",
    "tool": "declare",
    "was_cut": "output",
    "with_delegate": "delegating",
    "without_idle_jobs": "ranking",
    "wrapped": "children",
}

__all__ = [
    "Kept",
    "Limits",
    "Registry",
    "as_tool",
    "decode",
    "delegate",
    "describe",
    "from_langchain",
    "looks_binary",
    "rank",
    "read_result",
    "resolve_references",
    "run_call",
    "scrubbed",
    "shortlist",
    "stop_group",
    "to_langchain",
    "tool",
    "was_cut",
    "with_delegate",
    "without_idle_jobs",
    "wrapped",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"agentkit.tools.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'agentkit.tools' has no attribute {name!r}")
