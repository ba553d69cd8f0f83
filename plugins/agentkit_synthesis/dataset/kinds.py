"""The kinds of data sets that are made row by row, for what works with all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from agentkit.errors import InvalidParams

__all__ = ["KINDS", "Kind", "options_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of data set.

    Attributes:
        source: `module:function` of its rows.
        params: `module:Class` of its parameters: a `Checked` with `out` and a property `options`.
    """

    source: str
    params: str


KINDS: Mapping[str, Kind] = {
    "traces": Kind(
        source="agentkit_synthesis.traces.source:make", params="agentkit_synthesis.traces.params:TracesParams"
    ),
    "tools": Kind(
        source="agentkit_synthesis.tooluse.source:make", params="agentkit_synthesis.tooluse.params:ToolsParams"
    ),
}


def options_of(kind: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options of a kind's rows, checked.

    Raises:
        InvalidParams: there is no such kind, or one of its parameters cannot be used.
    """
    if kind not in KINDS:
        raise InvalidParams(f"/kind: {kind!r} is none of {', '.join(KINDS)}")
    module, _, name = KINDS[kind].params.partition(":")
    options: Mapping[str, Any] = getattr(import_module(module), name).parse({"out": "preview", **given}).options
    return options
