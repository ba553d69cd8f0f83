"""Calls that can be written down without the model: those of tools whose arguments can only be one of a few values.

A value can be one of a few where the schema says so (an enum, a constant, yes or no), or where the argument is grounded:
then it is one of the names that stand in the text it may come from. Tools with an argument that may be anything are left
to the model to call.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentkit.engine.dialects.candidates import candidates_of
from agentkit.engine.dialects.grounding import Sources, sources_of, spans_of
from agentkit.errors import CannotEnforce
from agentkit.protocols import Request
from agentkit.types import Step, ToolCall, ToolSpec

MOST_VALUES = 16  # of an argument
MOST_CALLS = 24  # of a tool
MOST = 24  # calls in all
_ABSENT = object()


def offered(request: Request, tool_logprobs: Mapping[str, float] | None = None) -> list[Step]:
    """Return steps of one call each, at most `MOST`; those of a tool with more than `MOST_CALLS` are left out.

    Args:
        request: what is asked, and the tools.
        tool_logprobs: the model's own opinion of the tools, in nats; those it likes best come first.
    """
    sources = sources_of(request.messages, quotes=True, allowed=request.allowed)  # names rather than words
    steps: list[Step] = []
    known = tool_logprobs or {}
    for spec in sorted(request.tools, key=lambda spec: -known.get(spec.name, -math.inf)):
        calls = list(itertools.islice(_calls(spec, sources), MOST_CALLS + 1))
        if len(calls) <= MOST_CALLS:
            steps += [_step(spec.name, arguments) for arguments in calls]
    return steps[:MOST]


def _step(tool: str, arguments: dict[str, Any]) -> Step:
    return Step(kind="calls", calls=(ToolCall(id="call_0", tool=tool, arguments=arguments),))


def _calls(spec: ToolSpec, sources: Sources) -> Iterator[dict[str, Any]]:
    """Yield the arguments of all calls of a tool, none where one of them may be anything."""
    properties, required = spec.parameters.get("properties", {}), spec.parameters.get("required", ())
    domains: list[list[Any]] = []
    for name, schema in properties.items():
        known = _values(name, schema, spec, sources)
        if known is None and name in required:
            return
        domains.append([*([] if name in required else [_ABSENT]), *(known or [])])  # it can be left out
    for values in itertools.product(*domains):
        yield {name: value for name, value in zip(properties, values, strict=True) if value is not _ABSENT}


def _values(name: str, schema: Any, spec: ToolSpec, sources: Sources) -> list[Any] | None:
    """Return the values that an argument may have; None where they are too many, or cannot be told."""
    if name in spec.rules.grounded:
        return _grounded(name, spec, sources)
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return [schema["const"]]
    if "enum" in schema:
        return _few(list(schema["enum"]))
    if schema.get("type") == "boolean":
        return [False, True]
    return None


def _grounded(name: str, spec: ToolSpec, sources: Sources) -> list[Any] | None:
    """Return the spans that a grounded argument may be."""
    how = spec.rules.grounded[name]
    if how not in ("context", "trusted", "clause") or sources.patterns(spec.name, name):
        return None
    try:
        found = candidates_of(spans_of(sources, how), name, spec)
    except CannotEnforce:
        return None
    if found.several is not None:
        return None
    return _few([*found.texts, *(json.loads(other) for other in found.others)])


def _few(values: Sequence[Any]) -> list[Any] | None:
    return list(values) if len(values) <= MOST_VALUES else None
